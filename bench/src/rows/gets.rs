//! GETs in a closed loop: manifests, lists, search.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{Baseline, Goal, Measure, Outcome, Row, Rule, less, more, ours_alone};
use crate::client::connection::{Body, Connection};
use crate::client::many::Load;
use crate::instance::{Context, Instance};
use crate::measuring::measure;
use crate::peers::{Ability, Front, GATEWAY, OURS, Peer, STACK};
use crate::sets::{REPOSITORY, Scale, Set, TAG, listing};

const MEASURES: [Measure; 4] =
    [more("requests/s"), less("p50 ms"), less("p99 ms"), less("server CPU µs/request")];
const SEARCH_MEASURES: [Measure; 4] =
    [less("p99 ms"), less("p50 ms"), more("requests/s"), less("server CPU µs/request")];

/// The key of an array, and how many entries it must have.
type Whole = (&'static str, fn(&Context) -> usize);

/// A row of GETs.
pub(super) struct Gets {
    id: &'static str,
    title: fn(Scale) -> String,
    set: Set,
    front: Front,
    takes: fn(&dyn Peer) -> bool,
    connections: usize,
    /// How many requests are under way at once on each connection of HTTP/2; none where HTTP/1.1 is spoken.
    streams: Option<usize>,
    targets: fn(&Context) -> Vec<String>,
    /// The key of the array in the answer, and how many entries all its pages must have together. No peer is
    /// asked for pages: one that gives everything at once is compared with everything.
    whole: Option<Whole>,
    search: bool,
    goals: &'static [Goal],
}

pub(super) fn manifest() -> Gets {
    Gets {
        id: "manifest",
        title: |_| "manifest GET by tag, 32 connections".to_owned(),
        set: Set::Image,
        front: Front::Plain,
        takes: |peer| peer.can(Ability::Manifest),
        connections: 32,
        streams: None,
        targets: |_| vec![format!("/v2/{REPOSITORY}/manifests/{TAG}")],
        whole: None,
        search: false,
        goals: &[
            Goal { server: OURS, measure: 0, rule: Rule::Times(0.8, Baseline::Peer("bare hyper")) },
            Goal { server: OURS, measure: 0, rule: Rule::Times(4.0, Baseline::Peer("zot")) },
        ],
    }
}

pub(super) fn manifest_through_tls() -> Gets {
    Gets {
        id: "manifest-tls",
        title: |_| "manifest GET by tag through TLS and an account, 32 connections".to_owned(),
        front: Front::Https,
        goals: &[
            Goal { server: OURS, measure: 0, rule: Rule::Times(40.0, Baseline::Peer(STACK)) },
            Goal { server: GATEWAY, measure: 0, rule: Rule::Times(20.0, Baseline::Peer(STACK)) },
        ],
        ..manifest()
    }
}

/// As many requests are under way as with HTTP/1.1, on fewer connections: that is what HTTP/2 is for.
pub(super) fn manifest_over_http2() -> Gets {
    Gets {
        id: "manifest-h2",
        title: |_| {
            "manifest GET by tag through TLS and an account, HTTP/2, 8 connections of 4 streams".to_owned()
        },
        connections: 8,
        streams: Some(4),
        goals: &[Goal {
            server: OURS,
            measure: 0,
            rule: Rule::Times(1.0, Baseline::Ourselves("manifest-tls")),
        }],
        ..manifest_through_tls()
    }
}

pub(super) fn manifest_over_clear_http2() -> Gets {
    Gets {
        id: "manifest-h2c",
        title: |_| "manifest GET by tag, HTTP/2 without TLS, 8 connections of 4 streams".to_owned(),
        front: Front::ClearHttp2,
        connections: 8,
        streams: Some(4),
        goals: &[Goal { server: OURS, measure: 0, rule: Rule::Times(1.0, Baseline::Ourselves("manifest")) }],
        ..manifest()
    }
}

pub(super) fn catalog() -> Gets {
    Gets {
        id: "catalog",
        title: |scale| format!("_catalog?n=100 with {} repositories, 8 connections", scale.pick(2_000, 500)),
        set: Set::Listing,
        front: Front::Plain,
        takes: |peer| peer.can(Ability::Registry),
        connections: 8,
        streams: None,
        targets: |_| vec!["/v2/_catalog?n=100".to_owned()],
        whole: None,
        search: false,
        goals: &[Goal { server: OURS, measure: 0, rule: Rule::Times(20.0, Baseline::BestPeer) }],
    }
}

pub(super) fn catalog_of_many() -> Gets {
    Gets {
        id: "catalog-many",
        title: |scale| {
            format!(
                "_catalog?n=100 anywhere among {} repositories, 8 connections",
                scale.pick(100_000, 5_000)
            )
        },
        set: Set::Many,
        takes: ours_alone,
        targets: |world| {
            let step = world.many.count() / 100;
            let pages = (0..100).map(|page| world.many.name(page * step).replace('/', "%2F"));
            pages.map(|last| format!("/v2/_catalog?n=100&last={last}")).collect()
        },
        goals: &[Goal { server: OURS, measure: 0, rule: Rule::Times(0.8, Baseline::Ourselves("catalog")) }],
        ..catalog()
    }
}

pub(super) fn tags() -> Gets {
    Gets {
        id: "tags",
        title: |scale| format!("all {} tags of a repository, 4 connections", scale.pick(10_000, 2_000)),
        connections: 4,
        targets: |_| vec![format!("/v2/{}/tags/list", listing::TAGS)],
        whole: Some(("tags", |world| world.listing.tag_count())),
        goals: &[Goal { server: OURS, measure: 0, rule: Rule::Times(10.0, Baseline::BestPeer) }],
        ..catalog()
    }
}

pub(super) fn tags_page() -> Gets {
    Gets {
        id: "tags-page",
        title: |scale| {
            format!("tags/list?n=100 in the middle of {} tags, 4 connections", scale.pick(10_000, 2_000))
        },
        targets: |_| vec![format!("/v2/{}/tags/list?n=100&last=t01000", listing::TAGS)],
        whole: None,
        ..tags()
    }
}

pub(super) fn referrers() -> Gets {
    Gets {
        id: "referrers",
        title: |scale| format!("all {} referrers of a digest, 4 connections", scale.pick(1_000, 200)),
        takes: |peer| peer.can(Ability::Referrers),
        targets: |world| vec![format!("/v2/{}/referrers/{}", listing::REFERRERS, world.listing.subject())],
        whole: Some(("manifests", |world| world.listing.referrer_count())),
        ..tags()
    }
}

pub(super) fn search() -> Gets {
    Gets {
        id: "search",
        title: |scale| format!("docker search among {} repositories, 16 clients", scale.pick(100_000, 5_000)),
        set: Set::Many,
        front: Front::Plain,
        takes: |peer| peer.can(Ability::Search),
        connections: 16,
        streams: None,
        targets: |world| world.many.searches(),
        whole: None,
        search: true,
        goals: &[Goal { server: OURS, measure: 0, rule: Rule::AtMost(10.0) }],
    }
}

impl Row for Gets {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, scale: Scale) -> String {
        (self.title)(scale)
    }

    fn measures(&self) -> &'static [Measure] {
        if self.search { &SEARCH_MEASURES } else { &MEASURES }
    }

    fn set(&self) -> Set {
        self.set
    }

    fn front(&self) -> Front {
        self.front
    }

    fn takes(&self, peer: &dyn Peer) -> bool {
        (self.takes)(peer)
    }

    fn goals(&self) -> Vec<Goal> {
        self.goals.to_vec()
    }

    fn run(&self, instance: &mut Instance<'_>) -> Result<Outcome> {
        let origin = instance.origin()?;
        let mut targets = (self.targets)(instance.world);
        let mut pages = 1.0;
        if let Some((key, count)) = self.whole {
            targets = follow(&mut Connection::to(&origin), &targets[0], key, count(instance.world))?;
            pages = targets.len() as f64;
        }
        let duration = Duration::from_secs(instance.world.scale.pick(4, 1));
        let load = Load::new(&origin, self.connections, &targets, duration);
        let (mut served, usage) = measure(&instance.meter()?, || match self.streams {
            Some(streams) => load.run_http2(streams),
            None => load.run(),
        })?;
        let cpu = usage.server_cpu * 1e6 / served.requests as f64 * pages;
        let (half, most) = (served.latencies.quantile(0.5) * pages, served.latencies.quantile(0.99) * pages);
        let rate = served.rate() / pages;
        let values = if self.search { vec![most, half, rate, cpu] } else { vec![rate, half, most, cpu] };
        Ok(Outcome { values, usage })
    }
}

/// The pages of a list, found by following its links; an error unless they hold so many entries together.
fn follow(connection: &mut Connection, first: &str, key: &str, count: usize) -> Result<Vec<String>> {
    let mut pages = vec![first.to_owned()];
    let mut found = 0;
    while let Some(page) = pages.last() {
        let answer = connection.expect(200, "GET", page, Body::Empty)?;
        let list: serde_json::Value =
            serde_json::from_slice(&answer.body).context("a list that is no JSON")?;
        found += list[key].as_array().map_or(0, Vec::len);
        match answer.head.next {
            Some(next) if pages.len() < 1_000 => pages.push(next),
            _ => break,
        }
    }
    if found != count {
        bail!("{first} lists {found} instead of {count}");
    }
    Ok(pages)
}
