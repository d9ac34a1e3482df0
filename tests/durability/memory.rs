//! Bounded memory: transfers, passwords and unfinished manifests do not make anonymous memory grow.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use oci::{Algorithm, Digest, Digester};
use reqwest::{Body, Client, StatusCode};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::client::client;
use crate::pusher;
use crate::random;
use crate::server::Server;

const MIB: usize = 1024 * 1024;
/// The limit of the server's anonymous memory.
const LIMIT_KIB: u64 = 32 * 1024;

/// 32 uploads and 32 downloads at once of 16 MiB each in the ordinary run;
/// `WHARFINGER_TRANSFER_MIB=512 cargo test --release --test durability memory` makes the long one.
#[test]
fn parallel_transfers_use_bounded_memory() {
    let mib = std::env::var("WHARFINGER_TRANSFER_MIB").map_or(16, |n| n.parse().expect("a number of MiB"));
    let scratch = TempDir::new().unwrap();
    let server = Server::start(&scratch.path().join("data"), &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let idle = anonymous_kib(server.pid());
    let peak = watch(server.pid());
    runtime.block_on(async {
        // The long run takes minutes.
        let timeout = Duration::from_secs(60 * 60);
        let client = Client::builder().pool_max_idle_per_host(0).timeout(timeout).build().unwrap();
        let stored = upload(&client, &server.url(), 1000, mib).await;
        let mut transfers = tokio::task::JoinSet::new();
        for number in 0..32 {
            let (http, url) = (client.clone(), server.url());
            transfers.spawn(async move {
                upload(&http, &url, number, mib).await;
            });
            let (http, url) = (client.clone(), server.url());
            transfers.spawn(async move { download(&http, &url, &stored, mib).await });
        }
        while let Some(transfer) = transfers.join_next().await {
            transfer.unwrap();
        }
    });
    let peak = peak.stop();
    server.stop();
    println!("RssAnon: {idle} KiB idle, at most {peak} KiB with 32 uploads and 32 downloads of {mib} MiB");
    assert!(peak < LIMIT_KIB, "RssAnon rose to {peak} KiB");
}

/// Hashing a password takes 19 MiB, which are reused or returned to the system.
#[test]
fn password_hashing_returns_its_memory() {
    let scratch = TempDir::new().unwrap();
    let password = scratch.path().join("password");
    fs::write(&password, "correct horse battery").unwrap();
    let admin = ["--admin", "ann", "--admin-password-file", password.to_str().unwrap()];
    let server = Server::start(&scratch.path().join("data"), &admin);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = client();
        // Fewer attempts than the login throttle allows.
        for round in 0..8 {
            let mut attempts = tokio::task::JoinSet::new();
            for number in 0..4 {
                let request = client.get(format!("{}/v2/", server.url()));
                attempts.spawn(request.basic_auth(format!("nobody-{round}-{number}"), Some("wrong")).send());
            }
            while let Some(attempt) = attempts.join_next().await {
                assert_eq!(attempt.unwrap().unwrap().status(), StatusCode::UNAUTHORIZED);
            }
        }
    });
    let after = anonymous_kib(server.pid());
    server.stop();
    println!("RssAnon: {after} KiB after 32 passwords");
    assert!(after < LIMIT_KIB, "RssAnon is {after} KiB after 32 passwords");
}

/// A manifest is buffered whole, within a memory budget for all clients.
#[test]
fn unfinished_manifests_use_bounded_memory() {
    const MANIFEST: usize = 8 * MIB;
    const HOLDERS: u32 = 60;
    let scratch = TempDir::new().unwrap();
    let server = Server::start(&scratch.path().join("data"), &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = server.url().trim_start_matches("http://").to_owned();
    let peak = watch(server.pid());
    runtime.block_on(async {
        let body = Arc::new(vec![b' '; MANIFEST - 1]);
        let mut holders = tokio::task::JoinSet::new();
        let begun = Arc::new(Semaphore::new(0));
        for _ in 0..HOLDERS {
            let (address, body, begun) = (address.clone(), body.clone(), begun.clone());
            holders.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let head = format!(
                    "PUT /v2/team/app/manifests/1 HTTP/1.1\r\nhost: x\r\ncontent-length: {MANIFEST}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                begun.add_permits(1);
                // The server may answer 503 and close the connection before it has received everything.
                let _ = stream.write_all(&body).await;
                stream
            });
        }
        let _begun = begun.acquire_many(HOLDERS).await.unwrap();
        let (client, url) = (client(), server.url());
        let pushed = tokio::time::timeout(Duration::from_secs(20), pusher::push_image(&client, &url, 1));
        pushed.await.expect("others push meanwhile").unwrap();
        holders.abort_all();
        while holders.join_next().await.is_some() {}
        for _ in 0..100 {
            if anonymous_kib(server.pid()) < LIMIT_KIB {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let peak = peak.stop();
    let after = anonymous_kib(server.pid());
    server.stop();
    println!(
        "RssAnon: at most {peak} KiB with {HOLDERS} unfinished manifests of 8 MiB, {after} KiB afterwards"
    );
    assert!(peak < 2 * LIMIT_KIB, "RssAnon rose to {peak} KiB");
    assert!(after < LIMIT_KIB, "RssAnon is {after} KiB afterwards");
}

/// Yields the bytes of a large blob as they are sent.
fn pieces(seed: u64, mib: usize) -> impl Iterator<Item = Bytes> {
    let block = random::content(seed, MIB);
    (0..mib as u64).map(move |number| {
        let mut block = block.clone();
        block[..8].copy_from_slice(&number.to_le_bytes());
        Bytes::from(block)
    })
}

async fn upload(http: &Client, url: &str, seed: u64, mib: usize) -> Digest {
    let mut digester = Digester::new(Algorithm::Sha256);
    pieces(seed, mib).for_each(|piece| digester.update(&piece));
    let digest = digester.finish();
    let begun = http.post(format!("{url}/v2/team/large/blobs/uploads/")).send().await.unwrap();
    let location = pusher::expect(&begun, StatusCode::ACCEPTED).unwrap();
    let body = futures_util::stream::iter(pieces(seed, mib).map(Ok::<_, std::io::Error>));
    let put = http.put(format!("{url}{location}?digest={digest}")).body(Body::wrap_stream(body)).send();
    pusher::expect(&put.await.unwrap(), StatusCode::CREATED).unwrap();
    digest
}

async fn download(http: &Client, url: &str, digest: &Digest, mib: usize) {
    let got = http.get(format!("{url}/v2/team/large/blobs/{digest}")).send().await.unwrap();
    assert_eq!(got.status(), StatusCode::OK);
    let mut received = 0;
    let mut stream = got.bytes_stream();
    while let Some(piece) = stream.next().await {
        received += piece.unwrap().len();
    }
    assert_eq!(received, mib * MIB);
}

/// Samples the memory of a process on a separate thread.
struct Watch {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

fn watch(pid: u32) -> Watch {
    let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let thread = std::thread::spawn({
        let (stop, peak) = (stop.clone(), peak.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_kib(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    Watch { stop, peak, thread }
}

impl Watch {
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.peak.load(Ordering::Relaxed)
    }
}

/// Returns RssAnon of a process, in KiB.
fn anonymous_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
