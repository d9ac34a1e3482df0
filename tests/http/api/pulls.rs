//! Pull counts in `/api/v1/`: which requests count, and where the counts are shown.

use api::{ManifestEntry, Tags};

use super::read;
use crate::harness::{OCI_INDEX, TestRegistry, index_manifest};

async fn tag(registry: &TestRegistry, name: &str) -> api::TagEntry {
    let tags: Tags = read(&registry.get("/api/v1/repositories/app/_tags").await.is(200));
    tags.tags.into_iter().find(|entry| entry.tag.as_str() == name).unwrap()
}

async fn manifest(registry: &TestRegistry, reference: impl std::fmt::Display) -> ManifestEntry {
    read(&registry.get(format!("/api/v1/repositories/app/_manifests/{reference}")).await.is(200))
}

#[tokio::test]
async fn pulls_count_get_requests_of_manifests() {
    for cache in [0, 1 << 20] {
        let mut registry = TestRegistry::start_with(|config| config.cache.manifest_bytes = cache).await;
        let app = registry.repository("app");
        let image = app.push_image("1").await;
        assert_eq!((tag(&registry, "1").await.pulls, tag(&registry, "1").await.pulled_at), (0, None));
        for _ in 0..3 {
            app.get("manifests/1").await.is(200);
        }
        app.get(format_args!("manifests/{}", image.digest)).await.is(200);
        app.get("manifests/2").await.is(404);
        let shown = tag(&registry, "1").await;
        assert_eq!(shown.pulls, 3, "cache of {cache} bytes");
        assert!(shown.pulled_at >= Some(shown.updated_at));
        let by_digest = manifest(&registry, &image.digest).await;
        assert_eq!((by_digest.pulls, by_digest.tags.len()), (4, 1));
        assert_eq!(manifest(&registry, "1").await, by_digest);

        // The counts are written at the end, and pulls after the start are added.
        registry.restart().await;
        registry.repository("app").get("manifests/1").await.is(200);
        assert_eq!((tag(&registry, "1").await.pulls, manifest(&registry, "1").await.pulls), (4, 5));
        assert!(tag(&registry, "1").await.pulled_at >= shown.pulled_at);
        registry.get("/api/v1/repositories/app/_manifests/2").await.fails(404, "MANIFEST_UNKNOWN");
        registry.get("/api/v1/repositories/gone/_manifests/2").await.fails(404, "NAME_UNKNOWN");
    }
}

/// docker and containerd resolve a tag by HEAD, and pull its manifest by digest, unless they have it.
#[tokio::test]
async fn head_of_a_tag_is_a_use_and_no_pull() {
    for cache in [0, 1 << 20] {
        let registry = TestRegistry::start_with(|config| config.cache.manifest_bytes = cache).await;
        let app = registry.repository("app");
        let image = app.push_image("1").await;
        app.head("manifests/1").await.is(200);
        let used = tag(&registry, "1").await;
        assert_eq!(used.pulls, 0, "cache of {cache} bytes");
        assert!(used.pulled_at >= Some(used.updated_at));
        assert_eq!(manifest(&registry, "1").await.pulled_at, used.pulled_at);
        for _ in 0..2 {
            app.get(format_args!("manifests/{}", image.digest)).await.is(200);
        }
        let pulls = (tag(&registry, "1").await.pulls, manifest(&registry, "1").await.pulls);
        assert_eq!(pulls, (1, 2), "the second pull was not preceded by a HEAD");
    }
}

#[tokio::test]
async fn pull_of_an_index_counts_its_images_apart() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let image = app.push_image("1").await;
    let index = index_manifest(&[image.part()]);
    app.put_manifest_as("multi", OCI_INDEX, index.to_string()).await.is(201);
    app.get("manifests/multi").await.is(200);
    assert_eq!(manifest(&registry, &image.digest).await.pulls, 0);
    app.get(format_args!("manifests/{}", image.digest)).await.is(200);
    let child = manifest(&registry, &image.digest).await;
    assert_eq!((child.pulls, tag(&registry, "1").await.pulls), (1, 0), "no tag was asked for");
    assert_eq!(manifest(&registry, "multi").await.pulls, 1);
}

#[tokio::test]
async fn moved_tag_keeps_its_pulls() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let first = app.push_image("latest").await;
    app.get("manifests/latest").await.is(200);
    app.push_image("latest").await;
    app.get("manifests/latest").await.is(200);
    assert_eq!(tag(&registry, "latest").await.pulls, 2);
    assert_eq!(manifest(&registry, "latest").await.pulls, 1);
    let first = manifest(&registry, &first.digest).await;
    assert_eq!((first.pulls, first.tags.len()), (1, 0));
}
