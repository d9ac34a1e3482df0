//! nora, another registry in Rust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Ability, Part, Paths, Peer, Setup, alone, given, on_path, version_of};
use crate::sets::listing::Listing;

pub(super) struct Nora;

impl Peer for Nora {
    fn name(&self) -> &'static str {
        "nora"
    }

    fn find(&self, paths: &Paths) -> Result<Vec<PathBuf>, String> {
        let program = match &paths.nora {
            Some(path) => given(path, "--nora"),
            None => on_path("nora").ok_or_else(|| "not installed: `cargo install nora-registry`".to_owned()),
        };
        Ok(vec![program?])
    }

    fn version(&self, programs: &[PathBuf]) -> String {
        version_of(&programs[0], &["--version"])
    }

    fn parts(&self, programs: &[PathBuf], setup: Setup<'_>) -> Result<Vec<Part>> {
        let mut command = Command::new(&programs[0]);
        let data = setup.data;
        fs::create_dir_all(data)?;
        command
            .current_dir(data)
            .env("NORA_HOST", "127.0.0.1")
            .env("NORA_PORT", setup.port.to_string())
            .env("NORA_STORAGE_PATH", data.join("storage"))
            .env("NORA_REGISTRIES_ENABLE", "docker")
            // No images of elsewhere, no limits that a load generator would run into, no log.
            .env("NORA_DOCKER_PROXIES", "")
            .env("NORA_RATE_LIMIT_ENABLED", "false")
            .env("NORA_BODY_LIMIT_MB", "8192")
            .env("NORA_MAX_CONNECTIONS", "20000")
            .env("NORA_AUDIT_LOG", "false")
            .env("RUST_LOG", "error")
            .arg("serve");
        alone(command, setup)
    }

    fn can(&self, ability: Ability) -> bool {
        matches!(ability, Ability::Manifest | Ability::Blob | Ability::Registry)
    }

    fn syncs(&self) -> &'static str {
        "blob and manifest files and their directories"
    }

    fn place_listing(&self, data: &Path, listing: &Listing) -> Result<bool> {
        for repository in listing.repositories() {
            let directory = data.join("storage/docker").join(&repository.name);
            fs::create_dir_all(directory.join("blobs"))?;
            fs::create_dir_all(directory.join("manifests"))?;
            for blob in repository.blobs {
                fs::write(directory.join("blobs").join(&blob.digest), &blob.bytes)?;
            }
            for manifest in repository.manifests {
                let tags = repository.tags.iter().filter(|(_, digest)| *digest == manifest.digest);
                let names = tags.map(|(tag, _)| tag.as_str()).chain([manifest.digest.as_str()]);
                for name in names {
                    fs::write(directory.join("manifests").join(format!("{name}.json")), &manifest.bytes)?;
                }
            }
        }
        Ok(true)
    }
}
