//! `/`: all repositories, those of a namespace, and search.

use askama::Template;
use std::time::SystemTime;

use super::clients::{self, Transport};
use super::page::Page;
use crate::http::api::repositories::{Sort, SortedPage, in_namespace, read_sorted};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::query::Query;
use crate::http::response::Response;

/// The repositories on a page.
const PAGE: usize = 50;
/// The namespaces above the list.
const NAMESPACES: usize = 24;

/// A repository in the list. A gateway and a search know less.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) tags: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) pulls: Option<u64>,
    pub(crate) pushed: Option<SystemTime>,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    page: Page,
    repositories: Vec<Line>,
    namespaces: Vec<String>,
    /// The last shown namespace, if there are more.
    more_namespaces: Option<String>,
    namespace: Option<String>,
    /// The number of matches of a search, and whether there are more.
    matches: Option<(u64, bool)>,
    sort: Sort,
    /// The address of the next page.
    next: Option<String>,
    is_first: bool,
    has_details: bool,
    /// The settings that docker needs before it reaches an empty registry.
    trust: Option<&'static str>,
    trust_lines: Vec<String>,
}

impl Home {
    fn is_empty_registry(&self) -> bool {
        self.repositories.is_empty() && self.matches.is_none() && self.is_first && self.namespace.is_none()
    }

    /// Whether the list has this order.
    fn is_by(&self, sort: &str) -> bool {
        self.sort.word() == sort
    }

    /// Returns the address of the list in another order.
    fn sorted(&self, order: &str) -> String {
        address(self.namespace.as_deref(), order, None)
    }
}

fn address(namespace: Option<&str>, sort: &str, after: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(namespace) = namespace {
        query.append_pair("namespace", namespace);
    }
    if sort != "name" {
        query.append_pair("sort", sort);
    }
    if let Some(after) = after {
        query.append_pair("after", after);
    }
    let query = query.finish();
    if query.is_empty() { "/".to_owned() } else { format!("/?{query}") }
}

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let page = Page::of(&call);
    let query = call.query();
    let self_signed = call.app.web.as_ref().is_some_and(|web| web.self_signed);
    let transport = Transport::of(&page, call.caller.is_secure(), self_signed);
    let mut home = match query.get("q").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) {
        Some(text) => search(&call, page, &text).await?,
        None => list(&call, page, query).await?,
    };
    (home.trust, home.trust_lines) = clients::docker_trust(&home.page, transport);
    home.page.render(&home)
}

async fn search(call: &Call<'_>, page: Page, text: &str) -> Result<Home, Error> {
    let query = call.query();
    let offset = query.number("offset")?.unwrap_or(0).min(registry::listing::SEARCH_WINDOW);
    let found = call.app.registry.search(&call.caller.visible(), text, offset, PAGE).await?;
    let is_window = found.total >= registry::listing::SEARCH_WINDOW as u64;
    let shown = offset + found.hits.len();
    let next = (!found.hits.is_empty() && (shown as u64) < found.total).then(|| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        format!("/?{}", query.append_pair("q", text).append_pair("offset", &shown.to_string()).finish())
    });
    let mut repositories = Vec::with_capacity(found.hits.len());
    for hit in found.hits {
        repositories.push(Line {
            name: hit.name.to_string(),
            description: hit.description,
            tags: None,
            bytes: None,
            pulls: None,
            pushed: None,
        });
    }
    Ok(Home {
        page,
        repositories,
        namespaces: Vec::new(),
        more_namespaces: None,
        namespace: None,
        matches: Some((found.total, is_window)),
        sort: Sort::Name,
        next,
        is_first: offset == 0,
        has_details: false,
        trust: None,
        trust_lines: Vec::new(),
    })
}

async fn list(call: &Call<'_>, page: Page, query: Query<'_>) -> Result<Home, Error> {
    let registry = &call.app.registry;
    let namespace = query.get_filled("namespace").map(std::borrow::Cow::into_owned);
    let all = call.caller.visible();
    let visible = in_namespace(&all, namespace.as_deref());
    let after = query.get_filled("after").map(std::borrow::Cow::into_owned);
    // A gateway knows the names alone.
    let has_details = call.app.content_proxy.is_none();
    let sort =
        query.get("sort").filter(|_| has_details).and_then(|sort| sort.parse().ok()).unwrap_or(Sort::Name);
    let SortedPage { records, next } = read_sorted(registry, sort, &visible, after.as_deref(), PAGE).await?;
    let from = query.get_filled("namespaces-after");
    let namespaces = match &namespace {
        None if after.is_none() => Some(registry.namespaces(&all, from.as_deref(), NAMESPACES).await?),
        _ => None,
    };
    let (namespaces, more) = namespaces.map_or_else(Default::default, |found| (found.items, found.more));
    Ok(Home {
        next: next.map(|last| address(namespace.as_deref(), sort.word(), Some(&last))),
        repositories: records
            .into_iter()
            .map(|record| Line {
                name: record.name.to_string(),
                description: record.description,
                tags: has_details.then_some(record.tags),
                bytes: has_details.then_some(record.bytes),
                pulls: has_details.then_some(record.pulls),
                pushed: has_details.then_some(record.updated_at),
            })
            .collect(),
        more_namespaces: namespaces.last().filter(|_| more).cloned(),
        namespaces,
        namespace,
        matches: None,
        sort,
        is_first: after.is_none(),
        has_details,
        trust: None,
        trust_lines: Vec::new(),
        page,
    })
}
