//! The access matrix: every route, for every caller, on a public, a private and an absent repository.
//!
//! Two tables hold the expectations, and neither knows how the server authorizes a request.
//! [`may`](callers::may) says which right a caller has on a repository, and [`ROWS`](repositories::ROWS) says
//! which right a route requires. A test compares the rows with the server's own list of routes
//! (`wharfinger::http::routes`), so that no route is missing.

mod accounts;
mod callers;
mod global;
mod pages;
mod repositories;

use std::collections::BTreeSet;

use reqwest::Method;

use self::global::{ADMINISTRATORS, LISTS, OPEN, SIGNED_IN};
use self::pages::{ADMIN_PAGES, OPEN_FORMS, OPEN_PAGES, OTHER_PAGES, OWN_PAGES, PAGES};
use self::repositories::ROWS;

/// The tables hold every route of the server.
#[test]
fn matrix_covers_every_route_of_the_server() {
    let listed = |routes: &[(&'static str, &[Method])]| -> BTreeSet<(&'static str, String)> {
        let each = |(path, methods): &(&'static str, &[Method])| {
            methods.iter().map(|method| (*path, method.to_string())).collect::<Vec<_>>()
        };
        routes.iter().flat_map(each).collect()
    };
    let mut walked =
        listed(&[&OPEN[..], SIGNED_IN, &ADMINISTRATORS, &LISTS, &[("/token", &[Method::POST])]].concat());
    walked.extend(ROWS.iter().map(|row| (row.path, row.method.to_string())));
    walked.extend(listed(&[&OPEN_PAGES[..], &OPEN_FORMS, &OWN_PAGES, &ADMIN_PAGES, &OTHER_PAGES].concat()));
    walked.extend(PAGES.iter().map(|(method, path, ..)| (*path, method.to_string())));
    let there: Vec<(&str, &[Method])> = wharfinger::http::routes().collect();
    let mut there = listed(&there);
    // The account routes are tested from the OpenAPI document, which has its own comparison with the server's
    // list.
    there.retain(|route| !is_of_accounts(route.0) || walked.contains(route));
    assert_eq!(walked, there);
}

/// Returns whether the module [`accounts`] covers the path.
fn is_of_accounts(path: &str) -> bool {
    let needs_account = |(route, _): &(&str, &[Method])| *route == path;
    path.starts_with("/api/v1/")
        && !["repositor", "usage", "openapi", "events", "namespaces", "search"]
            .iter()
            .any(|word| path.contains(word))
        && !SIGNED_IN.iter().any(needs_account)
}
