//! `/healthz`, `/readyz` and `/`.

use crate::harness::TestRegistry;

#[tokio::test]
async fn it_is_alive_and_ready() {
    let registry = TestRegistry::start().await;
    registry.get("/healthz").await.is(200).carries("ok\n");
    registry.get("/readyz").await.is(200).carries("ready\n");
}

#[tokio::test]
async fn the_root_says_how_to_use_it() {
    let registry = TestRegistry::start().await;
    let address = registry.address();
    let text = registry.get("/").await.is(200).has("content-type", "text/plain; charset=utf-8").text();
    for command in ["docker push", "docker pull", "docker search"] {
        assert!(text.contains(&format!("{command} {address}/")), "{text}");
    }
    let mut client = registry.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: <script>\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(!String::from_utf8_lossy(&answer.body).contains("script"));
}
