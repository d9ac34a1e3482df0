//! The tested server, which can be killed at any moment and restarted on the same data.

use std::path::Path;

use tempfile::TempDir;

use crate::daemon::Daemon;

/// `wharfinger serve` on a free port.
pub(crate) struct Server {
    daemon: Daemon,
    address: String,
    _log: TempDir,
}

impl Server {
    /// Starts on this data directory, with further arguments.
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> Server {
        Self::start_as(&[env!("CARGO_BIN_EXE_wharfinger")], data, arguments)
    }

    /// Starts below another program, such as a tracer.
    pub(crate) fn start_as(command: &[&str], data: &Path, arguments: &[&str]) -> Server {
        let log = TempDir::new().expect("a temporary directory");
        let serve = ["serve", "--log-level", "warn", "--listen", "127.0.0.1:0", "--data"];
        let all: Vec<&Path> = command[1..]
            .iter()
            .chain(&serve)
            .map(Path::new)
            .chain([data])
            .chain(arguments.iter().map(Path::new))
            .collect();
        let daemon = Daemon::start(command[0], &all, &log.path().join("log"));
        let address = daemon.address();
        Server { daemon, address, _log: log }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Stops all threads of the process with SIGSTOP, after the system calls that they are in.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
        let tasks = format!("/proc/{}/task", self.pid());
        let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
            let about = std::fs::read_to_string(task.unwrap().path().join("stat"));
            // The state follows the name, which is in parentheses. A thread may have ended.
            about.map_or(true, |about| about.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
        };
        while !std::fs::read_dir(&tasks).unwrap().all(is_stopped) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Lets the process go on after [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "the server got no {signal}");
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.daemon.kill();
    }

    /// Ends a server below a tracer. If the tracer ended first, the server would go on.
    pub(crate) fn stop_traced(self, data: &Path) {
        let pid = std::fs::read_to_string(data.join("wharfinger/lock")).expect("the lock names the server");
        let ended = std::process::Command::new("kill").args(["-TERM", pid.trim()]).status();
        assert!(ended.is_ok_and(|ended| ended.success()), "the server {pid} could not be ended");
        let gone = || !Path::new(&format!("/proc/{}", pid.trim())).exists();
        while !gone() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        self.stop();
    }

    /// Ends the process with SIGTERM.
    pub(crate) fn stop(mut self) {
        self.daemon.stop();
    }
}
