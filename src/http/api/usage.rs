//! `/api/v1/usage`: space used by the whole registry, by each owner and by each repository.

use api::{OwnerUsages, RepositoryUsages};
use oci::RepositoryName;

use super::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, caller, .. } = call;
    Ok(response::json(&convert::usage(app.registry.usage(&caller.visible()).await?)))
}

pub(crate) async fn repositories(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let page = call.page()?;
    let found = app.registry.repository_usage(&caller.visible(), page.last.as_deref(), page.limit).await?;
    let last = found.items.last().filter(|_| found.more).map(|record| record.name.clone());
    let repositories = found.items.into_iter().map(convert::repository_usage).collect();
    let mut response = response::json(&RepositoryUsages { repositories, more: found.more });
    let last = last.as_ref().map(RepositoryName::as_str);
    page.link_next(&mut response, &caller.links(), "/api/v1/usage/repositories", &[], last);
    Ok(response)
}

pub(crate) async fn owners(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let page = call.page()?;
    let found = app.registry.owner_usage(&caller.visible(), page.last.as_deref(), page.limit).await?;
    let last = found.items.last().filter(|_| found.more).map(|usage| usage.owner.clone());
    let owners = found.items.into_iter().map(convert::owner_usage).collect();
    let mut response = response::json(&OwnerUsages { owners, more: found.more });
    page.link_next(&mut response, &caller.links(), "/api/v1/usage/owners", &[], last.as_deref());
    Ok(response)
}
