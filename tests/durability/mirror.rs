//! The pull-through cache when it is killed in the middle of a fill, and when its disk is full.

use std::path::Path;

use oci::{Algorithm, Digest};
use reqwest::Client;
use tempfile::TempDir;

use crate::full_disk::{MIB, SmallDisk};
use crate::pusher;
use crate::server::Server;

/// Pushes a blob to the upstream and returns its bytes and digest.
async fn push(upstream: &Server, seed: u64, size: usize) -> (Vec<u8>, Digest) {
    let content = pusher::content(seed, size);
    let digest = Algorithm::Sha256.digest(&content);
    let url = format!("{}/v2/app/blobs/uploads/?digest={digest}", upstream.url());
    let pushed = Client::new().post(url).body(content.clone()).send().await.unwrap();
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
            Client::new().get(format!("{}/v2/hub/app/blobs/{digest}", cache.url())).send().await.unwrap();
        // The fill is under way, and this client holds it up.
        pull.chunk().await.unwrap().expect("the first bytes");
        cache.kill();
        while let Ok(Some(_)) = pull.chunk().await {}
    }
    let cache = Server::start(&data, &["--upstream", &argument]);
    assert_eq!(uploads(&data), 0, "the start removes what a fill left");
    let url = format!("{}/v2/hub/app/blobs/{digest}", cache.url());
    let pulled = Client::new().get(&url).send().await.unwrap().bytes().await.unwrap();
    assert!(pulled == content);
    upstream.stop();
    assert!(Client::new().get(&url).send().await.unwrap().bytes().await.unwrap() == content);
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
    let pull = async || Client::new().get(&url).send().await.unwrap().bytes().await.unwrap();
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
