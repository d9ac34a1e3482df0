//! pebble, Let's Encrypt's ACME server for tests.

use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::{Daemon, Terminal};

/// The first of the ports below those that Linux gives to sockets without a chosen one, and their number.
const PORTS: (u32, u32) = (20_000, 12_000);

/// Returns a free loopback address, for programs that do not report a chosen port. No other socket gets it
/// before the program does, unless it chooses it too.
pub(crate) fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (first, count) = PORTS;
    let begin = std::process::id().wrapping_mul(37);
    let port = |_| first + begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count;
    let mut addresses = (0..count).map(port).map(|port| format!("127.0.0.1:{port}"));
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("a free port")
}

/// The addresses and files of an authority, also before it runs.
pub(crate) struct Ports {
    /// The address of its directory.
    directory: String,
    /// The address of its management interface.
    management: String,
    /// The address that it connects to in place of port 443: `127.0.0.1:port`.
    pub(crate) https: String,
    /// The same in place of port 80.
    pub(crate) http: String,
    /// The certificate of its own HTTPS, and other files.
    scratch: TempDir,
}

impl Ports {
    pub(crate) fn choose() -> Ports {
        let scratch = TempDir::new().expect("a temporary directory");
        Terminal::open().run(&format!(
            "{} cert make localhost,127.0.0.1 --out {}",
            env!("CARGO_BIN_EXE_wharfinger"),
            scratch.path().display()
        ));
        Ports {
            directory: free_address(),
            management: free_address(),
            https: free_address(),
            http: free_address(),
            scratch,
        }
    }

    fn certificate(&self) -> PathBuf {
        self.scratch.path().join("server.pem")
    }

    /// The settings with which a registry uses this authority.
    pub(crate) fn settings(&self, hosts: &[&str]) -> String {
        format!(
            "[tls.acme]\ndirectory = \"https://{}/dir\"\nca = \"{}\"\nhosts = {hosts:?}\n",
            self.directory,
            self.certificate().display()
        )
    }
}

/// A running pebble.
pub(crate) struct Pebble {
    daemon: Daemon,
    scratch: TempDir,
}

impl Pebble {
    /// Starts a new authority whose certificates expire after these seconds.
    pub(crate) fn start(ports: &Ports, seconds: u32) -> Pebble {
        Pebble::start_for(ports, seconds, None)
    }

    /// Starts an authority. With `member` (an id and a key), it requires that external account.
    pub(crate) fn start_for(ports: &Ports, seconds: u32, member: Option<(&str, &str)>) -> Pebble {
        Pebble::start_program("/usr/bin/pebble", ports, seconds, member)
    }

    /// Starts the current version, which offers renewal information. Debian's does not.
    pub(crate) fn start_current(ports: &Ports, seconds: u32) -> Pebble {
        Pebble::start_program(&Terminal::which("pebble"), ports, seconds, None)
    }

    fn start_program(program: &str, ports: &Ports, seconds: u32, member: Option<(&str, &str)>) -> Pebble {
        let scratch = TempDir::new().expect("a temporary directory");
        let port_of = |address: &str| address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": ports.directory,
            "managementListenAddress": ports.management,
            "certificate": ports.certificate(),
            "privateKey": ports.scratch.path().join("server.key"),
            "tlsPort": port_of(&ports.https),
            "httpPort": port_of(&ports.http),
            // The same setting in two versions.
            "certificateValidityPeriod": seconds,
            "profiles": { "default": { "description": "all", "validityPeriod": seconds } },
            "externalAccountBindingRequired": member.is_some(),
            "externalAccountMACKeys": member.iter().copied().collect::<HashMap<_, _>>(),
        }});
        let file = scratch.path().join("pebble.json");
        fs::write(&file, config.to_string()).expect("a configuration file can be written");
        let arguments = [
            // Validates at once, and anew for each order.
            "PEBBLE_VA_NOSLEEP=1".to_owned(),
            "PEBBLE_AUTHZREUSE=0".to_owned(),
            // Rejects two of a hundred nonces, so that clients must retry.
            "PEBBLE_WFE_NONCEREJECT=2".to_owned(),
            program.to_owned(),
            "-config".to_owned(),
            file.display().to_string(),
        ];
        let daemon = Daemon::start("/usr/bin/env", &arguments, &scratch.path().join("log"));
        daemon.wait_for(|log| log.contains("ACME directory available").then_some(()));
        let root = scratch.path().join("root.pem");
        Terminal::open().run(&format!(
            "curl -sSf --cacert {} --retry 10 --retry-connrefused -o {} https://{}/roots/0",
            ports.certificate().display(),
            root.display(),
            ports.management
        ));
        Pebble { daemon, scratch }
    }

    /// Marks the first certificate of this file for renewal.
    pub(crate) fn wants_renewed(&self, ports: &Ports, file: &Path) {
        let text = fs::read_to_string(file).expect("a certificate");
        let end = "-----END CERTIFICATE-----\n";
        let certificate = text.split_inclusive(end).next().expect("a certificate");
        let window =
            r#"{"suggestedWindow": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}}"#;
        let told = serde_json::json!({ "Certificate": certificate, "ARIResponse": window });
        let terminal = Terminal::open();
        fs::write(terminal.path("told.json"), told.to_string()).expect("a file can be written");
        terminal.run(&format!(
            "curl -sSf --cacert {} -d @told.json https://{}/set-renewal-info/",
            ports.certificate().display(),
            ports.management
        ));
    }

    /// The root certificate.
    pub(crate) fn root(&self) -> PathBuf {
        let root = self.scratch.path().join("root.pem");
        assert!(Path::new(&root).exists());
        root
    }

    /// The number of issued certificates.
    pub(crate) fn orders(&self) -> usize {
        self.daemon.log().matches("Added order").count()
    }
}
