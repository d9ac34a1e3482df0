//! `/api/v1/repositories/<name>/_trash`: deleted manifests, and their restoration.

use api::{Restore, RestoredManifests, Trash};
use oci::RepositoryName;
use registry::records::Restored;

use super::{convert, manage};
use crate::http::audited_change::AuditedChange;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let page = call.page()?;
    let before = page.last_as::<i64>("last")?;
    let found = call.app.registry.trash_of(repository, before, page.limit).await?;
    let last = found.items.last().filter(|_| found.more).map(|deleted| deleted.id.to_string());
    let manifests = found.items.into_iter().map(convert::deleted_manifest).collect();
    let mut response = response::json(&Trash { manifests, more: found.more });
    let path = format!("/api/v1/repositories/{repository}/_trash");
    page.link_next(&mut response, &call.caller.links(), &path, &[], last.as_deref());
    Ok(response)
}

/// Restores a deleted manifest with its tags.
pub(crate) async fn restore(mut call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let Restore { digest } = manage::body(&mut call).await?;
    let registry = call.registry();
    let Restored { manifests, tags } = registry.restore_manifest(repository, &digest).await?;
    let incomplete = registry.lacks_content(repository, &digest).await;
    let audited = AuditedChange::new("manifest.restore", format!("{repository}@{digest}"));
    Ok(audited.on(response::json(&RestoredManifests { manifests, tags, incomplete })))
}
