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
