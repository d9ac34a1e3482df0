//! `/v2/_catalog`.

use crate::harness::{Answer, TestRegistry};

async fn walk(registry: &TestRegistry, start: &str) -> (Vec<String>, usize) {
    let (mut names, mut pages) = (Vec::new(), 0);
    let mut page = Some(start.to_owned());
    while let Some(address) = page {
        let answer: Answer = registry.get(address).await.is(200);
        names.extend(answer.list("repositories"));
        pages += 1;
        page = answer.next_page();
    }
    (names, pages)
}

#[tokio::test]
async fn catalog_of_empty_registry_is_empty() {
    let registry = TestRegistry::start().await;
    registry.get("/v2/_catalog").await.is(200).has_no("link").carries("{\"repositories\":[]}");
}

#[tokio::test]
async fn catalog_pages_cover_every_repository() {
    let registry = TestRegistry::start().await;
    let mut names = ["app", "app-x", "app/x", "app.x", "app0", "b", "a/b/c", "official/ubuntu", "tags/list"];
    for name in names {
        registry.repository(name).push_image("1").await;
    }
    names.sort_unstable();
    let count = names.len();
    for (n, pages) in [(1, count), (2, count.div_ceil(2)), (4, 3), (count, 1), (100, 1)] {
        assert_eq!(
            walk(&registry, &format!("/v2/_catalog?n={n}")).await,
            (names.map(str::to_owned).to_vec(), pages)
        );
    }
    let after = registry.get("/v2/_catalog?last=app").await.is(200).list("repositories");
    assert_eq!(after, names.iter().copied().filter(|name| *name > "app").collect::<Vec<_>>());
    let link = registry.get("/v2/_catalog?n=1").await.is(200).header("link").unwrap().to_owned();
    assert_eq!(link, "</v2/_catalog?n=1&last=a%2Fb%2Fc>; rel=\"next\"");
}

#[tokio::test]
async fn list_page_size_is_bounded_and_checked() {
    let registry = TestRegistry::start_with(|config| config.limits.page_entries = 2).await;
    for name in ["a", "b", "c"] {
        registry.repository(name).push_image("1").await;
    }
    for query in ["", "?n=1000000000", "?n=18446744073709551615", "?n=99999999999999999999999999"] {
        let answer = registry.get(format_args!("/v2/_catalog{query}")).await.is(200);
        assert_eq!(answer.list("repositories"), ["a", "b"]);
        assert!(answer.next_page().is_some());
    }
    registry.get("/v2/_catalog?n=0").await.is(200).has_no("link").carries("{\"repositories\":[]}");
    for n in ["-1", "x", "", "1.5"] {
        registry.get(format_args!("/v2/_catalog?n={n}")).await.fails(400, "UNSUPPORTED");
    }
}

#[tokio::test]
async fn catalog_lists_repositories_with_manifests() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    app.push_blob("x").await;
    registry.get("/v2/_catalog").await.is(200).carries("{\"repositories\":[]}");
    let digest = app.push_image("1").await.digest;
    registry.get("/v2/_catalog").await.is(200).carries("{\"repositories\":[\"app\"]}");
    app.delete(format_args!("manifests/{digest}")).await.is(202);
    registry.get("/v2/_catalog").await.is(200).carries("{\"repositories\":[]}");
}
