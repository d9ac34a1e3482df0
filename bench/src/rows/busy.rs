//! How long a manifest takes while large pushes run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Baseline, Goal, Measure, Outcome, Row, Rule, less, more};
use crate::client::connection::Connection;
use crate::client::paced::probe;
use crate::client::push::{blob, image};
use crate::instance::Instance;
use crate::measuring::{gb, measure};
use crate::parallel::parallel;
use crate::peers::{Ability, OURS, Peer};
use crate::sets::{REPOSITORY, Scale, Set, TAG};
use crate::statistics::Latencies;

pub(super) struct Busy;

const PUSHES: usize = 8;
const PROBES: usize = 4;
const INTERVAL: Duration = Duration::from_millis(10);

impl Row for Busy {
    fn id(&self) -> &'static str {
        "busy"
    }

    fn title(&self, scale: Scale) -> String {
        format!("400 manifest GETs a second while {PUSHES} pushes of {} run", scale.pick("1 GB", "100 MB"))
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("p99 ms"), less("p99 ms idle"), less("busy/idle"), less("p50 ms"), more("pushed GB/s")] }
    }

    fn set(&self) -> Set {
        Set::Empty
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        peer.can(Ability::Registry)
    }

    fn runs(&self, wanted: usize) -> usize {
        wanted.min(2)
    }

    fn disk(&self, _scale: Scale) -> u64 {
        10 << 30
    }

    fn goals(&self) -> Vec<Goal> {
        vec![
            Goal { server: OURS, measure: 0, rule: Rule::Times(1.0, Baseline::BestPeer) },
            Goal { server: OURS, measure: 2, rule: Rule::AtMost(5.0) },
        ]
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        instance.renew()?;
        let origin = instance.origin()?;
        let world = instance.world;
        image(&mut Connection::to(&origin), REPOSITORY, TAG, &world.image)?;
        let target = format!("/v2/{REPOSITORY}/manifests/{TAG}");
        let probes = |stop: &AtomicBool, limit: Duration| -> Result<Latencies> {
            let mut all = Latencies::default();
            parallel(PROBES, |_| probe(&origin, &target, INTERVAL, stop, limit))?
                .into_iter()
                .for_each(|one| all.join(one));
            Ok(all)
        };
        let idle =
            probes(&AtomicBool::new(false), Duration::from_secs(world.scale.pick(4, 1)))?.quantile(0.99);
        let contents: Vec<_> =
            (0..PUSHES).map(|_| world.source.content(world.scale.pick(1_000_000_000, 100_000_000))).collect();
        let stop = AtomicBool::new(false);
        let done = measure(&instance.meter()?, || {
            let start = Instant::now();
            let pushes = || {
                parallel(PUSHES, |number| {
                    let pushed =
                        blob(&mut Connection::to(&origin), &format!("bench/up-{number}"), &contents[number]);
                    // Measured only while all still run: with one less the server is less busy.
                    stop.store(true, Ordering::Relaxed);
                    pushed
                })
            };
            std::thread::scope(|scope| {
                let probing = scope.spawn(|| probes(&stop, Duration::from_secs(60)));
                let pushed = pushes();
                let seconds = start.elapsed().as_secs_f64();
                let latencies =
                    probing.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a probe panicked")))?;
                pushed.map(|_| (latencies, seconds))
            })
        });
        instance.wipe()?;
        let ((mut latencies, seconds), usage) = done?;
        let (most, half) = (latencies.quantile(0.99), latencies.quantile(0.5));
        let volume = gb(contents.iter().map(crate::content::Content::length).sum());
        Ok(Outcome { values: vec![most, idle, most / idle, half, volume / seconds], usage })
    }
}
