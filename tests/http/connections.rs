//! Timeouts and limits of connections: slow, idle and many clients.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::harness::{RawClient, TestRegistry, random};

const SHORT: Duration = Duration::from_millis(400);

/// A timeout that a client in use never reaches, also on a busy machine.
const ROOMY: Duration = Duration::from_secs(2);

/// Ends a test that waits in vain.
const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn unfinished_head_ends_with_the_header_timeout() {
    let registry = TestRegistry::start_with(|config| config.limits.header_timeout = SHORT).await;
    let mut client = registry.connect().await;
    client.send("GET /v2/ HTTP/1.1\r\n").await;
    // Further headers do not extend the timeout.
    let drip = async {
        while client.try_send("x: y\r\n").await.is_ok() {
            sleep(SHORT / 10).await;
        }
    };
    timeout(DEADLINE, drip).await.expect("the server closes the connection");
}

#[tokio::test]
async fn idle_timeout_closes_only_idle_connections() {
    let registry = TestRegistry::start_with(|config| config.limits.idle_timeout = ROOMY).await;
    let mut client = registry.connect().await;
    registry
        .until_idle_timeout(async || {
            client.send("GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert_eq!(client.answer().await.status, 200);
        })
        .await;
    client.send("GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200, "a connection in use stays open");
    assert_eq!(client.until_closed().await, b"");
}

#[tokio::test]
async fn moving_transfer_outlives_every_timeout() {
    let registry = TestRegistry::start_with(|config| {
        config.limits.idle_timeout = ROOMY;
        config.limits.header_timeout = ROOMY;
        config.limits.body_timeout = ROOMY;
        config.limits.write_timeout = ROOMY;
    })
    .await;
    let location = registry.repository("app").begin_upload().await;
    let mut client = registry.connect().await;
    client.send(format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")).await;
    registry.until_idle_timeout(async || client.send("1\r\nx\r\n").await).await;
    client.send("0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 202);
}

#[tokio::test]
async fn stalled_reader_is_disconnected() {
    let registry = TestRegistry::start_with(|config| {
        config.limits.write_timeout = SHORT;
        config.limits.idle_timeout = ROOMY;
    })
    .await;
    let app = registry.repository("app");
    let digest = app.push_blob(random(40_000_000)).await;
    let mut client = registry.connect().await;
    client.send(format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    client.answer_begins().await;
    // The client reads nothing for longer than the write timeout.
    registry.until_idle_timeout(async || {}).await;
    assert!(client.try_answer().await.is_none(), "the rest of the blob is missing");
}

#[tokio::test]
async fn slow_readers_delay_no_other_client() {
    // More slow readers than threads.
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let digest = app.push_blob(random(20_000_000)).await;
    app.push_image("1").await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut client = registry.connect().await;
        client.send(format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        slow.push(client);
    }
    for client in &mut slow {
        client.answer_begins().await;
    }
    for _ in 0..20 {
        timeout(DEADLINE, app.get("manifests/1")).await.unwrap().is(200);
    }
    timeout(DEADLINE, app.push_image("2")).await.unwrap();
    let content = app.get(format_args!("blobs/{digest}")).await.is(200).body;
    // Each slow reader gets the whole blob in the end.
    for mut client in slow.into_iter().take(3) {
        assert!(client.answer().await.body == content);
    }
}

#[tokio::test]
async fn slow_uploads_delay_no_other_client() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let mut slow = Vec::new();
    for _ in 0..20 {
        let location = app.begin_upload().await;
        let mut client = registry.connect().await;
        client.send(format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n0123")).await;
        slow.push(client);
    }
    let image = timeout(DEADLINE, app.push_image("1")).await.unwrap();
    timeout(DEADLINE, app.get("manifests/1")).await.unwrap().is(200).carries(&image.manifest);
    timeout(DEADLINE, app.delete("manifests/1")).await.unwrap().is(202);
    for mut client in slow {
        client.send([b'x'; 96]).await;
        assert_eq!(client.answer().await.status, 202);
    }
}

/// Returns a connection with an upload under way.
async fn busy(registry: &TestRegistry) -> RawClient {
    let location = registry.repository("app").begin_upload().await;
    let mut client = registry.connect().await;
    let head = "HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";
    client.send(format!("PATCH {location} {head}")).await;
    assert_eq!(client.answer().await.status, 100, "the request is under way");
    client.send("01").await;
    client
}

async fn base_requested(registry: &TestRegistry) -> RawClient {
    let mut client = registry.connect().await;
    client.send("GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await;
    client
}

#[tokio::test]
async fn connections_wait_while_all_are_busy() {
    let registry = TestRegistry::start_with(|config| config.limits.connections = 3).await;
    let (mut first, mut second) = (busy(&registry).await, busy(&registry).await);
    // The third connection replaces the idle one of the HTTP client.
    let mut third = busy(&registry).await;
    let mut waiting = base_requested(&registry).await;
    timeout(SHORT, waiting.answer()).await.expect_err("the fourth connection waits");
    first.send("23").await;
    assert_eq!(first.answer().await.status, 202);
    // The first connection is idle now, and makes room.
    assert_eq!(timeout(DEADLINE, waiting.answer()).await.unwrap().status, 200);
    for client in [&mut second, &mut third] {
        client.send("23").await;
        assert_eq!(client.answer().await.status, 202);
    }
}

#[tokio::test]
async fn silent_connections_are_evicted_for_others() {
    let registry = TestRegistry::start_with(|config| config.limits.connections = 20).await;
    let image = registry.repository("app").push_image("1").await;
    let mut upload = busy(&registry).await;
    let mut silent = Vec::new();
    for number in 0..100 {
        let mut client = registry.connect().await;
        if number % 2 == 0 {
            client.send("GET /v2/ HT").await;
        }
        silent.push(client);
    }
    for _ in 0..20 {
        let mut client = timeout(DEADLINE, base_requested(&registry)).await.unwrap();
        assert_eq!(timeout(DEADLINE, client.answer()).await.unwrap().status, 200);
    }
    let manifest = registry.repository("app").get("manifests/1").await.is(200);
    assert!(manifest.body == image.manifest);
    upload.send("23").await;
    assert_eq!(upload.answer().await.status, 202, "what is under way is not cut off");
}

#[tokio::test]
async fn address_has_its_share_of_connections() {
    let registry = TestRegistry::start_with(|config| config.limits.connections_per_address = 3).await;
    let mut clients = [busy(&registry).await, busy(&registry).await, busy(&registry).await];
    assert!(base_requested(&registry).await.try_answer().await.is_none(), "the fourth is refused");
    clients[0].send("23").await;
    assert_eq!(clients[0].answer().await.status, 202);
    assert_eq!(base_requested(&registry).await.answer().await.status, 200);
}

#[tokio::test]
async fn thousand_idle_connections_starve_no_client() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    app.push_image("1").await;
    let idle = join_all((0..1000).map(|_| async {
        let mut client = registry.connect().await;
        client.send("GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        client
    }))
    .await;
    for _ in 0..20 {
        timeout(DEADLINE, app.get("manifests/1")).await.unwrap().is(200);
    }
    for mut client in idle {
        client.send("GET /v2/app/manifests/1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
    }
}
