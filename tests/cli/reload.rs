//! `reload`: each kind of setting that a running server takes over.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use oci::Algorithm;

use crate::{Registry, pusher, random, run, success, text};

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

/// A forwarder before a server. It holds back the bytes of answers beyond a limit, until it is opened.
struct Gate {
    address: SocketAddr,
    /// The bytes that may pass, and the connections so far.
    state: Arc<(Mutex<(u64, usize)>, Condvar)>,
}

impl Gate {
    fn before(server: String, limit: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new((Mutex::new((limit, 0)), Condvar::new()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                shared.0.lock().unwrap().1 += 1;
                let (mut requests, mut to_server) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                // Both end with their connection.
                std::thread::spawn(move || std::io::copy(&mut requests, &mut to_server));
                let state = shared.clone();
                std::thread::spawn(move || Self::answer(server, client, &state));
            }
        });
        Self { address, state }
    }

    fn answer(mut server: TcpStream, mut client: TcpStream, state: &(Mutex<(u64, usize)>, Condvar)) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length) = server.read(&mut buffer)
            && length > 0
        {
            let needed = u64::try_from(length).unwrap();
            let mut left = state.1.wait_while(state.0.lock().unwrap(), |(left, _)| *left < needed).unwrap();
            left.0 -= needed;
            drop(left);
            if client.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = client.shutdown(std::net::Shutdown::Both);
    }

    fn open(&self) {
        self.state.0.lock().unwrap().0 = u64::MAX;
        self.state.1.notify_all();
    }

    fn connections(&self) -> usize {
        self.state.0.lock().unwrap().1
    }
}

#[test]
fn reload_of_upstreams_cuts_no_fill() {
    let upstream = Registry::serving();
    let content = random::content(7, 3_000_000);
    let digest = Algorithm::Sha256.digest(&content);
    let path = |repository: &str| format!("/v2/{repository}/blobs/{digest}");
    let gate = Gate::before(upstream.url().replace("http://", ""), 1_000_000);
    let table = format!("[[upstream]]\nname = \"up.example\"\nurl = [\"http://{}\"]\n", gate.address);
    let cache = Registry::configured(&table);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::new();
        let url = format!("{}/v2/team/app-1/blobs/uploads/?digest={digest}", upstream.url());
        assert_eq!(client.post(url).body(content.clone()).send().await.unwrap().status(), 201);
        let pull = format!("{}{}", cache.url(), path("up.example/team/app-1"));
        let mut response = client.get(&pull).send().await.unwrap();
        let mut received = response.chunk().await.unwrap().expect("bytes before the gate").to_vec();

        // A changed upstream: a client after the reload joins the fill from before it.
        cache.reload(&format!("{table}max_bytes = \"1GiB\"\n"), &["upstream"]);
        let second = client.get(&pull).send().await.unwrap();
        assert_eq!(second.status(), 200);
        // No upstream.
        cache.reload("", &["upstream"]);
        gate.open();
        while let Some(piece) = response.chunk().await.unwrap() {
            received.extend_from_slice(&piece);
        }
        assert!(received == content);
        assert!(second.bytes().await.unwrap() == content);
    });
    assert_eq!(cache.status(&path("up.example/team/app-1")), 200, "the content is kept");
    assert_eq!(gate.connections(), 1);
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
