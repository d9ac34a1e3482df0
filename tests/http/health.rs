//! `/healthz`, `/readyz` and `/`.

use crate::harness::{Part, TestRegistry, blobs_in_files, eventually, image_manifest, metadata_in_a_file};

#[tokio::test]
async fn health_and_readiness_answer_200() {
    let registry = TestRegistry::start().await;
    registry.get("/healthz").await.is(200).carries("ok\n");
    registry.get("/readyz").await.is(200).carries("ready\n");
}

#[tokio::test]
async fn moved_content_stops_pushes_and_readyz() {
    let registry = TestRegistry::start_with(|config| {
        blobs_in_files(config, "the directory of the blobs is moved");
    })
    .await;
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
async fn removed_database_stops_pushes_and_readyz() {
    let registry = TestRegistry::start_with(|config| {
        metadata_in_a_file(config, "the file of the database is removed");
    })
    .await;
    let repository = registry.repository("app");
    repository.push_image("v1").await;
    for file in ["metadata.db", "metadata.db-wal"] {
        let database = registry.data().join("wharfinger").join(file);
        let away = database.with_file_name("away");
        std::fs::rename(&database, &away).unwrap();
        let unready = registry.get("/readyz").await.fails(503, "UNAVAILABLE").text();
        assert!(!unready.contains("internal error"), "{unready}");
        let manifest = image_manifest(&Part::config(b"{}"), &[]);
        let refused = repository.put_manifest("v2", &manifest).await.fails(503, "UNAVAILABLE").text();
        assert!(refused.contains("try again later"), "{refused}");
        if file == "metadata.db" {
            repository.get("manifests/v1").await.is(200);
        }
        std::fs::rename(&away, &database).unwrap();
        registry.get("/readyz").await.is(200);
        repository.push_image("v2").await;
    }
}

#[tokio::test]
async fn moved_blobs_alone_stop_pushes_and_readyz() {
    let registry = TestRegistry::start_with(|config| {
        blobs_in_files(config, "the directory of the blobs is moved");
    })
    .await;
    let repository = registry.repository("app");
    repository.push_image("v1").await;
    let blobs = registry.data().join("docker/registry/v2/blobs");
    let away = blobs.with_file_name("away");
    std::fs::rename(&blobs, &away).unwrap();
    registry.get("/readyz").await.fails(503, "UNAVAILABLE");
    registry.post(repository.path("blobs/uploads/")).await.fails(503, "UNAVAILABLE");
    std::fs::create_dir(&blobs).unwrap();
    registry.get("/readyz").await.fails(503, "UNAVAILABLE");
    std::fs::remove_dir(&blobs).unwrap();
    std::fs::rename(&away, &blobs).unwrap();
    registry.get("/readyz").await.is(200);
}

#[tokio::test]
async fn unwritable_links_degrade_readyz() {
    let mut registry = TestRegistry::start().await;
    registry.stop().await;
    // A file where a directory has to be, which not even root can write below.
    let blocked = registry.data().join("docker/registry/v2/repositories/team");
    std::fs::write(&blocked, "").unwrap();
    registry.run().await;
    registry.repository("team/app").push_image("v1").await;
    registry.repository("other").push_image("v1").await;
    let expected = "ready\ndegraded: the links of 1 repository below repositories/ cannot be written; the log and \
                    `wharfinger check` tell which and why\n";
    let readyz = async || registry.get("/readyz").await.is(200).text();
    eventually("the links are blocked", async || readyz().await == expected).await;
    registry.repository("team/app").get("manifests/v1").await.is(200);
    std::fs::remove_file(&blocked).unwrap();
    registry.repository("team/app").push_image("v2").await;
    eventually("the links are written", async || readyz().await == "ready\n").await;
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
