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
    undo(&registry, json!({ "tag": "latest", "to_digest": absent })).await.fails(404, "MANIFEST_UNKNOWN");
    let both = json!({ "tag": "latest", "to_digest": absent, "to_time": 1 });
    undo(&registry, both).await.fails(400, "UNSUPPORTED");
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
