//! The rows of the table: pieces of work, what is measured of each, and what is to be reached.

mod accounts;
mod bulk_push;
mod busy;
mod connections;
mod downloads;
mod gets;
mod images;
mod logins;
mod memory;
mod pushes;
mod slow_readers;
mod starting;

use anyhow::Result;
use serde::Serialize;

pub(crate) use logins::STRANGERS;

use crate::instance::Instance;
use crate::measuring::Usage;
use crate::peers::{Ability, Front, Peer};
use crate::sets::{Scale, Set};

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// One figure of a row.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    /// Which way is better.
    pub(crate) better: Better,
}

/// More of it is better.
const fn more(name: &'static str) -> Measure {
    Measure { name, better: Better::Higher }
}

/// Less of it is better.
const fn less(name: &'static str) -> Measure {
    Measure { name, better: Better::Lower }
}

/// A figure that our server should reach in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) server: &'static str,
    /// Of which measure, by its place among the row's.
    pub(crate) measure: usize,
    pub(crate) rule: Rule,
}

/// The condition of a goal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// Not more than this.
    AtMost(f64),
    /// So many times as good as another.
    Times(f64, Baseline),
}

/// The server that a goal compares with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Baseline {
    /// The server of that name.
    Peer(&'static str),
    /// The best registry but ours.
    BestPeer,
    /// The same server, in the row of that name.
    Ourselves(&'static str),
}

/// The result of one run of a row on one server.
pub(crate) struct Outcome {
    /// A value for each measure, in their order.
    pub(crate) values: Vec<f64>,
    /// The cost of the run.
    pub(crate) usage: Usage,
}

/// A row of the table.
pub(crate) trait Row {
    /// Its name on the command line.
    fn id(&self) -> &'static str;
    /// A description of the work.
    fn title(&self, scale: Scale) -> String;
    fn measures(&self) -> &'static [Measure];
    /// The content of the server at the beginning.
    fn set(&self) -> Set;
    /// The access control before the server.
    fn front(&self) -> Front {
        Front::Plain
    }
    /// Whether this server takes part, if it speaks so.
    fn takes(&self, peer: &dyn Peer) -> bool;
    /// How often it is run, where all are to be run so often: heavy rows are run less.
    fn runs(&self, wanted: usize) -> usize {
        wanted
    }
    /// Bytes of disk that it needs.
    fn disk(&self, _scale: Scale) -> u64 {
        2 << 30
    }
    fn goals(&self) -> Vec<Goal> {
        Vec::new()
    }
    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome>;
}

/// All rows, in the order of the table.
pub(crate) fn all() -> Vec<Box<dyn Row>> {
    vec![
        Box::new(gets::manifest()),
        Box::new(downloads::ONE),
        Box::new(downloads::FOUR),
        Box::new(pushes::PLAIN),
        Box::new(images::Images { id: "images", pushers: 1 }),
        Box::new(images::Images { id: "images-16", pushers: 16 }),
        Box::new(gets::catalog()),
        Box::new(gets::tags()),
        Box::new(gets::tags_page()),
        Box::new(gets::referrers()),
        Box::new(starting::Starting::LISTING),
        Box::new(memory::Idle),
        Box::new(memory::TRANSFERS),
        Box::new(busy::Busy),
        Box::new(connections::PLAIN),
        Box::new(slow_readers::PLAIN),
        Box::new(gets::manifest_through_tls()),
        Box::new(gets::manifest_over_http2()),
        Box::new(gets::manifest_over_clear_http2()),
        Box::new(downloads::THROUGH_TLS),
        Box::new(pushes::THROUGH_TLS),
        Box::new(connections::THROUGH_TLS),
        Box::new(slow_readers::THROUGH_TLS),
        Box::new(logins::REMEMBERED),
        Box::new(logins::TOKEN),
        Box::new(logins::NEW),
        Box::new(logins::NEW_OWN),
        Box::new(accounts::FEW),
        Box::new(accounts::MANY),
        Box::new(bulk_push::Filling),
        Box::new(gets::catalog_of_many()),
        Box::new(gets::search()),
        Box::new(starting::Starting::MANY),
        Box::new(memory::Many),
        Box::new(memory::LARGE_TRANSFERS),
    ]
}

/// Ours alone: for what others lack, or would take hours to prepare.
fn ours_alone(peer: &dyn Peer) -> bool {
    peer.can(Ability::Search)
}
