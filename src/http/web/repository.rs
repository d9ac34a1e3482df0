//! `/<repository>`: its tags, its description and the commands to pull from it.

use std::time::SystemTime;

use accounts::Right;
use askama::Template;
use oci::{Digest, RepositoryName};
use registry::access::Identity;

use super::about::{self, Link};
use super::clients::{self, Client, Transport};
use super::content;
use super::document::{Document, Kind};
use super::page::Page;
use super::summary;
use crate::http::api::tags::TagSort;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The tags on a page.
const PAGE: usize = 50;

/// The largest number of tags that are sorted by their last push.
const SORTED: u64 = 20_000;

/// A tag in the list.
struct Line {
    tag: String,
    digest: String,
    kind: String,
    platforms: Vec<String>,
    size: Option<u64>,
    pushed: Option<SystemTime>,
    pulled: Option<SystemTime>,
    pulls: u64,
}

#[derive(Template)]
#[template(path = "repository.html")]
struct RepositoryPage {
    page: Page,
    name: String,
    description: String,
    tags: Vec<Line>,
    /// Unknown to a gateway, like all of its details.
    details: Option<Details>,
    links: Vec<Link>,
    /// The README as safe HTML.
    readme: Option<String>,
    clients: Vec<Client>,
    is_sortable: bool,
    sort: TagSort,
    /// The part of the names of the listed tags. Empty for all tags.
    filter: String,
    /// Whether the repository has more tags than a page, so that a filter helps.
    has_filter: bool,
    next: Option<String>,
    is_first: bool,
    /// Whether it may be pulled without an account, on a registry with accounts.
    is_public: bool,
    may_delete: bool,
    may_restore: bool,
    /// Whether tags can be chosen for a deletion.
    has_choice: bool,
    /// Whether all tags of the page are chosen.
    all_chosen: bool,
    /// The cursor of the page.
    after: Option<String>,
    /// Whether the caller may add webhooks.
    may_administer: bool,
}

/// The image that the page shows commands for: that of the tag `latest`, else the newest image or chart.
struct Chosen {
    rank: (bool, bool, Option<SystemTime>),
    tag: String,
    kind: Kind,
    digest: Option<Digest>,
    links: Vec<Link>,
}

impl RepositoryPage {
    fn is_by_name(&self) -> bool {
        self.sort == TagSort::Name
    }

    /// Returns the address of the tags by name.
    fn by_name(&self) -> String {
        address(&self.name, TagSort::Name, &self.filter, None)
    }

    /// Returns the address of the tags by last push.
    fn by_push(&self) -> String {
        address(&self.name, TagSort::Push, &self.filter, None)
    }

    /// Returns the address of this page with all tags chosen, or with none.
    fn with_choice(&self) -> String {
        let address = address(&self.name, self.sort, &self.filter, self.after.as_deref());
        if self.all_chosen { address } else { format!("{address}&choose=all") }
    }

    /// Returns the address of the first page.
    fn first(&self) -> String {
        address(&self.name, self.sort, &self.filter, None)
    }
}

fn address(name: &str, sort: TagSort, filter: &str, after: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("sort", sort.word());
    query.extend_pairs(Some(filter).filter(|filter| !filter.is_empty()).map(|filter| ("tag", filter)));
    query.extend_pairs(after.map(|after| ("after", after)));
    format!("/{name}?{}", query.finish())
}

/// A registry's knowledge of a repository of its own.
struct Details {
    tags: u64,
    bytes: u64,
    pulls: u64,
    pushed: SystemTime,
}

pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let page = Page::of(&call);
    let after = call.query().get_filled("after").map(std::borrow::Cow::into_owned);
    let record = match app.registry.repository(repository).await {
        // A gateway has not seen every repository of its upstream yet.
        Err(error) if error.is_unknown() && app.content_proxy.is_some() => None,
        record => Some(record?),
    };
    let filter = call.query().get_filled("tag").map(|text| text.trim().to_owned()).unwrap_or_default();
    // The order by push reads all tags.
    let is_sortable =
        app.content_proxy.is_none() && record.as_ref().is_some_and(|record| record.tags <= SORTED);
    let sort = match call.query().get("sort").and_then(|sort| sort.parse().ok()) {
        _ if !is_sortable => TagSort::Name,
        Some(sort) => sort,
        None => TagSort::Push,
    };
    let (found, more) = content::tags(app, repository, sort, &filter, after.as_deref(), PAGE).await?;
    let last = found.last().filter(|_| more);
    let next = last.map(|line| address(repository.as_str(), sort, &filter, Some(&line.cursor)));
    let mut tags = Vec::with_capacity(found.len());
    let mut first = None;
    for line in found {
        let summary = match &line.digest {
            Some(digest) => summary::of(app, repository, digest).await?,
            None => None,
        };
        let kind = summary.as_ref().map_or(Kind::Artifact, |summary| summary.kind);
        let rank =
            (line.tag == "latest", matches!(kind, Kind::Image | Kind::Index | Kind::Chart), line.pushed);
        if first.as_ref().is_none_or(|chosen: &Chosen| chosen.rank < rank) {
            let links = summary.as_ref().map(|summary| summary.links.clone()).unwrap_or_default();
            first = Some(Chosen { rank, tag: line.tag.clone(), kind, digest: line.digest, links });
        }
        tags.push(Line {
            tag: line.tag,
            digest: line.digest.map(|digest| digest.to_string()).unwrap_or_default(),
            kind: kind.label(page.language),
            platforms: summary.as_ref().map(|summary| summary.platforms.clone()).unwrap_or_default(),
            size: summary.as_ref().map(|summary| summary.size),
            pushed: line.pushed,
            pulled: line.pulled,
            pulls: line.pulls,
        });
    }
    let self_signed = app.web.as_ref().is_some_and(|web| web.self_signed);
    let transport = Transport::of(&page, caller.is_secure(), self_signed);
    let clients = first
        .as_ref()
        .map(|first| clients::pull(&page, transport, first.kind, &format!("{repository}:{}", first.tag)));
    let readme = match &first {
        Some(Chosen { kind: Kind::Chart | Kind::Artifact, digest: Some(digest), .. }) => {
            match content::manifest_if_present(app, repository, digest).await? {
                Some(stored) => about::readme(app, repository, &Document::parse(&stored.content)).await?,
                None => None,
            }
        }
        _ => None,
    };
    let is_public = app.accounts.in_force()
        && app.accounts.is_allowed(&Identity::Anonymous, repository, Right::Pull).await?;
    let all_chosen = call.query().get("choose").as_deref() == Some("all");
    let allowed = async |right| app.accounts.is_allowed(caller.identity(), repository, right).await;
    let may_delete = allowed(Right::Delete).await?;
    let has_several = tags.len() > 1;
    let body = RepositoryPage {
        name: repository.to_string(),
        description: record.as_ref().map(|record| record.description.clone()).unwrap_or_default(),
        tags,
        details: record.filter(|_| app.content_proxy.is_none()).map(|record| Details {
            tags: record.tags,
            bytes: record.bytes,
            pulls: record.pulls,
            pushed: record.updated_at,
        }),
        links: first.map(|first| first.links).unwrap_or_default(),
        readme,
        clients: clients.unwrap_or_default(),
        has_filter: next.is_some() || after.is_some() || !filter.is_empty(),
        is_sortable,
        sort,
        filter,
        next,
        is_first: after.is_none(),
        is_public,
        may_delete,
        has_choice: may_delete && app.content_proxy.is_none() && has_several,
        all_chosen,
        after,
        may_administer: page.viewer.account.is_some() && allowed(Right::Administer).await?,
        may_restore: app.content_proxy.is_none() && allowed(Right::Push).await?,
        page,
    };
    body.page.render(&body)
}

/// Shortens a digest to the part that people compare: `sha256:6c3c624b58db`.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}
