//! containerd 2, the runtime of Kubernetes and nerdctl, with a private socket and directory.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{Daemon, Server, Terminal};

/// The size of one range request. A layer of a megabyte takes several.
const FETCH_BUFFER: u32 = 128 * 1024;

/// A running `containerd`.
pub(crate) struct Containerd {
    /// Dropped first, so that the process has ended before its directory is removed.
    _daemon: Daemon,
    scratch: TempDir,
}

impl Containerd {
    /// A host name that only `hosts.toml` resolves. containerd accepts any certificate of a registry on
    /// loopback, which would prove nothing.
    pub(crate) const NAME: &str = "registry.example.com";

    /// Starts it with parallel range requests, and with `hosts.toml` files in [`Containerd::hosts`].
    pub(crate) fn start() -> Containerd {
        let scratch = TempDir::with_prefix("wharfinger-containerd-").expect("a temporary directory");
        let at = |name: &str| scratch.path().join(name).display().to_string();
        let config = format!(
            "version = 3\nroot = '{root}'\nstate = '{state}'\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n\
             [grpc]\naddress = '{socket}'\n\
             [plugins.'io.containerd.transfer.v1.local']\nconfig_path = '{hosts}'\n\
             max_concurrent_downloads = 8\nconcurrent_layer_fetch_buffer = {FETCH_BUFFER}\n\
             [[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\n\
             platform = 'linux/amd64'\nsnapshotter = 'native'\n",
            root = at("root"),
            state = at("state"),
            socket = at("containerd.sock"),
            hosts = at("hosts"),
        );
        fs::create_dir(scratch.path().join("hosts")).expect("a directory can be made");
        fs::write(scratch.path().join("config.toml"), config).expect("a settings file can be written");
        let arguments = ["--config".to_owned(), at("config.toml")];
        let daemon = Daemon::start(&Terminal::which("containerd2"), &arguments, &scratch.path().join("log"));
        daemon.wait_for(|log| log.contains("containerd successfully booted").then_some(()));
        Containerd { _daemon: daemon, scratch }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.scratch.path().join("containerd.sock")
    }

    /// The directory of `hosts.toml` files.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.scratch.path().join("hosts")
    }

    /// Writes the `hosts.toml` of this registry, for its address and for [`Containerd::NAME`].
    pub(crate) fn trusts(&self, registry: &Server) {
        let text = format!(
            "server = 'https://{address}'\n[host.'https://{address}']\n\
             capabilities = ['pull', 'resolve', 'push']\nca = '{}'\n",
            registry.certificate().display(),
            address = registry.address(),
        );
        for name in [registry.address(), Containerd::NAME] {
            let directory = self.hosts().join(name);
            fs::create_dir(&directory).expect("a directory can be made");
            fs::write(directory.join("hosts.toml"), &text).expect("a settings file can be written");
        }
    }
}
