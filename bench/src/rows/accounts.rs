//! The cost of accounts and grants on a pull: with a team's number of them, and with far more than usual.

use std::time::Duration;

use anyhow::Result;

use super::{Baseline, Goal, Measure, Outcome, Row, Rule, less, more, ours_alone};
use crate::client::many::Load;
use crate::instance::Instance;
use crate::measuring::measure;
use crate::peers::{OURS, Peer};
use crate::sets::{Crowd, REPOSITORY, Scale, Set, TAG};

pub(super) struct Pulls {
    id: &'static str,
    crowd: Crowd,
}

pub(super) const FEW: Pulls = Pulls { id: "accounts", crowd: Crowd::Few };
pub(super) const MANY: Pulls = Pulls { id: "accounts-many", crowd: Crowd::Many };

impl Row for Pulls {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, scale: Scale) -> String {
        let (accounts, grants) = match self.crowd {
            Crowd::Few => ("1,000", "10,000"),
            Crowd::Many => (scale.pick("100,000", "5,000"), scale.pick("1,000,000", "50,000")),
        };
        format!("manifest GET by tag among {accounts} accounts and {grants} grants, 32 connections")
    }

    fn measures(&self) -> &'static [Measure] {
        const {
            &[
                more("requests/s"),
                less("p99 ms"),
                less("server CPU µs/request"),
                less("p50 ms of an account's first"),
                less("server CPU µs of a first"),
                less("peak MiB"),
            ]
        }
    }

    fn set(&self) -> Set {
        Set::Accounts(self.crowd)
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        ours_alone(peer)
    }

    fn goals(&self) -> Vec<Goal> {
        match self.crowd {
            Crowd::Few => Vec::new(),
            // Nothing, give or take what two runs of the same differ by.
            Crowd::Many => {
                let goal = |measure| Goal {
                    server: OURS,
                    measure,
                    rule: Rule::Times(0.9, Baseline::Ourselves("accounts")),
                };
                vec![goal(0), goal(3)]
            }
        }
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        let targets = [format!("/v2/{REPOSITORY}/manifests/{TAG}")];
        // So that nothing of the accounts is in memory.
        instance.restart("/v2/")?;
        let origin = instance.origin()?;
        let callers = instance.world.accounts.with_tokens();
        let firsts = Load::once_each(&origin, 1, &targets, &callers);
        let (mut first, first_usage) = measure(&instance.meter()?, || firsts.run())?;
        let first_cost = first_usage.server_cpu * 1e6 / first.requests as f64;
        let duration = Duration::from_secs(instance.world.scale.pick(4, 1));
        let load = Load::new(&origin, 32, &targets, duration);
        let (mut served, usage) = measure(&instance.meter()?, || load.run())?;
        let cost = usage.server_cpu * 1e6 / served.requests as f64;
        let values = vec![
            served.rate(),
            served.latencies.quantile(0.99),
            cost,
            first.latencies.quantile(0.5),
            first_cost,
            first_usage.peak_mib.max(usage.peak_mib),
        ];
        Ok(Outcome { values, usage })
    }
}
