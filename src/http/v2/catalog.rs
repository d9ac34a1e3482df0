//! `/v2/_catalog`: the names of all repositories, in pages. An extension of distribution that clients use.

use oci::RepositoryName;
use serde::Serialize;

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

#[derive(Serialize)]
struct Catalog {
    repositories: Vec<RepositoryName>,
}

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let page = call.page()?;
    let found = app.registry.catalog(&caller.visible(), page.last.as_deref(), page.limit).await?;
    let last = found.items.last().filter(|_| found.more).cloned();
    let mut response = response::json(&Catalog { repositories: found.items });
    let last = last.as_ref().map(RepositoryName::as_str);
    page.link_next(&mut response, &caller.links(), "/v2/_catalog", &[], last);
    Ok(response)
}
