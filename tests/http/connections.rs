//! Slow clients, idle clients, many clients.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::harness::{RawClient, TestRegistry, random};

const SHORT: Duration = Duration::from_millis(400);

/// Longer than a test takes from one step to the next, also on a busy machine.
const ROOMY: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_waited_for_a_while() {
    let registry = TestRegistry::start_with(|config| config.limits.header_timeout = SHORT).await;
    let mut client = registry.connect().await;
    let begun = Instant::now();
    client.send("GET /v2/ HTTP/1.1\r\n").await;
    // Dripping does not help.
    while begun.elapsed() < SHORT * 10 && client.try_send("x: y\r\n").await.is_ok() {
        sleep(SHORT / 10).await;
    }
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < SHORT * 5, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_in_use_is_not() {
    let registry = TestRegistry::start_with(|config| config.limits.idle_timeout = ROOMY).await;
    let begun = Instant::now();
    assert_eq!(registry.connect().await.until_closed().await, b"");
    assert!(begun.elapsed() >= ROOMY);
    let mut client = registry.connect().await;
    for _ in 0..10 {
        client.send("GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        sleep(STEP).await;
    }
    let begun = Instant::now();
    assert_eq!(client.until_closed().await, b"");
    assert!(begun.elapsed() < ROOMY * 3);
}

#[tokio::test]
async fn a_transfer_may_take_longer_than_any_limit_while_bytes_move() {
    let registry = TestRegistry::start_with(|config| {
        config.limits.idle_timeout = ROOMY;
        config.limits.header_timeout = ROOMY;
        config.limits.body_timeout = ROOMY;
        config.limits.write_timeout = ROOMY;
    })
    .await;
    let app = registry.repository("app");
    let location = app.begin_upload().await;
    let mut client = registry.connect().await;
    client.send(format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n")).await;
    for _ in 0..10 {
        sleep(STEP).await;
        client.send([7; 10]).await;
    }
    assert_eq!(client.answer().await.status, 202);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_left() {
    let registry = TestRegistry::start_with(|config| config.limits.write_timeout = SHORT).await;
    let app = registry.repository("app");
    let digest = app.push_blob(random(40_000_000)).await;
    let mut client = registry.connect().await;
    client.send(format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    sleep(SHORT * 4).await;
    // The rest never comes: the client sees that something is missing.
    assert!(client.try_answer().await.is_none());
}

#[tokio::test]
async fn slow_readers_hold_up_nobody() {
    // More of them than there are threads.
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
    sleep(Duration::from_millis(200)).await;
    for _ in 0..20 {
        timeout(Duration::from_secs(5), app.get("manifests/1")).await.unwrap().is(200);
    }
    timeout(Duration::from_secs(10), app.push_image("2")).await.unwrap();
    let content = app.get(format_args!("blobs/{digest}")).await.is(200).body;
    // And each of them gets all of it in the end.
    for mut client in slow.into_iter().take(3) {
        assert!(client.answer().await.body == content);
    }
}

#[tokio::test]
async fn slow_uploads_hold_up_nobody_in_the_same_repository() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let mut slow = Vec::new();
    for _ in 0..20 {
        let location = app.begin_upload().await;
        let mut client = registry.connect().await;
        client.send(format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n0123")).await;
        slow.push(client);
    }
    let image = timeout(Duration::from_secs(10), app.push_image("1")).await.unwrap();
    timeout(Duration::from_secs(5), app.get("manifests/1")).await.unwrap().is(200).carries(&image.manifest);
    timeout(Duration::from_secs(5), app.delete("manifests/1")).await.unwrap().is(202);
    for mut client in slow {
        client.send([b'x'; 96]).await;
        assert_eq!(client.answer().await.status, 202);
    }
}

/// A connection with an upload under way.
async fn busy(registry: &TestRegistry) -> RawClient {
    let location = registry.repository("app").begin_upload().await;
    let mut client = registry.connect().await;
    let head = "HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";
    client.send(format!("PATCH {location} {head}")).await;
    assert_eq!(client.answer().await.status, 100, "the request is under way");
    client.send("01").await;
    client
}

async fn asking(registry: &TestRegistry) -> RawClient {
    let mut client = registry.connect().await;
    client.send("GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await;
    client
}

#[tokio::test]
async fn connections_wait_while_all_are_busy() {
    let registry = TestRegistry::start_with(|config| config.limits.connections = 3).await;
    let (mut first, mut second) = (busy(&registry).await, busy(&registry).await);
    // The place that the client of the uploads had goes to the third.
    let mut third = busy(&registry).await;
    sleep(STEP).await;
    let mut waiting = asking(&registry).await;
    assert!(timeout(SHORT, waiting.answer()).await.is_err());
    first.send("23").await;
    assert_eq!(first.answer().await.status, 202);
    // It is idle now, and makes room.
    assert_eq!(timeout(Duration::from_secs(5), waiting.answer()).await.unwrap().status, 200);
    for client in [&mut second, &mut third] {
        client.send("23").await;
        assert_eq!(client.answer().await.status, 202);
    }
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
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
        let mut client = timeout(Duration::from_secs(5), asking(&registry)).await.unwrap();
        assert_eq!(timeout(Duration::from_secs(5), client.answer()).await.unwrap().status, 200);
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
    sleep(STEP).await;
    assert!(asking(&registry).await.try_answer().await.is_none(), "the fourth is refused");
    clients[0].send("23").await;
    assert_eq!(clients[0].answer().await.status, 202);
    assert_eq!(asking(&registry).await.answer().await.status, 200);
}

#[tokio::test]
async fn a_thousand_idle_connections_starve_no_one() {
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
        timeout(Duration::from_secs(5), app.get("manifests/1")).await.unwrap().is(200);
    }
    for mut client in idle {
        client.send("GET /v2/app/manifests/1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
    }
}
