//! `/healthz`, `/readyz` and `/`.

use crate::harness::{Part, TestRegistry, image_manifest};

#[tokio::test]
async fn health_and_readiness_answer_200() {
    let registry = TestRegistry::start().await;
    registry.get("/healthz").await.is(200).carries("ok\n");
    registry.get("/readyz").await.is(200).carries("ready\n");
}

#[tokio::test]
async fn moved_content_stops_pushes_and_readyz() {
    let registry = TestRegistry::start().await;
    let repository = registry.repository("app");
    repository.push_image("v1").await;
    let (docker, away) = (registry.data().join("docker"), registry.data().join("away"));
    std::fs::rename(&docker, &away).unwrap();
    registry.get("/readyz").await.fails(503, "UNAVAILABLE");
    let refused = registry.post(repository.path("blobs/uploads/")).await;
    refused.fails(503, "UNAVAILABLE").has("retry-after", 5);
    let manifest = image_manifest(&Part::config(b"{}"), &[]);
    repository.put_manifest("v2", &manifest).await.fails(503, "UNAVAILABLE");
    assert!(!docker.exists(), "no new tree is begun");

    std::fs::rename(&away, &docker).unwrap();
    registry.get("/readyz").await.is(200);
    repository.push_image("v2").await;
}

#[tokio::test]
async fn root_page_explains_the_usage() {
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
