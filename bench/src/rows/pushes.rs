//! One large blob, pushed in one request.

use std::time::Instant;

use anyhow::Result;

use super::{Baseline, Goal, Measure, Outcome, Row, Rule, less, more};
use crate::client::connection::Connection;
use crate::client::push::blob;
use crate::instance::Instance;
use crate::measuring::{gb, measure};
use crate::peers::{Ability, Front, GATEWAY, OURS, Peer, STACK};
use crate::sets::{REPOSITORY, Scale, Set};

pub(super) struct Push {
    id: &'static str,
    front: Front,
}

pub(super) const PLAIN: Push = Push { id: "push", front: Front::Plain };

/// Through TLS, by an account.
pub(super) const THROUGH_TLS: Push = Push { id: "push-tls", front: Front::Https };

impl Row for Push {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, scale: Scale) -> String {
        let through = if self.front == Front::Https { " through TLS and an account" } else { "" };
        format!("monolithic push of {}{through}", scale.pick("1 GB", "100 MB"))
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("server CPU s/GB"), less("seconds"), more("GB/s")] }
    }

    fn set(&self) -> Set {
        Set::Empty
    }

    fn front(&self) -> Front {
        self.front
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        peer.can(Ability::Registry)
    }

    fn disk(&self, _scale: Scale) -> u64 {
        8 << 30
    }

    fn goals(&self) -> Vec<Goal> {
        if self.front == Front::Https {
            return vec![
                Goal { server: GATEWAY, measure: 0, rule: Rule::Times(1.0, Baseline::Peer(STACK)) },
                Goal { server: GATEWAY, measure: 2, rule: Rule::Times(1.0, Baseline::Peer(STACK)) },
            ];
        }
        vec![Goal { server: OURS, measure: 0, rule: Rule::AtMost(1.1) }]
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        instance.renew()?;
        let origin = instance.origin()?;
        let content = instance.world.source.content(instance.world.scale.pick(1_000_000_000, 100_000_000));
        let done = measure(&instance.meter()?, || {
            let start = Instant::now();
            blob(&mut Connection::to(&origin), REPOSITORY, &content)?;
            Ok(start.elapsed().as_secs_f64())
        });
        instance.wipe()?;
        let (seconds, usage) = done?;
        let volume = gb(content.length());
        Ok(Outcome { values: vec![usage.server_cpu / volume, seconds, volume / seconds], usage })
    }
}
