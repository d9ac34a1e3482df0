//! `/api/v1/` for repositories: the interface of the commands.

mod conditional;
mod gc;
mod lists;
mod pulls;

use api::{Repositories, Repository, RepositoryUsages, Tags, Usage};

use crate::harness::{Answer, OCI_INDEX, OCI_MANIFEST, TestRegistry, index_manifest};

fn read<T: serde::de::DeserializeOwned>(answer: &Answer) -> T {
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn api_repositories_come_in_pages() {
    let registry = TestRegistry::start().await;
    for name in ["app", "app/x", "b"] {
        registry.repository(name).push_image("1").await;
    }
    let first = registry.get("/api/v1/repositories?n=2").await.is(200);
    let page: Repositories = read(&first);
    assert!(page.more);
    assert_eq!(
        page.repositories.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(),
        ["app", "app/x"]
    );
    assert_eq!((page.repositories[0].tags, page.repositories[0].manifests), (Some(1), Some(1)));
    assert!(page.repositories[0].bytes > Some(3000) && page.repositories[0].updated_at > Some(1_700_000_000));
    let second: Repositories = read(&registry.get(first.next_page().unwrap()).await.is(200).has_no("link"));
    assert!(!second.more);
    assert_eq!(second.repositories[0].name.as_str(), "b");
    registry.get("/api/v1/repositories?n=x").await.fails(400, "UNSUPPORTED");
}

#[tokio::test]
async fn api_repository_is_shown_and_deleted() {
    let registry = TestRegistry::start().await;
    let (app, other) = (registry.repository("team/app"), registry.repository("team/app/other"));
    let image = app.push_image("1").await;
    other.push_image("1").await;
    // Fetched before, so that the cache has the tag.
    app.get("manifests/1").await.is(200);
    app.get(format_args!("blobs/{}", image.blobs[0].0)).await.is(200);
    let found: Repository = read(&registry.get("/api/v1/repositories/team/app").await.is(200));
    assert_eq!((found.name.as_str(), found.tags), ("team/app", Some(1)));
    registry.delete("/api/v1/repositories/team/app").await.is(202);
    registry.get("/api/v1/repositories/team/app").await.fails(404, "NAME_UNKNOWN");
    registry.delete("/api/v1/repositories/team/app").await.fails(404, "NAME_UNKNOWN");
    app.get("manifests/1").await.fails(404, "NAME_UNKNOWN");
    app.get(format_args!("manifests/{}", image.digest)).await.fails(404, "NAME_UNKNOWN");
    app.get(format_args!("blobs/{}", image.blobs[0].0)).await.fails(404, "BLOB_UNKNOWN");
    other.get("manifests/1").await.is(200);
}

#[tokio::test]
async fn api_tags_list_their_targets() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("team");
    let image = app.push_image("1").await;
    let fallback = image.digest.referrers_tag();
    app.put_manifest_as(&fallback, OCI_INDEX, index_manifest(&[]).to_string()).await.is(201);
    let tags: Tags = read(&registry.get("/api/v1/repositories/team/_tags").await.is(200));
    assert_eq!(tags.tags.len(), 1);
    assert_eq!((tags.tags[0].tag.as_str(), tags.tags[0].digest), ("1", image.digest));
    assert_eq!(tags.tags[0].size, image.manifest.len() as u64);
    let first = registry.get("/api/v1/repositories/team/_tags?all=true&n=1").await.is(200);
    let next = first.next_page().unwrap();
    let second: Tags = read(&registry.get(next).await.is(200));
    assert_eq!(second.tags[0].tag.as_str(), fallback);
    registry.get("/api/v1/repositories/team/_tags?all=perhaps").await.fails(400, "UNSUPPORTED");
    registry.get("/api/v1/repositories/nowhere/_tags").await.fails(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn api_usage_counts_the_stored_bytes() {
    let registry = TestRegistry::start().await;
    let before: Usage = read(&registry.get("/api/v1/usage").await.is(200));
    assert_eq!((before.repositories, before.blobs, before.bytes), (0, 0, 0));
    let image = registry.repository("app").push_image("1").await;
    let after: Usage = read(&registry.get("/api/v1/usage").await.is(200));
    let bytes = image.blobs.iter().map(|(_, content)| content.len()).sum::<usize>() + image.manifest.len();
    assert_eq!((after.repositories, after.blobs, after.bytes), (1, 4, bytes as u64));
}

#[tokio::test]
async fn api_usage_separates_own_and_shared_space() {
    let registry = TestRegistry::start().await;
    let image = registry.repository("app").push_image("1").await;
    let copy = registry.repository("copy");
    for (digest, _) in &image.blobs {
        registry.post(copy.path(format_args!("blobs/uploads/?mount={digest}&from=app"))).await.is(201);
    }
    copy.put_manifest_as("1", OCI_MANIFEST, image.manifest.clone()).await.is(201);
    registry.repository("own").push_image("1").await;
    let first = registry.get("/api/v1/usage/repositories?n=2").await.is(200);
    let page: RepositoryUsages = read(&first);
    assert!(page.more);
    for (usage, name) in page.repositories.iter().zip(["app", "copy"]) {
        assert_eq!((usage.name.as_str(), usage.own_bytes), (name, 0));
        assert!(usage.bytes > 3000);
    }
    let rest: RepositoryUsages = read(&registry.get(first.next_page().unwrap()).await.is(200).has_no("link"));
    assert!(!rest.more);
    assert_eq!((rest.repositories[0].name.as_str(), rest.repositories.len()), ("own", 1));
    assert_eq!(rest.repositories[0].own_bytes, rest.repositories[0].bytes);
}
