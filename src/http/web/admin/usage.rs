//! `/-/admin/usage`: the space that each owner and each repository takes.

use accounts::Visible;
use askama::Template;
use registry::records::{OwnerUsage, RepositoryUsage, Usage};

use super::super::page::Page;
use super::must_be_administrator;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The repositories on a page.
const PAGE: usize = 100;
/// The owners on a page.
const OWNERS: usize = 20;

#[derive(Template)]
#[template(path = "admin/usage.html")]
struct UsagePage {
    page: Page,
    total: Usage,
    owners: Vec<OwnerUsage>,
    more_owners: Option<String>,
    repositories: Vec<RepositoryUsage>,
    next: Option<String>,
}

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let registry = &call.app.registry;
    let after = call.query().get_filled("after").map(std::borrow::Cow::into_owned);
    let found = registry.repository_usage(&Visible::Everything, after.as_deref(), PAGE).await?;
    let after_owner = call.query().get_filled("owners-after").map(std::borrow::Cow::into_owned);
    let owners = if after.is_none() {
        Some(registry.counted_owners(after_owner.as_deref(), OWNERS).await?)
    } else {
        None
    };
    let (owners, more) = owners.map_or_else(Default::default, |found| (found.items, found.more));
    let body = UsagePage {
        more_owners: owners.last().filter(|_| more).map(|usage| usage.owner.clone()),
        owners,
        page: Page::of(&call),
        total: registry.counted_usage().await?,
        next: found.items.last().filter(|_| found.more).map(|usage| usage.name.to_string()),
        repositories: found.items,
    };
    body.page.render(&body)
}
