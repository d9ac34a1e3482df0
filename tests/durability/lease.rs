//! A push across a restart: the blobs that the registry has promised by HEAD are kept until the manifest
//! arrives.

use std::path::Path;
use std::time::{Duration, Instant};

use oci::{Algorithm, Digest, media_type};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::client;
use crate::faults::{Control, preloaded};
use crate::server::Server;

const SETTINGS: &str = "[registry]\nupload_expiry = \"1h\"\n[gc]\ngrace = 0\ninterval = \"1s\"\n";
const HOUR: i64 = 60 * 60;
/// More than the time for which a blob is kept for a push.
const LEASE: i64 = 11 * 60;

async fn upload(http: &Client, url: &str, content: &str) -> Digest {
    let digest = Algorithm::Sha256.digest(content.as_bytes());
    let upload = format!("{url}/v2/team/app/blobs/uploads/?digest={digest}");
    let pushed = http.post(upload).body(content.to_owned()).send().await.unwrap();
    assert_eq!(pushed.status(), StatusCode::CREATED);
    digest
}

/// The status of a blob by GET, which promises nothing.
async fn status(http: &Client, url: &str, digest: &Digest) -> StatusCode {
    http.get(format!("{url}/v2/team/app/blobs/{digest}")).send().await.unwrap().status()
}

/// Waits for the end of a collection in the background that began after the call.
async fn collected(http: &Client, url: &str) {
    let begun = Instant::now();
    let mut ends = std::collections::BTreeSet::new();
    // The second of two ends belongs to a collection that began later.
    while ends.len() < 3 {
        let told = http.get(format!("{url}/api/v1/gc")).send().await.unwrap().json::<Value>().await.unwrap();
        ends.insert(told["last_at"].as_u64());
        assert!(begun.elapsed().as_secs() < 120, "no collection: {told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn start(command: &[String], data: &Path, settings: &Path) -> Server {
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    Server::start_as(&command, data, &["--config", settings.to_str().unwrap()])
}

#[tokio::test]
async fn promised_blob_survives_a_restart() {
    let scratch = TempDir::new().unwrap();
    let (data, settings) = (scratch.path().join("data"), scratch.path().join("wharfinger.toml"));
    std::fs::write(&settings, SETTINGS).unwrap();
    let control = Control::new(scratch.path().join("control"), 1);
    let command = preloaded(scratch.path(), &control, &data);
    let server = start(&command, &data, &settings);
    let (http, url) = (client(), server.url());
    let config = upload(&http, &url, "{}").await;
    let abandoned = upload(&http, &url, "nobody needs this").await;
    let head = http.head(format!("{url}/v2/team/app/blobs/{config}")).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    server.kill();

    // Both are older now than uploads are kept.
    control.set_clock(2 * HOUR);
    let server = start(&command, &data, &settings);
    let url = server.url();
    collected(&http, &url).await;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{config}","size":2}},"layers":[]}}"#,
        media_type::OCI_MANIFEST,
        media_type::OCI_CONFIG,
    );
    let put = http.put(format!("{url}/v2/team/app/manifests/1"));
    let put = put.header("content-type", media_type::OCI_MANIFEST).body(manifest).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::CREATED, "{}", put.text().await.unwrap());
    assert_eq!(status(&http, &url, &abandoned).await, StatusCode::OK, "it may have been promised as well");

    control.set_clock(2 * HOUR + LEASE);
    let begun = Instant::now();
    while status(&http, &url, &abandoned).await != StatusCode::NOT_FOUND {
        assert!(begun.elapsed().as_secs() < 120, "the collection in the background leaves it");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status(&http, &url, &config).await, StatusCode::OK);

    // A person who orders a collection does not wait.
    let abandoned = upload(&http, &url, "nor this").await;
    server.kill();
    control.set_clock(5 * HOUR);
    let server = start(&command, &data, &settings);
    let url = server.url();
    collected(&http, &url).await;
    assert_eq!(status(&http, &url, &abandoned).await, StatusCode::OK);
    let ordered = http.post(format!("{url}/api/v1/gc")).send().await.unwrap();
    assert!(ordered.text().await.unwrap().contains("report"));
    assert_eq!(status(&http, &url, &abandoned).await, StatusCode::NOT_FOUND);
    server.stop();
}
