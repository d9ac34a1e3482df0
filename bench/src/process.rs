//! A server as a process: how it is started and stopped, and what it has used, according to the kernel.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// A process that was started here, with the processes that it started itself.
pub(crate) struct Process {
    child: Child,
    family: Vec<u32>,
}

impl Process {
    /// Starts it; what it prints goes to the file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let log = File::create(log)?;
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let family = vec![child.id()];
        Ok(Self { child, family })
    }

    /// It has ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Looks for the processes that it has started. To be called when the server answers: then all are there.
    pub(crate) fn meet_family(&mut self) {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for pid in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = pid.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if let Some(parent) = status_field(pid, "PPid") {
                children.entry(u32::try_from(parent).unwrap_or(0)).or_default().push(pid);
            }
        }
        let mut family = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = family.get(next) {
            family.extend(children.get(pid).into_iter().flatten().copied().collect::<HashSet<_>>());
            next += 1;
        }
        self.family = family;
    }

    /// A handle that reads what a server of these uses, for threads that watch it.
    pub(crate) fn meter(processes: &[Self]) -> Meter {
        Meter { family: processes.iter().flat_map(|process| process.family.iter().copied()).collect() }
    }

    /// Asks it to end, and makes it end if it does not.
    fn stop(&mut self) {
        if self.ended() {
            return;
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while !self.ended() {
            if asked.elapsed() > Duration::from_secs(10) {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reads what a server's processes use.
#[derive(Clone)]
pub(crate) struct Meter {
    family: Vec<u32>,
}

impl Meter {
    /// Processor seconds so far, of all threads, in the program and in the kernel on its behalf.
    pub(crate) fn cpu(&self) -> f64 {
        self.family.iter().filter_map(|&pid| cpu_of(pid)).sum()
    }

    /// Bytes of anonymous memory that are resident. Mapped files do not count: they are page cache.
    pub(crate) fn anonymous(&self) -> u64 {
        self.family.iter().filter_map(|&pid| status_field(pid, "RssAnon")).sum::<u64>() * 1024
    }

    /// The number of open files and sockets.
    pub(crate) fn files(&self) -> usize {
        let open = |pid: &u32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.family.iter().map(open).sum()
    }

    /// The number of threads.
    pub(crate) fn threads(&self) -> u64 {
        self.family.iter().filter_map(|&pid| status_field(pid, "Threads")).sum()
    }
}

/// Processor seconds of this process, the load generator.
pub(crate) fn own_cpu() -> f64 {
    cpu_of(std::process::id()).unwrap_or(0.0)
}

fn cpu_of(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may contain spaces; what follows the last parenthesis does
    // not.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn status_field(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
