//! `/api/v1/repositories` and `/api/v1/repositories/<name>`: list, read and delete repositories.

use api::Repositories;
use hyper::StatusCode;
use oci::RepositoryName;

use super::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

pub(crate) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let page = call.page()?;
    let found = app.registry.repositories(&caller.visible(), page.last.as_deref(), page.limit).await?;
    let last = found.items.last().filter(|_| found.more).map(|record| record.name.clone());
    let describe =
        if app.content_proxy.is_some() { convert::gateway_repository } else { convert::repository };
    let repositories = found.items.into_iter().map(describe).collect();
    let mut response = response::json(&Repositories { repositories, more: found.more });
    let last = last.as_ref().map(RepositoryName::as_str);
    page.link_next(&mut response, &caller.links(), "/api/v1/repositories", &[], last);
    Ok(response)
}

pub(crate) async fn get(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    Ok(response::json(&convert::repository(call.app.registry.repository(repository).await?)))
}

/// Deletes a repository with all that it holds.
pub(crate) async fn delete(call: Call<'_>, repository: &RepositoryName) -> Result<Response, Error> {
    call.registry().delete_repository(repository).await?;
    Ok(response::status(StatusCode::ACCEPTED))
}
