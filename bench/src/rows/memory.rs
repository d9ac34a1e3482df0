//! Anonymous memory: at rest, with very many repositories, with many transfers at once.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Goal, Measure, Outcome, Row, Rule, less, more, ours_alone};
use crate::client::connection::Connection;
use crate::client::many::Load;
use crate::client::push::blob;
use crate::instance::Instance;
use crate::measuring::{gb, measure};
use crate::parallel::parallel;
use crate::peers::{Ability, OURS, Peer};
use crate::sets::{Scale, Set};

/// A server that has just been started.
pub(super) struct Idle;

impl Row for Idle {
    fn id(&self) -> &'static str {
        "memory"
    }

    fn title(&self, _scale: Scale) -> String {
        "anonymous memory of a server that has nothing to do".to_owned()
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("MiB")] }
    }

    fn set(&self) -> Set {
        Set::Empty
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        peer.can(Ability::Registry)
    }

    fn goals(&self) -> Vec<Goal> {
        vec![Goal { server: OURS, measure: 0, rule: Rule::AtMost(10.0) }]
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        instance.renew()?;
        let (_, usage) = measure(&instance.meter()?, || Ok(()))?;
        Ok(Outcome { values: vec![usage.peak_mib], usage })
    }
}

/// A server with very many repositories, while they are listed, searched and pulled.
pub(super) struct Many;

impl Row for Many {
    fn id(&self) -> &'static str {
        "memory-many"
    }

    fn title(&self, scale: Scale) -> String {
        format!(
            "anonymous memory with {} repositories, listed, searched and pulled",
            scale.pick(100_000, 5_000)
        )
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("peak MiB")] }
    }

    fn set(&self) -> Set {
        Set::Many
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        ours_alone(peer)
    }

    fn goals(&self) -> Vec<Goal> {
        vec![Goal { server: OURS, measure: 0, rule: Rule::AtMost(20.0) }]
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        let many = instance.world.many;
        instance.restart(&format!("/v2/{}/manifests/latest", many.name(0)))?;
        let origin = instance.origin()?;
        let mut targets = many.searches();
        for number in (0..many.count()).step_by(many.count() / 5_000) {
            let name = many.name(number);
            targets.push(format!("/v2/{name}/manifests/latest"));
            targets.push(format!("/v2/_catalog?n=100&last={}", name.replace('/', "%2F")));
        }
        let duration = Duration::from_secs(instance.world.scale.pick(5, 1));
        let load = Load::new(&origin, 16, &targets, duration);
        let (_, usage) = measure(&instance.meter()?, || load.run())?;
        Ok(Outcome { values: vec![usage.peak_mib], usage })
    }
}

/// 32 uploads and 32 downloads at once.
pub(super) struct Transfers {
    id: &'static str,
    size: u64,
    words: &'static str,
    ours_alone: bool,
}

/// Of 512 MiB each.
pub(super) const TRANSFERS: Transfers =
    Transfers { id: "transfers", size: 512 << 20, words: "512 MiB", ours_alone: false };

/// Of a gigabyte each. Only ours: it takes minutes.
pub(super) const LARGE_TRANSFERS: Transfers =
    Transfers { id: "transfers-large", size: 1_000_000_000, words: "1 GB", ours_alone: true };

const EACH_WAY: usize = 32;
const QUICK_SIZE: u64 = 16 << 20;

impl Row for Transfers {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, scale: Scale) -> String {
        format!("{EACH_WAY} uploads and {EACH_WAY} downloads of {} at once", scale.pick(self.words, "16 MiB"))
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("peak MiB"), more("GB/s"), less("server CPU s/GB")] }
    }

    fn set(&self) -> Set {
        Set::Empty
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        peer.can(Ability::Registry) && (!self.ours_alone || ours_alone(peer))
    }

    fn runs(&self, _wanted: usize) -> usize {
        1
    }

    fn disk(&self, scale: Scale) -> u64 {
        (EACH_WAY as u64 + 2) * scale.pick(self.size, QUICK_SIZE)
    }

    fn goals(&self) -> Vec<Goal> {
        vec![Goal { server: OURS, measure: 0, rule: Rule::AtMost(32.0) }]
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        instance.renew()?;
        let origin = instance.origin()?;
        let size = instance.world.scale.pick(self.size, QUICK_SIZE);
        let stored = instance.world.source.content(size);
        blob(&mut Connection::to(&origin), "bench/down", &stored)?;
        let target = format!("/v2/bench/down/blobs/{}", stored.digest());
        let contents: Vec<_> = (0..EACH_WAY).map(|_| instance.world.source.content(size)).collect();
        let done = measure(&instance.meter()?, || {
            let start = Instant::now();
            parallel(2 * EACH_WAY, |number| {
                let mut connection = Connection::to(&origin);
                match contents.get(number) {
                    Some(content) => blob(&mut connection, &format!("bench/up-{number}"), content),
                    None => connection.download(&target).map(|_| ()),
                }
            })?;
            Ok(start.elapsed().as_secs_f64())
        });
        // Not kept until the next server's turn: the disk would have to hold it for all of them.
        instance.wipe()?;
        let (seconds, usage) = done?;
        let volume = gb(2 * EACH_WAY as u64 * size);
        Ok(Outcome { values: vec![usage.peak_mib, volume / seconds, usage.server_cpu / volume], usage })
    }
}
