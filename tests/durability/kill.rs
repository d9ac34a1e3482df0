//! kill -9 at random moments: acknowledged images are complete afterwards, and
//! unacknowledged ones are complete or absent.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oci::{Algorithm, Digest};
use reqwest::Client;
use tempfile::TempDir;

use crate::client::client;
use crate::pusher::{self, Image};
use crate::random;
use crate::server::Server;

/// Rounds in the ordinary run. `WHARFINGER_KILLS=500 cargo test --test durability kill` makes a
/// long one.
const KILLS: u64 = 25;
const PUSHERS: u64 = 6;

#[test]
fn acknowledged_pushes_survive_random_kills() {
    let kills =
        std::env::var("WHARFINGER_KILLS").map_or(KILLS, |n| n.parse().expect("WHARFINGER_KILLS is a number"));
    let scratch = TempDir::new().unwrap();
    let data = scratch.path().join("data");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let next = Arc::new(AtomicU64::new(1));
    let acknowledged: Arc<Mutex<Vec<Image>>> = Arc::default();
    let mut checked = 0;
    // A client reads the system's certificates, which takes longer than some rounds.
    let http = client();
    let began = Instant::now();
    for round in 0..kills {
        let server = Server::start(&data, &[]);
        let url = server.url();
        // Checks images of earlier rounds, the newest always, because a kill threatens it most.
        let known = acknowledged.lock().unwrap().clone();
        let first = if round % 10 == 9 { 0 } else { checked };
        runtime.block_on(check(&url, &known[first..]));
        checked = known.len();
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|_| {
                runtime.spawn(push_until_it_fails(
                    http.clone(),
                    url.clone(),
                    next.clone(),
                    acknowledged.clone(),
                ))
            })
            .collect();
        // From before the first blob to some hundred images later.
        std::thread::sleep(Duration::from_millis(random::content(round, 1)[0].into()));
        server.kill();
        for pusher in pushers {
            runtime.block_on(pusher).unwrap();
        }
    }
    let server = Server::start(&data, &[]);
    let url = server.url();
    let known = acknowledged.lock().unwrap().clone();
    runtime.block_on(check(&url, &known));
    let begun = next.load(Ordering::SeqCst);
    let unacknowledged: Vec<Image> = (1..begun)
        .map(pusher::describe)
        .filter(|image| !known.iter().any(|known| known.tag == image.tag))
        .collect();
    runtime.block_on(check_whole_or_absent(&url, &unacknowledged));
    server.stop();
    every_blob_is_what_its_name_says(&data.join("docker/registry/v2/blobs/sha256"));
    assert!(!known.is_empty(), "no image was ever acknowledged");
    println!(
        "{kills} kills in {:?}: {} images acknowledged, all whole; {} not, none of them half there",
        began.elapsed(),
        known.len(),
        unacknowledged.len(),
    );
}

async fn push_until_it_fails(
    http: Client,
    url: String,
    next: Arc<AtomicU64>,
    acknowledged: Arc<Mutex<Vec<Image>>>,
) {
    loop {
        let seed = next.fetch_add(1, Ordering::SeqCst);
        match pusher::push_image(&http, &url, seed).await {
            Ok(image) => acknowledged.lock().unwrap().push(image),
            Err(_) => return,
        }
    }
}

async fn check(url: &str, images: &[Image]) {
    let http = client();
    for image in images {
        match pusher::fetch_image(&http, url, image).await {
            Ok(true) => {}
            Ok(false) => panic!("{}:{} was acknowledged and is missing", image.repository, image.tag),
            Err(error) => {
                panic!("{}:{} was acknowledged and is damaged: {error}", image.repository, image.tag)
            }
        }
    }
}

async fn check_whole_or_absent(url: &str, images: &[Image]) {
    let http = client();
    for image in images {
        if let Err(error) = pusher::fetch_image(&http, url, image).await {
            panic!("{}:{} was not acknowledged and is half there: {error}", image.repository, image.tag);
        }
    }
}

fn every_blob_is_what_its_name_says(algorithm: &Path) {
    let mut blobs = 0;
    for prefix in std::fs::read_dir(algorithm).unwrap() {
        for blob in std::fs::read_dir(prefix.unwrap().path()).unwrap() {
            let blob = blob.unwrap();
            let digest: Digest = format!("sha256:{}", blob.file_name().to_str().unwrap()).parse().unwrap();
            // A directory that was created just before the kill has no content, and is no blob.
            if let Ok(content) = std::fs::read(blob.path().join("data")) {
                assert_eq!(Algorithm::Sha256.digest(&content), digest);
                blobs += 1;
            }
        }
    }
    assert!(blobs > 0, "there is no blob in {}", algorithm.display());
}
