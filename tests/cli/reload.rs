//! `reload`: each kind of setting that a running server takes over.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::{Registry, pusher, run, success, text};

/// A deadline for a busy machine.
const LONG: Duration = Duration::from_secs(60);

impl Registry {
    fn push(&self, seed: u64) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(pusher::push_image(&reqwest::Client::new(), &self.url(), seed)).unwrap();
    }

    /// Has the server read other settings, all of which must be applied.
    fn reload(&self, settings: &str, applied: &[&str]) {
        fs::write(self.config(), settings).unwrap();
        let told = self.json("reload");
        assert_eq!(told["applied"], serde_json::json!(applied), "{told}");
        assert_eq!(told["needs_restart"], serde_json::json!([]), "{told}");
    }

    fn status(&self, path: &str) -> u16 {
        let url = format!("{}{path}", self.url());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async { reqwest::get(url).await.unwrap().status().as_u16() })
    }
}

impl Registry {
    fn body(&self, path: &str) -> String {
        let url = format!("{}{path}", self.url());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async { reqwest::get(url).await.unwrap().text().await.unwrap() })
    }
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn reload_applies_rules_on_tags_and_quotas() {
    let registry = Registry::configured("");
    let rules = "[[immutable]]\nrepositories = \"**\"\ntags = \"v*\"\n\
        [[protected]]\nrepositories = \"**\"\ntags = \"prod\"\n\
        [[quota]]\nrepositories = \"team/app-1\"\ntags = 2\n";
    registry.reload(rules, &["immutable", "protected", "quota"]);
    let refused = registry.refuses("rm team/app-1:v1", 1);
    assert!(refused.contains("immutable"), "{refused}");
    // The quota counts the tag from before.
    registry.says("tag team/app-1:v1 team/app-1:prod");
    let refused = registry.refuses("tag team/app-1:v1 team/app-1:more", 1);
    assert!(refused.contains("quota"), "{refused}");
    let usage = registry.json("du");
    assert_eq!(
        (&usage["quotas"][0]["tags"], &usage["quotas"][0]["max_tags"]),
        (&2.into(), &2.into()),
        "{usage}"
    );

    registry.reload("", &["immutable", "protected", "quota"]);
    registry.says("tag team/app-1:v1 team/app-1:more");
    registry.says("rm team/app-1:v1");
}

#[test]
fn reload_applies_retention_and_gc() {
    let registry = Registry::configured("[gc]\ngrace = \"1h\"\n");
    let rules = "retention_minimum_age = \"0s\"\nretention_schedule = \"0 4 * * *\"\n\
        [[retention]]\nrepositories = \"team/*\"\nkeep_newest = 0\n[gc]\ngrace = \"1h\"\n";
    registry.reload(rules, &["retention", "retention_schedule", "retention_minimum_age"]);
    assert_eq!(registry.json("retention preview")["deleted"][0]["tag"], "v1");
    registry.says("rm team/app-1:v1");
    assert_eq!(registry.json("gc")["kept"]["grace"], 3600);
    registry.reload(
        "[gc]\ngrace = 0\ninterval = \"1s\"\n",
        &["retention", "retention_schedule", "retention_minimum_age", "gc.interval", "gc.grace"],
    );
    // The task in the background has the new interval and grace period.
    let deleted = || registry.json("gc")["kept"]["deleted"]["manifests"] == 0;
    eventually("the collection in the background does not run", deleted);
}

