//! The registries (and two servers that are none) that are given the same work.

mod bare_hyper;
mod distribution;
mod nginx;
mod nora;
mod wharfinger;
mod zot;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

pub(crate) use bare_hyper::serve as serve_bare_hyper;

use crate::client::push::Image;
use crate::sets::listing::Listing;

/// What some servers can do and others cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    /// Give out one image: its manifest.
    Manifest,
    /// Give out blobs.
    Blob,
    /// Be pushed to, and list repositories and tags.
    Registry,
    /// List the referrers of a digest.
    Referrers,
    /// Answer `docker search`.
    Search,
}

/// A server that can be started here.
pub(crate) trait Peer: Send + Sync {
    /// Its name in the tables.
    fn name(&self) -> &'static str;

    /// Where its program is, or what to do to have it.
    fn find(&self, paths: &Paths) -> Result<PathBuf, String>;

    /// The version that the program says it is.
    fn version(&self, program: &Path) -> String;

    /// How to start it on a data directory so that it listens on that port of loopback.
    fn command(&self, program: &Path, data: &Path, port: u16) -> Result<Command>;

    /// Whether it can do that.
    fn can(&self, ability: Ability) -> bool;

    /// What it makes durable before it answers a push, found by tracing its system calls.
    fn syncs(&self) -> &'static str;

    /// It is no registry but a limit: what a server here can reach at most.
    fn is_limit(&self) -> bool {
        false
    }

    /// Puts an image into the data directory of a server that cannot be pushed to.
    fn place_image(&self, _data: &Path, _repository: &str, _tag: &str, _image: &Image) -> Result<()> {
        Ok(())
    }

    /// Writes the listing straight into the data directory, in the server's own layout; false where it must be
    /// pushed. Ten thousand tags take some of the servers minutes to receive, and receiving is not what the listing
    /// measures.
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
        Box::new(nginx::Nginx),
        Box::new(bare_hyper::BareHyper),
    ]
}

/// The name of ours in the tables.
pub(crate) const OURS: &str = "wharfinger";

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
