//! The way to an upstream: proxies, IPv6, accounts of helpers and identity tokens, bandwidth, schedules.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use tempfile::{NamedTempFile, TempDir};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use wharfinger::config::{IpChoice, Upstream};

use super::{Mirrored, hub};
use crate::harness::{PASSWORD, TestRegistry, eventually, random, with_accounts};

/// An HTTP proxy that takes CONNECT requests of one account, and ends on drop.
struct ConnectProxy {
    address: SocketAddr,
    connected: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ConnectProxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connected = Arc::new(Mutex::new(Vec::new()));
        let targets = connected.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(tunnel(client, targets.clone()));
            }
        });
        Self { address, connected, task }
    }

    /// The targets of the tunnels.
    fn connected(&self) -> Vec<String> {
        self.connected.lock().unwrap().clone()
    }
}

async fn tunnel(mut client: TcpStream, connected: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    // user:secret
    if !head.to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpzzwnyzxq=") {
        return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.ok();
    }
    let mut server = TcpStream::connect(&target).await.ok()?;
    connected.lock().unwrap().push(target);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok().map(drop)
}

fn file(content: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

/// A cache of `hub` with these settings.
async fn cache_of(url: &str, change: impl FnOnce(&mut Upstream)) -> TestRegistry {
    let mut settings = hub(url);
    change(&mut settings);
    TestRegistry::start_with(|config| config.upstream.push(settings)).await
}

#[tokio::test]
async fn proxy_gets_connect_requests_with_its_account() {
    let upstream = TestRegistry::start().await;
    let image = upstream.repository("app").push_image("1").await;
    let proxy = ConnectProxy::start().await;
    let url = format!("http://{}", upstream.address());
    let through = hub(&format!("http://{}", proxy.address)).url.pop();
    let credentials = file("user:secret\n");
    let refused = cache_of(&url, |hub| hub.proxy = through.clone()).await;
    refused.get("/v2/hub/app/manifests/1").await.is(503);
    assert!(proxy.connected().is_empty());
    let cache = cache_of(&url, |hub| {
        hub.proxy = through;
        hub.proxy_credentials = Some(credentials.path().to_owned());
    })
    .await;
    let cached = cache.repository("hub/app");
    assert_eq!(cached.digest_of("1").await, image.digest);
    for (digest, content) in &image.blobs {
        assert!(cached.get(format_args!("blobs/{digest}")).await.is(200).body == *content);
    }
    let connected = proxy.connected();
    assert!(!connected.is_empty() && connected.iter().all(|to| *to == upstream.address().to_string()));
}

#[tokio::test]
async fn upstream_is_called_over_ipv6() {
    let upstream = TestRegistry::start_with(|config| config.listen = "[::1]:0".parse().unwrap()).await;
    let image = upstream.repository("app").push_image("1").await;
    let url = format!("http://{}", upstream.address());
    for (ip, is_called) in [(IpChoice::Any, true), (IpChoice::V6, true), (IpChoice::V4, false)] {
        let cache = cache_of(&url, |hub| hub.ip = ip).await;
        let answer = cache.get("/v2/hub/app/manifests/1").await;
        assert_eq!(answer.status, if is_called { 200 } else { 503 }, "{ip:?}");
        assert!(!is_called || answer.body == image.manifest);
    }
}

/// The upstream takes the new password alone, as a cloud registry does after some hours.
#[tokio::test]
async fn credential_helper_is_asked_again_if_rejected() {
    let upstream = with_accounts().await;
    let ann = upstream.add_user("ann").await;
    for tag in ["1", "2"] {
        upstream.repository("ann/app").of(&ann).push_image(tag).await;
    }
    let directory = TempDir::new().unwrap();
    let helper = directory.path().join("docker-credential-test");
    let script = format!(
        "#!/bin/sh\nread -r server; echo \"$1 $server\" >>{log}\n\
         if [ -e {log}.old ]; then secret='{PASSWORD}'; else secret=expired; touch {log}.old; fi\n\
         echo \"{{\\\"ServerURL\\\":\\\"$server\\\",\\\"Username\\\":\\\"ann\\\",\\\"Secret\\\":\\\"$secret\\\"}}\"\n",
        log = directory.path().join("log").display()
    );
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let url = format!("http://{}", upstream.address());
    let cache = cache_of(&url, |hub| hub.credential_helper = Some(helper.display().to_string())).await;
    let cached = cache.repository("hub/ann/app");
    eventually("the new password is used", async || cached.get("manifests/1").await.status == 200).await;
    cached.get("manifests/2").await.is(200);
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    let asked = format!("get {}\n", upstream.address());
    assert_eq!(log, asked.repeat(2));
}

#[tokio::test]
async fn identity_token_is_exchanged_for_tokens() {
    let upstream = with_accounts().await;
    let ann = upstream.add_user("ann").await;
    let image = upstream.repository("ann/app").of(&ann).push_image("1").await;
    let offline = "/token?service=wharfinger&offline_token=true&client_id=test&scope=repository:ann/app:pull";
    let issued = upstream.get_as(&ann, offline).await.is(200).json();
    let token = file(issued["refresh_token"].as_str().expect("a refresh token"));
    let url = format!("http://{}", upstream.address());
    let cache = cache_of(&url, |hub| hub.identity_token_file = Some(token.path().to_owned())).await;
    assert_eq!(cache.repository("hub/ann/app").digest_of("1").await, image.digest);
    let wrong = file("not a token");
    let cache = cache_of(&url, |hub| hub.identity_token_file = Some(wrong.path().to_owned())).await;
    let answer = cache.get("/v2/hub/ann/app/manifests/1").await;
    assert!([404, 503].contains(&answer.status), "{}", answer.status);
}

#[tokio::test]
async fn bandwidth_of_an_upstream_is_limited() {
    const SIZE: usize = 2_000_000;
    let mirrored = Mirrored::start(|hub| hub.bandwidth = Some(1_000)).await;
    let content = random(SIZE);
    let digest = mirrored.upstream.repository("app").push_blob(content.clone()).await;
    let path = format!("/v2/hub/app/blobs/{digest}");
    let mut response = mirrored.cache.request(Method::GET, &path).send().await.unwrap();
    response.chunk().await.unwrap().expect("the first bytes come at once");
    // Meanwhile another cache without a limit gets the whole.
    let other = cache_of(&mirrored.proxy.url(), |_| {}).await;
    assert!(other.get(&path).await.is(200).body == content);
    // The limited one has a part, in memory or in a file, and no blob.
    for place in ["wharfinger/uploads", "docker/registry/v2/blobs"] {
        let sizes = mirrored.cache.files(place).into_iter().map(|file| file.metadata().unwrap().len());
        assert!(sizes.sum::<u64>() < SIZE as u64 / 2, "{place}");
    }
}

#[tokio::test]
async fn images_are_prefetched_on_a_schedule() {
    let mirrored = Mirrored::start(|hub| {
        hub.fresh = Duration::ZERO;
        hub.namespace = Some("library".to_owned());
        hub.prefetch = vec!["app:1".parse().unwrap()];
        hub.prefetch_interval = Duration::from_millis(50);
    })
    .await;
    for _ in 0..2 {
        let image = mirrored.upstream.repository("library/app").push_image("1").await;
        eventually("the image is here", async || {
            image.blobs.iter().all(|(digest, _)| mirrored.cache.blob_file(digest).exists())
        })
        .await;
    }
}

#[tokio::test]
async fn far_range_is_fetched_if_configured() {
    let waits = |head: &str| match head.contains("/blobs/") {
        true => crate::harness::Fault::WaitAfter(100_000),
        false => crate::harness::Fault::None,
    };
    let mirrored = Mirrored::with_faults(waits, |hub| hub.far_ranges = true).await;
    let content = random(20 << 20);
    let digest = mirrored.upstream.repository("app").push_blob(content.clone()).await;
    let path = format!("/v2/hub/app/blobs/{digest}");
    let ranged = async |range: &str| {
        let request = mirrored.cache.request(Method::GET, &path).header("range", range);
        crate::harness::Ask::ask(request).await.is(206)
    };
    assert!(ranged("bytes=1000-1999").await.body == content[1000..2000]);
    assert_eq!(mirrored.proxy.asked("/blobs/").len(), 1);
    // The fill waits, and this range does not.
    assert!(ranged("bytes=-1000").await.body == content[(20 << 20) - 1000..]);
    let asked = mirrored.proxy.asked("/blobs/");
    assert_eq!(asked.len(), 2);
    assert!(asked[1].contains("range: bytes="), "{}", asked[1]);
    mirrored.proxy.open_gate();
    eventually("the layer is stored", async || mirrored.cache.blob_file(&digest).exists()).await;
}
