//! Stopping: what is under way comes to its end, within a limit.

use std::time::{Duration, Instant};

use oci::Algorithm;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::harness::{TestRegistry, random};

#[tokio::test]
async fn transfers_under_way_come_to_their_end() {
    let mut registry = TestRegistry::start().await;
    let address = registry.address();
    let digest = Algorithm::Sha256.digest(b"0123456789");
    let blob = random(20_000_000);
    let stored = registry.repository("app").push_blob(blob.clone()).await;

    let mut pushing = registry.connect().await;
    let head = format!(
        "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"
    );
    pushing.send(head).await;
    pushing.send("01234").await;
    let mut pulling = registry.connect().await;
    pulling.send(format!("GET /v2/app/blobs/{stored} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    let mut idle = registry.connect().await;
    idle.send("GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(idle.answer().await.status, 200);
    sleep(Duration::from_millis(200)).await;

    registry.stop_handle().gracefully();
    assert_eq!(idle.until_closed().await, b"", "who waits for nothing is let go");
    assert!(TcpStream::connect(address).await.is_err(), "nobody else is let in");
    pushing.send("56789").await;
    assert_eq!(pushing.answer().await.status, 201);
    assert_eq!(pushing.until_closed().await, b"");
    assert!(pulling.answer().await.body == blob);
    registry.stopped().await;

    registry.run().await;
    registry.repository("app").get(format_args!("blobs/{digest}")).await.is(200).carries("0123456789");
}

#[tokio::test]
async fn those_that_do_not_end_are_cut_off() {
    let limit = Duration::from_millis(500);
    let mut registry = TestRegistry::start_with(|config| config.limits.shutdown_timeout = limit).await;
    let location = registry.repository("app").begin_upload().await;
    let mut client = registry.connect().await;
    client.send(format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234")).await;
    sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    registry.stop().await;
    assert!(begun.elapsed() >= limit && begun.elapsed() < limit * 6, "{:?}", begun.elapsed());
    assert!(client.try_answer().await.is_none());
    // The upload goes on from wherever it says it is.
    registry.run().await;
    let content = b"0123456789";
    let status = registry.get(&location).await.is(204);
    let first = if status.header("range") == Some("0-4") { 5 } else { 0 };
    registry.patch(&location, content[first..].to_vec()).await.is(202).has("range", "0-9");
    let digest = Algorithm::Sha256.digest(content);
    registry.put(format_args!("{location}?digest={digest}"), "").await.is(201);
}

#[tokio::test]
async fn told_twice_it_waits_for_nobody() {
    let mut registry = TestRegistry::start().await;
    let location = registry.repository("app").begin_upload().await;
    let mut client = registry.connect().await;
    client.send(format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234")).await;
    sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    registry.stop_handle().gracefully();
    registry.stop_handle().at_once();
    registry.stopped().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
