//! distribution, in the version that Debian has and in the current one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Ability, Front, Part, Paths, Peer, Setup, alone, free_port, given, on_path, version_of};
use crate::sets::listing::Listing;

pub(super) struct Distribution {
    name: &'static str,
    program: &'static str,
    missing: &'static str,
    syncs: &'static str,
}

impl Distribution {
    pub(super) fn second() -> Self {
        Self {
            name: "distribution 2",
            program: "docker-registry",
            missing: "not installed: Debian's package docker-registry",
            syncs: "every file, some twice; no directory, so that a name may be lost",
        }
    }

    pub(super) fn third() -> Self {
        Self {
            name: "distribution 3",
            program: "registry",
            missing: "not installed: `go install github.com/distribution/distribution/v3/cmd/registry@v3.1.1`",
            syncs: "every file, and the directory of each but the blob's own",
        }
    }

    /// Debian's version for a program before it: its port, and how to start it.
    pub(super) fn behind(programs: &[PathBuf], setup: Setup<'_>) -> Result<(u16, Vec<Part>)> {
        let port = free_port()?;
        let parts = Self::second().parts(programs, Setup { port, front: Front::Plain, ..setup })?;
        Ok((port, parts))
    }
}

impl Peer for Distribution {
    fn name(&self) -> &'static str {
        self.name
    }

    fn find(&self, paths: &Paths) -> Result<Vec<PathBuf>, String> {
        if let (Some(path), "registry") = (&paths.distribution_3, self.program) {
            return Ok(vec![given(path, "--distribution-3")?]);
        }
        let installed = || {
            let home = std::env::var_os("GOPATH")
                .map(PathBuf::from)
                .or_else(|| Some(std::env::home_dir()?.join("go")))?;
            Some(home.join("bin").join(self.program)).filter(|path| path.is_file())
        };
        let found = on_path(self.program).or_else(installed);
        found.map(|program| vec![program]).ok_or_else(|| self.missing.to_owned())
    }

    fn version(&self, programs: &[PathBuf]) -> String {
        version_of(&programs[0], &["--version"]).replace("+unknown", "")
    }

    fn parts(&self, programs: &[PathBuf], setup: Setup<'_>) -> Result<Vec<Part>> {
        // The settings that the project ships, with the log turned down: nobody's log is measured here.
        let config = format!(
            "version: 0.1\n\
             log: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage:\n  cache: {{blobdescriptor: inmemory}}\n  delete: {{enabled: true}}\n  \
             filesystem: {{rootdirectory: {}}}\n\
             http: {{addr: \"127.0.0.1:{}\"}}\n",
            setup.data.display(),
            setup.port
        );
        let file = setup.data.with_extension("yml");
        fs::write(&file, config)?;
        let mut command = Command::new(&programs[0]);
        // Without this, version 3 sends traces to a collector that is not there.
        command.env("OTEL_TRACES_EXPORTER", "none");
        command.arg("serve").arg(file);
        alone(command, setup)
    }

    fn can(&self, ability: Ability) -> bool {
        matches!(ability, Ability::Manifest | Ability::Blob | Ability::Registry)
    }

    fn syncs(&self) -> &'static str {
        self.syncs
    }

    fn place_listing(&self, data: &Path, listing: &Listing) -> Result<bool> {
        let root = data.join("docker/registry/v2");
        let link = |path: PathBuf, digest: &str| -> Result<()> {
            fs::create_dir_all(&path)?;
            Ok(fs::write(path.join("link"), digest)?)
        };
        for blob in listing.blobs() {
            let (algorithm, hex) = blob.digest.split_once(':').unwrap_or_default();
            let directory = root.join("blobs").join(algorithm).join(&hex[..2]).join(hex);
            fs::create_dir_all(&directory)?;
            fs::write(directory.join("data"), &blob.bytes)?;
        }
        for repository in listing.repositories() {
            let directory = root.join("repositories").join(&repository.name);
            for blob in repository.blobs {
                link(directory.join("_layers").join(blob.digest.replace(':', "/")), &blob.digest)?;
            }
            for manifest in repository.manifests {
                let revision = manifest.digest.replace(':', "/");
                link(directory.join("_manifests/revisions").join(revision), &manifest.digest)?;
            }
            for (tag, digest) in repository.tags {
                let directory = directory.join("_manifests/tags").join(tag);
                link(directory.join("current"), digest)?;
                link(directory.join("index").join(digest.replace(':', "/")), digest)?;
            }
        }
        Ok(true)
    }
}
