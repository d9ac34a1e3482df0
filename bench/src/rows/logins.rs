//! How many people can sign in in a second: with what the server has seen before, and with what it has not.

use std::time::Duration;

use anyhow::Result;

use super::{Baseline, Goal, Measure, Outcome, Row, Rule, less, more, ours_alone};
use crate::client::many::Load;
use crate::instance::Instance;
use crate::measuring::measure;
use crate::peers::{Ability, Front, GATEWAY, OURS, Peer, STACK};
use crate::security::{basic, stranger};
use crate::sets::{Crowd, REPOSITORY, Scale, Set};

/// How many users the file has besides the one that all other rows are run as.
pub(crate) const STRANGERS: usize = 2_000;
/// How many of the registry's own accounts sign in. argon2id takes far longer than bcrypt at htpasswd's usual
/// cost.
const OWN: usize = 300;
const CONNECTIONS: usize = 16;

/// The account whose password is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// The same one again and again, as from a machine that builds.
    Remembered,
    /// Somebody else each time, of the file of users: bcrypt.
    New,
    /// Somebody else each time, of the registry's own accounts: argon2id.
    NewOwn,
}

/// Requests that do nothing but sign in, with a password.
pub(super) struct Logins {
    id: &'static str,
    who: Who,
    /// Asks for a token, as docker does, instead of for `/v2/`.
    token: bool,
}

pub(super) const REMEMBERED: Logins = Logins { id: "login", who: Who::Remembered, token: false };
pub(super) const TOKEN: Logins = Logins { id: "login-token", who: Who::Remembered, token: true };
pub(super) const NEW: Logins = Logins { id: "login-new", who: Who::New, token: false };
pub(super) const NEW_OWN: Logins = Logins { id: "login-new-own", who: Who::NewOwn, token: false };

impl Row for Logins {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, _scale: Scale) -> String {
        let what = if self.token { "GET /token" } else { "GET /v2/" };
        let who = match self.who {
            Who::Remembered => "a password that was sent before".to_owned(),
            Who::New => format!("{STRANGERS} passwords of an htpasswd file (bcrypt, cost 5), each sent once"),
            Who::NewOwn => format!("{OWN} passwords of accounts of its own (argon2id), each sent once"),
        };
        format!("{what} with {who}, {CONNECTIONS} connections")
    }

    fn measures(&self) -> &'static [Measure] {
        const { &[more("logins/s"), less("p99 ms"), less("server CPU ms/login")] }
    }

    fn set(&self) -> Set {
        if self.who == Who::NewOwn { Set::Accounts(Crowd::Few) } else { Set::Empty }
    }

    fn front(&self) -> Front {
        if self.who == Who::NewOwn { Front::Plain } else { Front::Https }
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        match self.who {
            Who::NewOwn => ours_alone(peer),
            // Docker's other way to sign in, which the stack does not have.
            _ if self.token => peer.name() == OURS || peer.name() == GATEWAY,
            _ => peer.can(Ability::Registry),
        }
    }

    fn goals(&self) -> Vec<Goal> {
        if self.token || self.who == Who::NewOwn {
            return Vec::new();
        }
        let goal = |server| Goal { server, measure: 0, rule: Rule::Times(1.0, Baseline::Peer(STACK)) };
        vec![goal(OURS), goal(GATEWAY)]
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        if self.who != Who::Remembered {
            // Passwords of the previous run are still in the credential cache.
            instance.restart("/v2/")?;
        }
        let origin = instance.origin()?;
        let target = if self.token {
            format!("/token?service=wharfinger&scope=repository:{REPOSITORY}:pull")
        } else {
            "/v2/".to_owned()
        };
        let targets = [target];
        let duration = Duration::from_secs(instance.world.scale.pick(4, 1));
        let count = if self.who == Who::NewOwn { OWN } else { STRANGERS };
        let callers: Vec<String> = (0..count).map(|number| basic(&stranger(number))).collect();
        let load = match self.who {
            Who::Remembered => Load::new(&origin, CONNECTIONS, &targets, duration),
            Who::New | Who::NewOwn => Load::once_each(&origin, CONNECTIONS, &targets, &callers),
        };
        let (mut served, usage) = measure(&instance.meter()?, || load.run())?;
        let cost = usage.server_cpu * 1e3 / served.requests as f64;
        Ok(Outcome { values: vec![served.rate(), served.latencies.quantile(0.99), cost], usage })
    }
}
