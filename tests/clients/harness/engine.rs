//! The Docker engine: one for the whole run, on a private socket.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::{Daemon, Terminal};

/// A running `dockerd`, separate from other engines of the machine.
pub(crate) struct Engine {
    /// Held only to keep the engine running until this process ends.
    _daemon: Daemon,
    home: PathBuf,
    /// The prefix of the engine's command and of commands in its terminals.
    before: Vec<String>,
}

impl Engine {
    /// Returns the engine that all tests share. The first caller starts it.
    pub(crate) fn shared() -> &'static Engine {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        ENGINE.get_or_init(|| Engine::start(Vec::new()))
    }

    /// Starts an engine of its own that pulls images of Docker Hub through a mirror.
    pub(crate) fn mirrored_by(url: &str) -> Engine {
        Engine::configured(Vec::new(), &format!("{{\"registry-mirrors\": [\"{url}\"]}}"))
    }

    /// Starts an engine. `before` is a prefix of its command and of commands in its terminals, such as
    /// `nsenter …`.
    pub(crate) fn start(before: Vec<String>) -> Engine {
        Engine::configured(before, "{}")
    }

    fn configured(before: Vec<String>, settings: &str) -> Engine {
        // This process keeps the engine until its end, so the leash removes it.
        let home = TempDir::with_prefix("wharfinger-engine-").expect("a temporary directory").keep();
        let at = |name: &str| home.join(name).display().to_string();
        write(&home.join("daemon.json"), settings);
        let mut words = before.clone();
        words.push(Terminal::which("dockerd"));
        words.extend([
            format!("--data-root={}", at("data")),
            format!("--exec-root={}", at("exec")),
            format!("--pidfile={}", at("pid")),
            format!("--host=unix://{}", at("docker.sock")),
            // The engine needs no network, and must not change the machine's rules.
            "--bridge=none".to_owned(),
            "--iptables=false".to_owned(),
            "--ip6tables=false".to_owned(),
            // Plain HTTP on loopback, as on an operator's first day.
            "--insecure-registry=127.0.0.0/8".to_owned(),
            // The machine's /etc/docker/daemon.json does not apply to this engine.
            format!("--config-file={}", at("daemon.json")),
        ]);
        let daemon = Daemon::start_in(&words[0], &words[1..], &home.join("log"), Some(&home));
        daemon.wait_for(|_| home.join("docker.sock").exists().then_some(()));
        let engine = Engine { _daemon: daemon, home, before };
        engine.terminal().run("docker version");
        engine
    }

    /// Opens a terminal whose `docker` uses this engine.
    pub(crate) fn terminal(&self) -> Terminal {
        let mut terminal = Terminal::open();
        terminal.enters(self.before.clone());
        terminal.set("DOCKER_HOST", format!("unix://{}", self.home.join("docker.sock").display()));
        // The classic builder. The other one is a plug-in that some engines lack.
        terminal.set("DOCKER_BUILDKIT", "0");
        terminal.shows_when_failing(self.home.join("log"));
        terminal
    }

    /// The socket of the engine's containerd.
    pub(crate) fn containerd(&self) -> PathBuf {
        self.home.join("exec/containerd/containerd.sock")
    }

    /// Builds an image of three layers, and names it.
    pub(crate) fn builds(&self, terminal: &Terminal, name: &str, content: &str) {
        let context = terminal.path("context");
        fs::create_dir_all(&context).expect("a build context");
        write(&context.join("Dockerfile"), DOCKERFILE);
        write(&context.join("content"), content);
        fs::copy("/bin/busybox", context.join("busybox"))
            .expect("busybox-static is installed, see scripts/test");
        terminal.run("mkdir -p context/licenses && cp -L /usr/share/common-licenses/* context/licenses/");
        // Without the build cache, no layer is shared with another test that may remove it.
        terminal.run(&format!("docker build --quiet --no-cache --tag {name} context"));
    }
}

/// Builds a runnable image that prints a text.
const DOCKERFILE: &str = r#"FROM scratch
COPY content /content
COPY busybox /bin/busybox
COPY licenses /usr/share/licenses
LABEL org.opencontainers.image.description="A small system to start from"
CMD ["/bin/busybox", "cat", "/content"]
"#;

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file of the build context can be written");
}
