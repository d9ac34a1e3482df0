//! An isolated machine: private `/etc`, trust store and network, so that tests can type lines that change a
//! system.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{Daemon, Engine, PASSWORD, Terminal};

/// The machine's name and address, unknown outside it. docker accepts any certificate of an address that
/// begins with 127, so the address is another one.
const NAME: &str = "registry.example.com";
const ADDRESS: &str = "198.51.100.7";

/// Changes below `/etc` and `/usr/local/share` disappear with the machine.
const BEGIN: &str = r#"
mount -t tmpfs tmpfs "$1"
for directory in /etc /usr/local/share; do
    mkdir -p "$1/new$directory" "$1/work$directory"
    mount -t overlay overlay -o "lowerdir=$directory,upperdir=$1/new$directory,workdir=$1/work$directory" "$directory"
done
busybox ip link set lo up
busybox ip addr add "$2/32" dev lo
echo "$2 $3" >>/etc/hosts
echo ready
exec sleep infinity
"#;

/// A mount and a network namespace. Its processes end with the test.
pub(crate) struct Machine {
    /// The last process holds the namespaces.
    daemons: Vec<Daemon>,
    scratch: TempDir,
}

impl Machine {
    pub(crate) const NAME: &str = NAME;
    pub(crate) const ADDRESS: &str = ADDRESS;

    pub(crate) fn start() -> Machine {
        let scratch = TempDir::new().expect("a temporary directory");
        let place = scratch.path().join("machine");
        std::fs::create_dir(&place).expect("a directory can be made");
        let place = place.display().to_string();
        let begin = ["--mount", "--net", "--propagation", "private", "/bin/sh", "-euc", BEGIN, "machine"];
        let arguments: Vec<&str> = begin.into_iter().chain([place.as_str(), ADDRESS, NAME]).collect();
        let daemon = Daemon::start(&Terminal::which("unshare"), &arguments, &scratch.path().join("log"));
        daemon.wait_for(|log| log.contains("ready").then_some(()));
        Machine { daemons: vec![daemon], scratch }
    }

    /// Opens a terminal in it.
    pub(crate) fn terminal(&self) -> Terminal {
        let mut terminal = Terminal::open();
        terminal.enters(self.enter());
        terminal
    }

    /// Starts an engine in it.
    pub(crate) fn engine(&self) -> Engine {
        Engine::start(self.enter())
    }

    /// Starts a registry with HTTPS on this port and the account ann. Returns its output.
    pub(crate) fn serves(&mut self, port: u16) -> String {
        let data = self.data();
        let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
        self.terminal().run(&format!(
            "for user in 'root --admin' ann; do echo '{PASSWORD}' | {wharfinger} user add $user --password-stdin --data {}; \
             done",
            data.display()
        ));
        let config = self.scratch.path().join("wharfinger.toml");
        std::fs::write(&config, "").expect("a settings file can be written");
        let mut words = self.enter();
        words.extend([wharfinger, "serve", "--listen"].map(str::to_owned));
        words.push(format!("{ADDRESS}:{port}"));
        words.extend(["--tls-self-signed".to_owned(), format!("{NAME},{ADDRESS}")]);
        for (flag, path) in [("--data", &data), ("--config", &config)] {
            words.extend([flag.to_owned(), path.display().to_string()]);
        }
        let daemon = Daemon::start(&words[0], &words[1..], &self.scratch.path().join("serve.log"));
        // The last printed line. Earlier reads may see an incomplete output.
        let printed =
            daemon.wait_for(|log| log.contains("&& update-ca-certificates\n").then(|| log.to_owned()));
        self.daemons.insert(0, daemon);
        printed
    }

    /// The data directory of its registry.
    pub(crate) fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// The prefix of commands that run in it.
    fn enter(&self) -> Vec<String> {
        let pid = self.daemons.last().expect("the machine itself").pid().to_string();
        let enter = ["nsenter", "--target", &pid, "--mount", "--net", "--"].map(str::to_owned);
        let program = Terminal::which(&enter[0]);
        std::iter::once(program).chain(enter.into_iter().skip(1)).collect()
    }
}
