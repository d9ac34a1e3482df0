//! zot, as a registry alone (its minimal build) or with its extensions, whichever program is given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Ability, Part, Paths, Peer, Setup, alone, given, on_path};
use crate::client::push::MANIFEST;
use crate::sets::listing::Listing;

pub(super) struct Zot;

impl Peer for Zot {
    fn name(&self) -> &'static str {
        "zot"
    }

    fn find(&self, paths: &Paths) -> Result<Vec<PathBuf>, String> {
        let program = match &paths.zot {
            Some(path) => given(path, "--zot"),
            None => {
                on_path("zot").ok_or_else(|| "not installed: give the path of a build with --zot".to_owned())
            }
        };
        Ok(vec![program?])
    }

    fn version(&self, programs: &[PathBuf]) -> String {
        // It prints a line of its log, in which the version is the commit's description.
        let output = Command::new(&programs[0])
            .arg("--version")
            .output()
            .map(|output| [output.stdout, output.stderr].concat());
        let line: Option<Value> = output.ok().and_then(|text| serde_json::from_slice(&text).ok());
        let field = |name: &str| line.as_ref().and_then(|line| line[name].as_str()).unwrap_or("").to_owned();
        let commit = field("commit");
        let tag = commit.rsplitn(3, '-').last().unwrap_or("").trim_start_matches('v').to_owned();
        let version = if tag.is_empty() { "unknown".to_owned() } else { tag };
        format!("{version} {}", field("binary-type")).trim().to_owned()
    }

    fn parts(&self, programs: &[PathBuf], setup: Setup<'_>) -> Result<Vec<Part>> {
        // The settings of the project's own benchmark, with the log turned down.
        let config = json!({
            "distSpecVersion": "1.1.1",
            "storage": {"rootDirectory": setup.data},
            "http": {"address": "127.0.0.1", "port": setup.port.to_string()},
            "log": {"level": "error", "output": "/dev/null"},
        });
        let file = setup.data.with_extension("json");
        fs::write(&file, config.to_string())?;
        let mut command = Command::new(&programs[0]);
        command.arg("serve").arg(file);
        alone(command, setup)
    }

    fn can(&self, ability: Ability) -> bool {
        ability != Ability::Search
    }

    fn syncs(&self) -> &'static str {
        "its deduplication cache alone: neither blobs nor manifests nor the index of tags"
    }

    fn place_listing(&self, data: &Path, listing: &Listing) -> Result<bool> {
        for repository in listing.repositories() {
            let directory = data.join(&repository.name);
            let blobs = directory.join("blobs/sha256");
            fs::create_dir_all(&blobs)?;
            for blob in repository.blobs.iter().chain(repository.manifests) {
                fs::write(blobs.join(blob.digest.trim_start_matches("sha256:")), &blob.bytes)?;
            }
            let entry = |digest: &str, tag: Option<&str>| {
                let size = repository
                    .manifests
                    .iter()
                    .find(|blob| blob.digest == digest)
                    .map(|blob| blob.bytes.len());
                let mut entry = json!({"mediaType": MANIFEST, "digest": digest, "size": size});
                if let Some(tag) = tag {
                    entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
                }
                entry
            };
            let tagged = repository.tags.iter().map(|(tag, digest)| entry(digest, Some(tag)));
            let untagged = repository
                .manifests
                .iter()
                .filter(|blob| repository.tags.iter().all(|(_, digest)| *digest != blob.digest))
                .map(|blob| entry(&blob.digest, None));
            let index = json!({"schemaVersion": 2, "manifests": tagged.chain(untagged).collect::<Vec<_>>()});
            fs::write(directory.join("index.json"), index.to_string())?;
            fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(true)
    }
}
