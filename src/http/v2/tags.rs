//! `/v2/<name>/tags/list`: the tags of a repository, in pages (distribution-spec, "Listing Tags").

use oci::{RepositoryName, Tag};
use serde::Serialize;

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a RepositoryName,
    tags: &'a [Tag],
}

pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let page = call.page()?;
    let found = app.registry.tags(repository, page.last.as_deref(), page.limit).await?;
    let last = found.last().filter(|_| found.more());
    let mut response = response::json(&TagList { name: repository, tags: &found });
    let path = format!("/v2/{repository}/tags/list");
    page.link_next(&mut response, &caller.links(), &path, &[], last.map(Tag::as_str));
    Ok(response)
}
