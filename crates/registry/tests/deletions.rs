//! Deletions that nobody waits for to the end, as when a client hangs up: what was deleted does not come back
//! from memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixture;

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use oci::{Algorithm, RepositoryName, TagOrDigest};
use registry::manifests::Push;
use registry::{Error, Registry};
use tempfile::TempDir;

const CONFIG: &[u8] = b"{}";

struct Fixture {
    registry: Registry,
    app: RepositoryName,
    tag: TagOrDigest,
    _scratch: TempDir,
}

impl Fixture {
    /// A registry with one image, whose manifest, tag, list of tags and config are in memory.
    async fn new() -> Self {
        let scratch = TempDir::new().unwrap();
        let (registry, app) = (fixture::open(&scratch).await, "team/app".parse().unwrap());
        let fixture = Self { registry, app, tag: TagOrDigest::Tag("1".parse().unwrap()), _scratch: scratch };
        let config = Algorithm::Sha256.digest(CONFIG);
        let body = stream::iter([Ok(Bytes::from_static(CONFIG))]);
        fixture.registry.upload_blob(&fixture.app, config, body).await.unwrap();
        let content = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json",
            "digest":"{config}","size":2}},"layers":[]}}"#,
            media_type = oci::media_type::OCI_MANIFEST
        );
        let push = Push {
            repository: fixture.app.clone(),
            target: fixture.tag.clone(),
            content_type: None,
            content: content.into(),
            tags: Vec::new(),
        };
        fixture.registry.put_manifest(push).await.unwrap();
        fixture.registry.manifest(&fixture.app, &fixture.tag).await.unwrap();
        fixture.registry.blob_size(&fixture.app, &config).await.unwrap();
        assert_eq!(fixture.registry.tags(&fixture.app, None, 10).await.unwrap().len(), 1);
        fixture
    }

    /// Waits until `gone` is true.
    async fn until(&self, gone: impl AsyncFn(&Registry) -> bool) {
        let waiting = async {
            while !gone(&self.registry).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it comes back from memory");
    }
}

/// Begins it, and does not wait for its end.
async fn give_up<T>(deletion: impl Future<Output = T>) {
    let mut deletion = Box::pin(deletion);
    assert!(futures_util::poll!(&mut deletion).is_pending(), "a deletion is synced, which takes time");
}

#[tokio::test]
async fn a_tag() {
    let fixture = Fixture::new().await;
    let Fixture { registry, app, tag, .. } = &fixture;
    give_up(registry.delete_manifest(app, tag)).await;
    fixture
        .until(async |registry| {
            let manifest = registry.manifest(app, tag).await;
            matches!(manifest, Err(Error::ManifestUnknown { .. }))
                && registry.tags(app, None, 10).await.unwrap().is_empty()
        })
        .await;
    registry.close().await;
}

#[tokio::test]
async fn a_manifest() {
    let fixture = Fixture::new().await;
    let Fixture { registry, app, tag, .. } = &fixture;
    let digest = TagOrDigest::Digest(registry.manifest(app, tag).await.unwrap().record.digest);
    give_up(registry.delete_manifest(app, &digest)).await;
    fixture
        .until(async |registry| {
            registry.manifest(app, tag).await.is_err()
                && registry.manifest(app, &digest).await.is_err()
                && registry.tags(app, None, 10).await.unwrap().is_empty()
        })
        .await;
    registry.close().await;
}

#[tokio::test]
async fn a_blob() {
    let fixture = Fixture::new().await;
    let Fixture { registry, app, .. } = &fixture;
    let config = Algorithm::Sha256.digest(CONFIG);
    give_up(registry.delete_blob(app, &config)).await;
    fixture.until(async |registry| registry.blob_size(app, &config).await.is_err()).await;
    registry.close().await;
}

#[tokio::test]
async fn a_repository() {
    let fixture = Fixture::new().await;
    let Fixture { registry, app, tag, .. } = &fixture;
    give_up(registry.delete_repository(app)).await;
    fixture
        .until(async |registry| {
            matches!(registry.manifest(app, tag).await, Err(Error::NameUnknown(_)))
                && registry.tags(app, None, 10).await.is_err()
        })
        .await;
    registry.close().await;
}
