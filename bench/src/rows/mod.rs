//! The rows of the table: pieces of work, what is measured of each, and what is to be reached.

mod accounts;
mod busy;
mod connections;
mod downloads;
mod filling;
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

use crate::measuring::Usage;
use crate::peers::{Ability, Front, Peer};
use crate::sets::{Scale, Set};
use crate::site::Site;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// One figure of a row.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Measure {
    /// What it is.
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

/// What a server of ours is to reach in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    /// Its name.
    pub(crate) server: &'static str,
    /// Of which measure, by its place among the row's.
    pub(crate) measure: usize,
    /// What.
    pub(crate) rule: Rule,
}

/// What a goal asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// Not more than this.
    AtMost(f64),
    /// So many times as good as another.
    Times(f64, Than),
}

/// Who a goal compares with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Than {
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
    /// What it cost.
    pub(crate) usage: Usage,
}

/// A row of the table.
pub(crate) trait Row {
    /// Its name on the command line.
    fn id(&self) -> &'static str;
    /// What is done, in words.
    fn title(&self, scale: Scale) -> String;
    /// What is measured. The first is compared.
    fn measures(&self) -> &'static [Measure];
    /// What the server holds at the beginning.
    fn set(&self) -> Set;
    /// What lets its clients in.
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
    /// What is to be reached.
    fn goals(&self) -> Vec<Goal> {
        Vec::new()
    }
    /// Does it once.
    fn run(&self, site: &mut Site<'_>) -> Result<Outcome>;
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
        Box::new(filling::Filling),
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
