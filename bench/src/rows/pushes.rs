//! One large blob, pushed in one request.

use std::time::Instant;

use anyhow::Result;

use super::{Goal, Measure, Outcome, Row, Rule, less, more};
use crate::client::connection::Connection;
use crate::client::push::blob;
use crate::measuring::{gb, measure};
use crate::peers::{Ability, Peer};
use crate::sets::{REPOSITORY, Scale, Set};
use crate::site::Site;

pub(super) struct Push;

impl Row for Push {
    fn id(&self) -> &'static str {
        "push"
    }

    fn title(&self, scale: Scale) -> String {
        format!("monolithic push of {}", scale.pick("1 GB", "100 MB"))
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("server CPU s/GB"), less("seconds"), more("GB/s")] }
    }

    fn set(&self) -> Set {
        Set::Empty
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        peer.can(Ability::Registry)
    }

    fn disk(&self, _scale: Scale) -> u64 {
        8 << 30
    }

    fn goals(&self) -> Vec<Goal> {
        vec![Goal { measure: 0, rule: Rule::AtMost(1.1) }]
    }

    fn run(&self, site: &mut Site<'_>) -> Result<Outcome> {
        site.renew()?;
        let address = site.address()?;
        let content = site.world.source.content(site.world.scale.pick(1_000_000_000, 100_000_000));
        let done = measure(&site.meter()?, || {
            let start = Instant::now();
            blob(&mut Connection::to(address), REPOSITORY, &content)?;
            Ok(start.elapsed().as_secs_f64())
        });
        site.wipe()?;
        let (seconds, usage) = done?;
        let volume = gb(content.length());
        Ok(Outcome { values: vec![usage.server_cpu / volume, seconds, volume / seconds], usage })
    }
}
