//! `_history` and `_undo`.

use api::{History, Undone};
use reqwest::Method;
use serde_json::json;

use super::read;
use crate::harness::{TestRegistry, Who, with_accounts_and};

async fn history(registry: &TestRegistry, query: &str) -> Vec<api::HistoryEntry> {
    let path = format!("/api/v1/repositories/app/_history{query}");
    read::<History>(&registry.get(path).await.is(200)).entries
}

async fn undo(registry: &TestRegistry, body: serde_json::Value) -> crate::harness::Answer {
    registry.send_as(&Who::NOBODY, Method::POST, "/api/v1/repositories/app/_undo", &body).await
}

#[tokio::test]
async fn history_has_each_move_and_deletion() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let first = app.push_image("latest").await;
    app.put_manifest_as("latest", crate::harness::OCI_MANIFEST, first.manifest.clone()).await.is(201);
    let second = app.push_image("latest").await;
    app.delete("manifests/latest").await.is(202);
    app.push_image("other").await;
    let entries = history(&registry, "?tag=latest").await;
    let moves: Vec<_> = entries.iter().map(|entry| (entry.from, entry.to)).collect();
    let (one, two) = (Some(first.digest), Some(second.digest));
    assert_eq!(moves, [(two, None), (one, two), (None, one)], "a push of the same image is no change");
    assert!(entries.iter().all(|entry| entry.request_id.is_some() && entry.at > 1_700_000_000));
    assert_eq!(history(&registry, "").await.len(), 4);
    let page = registry.get("/api/v1/repositories/app/_history?n=3").await.is(200);
    let rest: History = read(&registry.get(page.next_page().unwrap()).await.is(200).has_no("link"));
    assert_eq!(rest.entries.len(), 1);
    registry.get("/api/v1/repositories/gone/_history").await.fails(404, "NAME_UNKNOWN");
    registry.delete("/api/v1/repositories/app").await.is(202);
    assert_eq!(history(&registry, "?tag=other").await.len(), 2, "the history outlives the repository");
}

#[tokio::test]
async fn undo_takes_back_moves_and_deletions() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let first = app.push_image("latest").await;
    undo(&registry, json!({ "tag": "latest" })).await.fails(409, "DENIED");
    undo(&registry, json!({ "tag": "unknown" })).await.fails(404, "MANIFEST_UNKNOWN");
    let second = app.push_image("latest").await;

    let undone: Undone = read(&undo(&registry, json!({ "tag": "latest" })).await.is(200));
    assert_eq!((undone.from, undone.to), (Some(second.digest), first.digest));
    assert_eq!(app.digest_of("latest").await, first.digest);
    // Once more takes back the undo.
    undo(&registry, json!({ "tag": "latest" })).await.is(200);
    assert_eq!(app.digest_of("latest").await, second.digest);

    app.delete("manifests/latest").await.is(202);
    undo(&registry, json!({ "tag": "latest" })).await.is(200);
    assert_eq!(app.digest_of("latest").await, second.digest);

    // A deleted image comes back with its layers.
    app.delete(format_args!("manifests/{}", second.digest)).await.is(202);
    let undone: Undone = read(&undo(&registry, json!({ "tag": "latest" })).await.is(200));
    assert_eq!((undone.from, undone.to), (None, second.digest));
    app.get("manifests/latest").await.is(200);
    for (digest, content) in &second.blobs {
        app.get(format_args!("blobs/{digest}")).await.is(200).carries(content);
    }
}

#[tokio::test]
async fn undo_goes_to_a_digest_or_a_time() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let first = app.push_image("latest").await;
    app.push_image("latest").await;
    let third = app.push_image("latest").await;
    let to = json!({ "tag": "latest", "to_digest": first.digest });
    undo(&registry, to.clone()).await.is(200);
    assert_eq!(app.digest_of("latest").await, first.digest);
    let again: Undone = read(&undo(&registry, to).await.is(200));
    assert_eq!(again.from, Some(again.to));
    undo(&registry, json!({ "tag": "latest", "to_digest": third.digest })).await.is(200);
    undo(&registry, json!({ "tag": "latest", "to_time": 1_000 })).await.fails(409, "DENIED");
    let far = json!({ "tag": "latest", "to_time": 4_000_000_000_u64 });
    let same: Undone = read(&undo(&registry, far).await.is(200));
    assert_eq!(same.to, third.digest);
    let absent = oci::Algorithm::Sha256.digest(b"absent");
    let unknown = json!({ "tag": "latest", "to_digest": absent });
    let refused = undo(&registry, unknown).await.fails(404, "MANIFEST_UNKNOWN");
    assert!(refused.text().contains("no tag in the history of app pointed to it"), "{}", refused.text());
    let both = json!({ "tag": "latest", "to_digest": absent, "to_time": 1 });
    undo(&registry, both).await.fails(400, "UNSUPPORTED");
}

#[tokio::test]
async fn undo_says_that_the_grace_period_is_over() {
    let registry = TestRegistry::start_with(|config| config.gc.grace = std::time::Duration::ZERO).await;
    let app = registry.repository("app");
    let image = app.push_image("1").await;
    app.push_image("other").await;
    app.delete(format_args!("manifests/{}", image.digest)).await.is(202);
    registry.post("/api/v1/gc").await.is(200);
    for to in [json!({ "tag": "1" }), json!({ "tag": "other", "to_digest": image.digest })] {
        let refused = undo(&registry, to).await.fails(404, "MANIFEST_UNKNOWN");
        assert!(refused.text().contains("its grace period (gc.grace) has ended"), "{}", refused.text());
    }
}

/// The files of deleted content may be removed by hand, as by the collection of another registry.
#[tokio::test]
async fn undo_reports_content_that_was_removed_by_hand() {
    let mut registry = TestRegistry::start().await;
    let image = registry.repository("app").push_image("1").await;
    let layer = image.blobs[1].0;
    for gone in [layer, image.digest] {
        registry.delete(format!("/v2/app/manifests/{}", image.digest)).await.is(202);
        // The files are written, and nothing of them is in memory.
        registry.restart().await;
        std::fs::remove_file(registry.blob_file(&gone)).unwrap();
        let undone: Undone = read(&undo(&registry, json!({ "tag": "1" })).await.is(200));
        assert!(undone.incomplete, "{gone} is gone");
        let app = registry.repository("app");
        app.head("manifests/1").await.is(404);
        for (_, content) in &image.blobs {
            app.push_blob(content.clone()).await;
        }
        app.put_manifest_as("1", crate::harness::OCI_MANIFEST, image.manifest.clone()).await.is(201);
        let to = json!({ "tag": "1", "to_digest": image.digest });
        let same: Undone = read(&undo(&registry, to).await.is(200));
        assert!(!same.incomplete, "the push has restored {gone}");
    }
}

#[tokio::test]
async fn history_names_the_account() {
    let registry = with_accounts_and(|_| {}).await;
    let ann = registry.add_user("ann").await;
    registry.repository("ann/app").of(&ann).push_image("1").await;
    let path = "/api/v1/repositories/ann/app/_history";
    let entries: History = read(&registry.get_as(&ann, path).await.is(200));
    assert_eq!(entries.entries[0].account.as_deref(), Some("ann"));
    registry.add_user("bob").await;
    registry.get_as(&Who::user("bob"), path).await.fails(404, "NAME_UNKNOWN");
}
