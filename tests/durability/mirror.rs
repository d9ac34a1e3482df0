//! The pull-through cache when it is killed in the middle of a fill, and when its disk is full.

use std::path::Path;

use oci::{Algorithm, Digest};
use reqwest::Client;
use tempfile::TempDir;

use crate::client::client;
use crate::full_disk::{MIB, SmallDisk};
use crate::random;
use crate::server::Server;

/// Pushes a blob to the upstream and returns its bytes and digest.
async fn push(upstream: &Server, seed: u64, size: usize) -> (Vec<u8>, Digest) {
    let content = random::content(seed, size);
    let digest = Algorithm::Sha256.digest(&content);
    let url = format!("{}/v2/app/blobs/uploads/?digest={digest}", upstream.url());
    let pushed = client().post(url).body(content.clone()).send().await.unwrap();
    assert_eq!(pushed.status(), 201);
    (content, digest)
}

fn uploads(data: &Path) -> usize {
    std::fs::read_dir(data.join("wharfinger/uploads")).unwrap().count()
}

#[tokio::test]
async fn killed_fill_leaves_nothing_and_is_repeated() {
    let scratch = TempDir::new().unwrap();
    let upstream = Server::start(&scratch.path().join("upstream"), &[]);
    let (content, digest) = push(&upstream, 7, 32 * MIB).await;
    let data = scratch.path().join("data");
    let argument = format!("hub={}", upstream.url());
    for _ in 0..3 {
        let cache = Server::start(&data, &["--upstream", &argument]);
        let mut pull =
            client().get(format!("{}/v2/hub/app/blobs/{digest}", cache.url())).send().await.unwrap();
        // The fill is under way, and this client holds it up.
        pull.chunk().await.unwrap().expect("the first bytes");
        cache.kill();
        while let Ok(Some(_)) = pull.chunk().await {}
    }
    let cache = Server::start(&data, &["--upstream", &argument]);
    assert_eq!(uploads(&data), 0, "the start removes what a fill left");
    let url = format!("{}/v2/hub/app/blobs/{digest}", cache.url());
    let pulled = client().get(&url).send().await.unwrap().bytes().await.unwrap();
    assert!(pulled == content);
    upstream.stop();
    assert!(client().get(&url).send().await.unwrap().bytes().await.unwrap() == content);
    cache.stop();
}

