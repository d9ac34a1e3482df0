//! How fast very many repositories are pushed.

use anyhow::{Context as _, Result};

use super::{Measure, Outcome, Row, more, ours_alone};
use crate::instance::Instance;
use crate::measuring::{measure, mib};
use crate::peers::Peer;
use crate::sets::{Scale, Set};

pub(super) struct Filling;

impl Row for Filling {
    fn id(&self) -> &'static str {
        "fill"
    }

    fn title(&self, scale: Scale) -> String {
        format!(
            "{} repositories pushed from 16 connections: a mount and a manifest each",
            scale.pick(100_000, 5_000)
        )
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[more("repositories/s"), super::less("metadata MiB")] }
    }

    fn set(&self) -> Set {
        Set::Many
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        ours_alone(peer)
    }

    fn runs(&self, _wanted: usize) -> usize {
        1
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        let (_, usage) = measure(&instance.meter()?, || Ok(()))?;
        let filled = instance.world.filled.get().context("the repositories were pushed")?;
        let database = instance.data().join("wharfinger/metadata.db");
        let size = std::fs::metadata(database).map_or(0, |found| found.len());
        let rate = filled.repositories as f64 / filled.elapsed.as_secs_f64();
        Ok(Outcome { values: vec![rate, mib(size)], usage })
    }
}
