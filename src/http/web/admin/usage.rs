//! `/-/admin/usage`: the space that each repository takes.

use accounts::Visible;
use askama::Template;
use registry::records::{RepositoryUsage, Usage};

use super::super::page::Page;
use super::must_be_administrator;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The repositories on a page.
const PAGE: usize = 100;

#[derive(Template)]
#[template(path = "admin/usage.html")]
struct UsagePage {
    page: Page,
    total: Usage,
    repositories: Vec<RepositoryUsage>,
    next: Option<String>,
}

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let registry = &call.app.registry;
    let after = call.query().get_filled("after").map(std::borrow::Cow::into_owned);
    let found = registry.repository_usage(&Visible::Everything, after.as_deref(), PAGE).await?;
    let body = UsagePage {
        page: Page::of(&call),
        total: registry.usage(&Visible::Everything).await?,
        next: found.items.last().filter(|_| found.more).map(|usage| usage.name.to_string()),
        repositories: found.items,
    };
    body.page.render(&body)
}
