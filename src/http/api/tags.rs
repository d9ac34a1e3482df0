//! `/api/v1/repositories/<name>/_tags`: the tags of a repository with what they point to.

use api::Tags;
use oci::RepositoryName;

use super::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let query = call.query();
    let page = call.page()?;
    let all = match query.get("all").as_deref() {
        Some("true") => true,
        None | Some("false") => false,
        Some(_) => return Err(Error::BadParameter { parameter: "all", expected: "true or false" }),
    };
    let found = app.registry.tag_records(repository, page.last.as_deref(), page.limit, all).await?;
    let last = found.items.last().filter(|_| found.more).map(|record| record.tag.clone());
    let tags = found.items.into_iter().map(convert::tag).collect();
    let mut response = response::json(&Tags { name: repository.clone(), tags, more: found.more });
    let path = format!("/api/v1/repositories/{repository}/_tags");
    let filters: &[(&str, &str)] = if all { &[("all", "true")] } else { &[] };
    page.link_next(&mut response, &caller.links(), &path, filters, last.as_ref().map(oci::Tag::as_str));
    Ok(response)
}
