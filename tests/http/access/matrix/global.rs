//! The routes without a repository.

use reqwest::Method;

use super::callers::{CALLERS, Caller, Fixture, Need, READ, State, may};
use crate::harness::{Answer, Ask as _, By as _, TestRegistry};

/// Routes without a repository that answer every caller.
pub(super) const OPEN: [(&str, &[Method]); 8] = [
    ("/", &READ),
    ("/healthz", &READ),
    ("/readyz", &READ),
    ("/v1/_ping", &READ),
    ("/.well-known/jwks.json", &READ),
    ("/token", &READ),
    ("/api/v1/me", &READ),
    ("/api/v1/openapi.json", &READ),
];

/// A second path of the ping.
pub(super) static OTHER_PING: (&str, &[Method]) = ("/_ping", &READ);

/// Routes that require an account.
pub(super) static SIGNED_IN: &[(&str, &[Method])] = &[
    ("/api/v1/version", &READ),
    ("/v2/", &READ),
    ("/v2/_catalog", &READ),
    ("/auth", &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE]),
];

/// Routes for administrators.
pub(super) static ADMINISTRATORS: [(&str, &[Method]); 2] = [("/metrics", &READ), ("/api/v1/settings", &READ)];

/// Lists, filtered by the right to pull.
pub(super) const LISTS: [(&str, &[Method]); 9] = [
    (EVENTS, &READ),
    ("/v1/search", &READ),
    ("/api/v1/repositories", &READ),
    ("/api/v1/namespaces", &READ),
    ("/api/v1/search", &READ),
    ("/api/v1/usage", &READ),
    ("/api/v1/usage/owners", &READ),
    ("/api/v1/usage/repositories", &READ),
    ("/api/v1/usage/quotas", &READ),
];

/// A stream, which ends only with `follow=false`.
const EVENTS: &str = "/api/v1/events";

/// Routes that are not about a repository.
#[tokio::test]
async fn global_routes_answer_every_caller_as_expected() {
    let fixture = Fixture::new().await;
    let registry = &fixture.registry;
    for caller in CALLERS {
        let who = fixture.who(caller);
        let is_wrong = matches!(caller, Caller::ExpiredToken | Caller::ForeignBearer);
        let walk = OPEN.iter().chain([&OTHER_PING]);
        for (path, method) in
            walk.flat_map(|(path, methods)| methods.iter().map(move |method| (path, method)))
        {
            let answer = registry.ask_as(&who, method.clone(), path).await;
            // A bearer token cannot buy a new one, which would outlive it.
            let is_wrong = is_wrong || (caller, *path) == (Caller::NarrowBearer, "/token");
            let expected = if is_wrong { 401 } else { 200 };
            assert_eq!(answer.status, expected, "{caller:?} {method} {path}: {}", answer.text());
        }
        let walk =
            SIGNED_IN.iter().flat_map(|(path, methods)| methods.iter().map(move |method| (path, method)));
        for (path, method) in walk {
            let answer = registry.ask_as(&who, method.clone(), path).await;
            let expected = match caller {
                Caller::Anonymous => 401,
                _ if is_wrong => 401,
                // The token was not issued for the catalog.
                Caller::NarrowBearer if *path == "/v2/_catalog" => 401,
                _ => 200,
            };
            assert_eq!(answer.status, expected, "{caller:?} {method} {path}: {}", answer.text());
        }
        for (path, method) in
            ADMINISTRATORS.iter().flat_map(|(path, methods)| methods.iter().map(move |method| (path, method)))
        {
            let answer = registry.ask_as(&who, method.clone(), path).await;
            let expected = match caller {
                Caller::Administrator => 200,
                Caller::Anonymous => 401,
                _ if is_wrong => 401,
                _ => 403,
            };
            assert_eq!(answer.status, expected, "{caller:?} {method} {path}: {}", answer.text());
        }
        for (path, method) in LISTS.iter().flat_map(|(path, methods)| methods.iter().map(move |m| (path, m)))
        {
            let address = if *path == EVENTS { "/api/v1/events?follow=false" } else { path };
            let answer = registry.ask_as(&who, method.clone(), address).await;
            // The token was not issued for lists.
            let is_wrong = is_wrong || caller == Caller::NarrowBearer;
            let expected = if is_wrong { 401 } else { 200 };
            assert_eq!(answer.status, expected, "{caller:?} {method} {path}: {}", answer.text());
        }
        // The form decides, but wrong credentials in the header are refused all the same.
        let form = registry.request(Method::POST, "/token").by(&who);
        let form = form.header("content-type", "application/x-www-form-urlencoded").body("grant_type=x");
        assert_eq!(form.ask().await.status, if is_wrong { 401 } else { 400 }, "{caller:?}");
    }
}

#[tokio::test]
async fn version_is_open_without_accounts() {
    let registry = TestRegistry::start().await;
    let version = registry.get("/api/v1/version").await.is(200).json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["schema_version"].as_u64().unwrap() >= 8);
}

#[tokio::test]
async fn lists_show_what_may_be_pulled() {
    let fixture = Fixture::new().await;
    let registry = &fixture.registry;
    for caller in CALLERS {
        if matches!(caller, Caller::ExpiredToken | Caller::ForeignBearer | Caller::NarrowBearer) {
            continue;
        }
        let who = fixture.who(caller);
        let expected: Vec<&str> = [State::Private, State::Public]
            .into_iter()
            .filter(|state| may(caller, Need::Pull, *state))
            .map(State::repository)
            .collect();
        if caller != Caller::Anonymous {
            assert_eq!(registry.get_as(&who, "/v2/_catalog").await.is(200).list("repositories"), expected);
        }
        let names = |answer: &Answer, list: &str| -> Vec<String> {
            let mut names: Vec<String> = answer.json()[list]
                .as_array()
                .unwrap()
                .iter()
                .map(|found| found["name"].as_str().unwrap().to_owned())
                .collect();
            names.sort();
            names
        };
        let found = registry.get_as(&who, "/v1/search?q=ann").await.is(200);
        assert_eq!(names(&found, "results"), expected, "{caller:?}");
        assert_eq!(found.json()["num_results"], expected.len(), "{caller:?}");
        let found = registry.get_as(&who, "/api/v1/repositories").await.is(200);
        assert_eq!(names(&found, "repositories"), expected, "{caller:?}");
        for sort in ["pushed", "size", "pulls"] {
            let found = registry.get_as(&who, &format!("/api/v1/repositories?sort={sort}")).await.is(200);
            assert_eq!(names(&found, "repositories"), expected, "{caller:?} {sort}");
        }
        let found = registry.get_as(&who, "/api/v1/search?q=ann").await.is(200);
        assert_eq!(names(&found, "repositories"), expected, "{caller:?}");
        assert_eq!(found.json()["total"], expected.len(), "{caller:?}");
        let namespaces = registry.get_as(&who, "/api/v1/namespaces").await.is(200);
        let owners: std::collections::BTreeSet<&str> =
            expected.iter().filter_map(|name| Some(name.split_once('/')?.0)).collect();
        assert_eq!(namespaces.list("namespaces"), owners.into_iter().collect::<Vec<_>>(), "{caller:?}");
        let found = registry.get_as(&who, "/api/v1/usage/repositories").await.is(200);
        assert_eq!(names(&found, "repositories"), expected, "{caller:?}");
        let usage = registry.get_as(&who, "/api/v1/usage").await.is(200).json();
        assert_eq!(usage["repositories"], expected.len(), "{caller:?}: {usage}");
    }
}
