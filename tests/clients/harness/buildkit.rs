//! BuildKit, the builder of `docker build` and buildx, with a cache of its own.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{Daemon, Server, Terminal};

/// A running `buildkitd`.
pub(crate) struct BuildKit {
    /// Dropped first, so that the process has ended before its directory is removed.
    daemon: Daemon,
    scratch: TempDir,
}

impl BuildKit {
    /// Starts it with an empty cache. It takes any registry on loopback to speak HTTP.
    pub(crate) fn start() -> BuildKit {
        BuildKit::configured("")
    }

    /// Starts it with an empty cache; it trusts the self-signed certificate of this registry.
    pub(crate) fn trusting(registry: &Server) -> BuildKit {
        BuildKit::configured(&format!(
            "[registry.'{}']\nhttp = false\nca = ['{}']\n",
            registry.address(),
            registry.certificate().display()
        ))
    }

    /// Starts it with an empty cache and these settings.
    pub(crate) fn with_settings(settings: &str) -> BuildKit {
        BuildKit::configured(settings)
    }

    fn configured(settings: &str) -> BuildKit {
        let scratch = TempDir::with_prefix("wharfinger-buildkit-").expect("a temporary directory");
        let config = scratch.path().join("buildkitd.toml");
        fs::write(&config, settings).expect("a settings file can be written");
        let at = |name: &str| scratch.path().join(name).display().to_string();
        let arguments = [
            format!("--config={}", config.display()),
            format!("--root={}", at("root")),
            format!("--addr=unix://{}", at("buildkitd.sock")),
            "--containerd-worker=false".to_owned(),
            "--oci-worker-snapshotter=native".to_owned(),
            // No build step needs a network of its own.
            "--oci-worker-net=host".to_owned(),
        ];
        let daemon = Daemon::start(&Terminal::which("buildkitd"), &arguments, &scratch.path().join("log"));
        let kit = BuildKit { daemon, scratch };
        kit.daemon.wait_for(|log| log.contains("running server on").then_some(()));
        kit
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.scratch.path().join("buildkitd.sock")
    }

    /// The command that builds the directory `context` of a terminal, without its output.
    pub(crate) fn build(&self) -> String {
        format!(
            "buildctl --addr unix://{} build --progress plain --frontend dockerfile.v0 --local context=context \
             --local dockerfile=context",
            self.socket().display()
        )
    }
}

/// Writes a build context of two stages into the directory `context`. `base` is the image to start from;
/// `content` makes the result unlike others.
pub(crate) fn build_context(terminal: &Terminal, base: &str, content: &str) {
    let context = terminal.path("context");
    fs::create_dir_all(&context).expect("a build context");
    let dockerfile = format!(
        "FROM {base} AS build\n\
         COPY content /content\n\
         RUN [\"/bin/busybox\", \"sh\", \"-c\", \"/bin/busybox sha256sum /content > /sum\"]\n\
         FROM {base}\n\
         COPY --from=build /sum /sum\n\
         COPY licenses /usr/share/licenses\n"
    );
    fs::write(context.join("Dockerfile"), dockerfile).expect("a build context can be written");
    fs::write(context.join("content"), content).expect("a build context can be written");
    terminal.run("mkdir -p context/licenses && cp -L /usr/share/common-licenses/* context/licenses/");
}