#[test]
fn reload_applies_content_policy() {
    let registry = Registry::configured("");
    registry.reload(
        "[registry]\ndelete = false\n[limits]\nblob_bytes = 10\n",
        &["limits.blob_bytes", "registry.delete"],
    );
    let refused = registry.refuses("rm team/app-1:v1", 1);
    assert!(refused.contains("registry.delete"), "{refused}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pushed = runtime.block_on(pusher::push_image(&reqwest::Client::new(), &registry.url(), 2));
    assert!(pushed.unwrap_err().contains("413"));
}

#[test]
fn reload_applies_upstreams() {
    let (upstream, cache) = (Registry::serving(), Registry::configured(""));
    let path = "/v2/up.example/team/app-1/manifests/v1";
    assert_eq!(cache.status(path), 404);
    let table = |name: &str| format!("[[upstream]]\nname = \"{name}\"\nurl = [\"{}\"]\n", upstream.url());
    cache.reload(&table("up.example"), &["upstream"]);
    assert_eq!(cache.status(path), 200);
    assert_eq!(cache.json("upstream ls")[0]["name"], "up.example");
    cache.reload(&table("other.example"), &["upstream"]);
    assert_eq!(cache.status("/v2/other.example/team/app-1/manifests/v1"), 200);
    let metrics = cache.body("/metrics");
    assert!(metrics.contains("upstream=\"other.example\""), "{metrics}");
    assert!(!metrics.contains("upstream=\"up.example\""), "{metrics}");
    cache.reload("", &["upstream"]);
    assert_eq!(cache.json("upstream ls"), serde_json::json!([]));
    assert_eq!(cache.status(path), 200, "fetched content stays");
    assert_eq!(cache.status("/v2/other.example/team/app-1/manifests/v2"), 404);

    // A mistake in the files of an upstream changes nothing.
    let wrong = format!("{}ca = \"/nowhere.pem\"\n[limits]\nblob_bytes = 10\n", table("up.example"));
    fs::write(cache.config(), wrong).unwrap();
    let refused = cache.refuses("reload", 1);
    assert!(refused.contains("/nowhere.pem") && refused.contains("up.example"), "{refused}");
    cache.push(2);
}

/// Accepts one delivery on a listener, and returns its path and body.
fn delivery(listener: &TcpListener) -> (String, String) {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
    (first.split(' ').nth(1).unwrap().to_owned(), text(&body))
}

#[test]
fn reload_applies_webhooks() {
    let registry = Registry::configured("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let table = |path: &str, secret: &str| {
        format!(
            "[[webhook]]\nname = \"ci\"\nurl = \"http://{}{path}\"\nevents = [\"push\"]\nallow_private = true\n\
             secret = \"{secret}\"\n",
            listener.local_addr().unwrap()
        )
    };
    registry.reload(&table("/one", "a"), &["webhook"]);
    registry.push(2);
    let (path, body) = delivery(&listener);
    assert!(path == "/one" && body.contains("team/app-2"), "{path} {body}");
    // Another secret is a change, although no output shows it.
    registry.reload(&table("/one", "b"), &["webhook"]);
    registry.reload(&table("/two", "b"), &["webhook"]);
    registry.push(3);
    let (path, body) = delivery(&listener);
    assert!(path == "/two" && body.contains("app-3"), "{path} {body}");
    registry.reload("", &["webhook"]);
    assert_eq!(registry.json("webhook ls"), serde_json::json!([]));
}

#[test]
fn reload_applies_the_schedule_of_backups() {
    let registry = Registry::configured("");
    let directory = registry.scratch.path().join("backups");
    fs::create_dir(&directory).unwrap();
    // The last backup is older than the last time of the schedule, so one is due.
    let old = directory.join("wharfinger-20200101T000000Z.backup");
    let file = fs::File::create(&old).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800)).unwrap();
    let settings = format!("[backup]\ndirectory = \"{}\"\nkeep = 1\n", directory.display());
    registry.reload(&settings, &["backup.directory", "backup.keep"]);
    eventually("no backup is made", || !old.exists());
    let made: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [backup] = &made[..] else { panic!("{made:?}") };
    let restored = registry.scratch.path().join("restored");
    let words = ["restore", backup.to_str().unwrap(), "--data", restored.to_str().unwrap()];
    success("restore", &run(&words, registry.scratch.path()));
}
