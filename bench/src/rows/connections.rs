//! Very many keep-alive connections that ask for nothing.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;

use super::{Measure, Outcome, Row, less};
use crate::client::connection::{Body, Connection};
use crate::client::paced::probe;
use crate::measuring::{measure, mib};
use crate::peers::{Ability, Peer};
use crate::sets::{REPOSITORY, Scale, Set, TAG};
use crate::site::Site;

pub(super) struct Connections;

impl Row for Connections {
    fn id(&self) -> &'static str {
        "connections"
    }

    fn title(&self, scale: Scale) -> String {
        format!("{} idle keep-alive connections, after a request each", scale.pick(5_000, 1_000))
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("KiB/connection"), less("p99 ms of another"), less("threads")] }
    }

    fn set(&self) -> Set {
        Set::Image
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        peer.can(Ability::Manifest)
    }

    fn runs(&self, _wanted: usize) -> usize {
        1
    }

    fn run(&self, site: &mut Site<'_>) -> Result<Outcome> {
        let address = site.address()?;
        let meter = site.meter()?;
        let target = format!("/v2/{REPOSITORY}/manifests/{TAG}");
        let count = site.world.scale.pick(5_000, 1_000);
        let ((each, most, threads), usage) = measure(&meter, || {
            let before = meter.anonymous();
            let mut connections = Vec::with_capacity(count);
            for _ in 0..count {
                let mut connection = Connection::to(address);
                connection.expect(200, "GET", &target, Body::Empty)?;
                connections.push(connection);
            }
            let limit = Duration::from_secs(site.world.scale.pick(2, 1));
            let mut latencies =
                probe(address, &target, Duration::from_millis(2), &AtomicBool::new(false), limit)?;
            let added = meter.anonymous().saturating_sub(before);
            Ok((mib(added) * 1024.0 / count as f64, latencies.quantile(0.99), meter.threads() as f64))
        })?;
        Ok(Outcome { values: vec![each, most, threads], usage })
    }
}
