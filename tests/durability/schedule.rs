//! Schedules in the syntax of cron, with a clock that the test moves.

use std::time::{Duration, Instant, SystemTime};

use oci::{Algorithm, media_type};
use reqwest::{Client, StatusCode};
use tempfile::TempDir;

use crate::client::client;
use crate::faults::{Control, preloaded};
use crate::server::Server;

const SETTINGS: &str = r#"
retention_schedule = "30 4 * * *"
retention_minimum_age = "0s"

[[retention]]
repositories = "team/**"
tags = "*"
keep_newest = 1
"#;
const DAY: u64 = 24 * 60 * 60;

async fn push(http: &Client, url: &str, tag: &str) {
    let config = format!("{{\"tag\":\"{tag}\"}}");
    let digest = Algorithm::Sha256.digest(config.as_bytes());
    let upload = format!("{url}/v2/team/app/blobs/uploads/?digest={digest}");
    let size = config.len();
    assert_eq!(http.post(upload).body(config).send().await.unwrap().status(), StatusCode::CREATED);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{digest}","size":{size}}},"layers":[]}}"#,
        media_type::OCI_MANIFEST,
        media_type::OCI_CONFIG,
    );
    let put = http.put(format!("{url}/v2/team/app/manifests/{tag}"));
    let put = put.header("content-type", media_type::OCI_MANIFEST).body(manifest);
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
}

async fn tags(http: &Client, url: &str) -> serde_json::Value {
    let listed = http.get(format!("{url}/v2/team/app/tags/list")).send().await.unwrap();
    listed.json::<serde_json::Value>().await.unwrap()["tags"].clone()
}

#[tokio::test]
async fn retention_runs_at_the_time_of_its_schedule() {
    let scratch = TempDir::new().unwrap();
    let (data, settings) = (scratch.path().join("data"), scratch.path().join("wharfinger.toml"));
    std::fs::write(&settings, SETTINGS).unwrap();
    let control = Control::new(scratch.path().join("control"), 1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    // Tomorrow at 04:00 in UTC, the time zone of schedules.
    let ahead = i64::try_from(now / DAY * DAY + DAY + 4 * 60 * 60 - now).unwrap();
    control.set_clock(ahead);
    let command = preloaded(scratch.path(), &control, &data);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let server = Server::start_as(&command, &data, &["--config", settings.to_str().unwrap()]);
    let (http, url) = (client(), server.url());
    for tag in ["1", "2", "3"] {
        push(&http, &url, tag).await;
    }
    // The server looks at the clock at least every 30 s. Before the time, it finds nothing to do.
    control.set_clock(ahead + 29 * 60);
    assert_eq!(tags(&http, &url).await, serde_json::json!(["1", "2", "3"]));
    control.set_clock(ahead + 31 * 60);
    let begun = Instant::now();
    while tags(&http, &url).await != serde_json::json!(["3"]) {
        assert!(begun.elapsed().as_secs() < 120, "{}", tags(&http, &url).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop();
}
