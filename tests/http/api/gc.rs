//! `/api/v1/gc` and `/api/v1/erase`.

use std::time::Duration;

use api::{Erased, Explanation, GarbageLine, GarbagePreview, GarbageReport, GarbageStatus};
use reqwest::Method;
use serde_json::json;

use super::read;
use crate::harness::{
    Answer, Ask, By, OCI_INDEX, TestRegistry, Who, index_manifest, with_accounts, with_accounts_and,
};

/// A registry that collects when it is asked to, and without grace.
async fn without_grace() -> TestRegistry {
    TestRegistry::start_with(|config| {
        config.gc.grace = Duration::ZERO;
        config.gc.interval = Duration::ZERO;
    })
    .await
}

/// The report on the last line.
fn report(answer: &Answer) -> GarbageReport {
    let text = answer.text();
    let last = text.lines().last().expect("a line");
    match serde_json::from_str(last).expect("a line of JSON") {
        GarbageLine::Report(report) => report,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn api_gc_frees_deleted_images() {
    let registry = without_grace().await;
    let app = registry.repository("team/app");
    let (kept, gone) = (app.push_image("kept").await, app.push_image("gone").await);
    app.delete("manifests/gone").await.is(202);

    let preview: GarbagePreview = read(&registry.post("/api/v1/gc?dry_run=true").await.is(200));
    let files: Vec<_> =
        preview.removals.iter().filter(|one| one.kind == "file").map(|one| one.digest).collect();
    assert_eq!(files.len(), 4, "a manifest, a config and two layers: {preview:?}");
    assert!(preview.removals.iter().any(|one| one.kind == "manifest" && one.digest == gone.digest));
    app.get(format_args!("manifests/{}", gone.digest)).await.is(200);

    let report = report(&registry.post("/api/v1/gc").await.is(200));
    assert_eq!((report.collected.files, report.collected.bytes), (preview.files, preview.bytes));
    app.get(format_args!("manifests/{}", gone.digest)).await.fails(404, "MANIFEST_UNKNOWN");
    for (digest, _) in &gone.blobs {
        app.get(format_args!("blobs/{digest}")).await.fails(404, "BLOB_UNKNOWN");
        assert!(!registry.blob_file(digest).exists());
    }
    app.get("manifests/kept").await.is(200);
    for (digest, bytes) in &kept.blobs {
        assert_eq!(app.get(format_args!("blobs/{digest}")).await.is(200).body, *bytes);
    }
    let status: GarbageStatus = read(&registry.get("/api/v1/gc").await.is(200));
    assert_eq!(status.last, Some(report.collected));
    assert_eq!((status.kept.grace, status.kept.untagged_after), (0, None));
}

#[tokio::test]
async fn api_gc_and_check_refuse_options_in_a_body() {
    let registry = with_accounts_and(|config| {
        config.gc.grace = Duration::ZERO;
        config.gc.interval = Duration::ZERO;
    })
    .await;
    let app = registry.repository("team/app").of(&Who::root());
    app.push_image("gone").await;
    app.delete("manifests/gone").await.is(202);
    let post = |path, body| registry.request(Method::POST, path).by(&Who::root()).json(&body);
    for body in [json!({ "dry_run": "x" }), json!({ "dry_run": true }), json!([]), json!("dry_run")] {
        let refused = post("/api/v1/gc", body.clone()).ask().await.fails(400, "UNSUPPORTED").text();
        assert!(refused.contains("?dry_run=true"), "{refused}");
        post("/api/v1/gc?dry_run=true", body.clone()).ask().await.fails(400, "UNSUPPORTED");
        let refused = post("/api/v1/check", body).ask().await.fails(400, "UNSUPPORTED").text();
        assert!(refused.contains("?read=true"), "{refused}");
    }
    let not_json = registry.request(Method::POST, "/api/v1/gc").by(&Who::root()).body("dry_run").ask().await;
    not_json.fails(400, "UNSUPPORTED");

    post("/api/v1/check", json!({})).ask().await.is(200);
    let report = report(&post("/api/v1/gc", json!({})).ask().await.is(200));
    assert_eq!(report.collected.manifests, 1, "no refused request has collected it");
}

#[tokio::test]
async fn api_gc_says_which_setting_keeps_images() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("team/app");
    let moved = app.push_image("latest").await;
    app.push_image("latest").await;
    app.push_image("gone").await;
    app.delete("manifests/gone").await.is(202);
    let report = report(&registry.post("/api/v1/gc").await.is(200));
    assert_eq!(report.collected.files, 0);
    assert_eq!((report.kept.untagged.manifests, report.kept.deleted.manifests), (1, 1));
    assert_eq!(report.kept.grace, 24 * 60 * 60);
    let bytes = moved.blobs.iter().map(|(_, content)| content.len()).sum::<usize>() + moved.manifest.len();
    assert_eq!(report.kept.untagged.bytes, bytes as u64);
}

#[tokio::test]
async fn api_gc_explain_asks_for_a_digest() {
    let registry = TestRegistry::start().await;
    let missing = registry.get("/api/v1/gc/explain").await.fails(400, "DIGEST_INVALID").text();
    assert!(missing.contains("the digest of a blob or manifest"), "{missing}");
}

#[tokio::test]
async fn api_gc_explains_the_chain_to_a_tag() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("team/app");
    let image = app.push_image("1").await;
    app.delete("manifests/1").await.is(202);
    let index = index_manifest(&[image.part()]).to_string();
    app.put_manifest_as("multi", OCI_INDEX, index.clone()).await.is(201);
    let layer = image.blobs[1].0;
    let path = format!("/api/v1/gc/explain?digest={layer}&repository=team/app");
    let explained: Explanation = read(&registry.get(&path).await.is(200));
    let [chain] = &explained.chains[..] else { panic!("{explained:?}") };
    let links: Vec<_> = chain.links.iter().map(|link| (link.kind.as_str(), link.name.clone())).collect();
    let index = oci::Algorithm::Sha256.digest(index.as_bytes());
    assert_eq!(
        links,
        [
            ("tag", "multi".to_owned()),
            ("manifest", index.to_string()),
            ("manifest", image.digest.to_string()),
            ("blob", layer.to_string()),
        ]
    );
    assert_eq!(chain.until, None);
    let unknown = oci::Algorithm::Sha256.digest(b"unknown");
    registry.get(format!("/api/v1/gc/explain?digest={unknown}")).await.fails(404, "BLOB_UNKNOWN");
    // "Nothing keeps it" would be wrong: team/app does.
    let elsewhere = format!("/api/v1/gc/explain?digest={layer}&repository=team/other");
    registry.get(elsewhere).await.fails(404, "BLOB_UNKNOWN");
    registry.get("/api/v1/gc/explain").await.fails(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn erased_layer_is_gone_from_memory_and_disk() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    let app = registry.repository("ann/app").of(&Who::user("ann"));
    let image = app.push_image("1").await;
    let layer = image.blobs[1].0;
    app.get(format_args!("blobs/{layer}")).await.is(200);
    let body = json!({ "repository": "ann/app", "digest": layer });
    let erase =
        |who: Who| registry.request(reqwest::Method::POST, "/api/v1/erase").by(&who).json(&body).ask();
    erase(Who::user("ann")).await.fails(403, "DENIED");
    let erased: Erased = read(&erase(Who::root()).await.is(200));
    assert!(erased.deleted);
    assert_eq!(erased.repositories, ["ann/app"]);
    app.get(format_args!("blobs/{layer}")).await.fails(404, "BLOB_UNKNOWN");
    assert!(!registry.blob_file(&layer).exists());
    let link = format!("docker/registry/v2/repositories/ann/app/_layers/sha256/{}/link", layer.hex());
    assert!(!registry.data().join(link).exists(), "the view is written before the answer");
    let audit = registry.get_as(&Who::root(), "/api/v1/audit?action=content.erase").await.is(200).json();
    let verdicts: Vec<_> =
        audit["entries"].as_array().unwrap().iter().map(|entry| entry["verdict"].clone()).collect();
    assert_eq!(verdicts, ["denied", "allowed"]);
    erase(Who::root()).await.fails(404, "BLOB_UNKNOWN");
}
