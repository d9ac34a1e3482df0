//! `/-/retag/<repository>:<tag>`: another tag for the same manifest, or a tag moved to it.

use oci::{RepositoryName, Tag, TagOrDigest};
use registry::manifests::Push;

use super::content;
use super::form::Form;
use super::page::Page;
use crate::http::audited_change::AuditedChange;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn post(
    mut call: Call<'_>,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Response, Error> {
    let form = Form::read(&mut call).await?;
    let tag: Tag = form.text("tag").parse().map_err(Error::BadTag)?;
    let stored = content::manifest(call.app, repository, target).await?;
    // A push of the same bytes: rules for pushes apply to it as well.
    let push = Push {
        repository: repository.clone(),
        target: TagOrDigest::Tag(tag.clone()),
        content_type: stored.media_type.parse().ok(),
        content: stored.content,
        tags: Vec::new(),
    };
    call.registry().put_manifest(push).await?;
    let audited = AuditedChange::new("manifest.push", format!("{repository}:{tag}"));
    Ok(audited.on(Page::of(&call).redirect(&format!("/{repository}:{tag}?done=tagged"))))
}
