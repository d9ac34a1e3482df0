//! Ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Ability, OURS, Paths, Peer, given, version_of};

pub(super) struct Wharfinger;

impl Peer for Wharfinger {
    fn name(&self) -> &'static str {
        OURS
    }

    fn find(&self, paths: &Paths) -> Result<PathBuf, String> {
        if let Some(path) = &paths.wharfinger {
            return given(path, "--wharfinger");
        }
        // Cargo puts the programs of one build beside each other.
        let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("wharfinger")));
        beside
            .filter(|path| path.is_file())
            .ok_or_else(|| "not built: `cargo build --release`, or give --wharfinger".to_owned())
    }

    fn version(&self, program: &Path) -> String {
        version_of(program, &["--version"])
    }

    fn command(&self, program: &Path, data: &Path, port: u16) -> Result<Command> {
        let mut command = Command::new(program);
        command.arg("serve").arg("--listen").arg(format!("127.0.0.1:{port}")).arg("--data").arg(data);
        // The log of requests is off, as it is for the others.
        command.arg("--log-level").arg("warn");
        Ok(command)
    }

    fn can(&self, _ability: Ability) -> bool {
        true
    }

    fn syncs(&self) -> &'static str {
        "the metadata transaction, which holds small content; larger files and their directories"
    }
}
