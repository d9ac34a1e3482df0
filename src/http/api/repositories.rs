//! `/api/v1/repositories` and `/api/v1/repositories/<name>`: list, search, read and delete repositories.

use std::str::FromStr;

use accounts::Visible;
use api::{Namespaces, Repositories, SearchResult, SearchResults};
use hyper::StatusCode;
use oci::RepositoryName;
use registry::Registry;
use registry::listing::{Position, RepositoryOrder, SEARCH_WINDOW};
use registry::records::RepositoryRecord;

use super::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::gateway_error::GatewayError;
use crate::http::response::{self, Response};

/// The order of a list: by name, or by the value of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Name,
    By(RepositoryOrder),
}

impl FromStr for Sort {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "name" => Ok(Self::Name),
            "pushed" => Ok(Self::By(RepositoryOrder::Push)),
            "size" => Ok(Self::By(RepositoryOrder::Size)),
            "pulls" => Ok(Self::By(RepositoryOrder::Pulls)),
            _ => Err(()),
        }
    }
}

impl Sort {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::By(RepositoryOrder::Push) => "pushed",
            Self::By(RepositoryOrder::Size) => "size",
            Self::By(RepositoryOrder::Pulls) => "pulls",
        }
    }
}

/// A page of a list in an order, with the cursor of the next page.
pub(crate) struct SortedPage {
    pub(crate) records: Vec<RepositoryRecord>,
    pub(crate) next: Option<String>,
}

/// Reads a page of the visible repositories. A cursor is the last name, or the last value with the number of
/// its row.
pub(crate) async fn read_sorted(
    registry: &Registry,
    sort: Sort,
    visible: &Visible,
    after: Option<&str>,
    limit: usize,
) -> Result<SortedPage, Error> {
    match sort {
        Sort::Name => {
            let found = registry.repositories(visible, after, limit).await?;
            let next = found.items.last().filter(|_| found.more).map(|record| record.name.to_string());
            Ok(SortedPage { records: found.items, next })
        }
        Sort::By(order) => {
            let expected = "the cursor of the page before, which its Link has";
            let position =
                after.map(|after| position(after).ok_or(Error::BadParameter { parameter: "last", expected }));
            let found = registry.repositories_by(order, visible, position.transpose()?, limit).await?;
            let last = found.items.last().filter(|_| found.more);
            let next = last.map(|((value, id), _)| format!("{value}.{id}"));
            Ok(SortedPage { records: found.items.into_iter().map(|(_, record)| record).collect(), next })
        }
    }
}

/// Parses the position in a list by a value.
fn position(text: &str) -> Option<Position> {
    let (value, id) = text.split_once('.')?;
    Some((value.parse().ok()?, id.parse().ok()?))
}

/// Restricts what the caller sees to the repositories of a namespace.
pub(crate) fn in_namespace(all: &Visible, namespace: Option<&str>) -> Visible {
    let Some(namespace) = namespace else { return all.clone() };
    let pattern = format!("{namespace}/**").parse();
    pattern.map_or_else(|_| Visible::nothing(), |pattern| all.restricted_to(&[pattern]))
}

pub(crate) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let (page, query) = (call.page()?, call.query());
    let is_gateway = app.content_proxy.is_some();
    let sort = query.parsed("sort", "name, pushed, size or pulls")?.unwrap_or(Sort::Name);
    if is_gateway && sort != Sort::Name {
        return Err(GatewayError::Unsupported.into());
    }
    let namespace = query.get_filled("namespace");
    let visible = in_namespace(&caller.visible(), namespace.as_deref());
    let SortedPage { records, next } =
        read_sorted(&app.registry, sort, &visible, page.last.as_deref(), page.limit).await?;
    let describe = if is_gateway { convert::gateway_repository } else { convert::repository };
    let repositories = records.into_iter().map(describe).collect();
    let mut response = response::json(&Repositories { repositories, more: next.is_some() });
    let mut filters = Vec::new();
    filters.extend((sort != Sort::Name).then(|| ("sort", sort.word())));
    filters.extend(namespace.as_deref().map(|namespace| ("namespace", namespace)));
    page.link_next(&mut response, &caller.links(), "/api/v1/repositories", &filters, next.as_deref());
    Ok(response)
}

/// `/api/v1/namespaces`: the first components of names with several.
pub(crate) async fn namespaces(call: Call<'_>) -> Result<Response, Error> {
    let page = call.page()?;
    let visible = call.caller.visible();
    let found = call.app.registry.namespaces(&visible, page.last.as_deref(), page.limit).await?;
    let last = found.items.last().filter(|_| found.more).cloned();
    let mut response = response::json(&Namespaces { namespaces: found.items, more: found.more });
    page.link_next(&mut response, &call.caller.links(), "/api/v1/namespaces", &[], last.as_deref());
    Ok(response)
}

/// `/api/v1/search`: the repositories whose name or description has every word. The cursor is the number of
/// matches before the page.
pub(crate) async fn search(call: Call<'_>) -> Result<Response, Error> {
    let (page, query) = (call.page()?, call.query());
    let text = query.get("q").unwrap_or_default();
    let before = page.last_as::<usize>("last")?.unwrap_or(0).min(SEARCH_WINDOW);
    let visible = call.caller.visible();
    let found = call.app.registry.search(&visible, text.trim(), before, page.limit).await?;
    let end = before + found.hits.len();
    let more = !found.hits.is_empty() && (end as u64) < found.total;
    let repositories = found.hits.into_iter();
    let repositories =
        repositories.map(|hit| SearchResult { name: hit.name, description: hit.description }).collect();
    let mut response = response::json(&SearchResults { repositories, total: found.total, more });
    let next = more.then(|| end.to_string());
    let filters = [("q", text.trim())];
    page.link_next(&mut response, &call.caller.links(), "/api/v1/search", &filters, next.as_deref());
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
