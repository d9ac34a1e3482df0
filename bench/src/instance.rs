//! A server with its data: prepared, started, restarted, wiped.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::client::connection::{Body, Connection};
use crate::client::origin::Origin;
use crate::client::push::{Image, image};
use crate::content::Source;
use crate::measuring::rest;
use crate::peers::{Ability, Front, Part, Peer, Setup, free_port};
use crate::process::{Meter, Process};
use crate::security::{self, Security};
use crate::sets::accounts::Accounts;
use crate::sets::listing::Listing;
use crate::sets::many::{Filled, Many};
use crate::sets::{REPOSITORY, Scale, Set, TAG};

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// The context shared by all rows and servers.
pub(crate) struct Context {
    /// How large everything is.
    pub(crate) scale: Scale,
    pub(crate) source: Source,
    /// The image of [`Set::Image`].
    pub(crate) image: Image,
    /// The listing of [`Set::Listing`].
    pub(crate) listing: Listing,
    /// The repositories of [`Set::Many`].
    pub(crate) many: Many,
    /// The accounts of [`Set::Accounts`].
    pub(crate) accounts: Accounts,
    /// The certificate and the users of [`Front::Https`].
    pub(crate) security: Security,
    /// How fast they were pushed, once they were.
    pub(crate) filled: OnceLock<Filled>,
    /// The directory below which all data lies.
    pub(crate) directory: PathBuf,
    /// How many directories were used for one row alone.
    pub(crate) directories: AtomicUsize,
}

impl Context {
    /// A directory that nobody has used.
    fn fresh(&self, candidate: &Candidate) -> PathBuf {
        let number = self.directories.fetch_add(1, Ordering::Relaxed);
        self.directory.join(format!("{}-{number}", directory_name(candidate)))
    }
}

/// A server that can be started.
pub(crate) struct Candidate {
    /// The kind of server.
    pub(crate) peer: Box<dyn Peer>,
    pub(crate) programs: Vec<PathBuf>,
    /// The version they say they are.
    pub(crate) version: String,
}

/// One server in one row.
pub(crate) struct Instance<'a> {
    pub(crate) world: &'a Context,
    /// The registry that runs in this instance.
    pub(crate) candidate: &'a Candidate,
    set: Set,
    front: Front,
    data: PathBuf,
    running: Option<Running>,
}

struct Running {
    /// They end when they are dropped.
    _processes: Vec<Process>,
    origin: Origin,
    meter: Meter,
}

impl<'a> Instance<'a> {
    /// A site whose server is started when it is first needed.
    pub(crate) fn new(world: &'a Context, candidate: &'a Candidate, set: Set, front: Front) -> Self {
        let data = match set.kept() {
            Some(kept) => world.directory.join(format!("{}-{kept}", directory_name(candidate))),
            None => world.fresh(candidate),
        };
        Self { world, candidate, set, front, data, running: None }
    }

    /// How clients reach the server. Starts it if it does not run.
    pub(crate) fn origin(&mut self) -> Result<Origin> {
        Ok(self.running()?.origin.clone())
    }

    /// The sampler of the server's CPU time and memory.
    pub(crate) fn meter(&mut self) -> Result<Meter> {
        Ok(self.running()?.meter.clone())
    }

    /// Ends the server and prepares another in a new directory.
    ///
    /// The old data stays until the end of the benchmark. Without a journal, ext4 scans recently deleted
    /// inodes whenever it creates a file, and the next push would pay for that.
    pub(crate) fn renew(&mut self) -> Result<()> {
        self.running = None;
        self.data = self.world.fresh(self.candidate);
        self.running().map(|_| ())
    }

    /// Ends the server and removes its data. For few large files, which the disk could not hold for all
    /// servers.
    pub(crate) fn wipe(&mut self) -> Result<()> {
        self.running = None;
        Ok(fs::remove_dir_all(&self.data)?)
    }

    /// Starts the server on the data that it has, and says how long it took until it answered this GET with
    /// 200.
    pub(crate) fn restart(&mut self, target: &str) -> Result<Duration> {
        self.running()?;
        self.running = None;
        let (running, took) = self.start(target, Some(200))?;
        self.running = Some(running);
        Ok(took)
    }

