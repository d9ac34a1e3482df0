//! `/-/history/<repository>`: the changes of tags, and taking them back.

use std::time::SystemTime;

use accounts::Right;
use askama::Template;
use oci::{RepositoryName, Tag};
use registry::records::UndoTarget;

use super::form::Form;
use super::page::Page;
use crate::http::audited_change::AuditedChange;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The changes on a page.
const PAGE: usize = 100;

struct Line {
    tag: String,
    at: SystemTime,
    before: Option<String>,
    after: Option<String>,
    account: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "history.html")]
struct HistoryPage {
    page: Page,
    name: String,
    lines: Vec<Line>,
    /// The query of the next page.
    next: Option<String>,
    may_push: bool,
}

pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let query = call.query();
    let tag = query.get_filled("tag").map(|tag| tag.parse::<Tag>()).transpose().map_err(Error::BadTag)?;
    let before = query.parsed::<i64>("before", "the id of an entry")?;
    let found = app.registry.tag_history(repository, tag.as_ref(), before, PAGE).await?;
    let next = found.items.last().filter(|_| found.more).map(|entry| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(tag.as_ref().map(|tag| ("tag", tag.as_str())));
        query.append_pair("before", &entry.id.to_string()).finish()
    });
    let lines = found.items.into_iter().map(|entry| Line {
        tag: entry.tag.to_string(),
        at: entry.at,
        before: entry.previous.map(|digest| digest.to_string()),
        after: entry.digest.map(|digest| digest.to_string()),
        account: entry.account.unwrap_or_default(),
        reason: entry.reason.unwrap_or_default(),
    });
    let body = HistoryPage {
        page: Page::of(&call),
        name: repository.to_string(),
        lines: lines.collect(),
        next,
        may_push: app.accounts.is_allowed(caller.identity(), repository, Right::Push).await?,
    };
    body.page.render(&body)
}

/// Points a tag to the manifest before a change.
pub(crate) async fn post(mut call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let form = Form::read(&mut call).await?;
    let tag: Tag = form.text("tag").parse().map_err(Error::BadTag)?;
    let digest = form.text("digest").parse();
    let digest = digest.map_err(|error| Error::BadDigest { parameter: "digest", error })?;
    let registry = call.registry();
    registry.undo_tag(repository, &tag, UndoTarget::To(digest)).await?;
    let detail = Some(format!("to {digest}"));
    let audited = AuditedChange { action: "tag.undo", object: Some(format!("{repository}:{tag}")), detail };
    let next = if registry.lacks_content(repository, &digest).await {
        // The image may have no page.
        format!("/-/history/{repository}?tag={tag}&fault=undone")
    } else {
        format!("/{repository}:{tag}?done=undone")
    };
    Ok(audited.on(Page::of(&call).redirect(&next)))
}
