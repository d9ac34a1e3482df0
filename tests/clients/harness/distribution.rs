//! Distribution's own registry, which shares data directories with Wharfinger.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Daemon, Terminal};

/// A running `docker-registry` (Debian's 2.8) or `registry` (3.x).
pub(crate) struct Distribution {
    daemon: Daemon,
    address: String,
    _scratch: TempDir,
}

impl Distribution {
    /// Starts Debian's `docker-registry` on the directory that holds `docker/`.
    pub(crate) fn version_2_on(data: &Path) -> Distribution {
        Distribution::start("docker-registry", data, "")
    }

    /// Starts it with an htpasswd file.
    pub(crate) fn version_2_with_users(data: &Path, users: &Path) -> Distribution {
        let auth = format!("auth: {{htpasswd: {{realm: theirs, path: '{}'}}}}\n", users.display());
        Distribution::start("docker-registry", data, &auth)
    }

    /// Starts the current `registry` on the directory that holds `docker/`.
    pub(crate) fn version_3_on(data: &Path) -> Distribution {
        Distribution::start("registry", data, "")
    }

    /// Starts the current `registry` with another storage than a directory, as its configuration describes
    /// it.
    pub(crate) fn version_3_with_storage(storage: &str) -> Distribution {
        let scratch = TempDir::new().expect("a temporary directory");
        let config = write_config(&scratch, storage, "");
        Distribution::start_with("registry", scratch, &config)
    }

    /// Runs `garbage-collect`: removes the blobs that no manifest refers to.
    pub(crate) fn version_2_collects_garbage_on(user: &Terminal, data: &Path) {
        collect_garbage(user, data, "docker-registry", "");
    }

    /// Runs `garbage-collect --delete-untagged`: also removes manifests without a tag.
    pub(crate) fn version_2_deletes_untagged_on(user: &Terminal, data: &Path) {
        collect_garbage(user, data, "docker-registry", "--delete-untagged");
    }

    /// Runs `garbage-collect` of the current `registry`.
    pub(crate) fn version_3_collects_garbage_on(user: &Terminal, data: &Path) {
        collect_garbage(user, data, "registry", "");
    }

    fn start(program: &str, data: &Path, more: &str) -> Distribution {
        let scratch = TempDir::new().expect("a temporary directory");
        let config = configure(&scratch, data, more);
        Distribution::start_with(program, scratch, &config)
    }

    fn start_with(program: &str, scratch: TempDir, config: &Path) -> Distribution {
        let program = Terminal::which(program);
        let arguments = [Path::new("serve"), config];
        let daemon = Daemon::start(&program, &arguments, &scratch.path().join("log"));
        let address = daemon.address();
        Distribution { daemon, address, _scratch: scratch }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns an image name, as clients spell it.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Stops it and waits for its end.
    pub(crate) fn stop(mut self) {
        self.daemon.stop();
    }
}

fn collect_garbage(user: &Terminal, data: &Path, program: &str, options: &str) {
    let scratch = TempDir::new().expect("a temporary directory");
    let config = configure(&scratch, data, "");
    user.run(&format!("{program} garbage-collect {options} {}", config.display()));
}

fn configure(scratch: &TempDir, data: &Path, more: &str) -> PathBuf {
    write_config(scratch, &format!("filesystem: {{rootdirectory: '{}'}}", data.display()), more)
}

fn write_config(scratch: &TempDir, storage: &str, more: &str) -> PathBuf {
    let config = scratch.path().join("config.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: info}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
         storage: {{{storage}, delete: {{enabled: true}}}}\n{more}"
    );
    fs::write(&config, text).expect("a configuration file can be written");
    config
}
