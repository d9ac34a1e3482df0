//! Large blobs, downloaded.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};

use super::{Baseline, Goal, Measure, Outcome, Row, Rule, less, more};
use crate::client::connection::Connection;
use crate::instance::Instance;
use crate::measuring::{gb, measure};
use crate::parallel::parallel;
use crate::peers::{Ability, FILES, Front, GATEWAY, OURS, Peer, STACK};
use crate::sets::{LARGE_LAYER, REPOSITORY, Scale, Set};

/// So many clients, each of which downloads one blob after the other.
pub(super) struct Downloads {
    id: &'static str,
    connections: usize,
    front: Front,
}

/// One after the other.
pub(super) const ONE: Downloads = Downloads { id: "blob", connections: 1, front: Front::Plain };

pub(super) const FOUR: Downloads = Downloads { id: "blob-4", connections: 4, front: Front::Plain };

/// One after the other through TLS, by an account.
pub(super) const THROUGH_TLS: Downloads = Downloads { id: "blob-tls", connections: 1, front: Front::Https };

impl Row for Downloads {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, _scale: Scale) -> String {
        let through = if self.front == Front::Https { " through TLS and an account" } else { "" };
        match self.connections {
            1 => format!("blob GET of 93 MB{through}, one client"),
            count => format!("blob GET of 93 MB{through}, {count} clients"),
        }
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("server CPU s/GB"), more("GB/s")] }
    }

    fn set(&self) -> Set {
        Set::Image
    }

    fn front(&self) -> Front {
        self.front
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        peer.can(Ability::Blob)
    }

    fn goals(&self) -> Vec<Goal> {
        if self.front == Front::Https {
            return vec![
                Goal { server: OURS, measure: 0, rule: Rule::AtMost(0.5) },
                Goal { server: OURS, measure: 1, rule: Rule::Times(1.0, Baseline::Peer(FILES)) },
                Goal { server: OURS, measure: 1, rule: Rule::Times(2.5, Baseline::Peer(STACK)) },
                Goal { server: GATEWAY, measure: 0, rule: Rule::Times(1.0, Baseline::Peer(STACK)) },
                Goal { server: GATEWAY, measure: 1, rule: Rule::Times(1.0, Baseline::Peer(STACK)) },
            ];
        }
        vec![
            Goal { server: OURS, measure: 0, rule: Rule::AtMost(0.16) },
            Goal { server: OURS, measure: 1, rule: Rule::Times(1.0, Baseline::BestPeer) },
        ]
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        let origin = instance.origin()?;
        let target = format!("/v2/{REPOSITORY}/blobs/{}", instance.world.image.blobs[1].digest());
        // Once without measuring, so that nobody's first read of the file counts.
        Connection::to(&origin).download(&target)?;
        let count = instance.world.scale.pick(40, 10);
        let left = AtomicUsize::new(count);
        let (elapsed, usage) = measure(&instance.meter()?, || {
            let start = Instant::now();
            parallel(self.connections, |_| {
                let mut connection = Connection::to(&origin);
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    let length = connection.download(&target)?;
                    if length != LARGE_LAYER {
                        bail!("a download of {length} bytes instead of {LARGE_LAYER}");
                    }
                }
                Ok(())
            })?;
            Ok(start.elapsed().as_secs_f64())
        })?;
        let volume = gb(LARGE_LAYER * count as u64);
        Ok(Outcome { values: vec![usage.server_cpu / volume, volume / elapsed], usage })
    }
}
