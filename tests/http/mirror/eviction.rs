//! A bounded cache: eviction of each upstream and of all, and content that cannot be kept.

use registry::Reserve;
use reqwest::Method;
use wharfinger::config::{PushChoice, Quota};

use super::{Mirrored, hub};
use crate::harness::{Part, Repository, TestRegistry, eventually, image_manifest, random};

/// Pushes an image with one layer of this size. Content of more than 64 KiB has its file at once.
async fn push(repository: &Repository<'_>, size: usize) -> oci::Digest {
    let layer = random(size);
    repository.push_blob("{}").await;
    let digest = repository.push_blob(layer.clone()).await;
    let manifest = image_manifest(&Part::config(b"{}"), &[Part::layer(&layer)]);
    repository.put_manifest("1", &manifest).await.is(201);
    digest
}

/// Pulls the image `1` with its layers.
async fn pull(repository: &Repository<'_>) {
    let manifest = repository.get("manifests/1").await.is(200).json();
    for layer in manifest["layers"].as_array().unwrap() {
        let digest: oci::Digest = layer["digest"].as_str().unwrap().parse().unwrap();
        let answer = repository.get(format_args!("blobs/{digest}")).await.is(200);
        assert_eq!(digest.algorithm().digest(&answer.body), digest);
    }
}

/// The bytes of all files of blobs.
fn stored(registry: &TestRegistry) -> u64 {
    let files = registry.blob_files();
    files.iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

#[tokio::test]
async fn eviction_keeps_the_limit_and_pulls_succeed() {
    let mirrored = Mirrored::start(|hub| {
        hub.max_bytes = Some(280_000);
        hub.keep = vec!["kept".parse().unwrap()];
        hub.push = PushChoice::Overlay;
    })
    .await;
    let pushed = push(&mirrored.cache.repository("hub/ours"), 70_000).await;
    for name in ["kept", "a", "b", "c", "d"] {
        push(&mirrored.upstream.repository(name), 70_000).await;
        pull(&mirrored.cache.repository(&format!("hub/{name}"))).await;
    }
    eventually("the cache is within its limit", async || stored(&mirrored.cache) <= 268_000).await;
    let fetched = mirrored.proxy.asked("/v2/kept/").len();
    pull(&mirrored.cache.repository("hub/kept")).await;
    assert_eq!(mirrored.proxy.asked("/v2/kept/").len(), fetched, "a pinned image stays");
    assert!(mirrored.cache.blob_file(&pushed).exists(), "a pushed image stays");
    // Evicted content is fetched again without anyone noticing.
    pull(&mirrored.cache.repository("hub/a")).await;
}

#[tokio::test]
async fn one_limit_applies_to_all_upstreams() {
    let upstream = TestRegistry::start().await;
    let url = format!("http://{}", upstream.address());
    let cache = TestRegistry::start_with(|config| {
        let other = wharfinger::config::Upstream::from_argument(&format!("other={url}")).unwrap();
        config.upstream = vec![hub(&url), other];
        config.cache.max_bytes = Some(280_000);
        config.cache.high_mark = 9_000;
        config.cache.low_mark = 6_000;
    })
    .await;
    let first = push(&upstream.repository("a"), 70_000).await;
    pull(&cache.repository("hub/a")).await;
    for name in ["b", "c", "d"] {
        push(&upstream.repository(name), 70_000).await;
        pull(&cache.repository(&format!("other/{name}"))).await;
    }
    // The least used image goes, whichever upstream it came from.
    eventually("it went down to the low mark", async || stored(&cache) <= 170_000).await;
    assert!(!cache.blob_file(&first).exists());
    pull(&cache.repository("hub/a")).await;
}

#[tokio::test]
async fn image_that_is_read_is_not_evicted() {
    // More than the kernel buffers for a client that does not read.
    const SIZE: usize = 40_000_000;
    let mirrored = Mirrored::start(|hub| hub.max_bytes = Some(44_000_000)).await;
    let read = push(&mirrored.upstream.repository("read"), SIZE).await;
    let cached = mirrored.cache.repository("hub/read");
    pull(&cached).await;
    let request = cached.request(Method::GET, format_args!("blobs/{read}"));
    let mut response = request.send().await.unwrap();
    let mut got = response.chunk().await.unwrap().expect("bytes").len();
    let mut others = Vec::new();
    for name in ["a", "b", "c"] {
        others.push(push(&mirrored.upstream.repository(name), 1_000_000).await);
        pull(&mirrored.cache.repository(&format!("hub/{name}"))).await;
    }
    eventually("the others are evicted", async || {
        others.iter().filter(|other| mirrored.cache.blob_file(other).exists()).count() < 2
    })
    .await;
    assert!(mirrored.cache.blob_file(&read).exists(), "it is being read");
    while let Some(piece) = response.chunk().await.unwrap() {
        got += piece.len();
    }
    assert_eq!(got, SIZE);
    drop(response);
    push(&mirrored.upstream.repository("d"), 2_000_000).await;
    eventually("it is evicted", async || {
        // The eviction of the others may still run, and take this one as well.
        pull(&mirrored.cache.repository("hub/d")).await;
        !mirrored.cache.blob_file(&read).exists()
    })
    .await;
}

#[tokio::test]
async fn layer_over_the_limit_is_passed_on() {
    let mirrored = Mirrored::start(|hub| hub.max_bytes = Some(100_000)).await;
    let large = push(&mirrored.upstream.repository("large"), 300_000).await;
    pull(&mirrored.cache.repository("hub/large")).await;
    assert!(!mirrored.cache.blob_file(&large).exists());
}

#[tokio::test]
async fn reserve_of_the_disk_passes_pulls_on() {
    let mirrored = Mirrored::configured(
        |_| crate::harness::Fault::None,
        |_| {},
        |config| config.storage.reserve = Reserve::Bytes(1 << 60),
    )
    .await;
    for size in [1_000, 300_000] {
        let name = format!("image-{size}");
        let layer = push(&mirrored.upstream.repository(&name), size).await;
        let cached = mirrored.cache.repository(&format!("hub/{name}"));
        pull(&cached).await;
        pull(&cached).await;
        assert!(!mirrored.cache.blob_file(&layer).exists());
    }
    assert_eq!(stored(&mirrored.cache), 0);
}

#[tokio::test]
async fn quota_passes_pulls_on() {
    let quota = Quota {
        repositories: Some("hub/**".parse().unwrap()),
        owner: None,
        each: false,
        bytes: Some(100_000),
        tags: None,
    };
    let mirrored =
        Mirrored::configured(|_| crate::harness::Fault::None, |_| {}, |config| config.quota = vec![quota])
            .await;
    let mut layers = Vec::new();
    for name in ["a", "b", "c"] {
        layers.push(push(&mirrored.upstream.repository(name), 70_000).await);
        pull(&mirrored.cache.repository(&format!("hub/{name}"))).await;
    }
    let kept = layers.iter().filter(|layer| mirrored.cache.blob_file(layer).exists()).count();
    assert_eq!(kept, 1, "the quota has room for one image");
}