#[tokio::test]
async fn full_disk_serves_clients_straight_through() {
    let scratch = TempDir::new().unwrap();
    let upstream = Server::start(&scratch.path().join("upstream"), &[]);
    let (content, digest) = push(&upstream, 8, 48 * MIB).await;
    let disk = SmallDisk::mount(32);
    let data = disk.path.join("data");
    let argument = format!("hub={}", upstream.url());
    let cache = Server::start(&data, &["--upstream", &argument]);
    let url = format!("{}/v2/hub/app/blobs/{digest}", cache.url());
    let free = disk.free();
    let pull = async || client().get(&url).send().await.unwrap().bytes().await.unwrap();
    let (first, second) = tokio::join!(pull(), pull());
    assert!(first == content && second == content);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while uploads(&data) > 0 {
        assert!(std::time::Instant::now() < deadline, "the partial file stays");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(disk.free() > free - MIB as u64, "nothing is kept");
    cache.stop();
    upstream.stop();
}

/// The sizes of a bounded cache: images of an upstream with one layer each, and the pulls of them.
struct Load {
    images: u64,
    layer: usize,
    pulls: u64,
    max_mib: usize,
}

/// The figures of a run.
#[derive(Debug)]
#[allow(dead_code, reason = "a run at full size prints them")]
struct Figures {
    pulled_bytes: u64,
    /// Requests of the clients: a manifest and a layer for each pull.
    requests: u64,
    seconds: f64,
    /// Requests of the cache for content, and the bytes that it received.
    fetches: u64,
    received_bytes: u64,
    eviction_runs: u64,
}

/// The value of a metric.
async fn metric(http: &Client, url: &str, name: &str) -> u64 {
    let metrics = http.get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

/// Pulls images through a bounded cache by 16 clients. A failed pull is a panic.
async fn pull_through(load: &Load) -> Figures {
    let scratch = TempDir::new().unwrap();
    let upstream = Server::start(&scratch.path().join("upstream"), &[]);
    let http = client();
    let mut images = Vec::new();
    for seed in 0..load.images {
        images.push(push_image(&http, &upstream, seed, load.layer).await);
    }
    let data = scratch.path().join("data");
    let argument = format!("hub={}", upstream.url());
    let limit = format!("{}MiB", load.max_mib);
    let settings = scratch.path().join("settings.toml");
    std::fs::write(&settings, format!("[cache]\nmax_bytes = \"{limit}\"\n")).unwrap();
    let cache = Server::start(&data, &["--upstream", &argument, "--config", settings.to_str().unwrap()]);
    let images = std::sync::Arc::new(images);
    let next = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut clients = tokio::task::JoinSet::new();
    let begun = std::time::Instant::now();
    for _ in 0..16 {
        let (url, images, next, pulls) = (cache.url(), images.clone(), next.clone(), load.pulls);
        clients.spawn(async move {
            let (http, mut bytes) = (client(), 0);
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= pulls {
                    return bytes;
                }
                // Some images are popular: of eight pulls, one is of the first four images.
                let count = images.len() as u64;
                let image = if number % 8 == 0 { number / 8 % 4 } else { number * 7 % count };
                bytes += pull(&http, &url, &images[usize::try_from(image).unwrap()]).await;
            }
        });
    }
    let mut bytes = 0;
    while let Some(pulled) = clients.join_next().await {
        bytes += pulled.unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let high = (load.max_mib * MIB) as u64 / 100 * 95;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while stored(&data.join("docker/registry/v2/blobs")) > high {
        assert!(std::time::Instant::now() < deadline, "the cache stays above its limit");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let value = async |name: &str| metric(&http, &cache.url(), &format!("wharfinger_{name}")).await;
    let figures = Figures {
        pulled_bytes: bytes,
        requests: 2 * load.pulls,
        seconds,
        fetches: value("upstream_requests_total{upstream=\"hub\",purpose=\"fetch\"}").await,
        received_bytes: value("upstream_received_bytes_total{upstream=\"hub\"}").await,
        eviction_runs: value("job_runs_total{kind=\"upstream-eviction\",result=\"succeeded\"}").await,
    };
    assert!(figures.fetches > 2 * load.images, "evicted images are fetched again: {figures:?}");
    cache.stop();
    upstream.stop();
    figures
}

/// Pushes an image of this seed as `app-SEED:1`, and returns its repository and its layer.
async fn push_image(http: &Client, upstream: &Server, seed: u64, size: usize) -> (String, Digest) {
    let repository = format!("app-{}", seed % 20);
    let mut parts = Vec::new();
    for content in [format!(r#"{{"seed":{seed}}}"#).into_bytes(), random::content(seed + 100, size)] {
        let digest = Algorithm::Sha256.digest(&content);
        let part = format!(r#""digest":"{digest}","size":{}"#, content.len());
        let url = format!("{}/v2/{repository}/blobs/uploads/?digest={digest}", upstream.url());
        assert_eq!(http.post(url).body(content).send().await.unwrap().status(), 201);
        parts.push((digest, part));
    }
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json",{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar",{}}}]}}"#,
        oci::media_type::OCI_MANIFEST,
        parts[0].1,
        parts[1].1
    );
    let url = format!("{}/v2/{repository}/manifests/{seed}", upstream.url());
    let put = http.put(url).header("content-type", oci::media_type::OCI_MANIFEST).body(manifest);
    assert_eq!(put.send().await.unwrap().status(), 201);
    (format!("{repository}/manifests/{seed}"), parts[1].0)
}

/// Pulls an image as a client does, and verifies its layer.
async fn pull(http: &Client, url: &str, (manifest, layer): &(String, Digest)) -> u64 {
    let address = format!("{url}/v2/hub/{manifest}");
    let answer = http.get(&address).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{address}");
    answer.bytes().await.unwrap();
    let repository = manifest.split('/').next().unwrap();
    let address = format!("{url}/v2/hub/{repository}/blobs/{layer}");
    let answer = http.get(&address).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{address}");
    let bytes = answer.bytes().await.unwrap_or_else(|error| panic!("{address}: {error}"));
    assert_eq!(layer.algorithm().digest(&bytes), *layer, "{address}");
    bytes.len() as u64
}

/// The bytes of all files below a directory.
fn stored(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => stored(&entry.path()),
        _ => entry.metadata().map_or(0, |metadata| metadata.len()),
    });
    sizes.sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounded_cache_fails_no_pull() {
    let load = Load { images: 60, layer: 2 * MIB, pulls: 300, max_mib: 24 };
    assert_eq!(pull_through(&load).await.pulled_bytes, 600 * MIB as u64);
}

/// 5 GiB through a cache of 200 MiB: `cargo test --release --test durability -- --ignored bounded_cache`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes minutes and 2 GiB of disk"]
async fn bounded_cache_of_200_mib_passes_5_gib() {
    let load = Load { images: 100, layer: 16 * MIB, pulls: 320, max_mib: 200 };
    let figures = pull_through(&load).await;
    println!("{figures:?}");
    assert_eq!(figures.pulled_bytes, 320 * 16 * MIB as u64);
}
