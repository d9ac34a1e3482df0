//! `/-/trash/<repository>`: deleted manifests with their tags, and their restoration.

use std::time::SystemTime;

use askama::Template;
use oci::{Digest, RepositoryName};

use super::form::Form;
use super::page::Page;
use crate::http::audited_change::AuditedChange;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The deleted manifests on a page.
const PAGE: usize = 200;

struct Line {
    digest: String,
    tags: String,
    deleted: SystemTime,
    account: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "trash.html")]
struct Trash {
    page: Page,
    name: String,
    lines: Vec<Line>,
}

pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let deleted = call.app.registry.trash_of(repository, None, PAGE).await?;
    let lines = deleted.items.into_iter().map(|deleted| Line {
        digest: deleted.manifest.digest.to_string(),
        tags: deleted.tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        deleted: deleted.deleted_at,
        account: deleted.account.unwrap_or_default(),
        reason: deleted.deletion.reason,
    });
    let body = Trash { page: Page::of(&call), name: repository.to_string(), lines: lines.collect() };
    body.page.render(&body)
}

pub(crate) async fn post(mut call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let form = Form::read(&mut call).await?;
    let digest: Digest =
        form.text("digest").parse().map_err(|error| Error::BadDigest { parameter: "digest", error })?;
    let registry = call.registry();
    registry.restore_manifest(repository, &digest).await?;
    let audited = AuditedChange::new("manifest.restore", format!("{repository}@{digest}"));
    let is_incomplete = registry.lacks_content(repository, &digest).await;
    let outcome = if is_incomplete { "fault=restored" } else { "done=restored" };
    Ok(audited.on(Page::of(&call).redirect(&format!("/{repository}?{outcome}"))))
}
