//! The Docker engine: one for the whole run, on a socket of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::{Daemon, Terminal};

/// A running `dockerd`, which no other engine of the machine notices.
pub(crate) struct Engine {
    /// Held, not read: the engine ends when this process does.
    _daemon: Daemon,
    home: PathBuf,
    /// What stands before its command and those of its terminals.
    before: Vec<String>,
}

impl Engine {
    /// The engine that all tests share; the first that asks starts it.
    pub(crate) fn shared() -> &'static Engine {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        ENGINE.get_or_init(|| Engine::start(Vec::new()))
    }

    /// Starts one; `before` are words that stand before its command and those of its terminals, such as `nsenter …`.
    pub(crate) fn start(before: Vec<String>) -> Engine {
        // Not removed by this process, which keeps the engine until its own end: the leash does it.
        let home = TempDir::with_prefix("wharfinger-engine-").expect("a temporary directory").keep();
        let at = |name: &str| home.join(name).display().to_string();
        write(&home.join("daemon.json"), "{}");
        let mut words = before.clone();
        words.push(Terminal::which("dockerd"));
        words.extend([
            format!("--data-root={}", at("data")),
            format!("--exec-root={}", at("exec")),
            format!("--pidfile={}", at("pid")),
            format!("--host=unix://{}", at("docker.sock")),
            // No network is needed, and the machine's own rules are none of our business.
            "--bridge=none".to_owned(),
            "--iptables=false".to_owned(),
            "--ip6tables=false".to_owned(),
            // Plain HTTP on loopback is what an operator has on the first day.
            "--insecure-registry=127.0.0.0/8".to_owned(),
            // Whatever /etc/docker/daemon.json of this machine says is not meant for this engine.
            format!("--config-file={}", at("daemon.json")),
        ]);
        let daemon = Daemon::start_in(&words[0], &words[1..], &home.join("log"), Some(&home));
        daemon.wait_for(|_| home.join("docker.sock").exists().then_some(()));
        let engine = Engine { _daemon: daemon, home, before };
        engine.terminal().run("docker version");
        engine
    }

    /// A terminal whose `docker` talks to this engine.
    pub(crate) fn terminal(&self) -> Terminal {
        let mut terminal = Terminal::open();
        terminal.enters(self.before.clone());
        terminal.set("DOCKER_HOST", format!("unix://{}", self.home.join("docker.sock").display()));
        // The classic builder: the other one is a plug-in that not every engine comes with.
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
        // Without the cache no step of it is one of another test's image, which that may remove just then.
        terminal.run(&format!("docker build --quiet --no-cache --tag {name} context"));
    }
}

/// An image that starts on its own, and says what it is.
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
