//! The control socket: the same API, for the user that runs the server.

use std::os::unix::fs::PermissionsExt;

use reqwest::Client;

use crate::harness::{Ask, TestRegistry};

#[tokio::test]
async fn control_socket_serves_its_owner_alone() {
    let mut registry = TestRegistry::start().await;
    let image = registry.repository("app").push_image("1").await;
    let path = registry.data().join("wharfinger/control.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let client = Client::builder().unix_socket(path.clone()).build().unwrap();
    client.get("http://control/v2/app/manifests/1").ask().await.is(200).carries(&image.manifest);
    client.get("http://control/api/v1/usage").ask().await.is(200);
    drop(client);
    registry.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn stale_control_socket_is_replaced() {
    let mut registry = TestRegistry::start().await;
    registry.stop().await;
    let path = registry.data().join("wharfinger/control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    registry.run().await;
    let client = Client::builder().unix_socket(path).build().unwrap();
    client.get("http://control/healthz").ask().await.is(200);
}
