//! Large blobs, downloaded over plain HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};

use super::{Goal, Measure, Outcome, Row, Rule, Than, less, more};
use crate::client::connection::Connection;
use crate::crew::crew;
use crate::measuring::{gb, measure};
use crate::peers::{Ability, Peer};
use crate::sets::{LARGE_LAYER, REPOSITORY, Scale, Set};
use crate::site::Site;

/// So many clients, each of which downloads one blob after the other.
pub(super) struct Downloads {
    pub(super) id: &'static str,
    pub(super) connections: usize,
}

impl Row for Downloads {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, _scale: Scale) -> String {
        match self.connections {
            1 => "blob GET of 93 MB, one client".to_owned(),
            count => format!("blob GET of 93 MB, {count} clients"),
        }
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("server CPU s/GB"), more("GB/s")] }
    }

    fn set(&self) -> Set {
        Set::Image
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        peer.can(Ability::Blob)
    }

    fn goals(&self) -> Vec<Goal> {
        vec![
            Goal { measure: 0, rule: Rule::AtMost(0.16) },
            Goal { measure: 1, rule: Rule::Times(1.0, Than::BestPeer) },
        ]
    }

    fn run(&self, site: &mut Site<'_>) -> Result<Outcome> {
        let address = site.address()?;
        let target = format!("/v2/{REPOSITORY}/blobs/{}", site.world.image.blobs[1].digest());
        // Once without measuring, so that nobody's first read of the file counts.
        Connection::to(address).download(&target)?;
        let count = site.world.scale.pick(40, 10);
        let left = AtomicUsize::new(count);
        let (elapsed, usage) = measure(&site.meter()?, || {
            let start = Instant::now();
            crew(self.connections, |_| {
                let mut connection = Connection::to(address);
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
