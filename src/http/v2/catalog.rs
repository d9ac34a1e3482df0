//! `/v2/_catalog`: the names of all repositories, page by page. Not of the distribution-spec, but distribution has
//! it, and clients use it.

use oci::RepositoryName;
use serde::Serialize;

use crate::http::app::App;
use crate::http::error::Error;
use crate::http::extract::page::PageRequest;
use crate::http::extract::request::Request;
use crate::http::middleware::authorization::Caller;
use crate::http::response::{self, Response};

#[derive(Serialize)]
struct Catalog {
    repositories: Vec<RepositoryName>,
}

pub(crate) async fn get(app: &App, caller: &Caller, request: &Request) -> Result<Response, Error> {
    let page = PageRequest::read(request.query(), app.limits.page_entries)?;
    let found = app.registry.catalog(&caller.visible(), page.last.as_deref(), page.limit).await?;
    let last = found.items.last().filter(|_| found.more).cloned();
    let mut response = response::json(&Catalog { repositories: found.items });
    let last = last.as_ref().map(RepositoryName::as_str);
    page.link_next(&mut response, caller.links(), "/v2/_catalog", &[], last);
    Ok(response)
}
