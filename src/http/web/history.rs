//! `/-/history/<repository>`: the changes of tags, and taking them back.

use std::time::SystemTime;

use accounts::Right;
use askama::Template;
use oci::{Digest, RepositoryName, Tag};
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

/// Points tags to the manifests before a change: one tag, or all of a deletion.
pub(crate) async fn post(mut call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let form = Form::read(&mut call).await?;
    let tags = form.all("tag").into_iter().map(|tag| tag.trim().parse::<Tag>().map_err(Error::BadTag));
    let tags = tags.collect::<Result<Vec<Tag>, _>>()?;
    let digests = form.all("digest").into_iter().map(|digest| digest.trim().parse::<Digest>());
    let digests = digests.collect::<Result<Vec<Digest>, _>>();
    let digests = digests.map_err(|error| Error::BadDigest { parameter: "digest", error })?;
    if tags.is_empty() || tags.len() != digests.len() {
        return Err(Error::NoForm);
    }
    let registry = call.registry();
    let mut is_incomplete = false;
    let mut changes = Vec::with_capacity(tags.len());
    for (tag, digest) in tags.iter().zip(digests) {
        let undone = registry.undo_tag(repository, tag, UndoTarget::To(digest)).await;
        match undone {
            Ok(_) => {}
            // The rest of a deletion can still be taken back.
            Err(error) if tags.len() > 1 && is_of_one_tag(&error) => continue,
            Err(error) => return Err(error.into()),
        }
        let object = Some(format!("{repository}:{tag}"));
        changes.push(AuditedChange { action: "tag.undo", object, detail: Some(format!("to {digest}")) });
        is_incomplete |= registry.lacks_content(repository, &digest).await;
    }
    let to = match &tags[..] {
        // The image may have no page.
        [tag, ..] if is_incomplete => format!("/-/history/{repository}?tag={tag}&fault=undone"),
        [tag] => format!("/{repository}:{tag}?done=undone"),
        _ if changes.len() < tags.len() => format!("/{repository}?done=undone-in-part"),
        _ => format!("/{repository}?done=undone-all"),
    };
    Ok(AuditedChange::all_on(changes, Page::of(&call).redirect(&to)))
}

fn is_of_one_tag(error: &registry::Error) -> bool {
    use registry::Error as E;
    matches!(
        error,
        E::NoHistory { .. }
            | E::NothingToUndo { .. }
            | E::ManifestGone { .. }
            | E::NotInHistory { .. }
            | E::TagRefused { .. }
    )
}
