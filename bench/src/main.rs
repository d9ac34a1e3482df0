//! The benchmark: registries side by side on loopback, the same work for each, and what it cost them.
//!
//! `docs/explanation/performance.md` tells what the rows mean and what came out. A row is a file in `rows/`,
//! a server is one in `peers/`.

mod client;
mod content;
mod instance;
mod machine;
mod measuring;
mod parallel;
mod peers;
mod process;
mod report;
mod rows;
mod security;
mod sets;
mod statistics;
mod suite;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use crate::instance::{Candidate, Context};
use crate::peers::{OURS, Paths};
use crate::sets::Scale;
use crate::suite::{Missing, Pace};

/// Starts registries side by side on loopback, gives each the same work, and reports what the work cost.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// Only these rows, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "ROW")]
    only: Vec<String>,
    /// Only these servers besides ours, separated by commas; "none" for ours alone.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    peers: Vec<String>,
    /// How often each row is run.
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Before each run, waits so long at most until others leave the machine alone.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    /// Small amounts and one run: finds that something broke, and is good for nothing else.
    #[arg(long)]
    quick: bool,
    /// Names the rows and the servers, and ends.
    #[arg(long)]
    list: bool,
    /// Writes the record of all runs to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes a chart to this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Writes the table to this file too.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// Where to make the directory for the data, which should be on a disk.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Leaves the data there. Without a journal, ext4 scans recently deleted inodes whenever it creates a
    /// file, and the next benchmark would pay for that.
    #[arg(long)]
    keep: bool,
    /// Our program, if it is not beside this one.
    #[arg(long, value_name = "FILE")]
    wharfinger: Option<PathBuf>,
    /// The program of distribution 3.
    #[arg(long, value_name = "FILE")]
    distribution_3: Option<PathBuf>,
    /// The program of zot.
    #[arg(long, value_name = "FILE")]
    zot: Option<PathBuf>,
    /// The program of nora.
    #[arg(long, value_name = "FILE")]
    nora: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Part {
    /// Serves one manifest with hyper and nothing else. Started by the benchmark itself.
    #[command(hide = true)]
    BareHyper {
        /// The file that holds the manifest.
        manifest: PathBuf,
        /// The port on loopback.
        port: u16,
    },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.part {
        Some(Part::BareHyper { manifest, port }) => peers::serve_bare_hyper(manifest, *port),
        None => benchmark(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wharfinger-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn benchmark(options: &Options) -> Result<()> {
    let scale = Scale { quick: options.quick };
    let mut rows = rows::all();
    if options.list {
        let mut list: String =
            rows.iter().map(|row| format!("{:16} {}\n", row.id(), row.title(scale))).collect();
        let _ = writeln!(list, "\nservers: {}", names(&peers::all()));
        // A reader such as `head` may close the pipe early; that is no error.
        return match std::io::stdout().write_all(list.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        };
    }
    if let Some(unknown) = options.only.iter().find(|id| rows.iter().all(|row| row.id() != id.as_str())) {
        bail!("there is no row {unknown}; --list names them");
    }
    if !options.only.is_empty() {
        rows.retain(|row| options.only.iter().any(|id| id == row.id()));
    }
    let (candidates, missing) = choose(options)?;
    missing.iter().for_each(|missing| eprintln!("missing: {}: {}", missing.name, missing.why));
    // Each server needs a file for every connection, and so does the load generator.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)
        .context("raising the limit of open files")?;
    let parent = options.directory.clone().unwrap_or_else(std::env::temp_dir);
    let directory = tempfile::Builder::new().prefix("wharfinger-bench-").tempdir_in(parent)?;
    let source = content::Source::new();
    let world = Context {
        scale,
        image: sets::image(&source),
        source,
        listing: sets::listing::Listing::new(scale),
        many: sets::many::Many::new(scale),
        accounts: sets::accounts::Accounts::new(scale)?,
        security: security::Security::make(directory.path(), rows::STRANGERS)?,
        filled: OnceLock::new(),
        directory: directory.path().to_owned(),
        directories: AtomicUsize::new(0),
    };
    let runs = options.runs.unwrap_or(scale.pick(3, 1)).max(1);
    let pace = Pace { runs, patience: Duration::from_secs(options.wait) };
    // Written after each row, so that a run that is interrupted was not in vain.
    let results = suite::run(&world, &candidates, missing, &rows, pace, |results| record(options, results))?;
    println!("{}", report::table::write(&results));
    if options.keep {
        eprintln!("the data is in {}", directory.keep().display());
    }
    Ok(())
}

fn record(options: &Options, results: &suite::Results) -> Result<()> {
    if let Some(file) = &options.table {
        fs::write(file, report::table::write(results))?;
    }
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(results)?)?;
    }
    if let Some(file) = &options.svg {
        fs::write(file, report::chart::write(results))?;
    }
    Ok(())
}

/// The servers that take part, and those that would but are not here.
fn choose(options: &Options) -> Result<(Vec<Candidate>, Vec<Missing>)> {
    let paths = Paths {
        wharfinger: options.wharfinger.clone(),
        distribution_3: options.distribution_3.clone(),
        zot: options.zot.clone(),
        nora: options.nora.clone(),
    };
    let all = peers::all();
    let wanted = |name: &str| {
        options.peers.is_empty()
            || name == OURS
            || options.peers.iter().any(|peer| spelled(peer) == spelled(name))
    };
    let unknown =
        |peer: &&String| *peer != "none" && all.iter().all(|known| spelled(known.name()) != spelled(peer));
    if let Some(peer) = options.peers.iter().find(unknown) {
        bail!("there is no server {peer}; there are {}", names(&all));
    }
    let (mut candidates, mut missing) = (Vec::new(), Vec::new());
    for peer in all.into_iter().filter(|peer| wanted(peer.name())) {
        match peer.find(&paths) {
            Ok(programs) => {
                let programs = programs.iter().map(fs::canonicalize).collect::<Result<Vec<_>, _>>()?;
                let version = peer.version(&programs);
                candidates.push(Candidate { peer, programs, version });
            }
            Err(why) => missing.push(Missing { name: peer.name(), why }),
        }
    }
    Ok((candidates, missing))
}

/// A name without what is hard to type: `nginx (files)` is also `nginx-files`.
fn spelled(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn names(peers: &[Box<dyn peers::Peer>]) -> String {
    peers.iter().map(|peer| peer.name()).collect::<Vec<_>>().join(", ")
}