    fn running(&mut self) -> Result<&Running> {
        if self.running.is_none() {
            self.running = Some(self.prepare()?);
        }
        self.running.as_ref().context("the server was started")
    }

    fn prepare(&self) -> Result<Running> {
        let peer = &self.candidate.peer;
        let new = !self.data.exists();
        let pushed = peer.can(Ability::Registry);
        let mut push_listing = false;
        if new {
            fs::create_dir_all(&self.data)?;
            match self.set {
                Set::Image if !pushed => peer.place_image(&self.data, REPOSITORY, TAG, &self.world.image)?,
                Set::Listing => push_listing = !peer.place_listing(&self.data, &self.world.listing)?,
                Set::Accounts(many) => self.world.accounts.place(&self.data, many)?,
                _ => {}
            }
        }
        let (running, _) = self.start("/v2/", None)?;
        if new {
            let mut connection = Connection::to(&running.origin);
            match self.set {
                Set::Image if pushed => image(&mut connection, REPOSITORY, TAG, &self.world.image)?,
                Set::Accounts(_) => image(&mut connection, REPOSITORY, TAG, &self.world.image)?,
                Set::Listing if push_listing => self.world.listing.push(&running.origin)?,
                Set::Many => {
                    let filled = self.world.many.push(&running.origin)?;
                    let _ = self.world.filled.set(filled);
                }
                _ => {}
            }
        }
        self.check(&running.origin)?;
        if new {
            // Work that the server does after a bulk push counts only in the bulk push rows.
            rest(&running.meter, Duration::from_secs(120));
        }
        Ok(running)
    }

    /// A server that gives wrong answers fast is no match: one look before anything is measured.
    fn check(&self, origin: &Origin) -> Result<()> {
        if !matches!(self.set, Set::Image | Set::Accounts(_)) {
            return Ok(());
        }
        let target = format!("/v2/{REPOSITORY}/manifests/{TAG}");
        let answer = Connection::to(origin).expect(200, "GET", &target, Body::Empty)?;
        if answer.body != self.world.image.manifest {
            bail!("the manifest has other bytes than were pushed");
        }
        Ok(())
    }

    fn start(&self, target: &str, status: Option<u16>) -> Result<(Running, Duration)> {
        let port = free_port()?;
        let origin = self.origin_at(SocketAddr::from(([127, 0, 0, 1], port)));
        let candidate = self.candidate;
        let setup = Setup { data: &self.data, port, front: self.front, security: &self.world.security };
        let parts = candidate.peer.parts(&candidate.programs, setup)?;
        let mut processes = Vec::with_capacity(parts.len());
        let start = Instant::now();
        for (number, Part { command, port: listens }) in parts.into_iter().enumerate() {
            let log = self.data.with_extension(format!("{number}.log"));
            let mut process = Process::start(command, &log)?;
            let answers = || {
                if listens != port {
                    return TcpStream::connect(("127.0.0.1", listens)).is_ok();
                }
                let answer = Connection::impatient(&origin, PATIENCE).request("GET", target, Body::Empty);
                answer.is_ok_and(|answer| status.is_none_or(|wanted| answer.head.status == wanted))
            };
            while !answers() {
                if process.ended() {
                    bail!("the server ended at once: {}", last_line(&log));
                }
                if start.elapsed() > PATIENCE {
                    bail!("the server did not answer within {PATIENCE:?}: {}", last_line(&log));
                }
                std::thread::sleep(Duration::from_micros(500));
            }
            processes.push(process);
        }
        let took = start.elapsed();
        processes.iter_mut().for_each(Process::meet_family);
        let meter = Process::meter(&processes);
        Ok((Running { _processes: processes, origin, meter }, took))
    }

    /// How clients speak with a server at that address.
    fn origin_at(&self, address: SocketAddr) -> Origin {
        let origin = Origin::plain(address);
        let origin = match self.front {
            Front::Https => origin.through(self.world.security.client.clone()),
            Front::Plain | Front::ClearHttp2 => origin,
        };
        if self.front == Front::Https || matches!(self.set, Set::Accounts(_)) {
            return origin.with_authorization(security::basic(security::ACCOUNT));
        }
        origin
    }

    /// The directory of its data.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }
}

fn directory_name(candidate: &Candidate) -> String {
    candidate.peer.name().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing")
        .chars()
        .take(300)
        .collect()
}
