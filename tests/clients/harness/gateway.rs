//! `wharfinger gateway`, started as an operator starts it.

use std::fs;

use super::{Daemon, PASSWORD, Terminal};

/// A gateway with an htpasswd file with the users `ann` and `bob`.
pub(crate) struct Gateway {
    pub(crate) daemon: Daemon,
    pub(crate) address: String,
    /// The directory that holds its data directory, `data`.
    pub(crate) terminal: Terminal,
}

impl Gateway {
    /// Starts a gateway before these registries (`127.0.0.1:port`), with more arguments.
    pub(crate) fn before(upstreams: &[&str], more: &[&str]) -> Gateway {
        Gateway::configured(upstreams, "", more)
    }

    /// Starts a gateway with these settings, written as in `wharfinger.toml`.
    pub(crate) fn configured(upstreams: &[&str], settings: &str, more: &[&str]) -> Gateway {
        let (daemon, terminal) = Gateway::start("127.0.0.1:0", upstreams, settings, more);
        let address = daemon.address();
        Gateway { daemon, address, terminal }
    }

    /// Starts a gateway with these settings on a chosen address, which may not accept connections yet.
    pub(crate) fn configured_at(address: &str, upstreams: &[&str], settings: &str) -> Gateway {
        let (daemon, terminal) = Gateway::start(address, upstreams, settings, &[]);
        Gateway { daemon, address: address.to_owned(), terminal }
    }

    fn start(listen: &str, upstreams: &[&str], settings: &str, more: &[&str]) -> (Daemon, Terminal) {
        let terminal = Terminal::open();
        terminal.run(&format!("htpasswd -cbB users ann '{PASSWORD}' && htpasswd -bB users bob '{PASSWORD}'"));
        fs::write(terminal.path("wharfinger.toml"), settings).expect("a settings file can be written");
        let at = |name: &str| terminal.path(name).display().to_string();
        let (users, data, config) = (at("users"), at("data"), at("wharfinger.toml"));
        let mut arguments: Vec<String> =
            ["gateway", "--listen", listen, "--htpasswd", &users, "--data", &data, "--config", &config]
                .map(str::to_owned)
                .to_vec();
        for upstream in upstreams {
            arguments.extend(["--upstream".to_owned(), format!("http://{upstream}")]);
        }
        arguments.extend(more.iter().map(|&word| word.to_owned()));
        let daemon = Daemon::start(env!("CARGO_BIN_EXE_wharfinger"), &arguments, &terminal.path("log"));
        (daemon, terminal)
    }

    /// Returns an image name on the gateway, as clients spell it.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Returns the docker command that signs a user in.
    pub(crate) fn login(&self, user: &str) -> String {
        format!("echo '{PASSWORD}' | docker login -u {user} --password-stdin {}", self.address)
    }

    /// Runs a command on the data directory, and returns its output.
    pub(crate) fn says(&self, command: &str) -> String {
        let data = self.terminal.path("data");
        self.terminal.run(&format!(
            "{} {command} --data {}",
            env!("CARGO_BIN_EXE_wharfinger"),
            data.display()
        ))
    }
}
