//! From the start of the program to its first answer.

use anyhow::Result;

use super::{Goal, Measure, Outcome, Row, Rule, less, ours_alone};
use crate::instance::Instance;
use crate::measuring::measure;
use crate::peers::{Ability, OURS, Peer};
use crate::sets::{Scale, Set, listing};

pub(super) struct Starting {
    id: &'static str,
    set: Set,
}

impl Starting {
    pub(super) const LISTING: Self = Self { id: "start", set: Set::Listing };
    pub(super) const MANY: Self = Self { id: "start-many", set: Set::Many };
}

impl Row for Starting {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, scale: Scale) -> String {
        let count = match self.set {
            Set::Many => scale.pick(100_000, 5_000),
            _ => scale.pick(2_000, 500),
        };
        format!("from start to the first manifest, {count} repositories")
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[less("ms")] }
    }

    fn set(&self) -> Set {
        self.set
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        if self.set == Set::Many { ours_alone(peer) } else { peer.can(Ability::Registry) }
    }

    fn goals(&self) -> Vec<Goal> {
        vec![Goal { server: OURS, measure: 0, rule: Rule::AtMost(200.0) }]
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        let target = match self.set {
            Set::Many => format!("/v2/{}/manifests/latest", instance.world.many.name(4_321)),
            _ => format!("/v2/{}/manifests/{}", listing::repository(123), listing::TAG),
        };
        let took = instance.restart(&target)?;
        let (_, usage) = measure(&instance.meter()?, || Ok(()))?;
        Ok(Outcome { values: vec![took.as_secs_f64() * 1e3], usage })
    }
}
