//! Lists of the management API: orders, namespaces, search, deleted manifests; and the settings.

use api::{Namespaces, Repositories, RestoredManifests, SearchResults, Settings, Trash};
use reqwest::Method;
use serde_json::json;

use super::read;
use crate::harness::{TestRegistry, Who, with_accounts};

/// Returns the names of a list, page by page.
async fn names(registry: &TestRegistry, address: &str) -> Vec<String> {
    let (mut names, mut next) = (Vec::new(), Some(address.to_owned()));
    while let Some(address) = next {
        let answer = registry.get(&address).await.is(200);
        let page: Repositories = read(&answer);
        assert_eq!(page.more, answer.next_page().is_some(), "{address}");
        names.extend(page.repositories.into_iter().map(|repository| repository.name.to_string()));
        next = answer.next_page();
    }
    names
}

#[tokio::test]
async fn repositories_are_listed_in_each_order() {
    let registry = TestRegistry::start().await;
    for name in ["b/small", "a/one", "b/two", "c"] {
        registry.repository(name).push_image("1").await;
    }
    for tag in ["2", "3"] {
        registry.repository("a/one").push_image(tag).await;
    }
    assert_eq!(names(&registry, "/api/v1/repositories?n=1").await, ["a/one", "b/small", "b/two", "c"]);
    assert_eq!(names(&registry, "/api/v1/repositories?n=1&sort=name").await.len(), 4);
    for sort in ["pushed", "size", "pulls"] {
        let listed = names(&registry, &format!("/api/v1/repositories?n=1&sort={sort}")).await;
        let mut sorted = listed.clone();
        sorted.sort();
        assert_eq!(sorted, ["a/one", "b/small", "b/two", "c"], "{sort}");
        if sort == "pushed" {
            assert_eq!(listed[0], "a/one", "it was pushed last");
        }
        let below = names(&registry, &format!("/api/v1/repositories?n=1&sort={sort}&namespace=b")).await;
        assert_eq!(below.len(), 2, "{sort}");
    }
    let page: Repositories = read(&registry.get("/api/v1/repositories?n=1").await.is(200));
    assert_eq!(page.repositories[0].pulls, Some(0));
    registry.get("/api/v1/repositories?sort=colour").await.fails(400, "UNSUPPORTED");
    registry.get("/api/v1/repositories?sort=size&last=x").await.fails(400, "UNSUPPORTED");

    let first = registry.get("/api/v1/namespaces?n=1").await.is(200);
    assert_eq!(read::<Namespaces>(&first).namespaces, ["a"]);
    let second: Namespaces = read(&registry.get(first.next_page().unwrap()).await.is(200));
    assert_eq!((second.namespaces.as_slice(), second.more), (&["b".to_owned()][..], false));
}

#[tokio::test]
async fn search_results_come_in_pages() {
    let registry = TestRegistry::start().await;
    for name in ["team/app", "team/app-two", "team/other"] {
        registry.repository(name).push_image("1").await;
    }
    let first = registry.get("/api/v1/search?q=app&n=1").await.is(200);
    let page: SearchResults = read(&first);
    assert_eq!((page.total, page.more, page.repositories.len()), (2, true, 1));
    let second: SearchResults = read(&registry.get(first.next_page().unwrap()).await.is(200).has_no("link"));
    assert_ne!(page.repositories[0].name, second.repositories[0].name);
    assert!(!second.more);
}

#[tokio::test]
async fn deleted_manifests_are_listed_and_restored() {
    let registry = with_accounts().await;
    let app = registry.repository("root/app").of(&Who::root());
    let path = "/api/v1/repositories/root/app/_trash";
    let (first, second) = (app.push_image("1").await, app.push_image("2").await);
    for image in [&first, &second] {
        app.delete(format_args!("manifests/{}", image.digest)).await.is(202);
    }
    let listed = registry.get_as(&Who::root(), &format!("{path}?n=1")).await.is(200);
    let page: Trash = read(&listed);
    assert_eq!((page.manifests[0].digest, page.more), (second.digest, true));
    assert_eq!(page.manifests[0].account.as_deref(), Some("root"));
    let page: Trash = read(&registry.get_as(&Who::root(), &listed.next_page().unwrap()).await.is(200));
    assert_eq!((page.manifests[0].digest, page.more), (first.digest, false));
    let restore = json!({ "digest": first.digest });
    let answer = registry.send_as(&Who::root(), Method::POST, path, &restore).await.is(200);
    let restored: RestoredManifests = read(&answer);
    assert_eq!(restored.manifests, [first.digest]);
    assert_eq!(app.tags().await, ["1"]);
    registry.send_as(&Who::root(), Method::POST, path, &restore).await.fails(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn settings_are_for_administrators() {
    let registry = with_accounts().await;
    registry.get("/api/v1/settings").await.fails(401, "UNAUTHORIZED");
    let settings: Settings = read(&registry.get_as(&Who::root(), "/api/v1/settings").await.is(200));
    assert_eq!(settings.certificate, None);
}
