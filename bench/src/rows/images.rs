//! Small images, one after another, from one client or several.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Baseline, Goal, Measure, Outcome, Row, Rule, less, more};
use crate::client::connection::Connection;
use crate::client::push::{Image, image};
use crate::instance::Instance;
use crate::measuring::measure;
use crate::parallel::parallel;
use crate::peers::{Ability, OURS, Peer};
use crate::sets::{Scale, Set};
use crate::statistics::Latencies;

pub(super) struct Images {
    pub(super) id: &'static str,
    pub(super) pushers: usize,
}

impl Row for Images {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, _scale: Scale) -> String {
        match self.pushers {
            1 => "small images (2 blobs, 1 manifest), one after another".to_owned(),
            count => format!("small images (2 blobs, 1 manifest), {count} pushers at once"),
        }
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[more("images/s"), less("p50 ms"), less("p99 ms"), less("server CPU ms/image")] }
    }

    fn set(&self) -> Set {
        Set::Empty
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        peer.can(Ability::Registry)
    }

    fn goals(&self) -> Vec<Goal> {
        let factor = if self.pushers == 1 { 3.0 } else { 4.0 };
        vec![Goal { server: OURS, measure: 0, rule: Rule::Times(factor, Baseline::BestPeer) }]
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        instance.renew()?;
        let origin = instance.origin()?;
        let world = instance.world;
        let duration = Duration::from_secs(world.scale.pick(4, 1));
        let ((times, elapsed), usage) = measure(&instance.meter()?, || {
            let start = Instant::now();
            let times = parallel(self.pushers, |pusher| {
                let mut connection = Connection::to(&origin);
                let mut latencies = Latencies::default();
                let mut number = 0;
                while start.elapsed() < duration {
                    let layer = 2_000 + world.source.number(30_000);
                    let content = Image::new(&world.source, &[layer]);
                    let begun = Instant::now();
                    // Ten repositories a pusher, as a team has more tags than repositories.
                    image(
                        &mut connection,
                        &format!("team-{pusher}/app-{}", number % 10),
                        &format!("v{number}"),
                        &content,
                    )?;
                    latencies.add(begun.elapsed());
                    number += 1;
                }
                Ok(latencies)
            })?;
            Ok((times, start.elapsed().as_secs_f64()))
        })?;
        let mut all = Latencies::default();
        times.into_iter().for_each(|latencies| all.join(latencies));
        let count = all.count() as f64;
        let values =
            vec![count / elapsed, all.quantile(0.5), all.quantile(0.99), usage.server_cpu * 1e3 / count];
        Ok(Outcome { values, usage })
    }
}
