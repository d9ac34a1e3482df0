//! `/<repository>`: its tags, its description and the commands to pull from it.

use std::time::SystemTime;

use accounts::Right;
use askama::Template;
use oci::RepositoryName;

use super::clients::{self, Client, Transport};
use super::document::Kind;
use super::page::Page;
use super::summary;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The tags on a page.
const PAGE: usize = 50;

/// A tag in the list.
struct Line {
    tag: String,
    digest: String,
    kind: String,
    platforms: Vec<String>,
    size: u64,
    pushed: SystemTime,
}

#[derive(Template)]
#[template(path = "repository.html")]
struct RepositoryPage {
    page: Page,
    name: String,
    description: String,
    tags: Vec<Line>,
    total: u64,
    bytes: u64,
    pushed: SystemTime,
    clients: Vec<Client>,
    next: Option<String>,
    is_first: bool,
    may_delete: bool,
}

pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let page = Page::of(&call);
    let after = call.query().get_filled("after").map(std::borrow::Cow::into_owned);
    let record = app.registry.repository(repository).await?;
    let found = app.registry.tag_records(repository, after.as_deref(), PAGE, false).await?;
    let next = found.items.last().filter(|_| found.more).map(|record| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("after", record.tag.as_str())
            .finish();
        format!("/{repository}?{query}")
    });
    let mut tags = Vec::with_capacity(found.items.len());
    let mut first = None;
    for record in found.items {
        let summary = summary::of(app, repository, &record.manifest.digest).await?;
        let kind = summary.as_ref().map_or(Kind::Artifact, |summary| summary.kind);
        let is_latest = record.tag.as_str() == "latest";
        if first.is_none() || is_latest {
            first = Some((record.tag.to_string(), kind));
        }
        tags.push(Line {
            tag: record.tag.to_string(),
            digest: record.manifest.digest.to_string(),
            kind: kind.label(page.language),
            platforms: summary.as_ref().map(|summary| summary.platforms.clone()).unwrap_or_default(),
            size: summary.as_ref().map_or(record.manifest.size, |summary| summary.size),
            pushed: record.updated_at,
        });
    }
    let self_signed = app.web.as_ref().is_some_and(|web| web.self_signed);
    let transport = Transport::of(&page, caller.is_secure(), self_signed);
    let clients =
        first.map(|(tag, kind)| clients::pull(&page, transport, kind, &format!("{repository}:{tag}")));
    let allowed = async |right| app.accounts.is_allowed(caller.identity(), repository, right).await;
    let body = RepositoryPage {
        name: repository.to_string(),
        description: record.description,
        tags,
        total: record.tags,
        bytes: record.bytes,
        pushed: record.updated_at,
        clients: clients.unwrap_or_default(),
        next,
        is_first: after.is_none(),
        may_delete: allowed(Right::Delete).await?,
        page,
    };
    body.page.render(&body)
}

/// Shortens a digest to the part that people compare: `sha256:6c3c624b58db`.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}
