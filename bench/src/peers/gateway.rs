//! Our gateway before Debian's docker-registry, in the place of nginx.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::distribution::Distribution;
use super::{Ability, Front, GATEWAY, Part, Paths, Peer, Setup, version_of, wharfinger};

pub(super) struct Gateway;

impl Peer for Gateway {
    fn name(&self) -> &'static str {
        GATEWAY
    }

    fn find(&self, paths: &Paths) -> Result<Vec<PathBuf>, String> {
        let mut programs = Distribution::second().find(paths)?;
        programs.push(wharfinger::program(paths)?);
        Ok(programs)
    }

    fn version(&self, programs: &[PathBuf]) -> String {
        let behind = Distribution::second().version(&programs[..1]);
        format!("{} + {behind}", version_of(&programs[1], &["--version"]))
    }

    fn speaks(&self, front: Front) -> bool {
        front == Front::Https
    }

    fn parts(&self, programs: &[PathBuf], setup: Setup<'_>) -> Result<Vec<Part>> {
        let (behind, mut parts) = Distribution::behind(&programs[..1], setup)?;
        // Its data is its accounts; the images are the other's.
        let own = setup.data.with_extension("gateway");
        let mut command = Command::new(&programs[1]);
        command.arg("gateway").arg("--upstream").arg(format!("http://127.0.0.1:{behind}"));
        command.args(wharfinger::arguments(Setup { data: &own, ..setup })).args(wharfinger::secure(setup));
        parts.push(Part { command, port: setup.port });
        Ok(parts)
    }

    fn can(&self, ability: Ability) -> bool {
        matches!(ability, Ability::Manifest | Ability::Blob | Ability::Registry)
    }

    fn syncs(&self) -> &'static str {
        Distribution::second().syncs()
    }
}
