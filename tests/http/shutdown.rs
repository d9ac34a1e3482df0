//! Graceful shutdown: transfers under way end within `limits.shutdown_timeout`.

use std::time::Duration;

use oci::Algorithm;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{RawClient, TestRegistry, random};

const DEADLINE: Duration = Duration::from_secs(30);

/// Begins a request with a body of ten bytes, of which five are sent. The server reads the body when this
/// returns.
async fn half_sent(registry: &TestRegistry, line: String) -> RawClient {
    let mut client = registry.connect().await;
    let headers = "host: x\r\ncontent-length: 10\r\nexpect: 100-continue";
    client.send(format!("{line} HTTP/1.1\r\n{headers}\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 100);
    client.send("01234").await;
    client
}

#[tokio::test]
async fn shutdown_lets_transfers_end() {
    let mut registry = TestRegistry::start().await;
    let address = registry.address();
    let digest = Algorithm::Sha256.digest(b"0123456789");
    let blob = random(20_000_000);
    let stored = registry.repository("app").push_blob(blob.clone()).await;

    let mut pushing = half_sent(&registry, format!("POST /v2/app/blobs/uploads/?digest={digest}")).await;
    let mut pulling = registry.connect().await;
    pulling.send(format!("GET /v2/app/blobs/{stored} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    pulling.answer_begins().await;
    let mut idle = registry.connect().await;
    idle.send("GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(idle.answer().await.status, 200);

    registry.stop_handle().gracefully();
    assert_eq!(idle.until_closed().await, b"", "an idle connection is closed");
    TcpStream::connect(address).await.expect_err("the port is closed");
    pushing.send("56789").await;
    assert_eq!(pushing.answer().await.status, 201);
    assert_eq!(pushing.until_closed().await, b"");
    assert!(pulling.answer().await.body == blob);
    registry.stopped().await;

    registry.run().await;
    registry.repository("app").get(format_args!("blobs/{digest}")).await.is(200).carries("0123456789");
}

#[tokio::test]
async fn shutdown_timeout_cuts_off_transfers() {
    let limit = Duration::from_millis(500);
    let mut registry = TestRegistry::start_with(|config| config.limits.shutdown_timeout = limit).await;
    let location = registry.repository("app").begin_upload().await;
    let mut client = half_sent(&registry, format!("PATCH {location}")).await;
    timeout(DEADLINE, registry.stop()).await.expect("the transfer does not delay the end for ever");
    assert!(client.try_answer().await.is_none());
    // The upload goes on where it was.
    registry.run().await;
    let content = b"0123456789";
    registry.get(&location).await.is(204).has("range", "0-4");
    registry.patch(&location, content[5..].to_vec()).await.is(202).has("range", "0-9");
    let digest = Algorithm::Sha256.digest(content);
    registry.put(format_args!("{location}?digest={digest}"), "").await.is(201);
}

#[tokio::test]
async fn second_stop_cuts_off_transfers_at_once() {
    let hour = Duration::from_secs(3600);
    let mut registry = TestRegistry::start_with(|config| config.limits.shutdown_timeout = hour).await;
    let location = registry.repository("app").begin_upload().await;
    let _client = half_sent(&registry, format!("PATCH {location}")).await;
    registry.stop_handle().gracefully();
    registry.stop_handle().at_once();
    timeout(DEADLINE, registry.stopped()).await.expect("the second stop ends the server");
}
