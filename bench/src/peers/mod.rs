//! The registries (and two servers that are none) that are given the same work.

mod bare_hyper;
mod distribution;
mod gateway;
mod nginx;
mod nora;
mod stack;
mod wharfinger;
mod zot;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

pub(crate) use bare_hyper::serve as serve_bare_hyper;

use crate::client::push::Image;
use crate::security::Security;
use crate::sets::listing::Listing;

/// Features that some servers have and others lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    /// Give out one image: its manifest.
    Manifest,
    Blob,
    /// Be pushed to, and list repositories and tags.
    Registry,
    /// List the referrers of a digest.
    Referrers,
    Search,
}

/// The kind of access control before a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    Plain,
    /// HTTPS, over HTTP/1.1 or HTTP/2, people with an account of a file that htpasswd made.
    Https,
    /// HTTP/2 without TLS beside HTTP/1.1, everyone.
    ClearHttp2,
}

/// Where and how a server is to be started.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// The directory of its data.
    pub(crate) data: &'a Path,
    /// The port of loopback on which clients reach it.
    pub(crate) port: u16,
    /// The access control before it.
    pub(crate) front: Front,
    /// The certificate and the users, for a front that has such.
    pub(crate) security: &'a Security,
}

/// A program to be started, and the port on which it listens then.
pub(crate) struct Part {
    /// The program with its arguments.
    pub(crate) command: Command,
    /// The port of loopback.
    pub(crate) port: u16,
}

/// A server that can be started here.
pub(crate) trait Peer: Send + Sync {
    /// Its name in the tables.
    fn name(&self) -> &'static str;

    /// Where its programs are, or what to do to have them.
    fn find(&self, paths: &Paths) -> Result<Vec<PathBuf>, String>;

    /// The version that the programs say they are.
    fn version(&self, programs: &[PathBuf]) -> String;

    /// Whether it can let clients in by that.
    fn speaks(&self, front: Front) -> bool {
        front == Front::Plain
    }

    /// How to start it: its programs in order, the last of which is the one that clients reach.
    fn parts(&self, programs: &[PathBuf], setup: Setup<'_>) -> Result<Vec<Part>>;

    /// Whether it can do that.
    fn can(&self, ability: Ability) -> bool;

    /// The content that is synced before a push is answered, found by tracing its system calls.
    fn syncs(&self) -> &'static str;

    /// It is no registry but a limit: what a server here can reach at most.
    fn is_limit(&self) -> bool {
        false
    }

    /// Puts an image into the data directory of a server that cannot be pushed to.
    fn place_image(&self, _data: &Path, _repository: &str, _tag: &str, _image: &Image) -> Result<()> {
        Ok(())
    }

    /// Writes the listing straight into the data directory, in the server's own layout; false where it must
    /// be pushed. Ten thousand tags take some of the servers minutes to receive, and receiving is not what
    /// the listing measures.
    fn place_listing(&self, _data: &Path, _listing: &Listing) -> Result<bool> {
        Ok(false)
    }
}

/// Programs that are not where one looks for them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Paths {
    /// `--wharfinger`
    pub(crate) wharfinger: Option<PathBuf>,
    /// `--distribution-3`
    pub(crate) distribution_3: Option<PathBuf>,
    /// `--zot`
    pub(crate) zot: Option<PathBuf>,
    /// `--nora`
    pub(crate) nora: Option<PathBuf>,
}

/// All of them, ours first.
pub(crate) fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(wharfinger::Wharfinger),
        Box::new(distribution::Distribution::second()),
        Box::new(distribution::Distribution::third()),
        Box::new(zot::Zot),
        Box::new(nora::Nora),
        Box::new(stack::Stack),
        Box::new(gateway::Gateway),
        Box::new(nginx::Nginx),
        Box::new(bare_hyper::BareHyper),
    ]
}

/// The name of ours in the tables.
pub(crate) const OURS: &str = "wharfinger";
/// The name of our gateway before another registry.
pub(crate) const GATEWAY: &str = "gateway + distribution 2";
/// The name of nginx before that registry.
pub(crate) const STACK: &str = "nginx + distribution 2";
/// The name of nginx with files.
pub(crate) const FILES: &str = "nginx (files)";

/// Whether a server of that name is made of our program.
pub(crate) fn is_ours(name: &str) -> bool {
    name == OURS || name == GATEWAY
}

/// A port of loopback that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A server that is one program.
fn alone(command: Command, setup: Setup<'_>) -> Result<Vec<Part>> {
    Ok(vec![Part { command, port: setup.port }])
}

/// A program of that name on the search path.
fn on_path(name: &str) -> Option<PathBuf> {
    let directories = std::env::var_os("PATH")?;
    // Servers are often installed where only root looks.
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&directories)
        .chain(more)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// The path that was given, if there is a program.
fn given(path: &Path, option: &str) -> Result<PathBuf, String> {
    if path.is_file() { Ok(path.to_owned()) } else { Err(format!("there is no file where {option} says")) }
}

/// The first word of what the program prints that looks like a version.
fn version_of(program: &Path, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return "unknown".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let word =
        text.split(|letter: char| letter.is_whitespace() || matches!(letter, '/' | '"' | ',')).find(|word| {
            let word = word.strip_prefix('v').unwrap_or(word);
            word.starts_with(|letter: char| letter.is_ascii_digit()) && word.contains('.')
        });
    word.map_or("unknown".to_owned(), |word| word.trim_start_matches('v').to_owned())
}
