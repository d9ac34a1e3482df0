//! Very many keep-alive connections that ask for nothing.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;

use super::{Measure, Outcome, Row, less};
use crate::client::connection::{Body, Connection};
use crate::client::paced::probe;
use crate::instance::Instance;
use crate::measuring::{measure, mib};
use crate::peers::{Ability, Front, Peer};
use crate::sets::{REPOSITORY, Scale, Set, TAG};

pub(super) struct Connections {
    id: &'static str,
    front: Front,
}

pub(super) const PLAIN: Connections = Connections { id: "connections", front: Front::Plain };

/// Through TLS, by an account.
pub(super) const THROUGH_TLS: Connections = Connections { id: "connections-tls", front: Front::Https };

impl Row for Connections {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, scale: Scale) -> String {
        let through = if self.front == Front::Https { " through TLS" } else { "" };
        let count = scale.pick(5_000, 1_000);
        format!("{count} idle keep-alive connections{through}, after a request each")
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("KiB/connection"), less("p99 ms of another"), less("threads")] }
    }

    fn set(&self) -> Set {
        Set::Image
    }

    fn front(&self) -> Front {
        self.front
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        peer.can(Ability::Manifest)
    }

    fn runs(&self, _wanted: usize) -> usize {
        1
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        let origin = instance.origin()?;
        let meter = instance.meter()?;
        let target = format!("/v2/{REPOSITORY}/manifests/{TAG}");
        let count = instance.world.scale.pick(5_000, 1_000);
        let ((each, most, threads), usage) = measure(&meter, || {
            let before = meter.anonymous();
            let mut connections = Vec::with_capacity(count);
            for _ in 0..count {
                let mut connection = Connection::to(&origin);
                connection.expect(200, "GET", &target, Body::Empty)?;
                connections.push(connection);
            }
            let limit = Duration::from_secs(instance.world.scale.pick(2, 1));
            let mut latencies =
                probe(&origin, &target, Duration::from_millis(2), &AtomicBool::new(false), limit)?;
            let added = meter.anonymous().saturating_sub(before);
            Ok((mib(added) * 1024.0 / count as f64, latencies.quantile(0.99), meter.threads() as f64))
        })?;
        Ok(Outcome { values: vec![each, most, threads], usage })
    }
}
