//! The tested registry: the built binary, started as an operator starts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Daemon, Terminal};

/// The password of every account.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// `wharfinger serve` on a free port with a temporary data directory.
pub(crate) struct Server {
    daemon: Daemon,
    address: String,
    data: PathBuf,
    scratch: TempDir,
}

impl Server {
    /// Starts on an empty directory.
    pub(crate) fn start() -> Server {
        let scratch = TempDir::new().expect("a temporary directory");
        let data = scratch.path().join("data");
        Server::start_with(data, scratch, "")
    }

    /// Starts on an empty directory with these settings, written as in `wharfinger.toml`.
    pub(crate) fn configured(settings: &str) -> Server {
        let scratch = TempDir::new().expect("a temporary directory");
        let data = scratch.path().join("data");
        Server::start_with(data, scratch, settings)
    }

    /// Starts with the administrator `root` and these users, and with these settings.
    pub(crate) fn with_accounts(settings: &str, users: &[&str]) -> Server {
        let scratch = TempDir::new().expect("a temporary directory");
        let data = scratch.path().join("data");
        let add = |name: &str, flag: &str| {
            let line = format!(
                "echo '{PASSWORD}' | {} user add {name} --password-stdin {flag} --data {}",
                env!("CARGO_BIN_EXE_wharfinger"),
                data.display()
            );
            Terminal::open().run(&line);
        };
        add("root", "--admin");
        for user in users {
            add(user, "");
        }
        Server::start_with(data, scratch, settings)
    }

    /// Starts with HTTPS and a self-signed certificate, with the administrator `root` and these users.
    pub(crate) fn secure(users: &[&str]) -> Server {
        Server::with_accounts("[tls]\nself_signed = [\"127.0.0.1\"]\n", users)
    }

    /// Runs a command on the data directory, and returns its output.
    pub(crate) fn says(&self, command: &str) -> String {
        let words: Vec<String> = command.split(' ').map(|word| format!("'{word}'")).collect();
        let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
        Terminal::open().run(&format!("{wharfinger} {} --data {}", words.join(" "), self.data.display()))
    }

    /// Returns the output and the log so far.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }

    /// Waits until the log contains `text`.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_for_log(&self.daemon, text);
    }

    /// Starts on an existing directory.
    pub(crate) fn start_on(data: &Path) -> Server {
        Server::start_with(data.to_owned(), TempDir::new().expect("a temporary directory"), "")
    }

    /// Starts at a known address, on a directory that may exist already.
    pub(crate) fn configured_at(address: &str, data: &Path, settings: &str) -> Server {
        let scratch = TempDir::new().expect("a temporary directory");
        Server::start_at(address, data.to_owned(), scratch, settings)
    }

    fn start_with(data: PathBuf, scratch: TempDir, settings: &str) -> Server {
        Server::start_at("127.0.0.1:0", data, scratch, settings)
    }

    fn start_at(listen: &str, data: PathBuf, scratch: TempDir, settings: &str) -> Server {
        // Always names a settings file, so that the machine's own file is not used.
        let config = scratch.path().join("wharfinger.toml");
        fs::write(&config, settings).expect("a settings file can be written");
        let daemon = Daemon::start(
            env!("CARGO_BIN_EXE_wharfinger"),
            &[
                "serve".as_ref(),
                "--listen".as_ref(),
                listen.as_ref(),
                "--data".as_ref(),
                data.as_os_str(),
                "--config".as_ref(),
                config.as_os_str(),
            ],
            &scratch.path().join("log"),
        );
        let address = daemon.address();
        Server { daemon, address, data, scratch }
    }

    /// Replaces the settings file, for a reload.
    pub(crate) fn configure(&self, settings: &str) {
        fs::write(self.scratch.path().join("wharfinger.toml"), settings).expect("a settings file");
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Returns an image name, as clients spell it: `127.0.0.1:port/ubuntu:14.04`.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// The data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The path of its self-signed certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.data.join("wharfinger/tls/self-signed.pem")
    }

    /// Kills the registry with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.daemon.kill();
    }

    /// Stops the registry. Its data stays until the returned value is dropped.
    pub(crate) fn stop(mut self) -> TempDir {
        self.daemon.stop();
        self.scratch
    }
}

/// Waits until the log of a process contains `text`. Another thread writes the log, after the event.
pub(crate) fn wait_for_log(daemon: &Daemon, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !daemon.log().contains(text) {
        assert!(Instant::now() < deadline, "never logged: {text}\n{}", daemon.log());
        thread::sleep(Duration::from_millis(20));
    }
}
