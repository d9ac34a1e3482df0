//! `[[retention]]` and the rules of owners.

use std::time::Duration;

use api::{History, RetentionReport, RunUndone};
use reqwest::Method;
use serde_json::{Value, json};
use wharfinger::config::Retention;

use super::{immutable, protected, read, retention, with_retention};
use crate::harness::{OCI_INDEX, OCI_MANIFEST, TestRegistry, Who, index_manifest, with_accounts_and};

async fn send(registry: &TestRegistry, what: &str, body: &Value) -> crate::harness::Answer {
    // Without accounts, only the operator is an administrator.
    registry.send_as(&Who::root(), Method::POST, &format!("/api/v1/retention/{what}"), body).await
}

async fn started(rules: Vec<Retention>) -> TestRegistry {
    with_accounts_and(with_retention(rules)).await
}

fn deleted(report: &RetentionReport) -> Vec<String> {
    report.deleted.iter().map(|deleted| format!("{}:{}", deleted.repository, deleted.tag)).collect()
}

#[tokio::test]
async fn run_deletes_what_the_preview_shows() {
    let registry = started(vec![Retention { keep_newest: Some(1), ..retention("ci/**", "build-*") }]).await;
    let app = registry.repository("ci/app").of(&Who::root());
    for tag in ["build-1", "build-2", "build-3", "latest"] {
        app.push_image(tag).await;
    }
    registry.repository("other/app").of(&Who::root()).push_image("build-1").await;
    let preview: RetentionReport = read(&send(&registry, "preview", &json!({})).await.is(200));
    assert_eq!(deleted(&preview), ["ci/app:build-1", "ci/app:build-2"]);
    assert_eq!((preview.run.as_deref(), preview.kept, preview.repositories), (None, 2, 1));
    assert!(preview.deleted[0].reason.starts_with("rule 1: not among the newest 1"), "{preview:?}");
    assert_eq!(app.tags().await.len(), 4, "a preview changes nothing");
    app.get("manifests/build-1").await.is(200);

    let run: RetentionReport = read(&send(&registry, "run", &json!({})).await.is(200));
    assert_eq!(run.deleted, preview.deleted);
    assert!(run.deleted.iter().all(|deleted| deleted.with_manifest));
    assert!(preview.undo_until.is_none() && run.undo_until.is_some());
    assert_eq!(app.tags().await, ["build-3", "latest"]);
    app.get("manifests/build-1").await.fails(404, "MANIFEST_UNKNOWN");
    let id = run.run.unwrap();
    let audit = registry.get_as(&Who::root(), "/api/v1/audit?action=retention").await.is(200).json();
    let entries = audit["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["object"], "ci/app:build-1");
    let detail = entries[0]["detail"].as_str().unwrap();
    assert!(detail.contains("rule 1") && detail.contains(&id), "{detail}");
    let history = registry.get_as(&Who::root(), "/api/v1/repositories/ci/app/_history?tag=build-1").await;
    let history: History = read(&history.is(200));
    assert_eq!(
        (history.entries[0].account.as_deref(), history.entries[0].run.as_ref()),
        (Some("(retention)"), Some(&id))
    );

    // A tag that was pushed meanwhile stays.
    let new = app.push_image("build-2").await;
    let undone: RunUndone = read(&send(&registry, "undo", &json!({ "run": id })).await.is(200));
    assert_eq!(undone.restored, 1);
    let not_back: Vec<_> = undone.tags.iter().filter(|tag| !tag.restored).collect();
    assert_eq!(not_back[0].tag.as_str(), "build-2");
    assert_eq!(app.tags().await, ["build-1", "build-2", "build-3", "latest"]);
    assert_eq!(app.digest_of("build-2").await, new.digest);
    app.get("manifests/build-1").await.is(200);
    let again: RunUndone = read(&send(&registry, "undo", &json!({ "run": id })).await.is(200));
    assert_eq!(again, undone, "a tag that is back already is back");
    send(&registry, "undo", &json!({ "run": "unknown" })).await.fails(404, "MANIFEST_UNKNOWN");
}

/// The files of a deleted image may be removed by hand.
#[tokio::test]
async fn undone_run_names_tags_without_content() {
    let mut registry = started(vec![retention("ci/**", "*")]).await;
    let damaged = registry.repository("ci/app").of(&Who::root()).push_image("damaged").await;
    registry.repository("ci/app").of(&Who::root()).push_image("sound").await;
    let run: RetentionReport = read(&send(&registry, "run", &json!({})).await.is(200));
    // The files are written, and nothing of them is in memory.
    registry.restart().await;
    std::fs::remove_file(registry.blob_file(&damaged.blobs[1].0)).unwrap();
    let undone: RunUndone = read(&send(&registry, "undo", &json!({ "run": run.run.unwrap() })).await.is(200));
    let found: Vec<_> =
        undone.tags.iter().map(|tag| (tag.tag.as_str(), tag.restored, tag.incomplete)).collect();
    assert_eq!((undone.restored, found), (2, vec![("damaged", true, true), ("sound", true, false)]));
    assert!(undone.tags[0].reason.contains("is missing or damaged"), "{undone:?}");
}

#[tokio::test]
async fn retention_keeps_children_and_ruled_tags() {
    let registry = with_accounts_and(|config| {
        with_retention(vec![retention("**", "*")])(config);
        config.immutable = vec![immutable("**", "v*")];
        config.protected = vec![protected("**", "prod-*")];
    })
    .await;
    let app = registry.repository("app").of(&Who::root());
    let child = app.push_image("child").await;
    let kept = app.push_image("v1").await;
    app.put_manifest_as("alias", OCI_MANIFEST, kept.manifest.clone()).await.is(201);
    app.push_image("prod-1").await;
    let index = index_manifest(&[child.part()]).to_string();
    app.put_manifest_as("v2", OCI_INDEX, index).await.is(201);
    let run: RetentionReport = read(&send(&registry, "run", &json!({})).await.is(200));
    assert_eq!(deleted(&run), ["app:alias", "app:child"]);
    assert!(run.deleted.iter().all(|deleted| !deleted.with_manifest), "{run:?}");
    app.get(format_args!("manifests/{}", child.digest)).await.is(200);
    app.get("manifests/v1").await.is(200);
    assert_eq!(app.tags().await, ["prod-1", "v1", "v2"]);
}

/// A pull that is counted but not written yet keeps a tag.
#[tokio::test]
async fn retention_knows_the_pulls_of_the_last_minute() {
    let rule = Retention {
        keep_newest: None,
        keep_pulled_within: Some(Duration::from_millis(1)),
        ..retention("**", "*")
    };
    let registry = with_accounts_and(|config| {
        with_retention(vec![rule.clone(), Retention { keep: vec!["*".parse().unwrap()], ..rule }])(config);
        config.retention[0].keep_pulled_within = Some(Duration::from_secs(3600));
    })
    .await;
    let app = registry.repository("app").of(&Who::root());
    app.push_image("1").await;
    app.get("manifests/1").await.is(200);
    let run: RetentionReport = read(&send(&registry, "run", &json!({ "repository": "app" })).await.is(200));
    assert_eq!((run.deleted.len(), run.kept), (0, 1));
}

/// An engine that has the image asks for the tag by HEAD alone.
#[tokio::test]
async fn retention_knows_the_last_head_request() {
    let within = Duration::from_secs(2);
    let rule = Retention { keep_newest: None, keep_pulled_within: Some(within), ..retention("**", "*") };
    let registry = started(vec![rule]).await;
    let app = registry.repository("app").of(&Who::root());
    app.push_image("unused").await;
    app.push_image("used").await;
    // Until both pushes are too old to keep their tags.
    let pushed = std::time::Instant::now();
    while pushed.elapsed() < within {
        app.head("manifests/used").await.is(200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.head("manifests/used").await.is(200);
    let run: RetentionReport = read(&send(&registry, "run", &json!({ "repository": "app" })).await.is(200));
    assert_eq!(deleted(&run), ["app:unused"]);
}

#[tokio::test]
async fn minimum_age_keeps_new_tags() {
    let registry = with_accounts_and(|config| config.retention = vec![retention("**", "*")]).await;
    let app = registry.repository("app").of(&Who::root());
    app.push_image("1").await;
    let run: RetentionReport = read(&send(&registry, "run", &json!({})).await.is(200));
    assert_eq!((run.deleted.len(), run.kept), (0, 1));
}

#[tokio::test]
async fn owner_sets_rules_for_the_own_repositories() {
    let registry = started(vec![Retention {
        keep_newest: None,
        keep: vec!["*".parse().unwrap()],
        ..retention("ann/kept", "*")
    }])
    .await;
    let ann = registry.add_user("ann").await;
    registry.add_user("bob").await;
    let path = "/api/v1/retention/rules/ann";
    let rules =
        |repositories: &str| json!({ "rules": [{ "repositories": [repositories], "keep_newest": 1 }] });
    registry.send_as(&Who::user("bob"), Method::PUT, path, &rules("ann/*")).await.fails(404, "NAME_UNKNOWN");
    registry.send_as(&ann, Method::PUT, path, &rules("bob/*")).await.fails(400, "UNSUPPORTED");
    registry.send_as(&ann, Method::PUT, path, &rules("**")).await.fails(400, "UNSUPPORTED");
    let unconditional = json!({ "rules": [{ "repositories": ["ann/*"] }] });
    registry.send_as(&ann, Method::PUT, path, &unconditional).await.fails(400, "UNSUPPORTED");
    for (repositories, tags) in [(json!([]), json!(["*"])), (json!(["ann/*"]), json!([]))] {
        let rule = json!({ "repositories": repositories, "tags": tags, "keep_newest": 1 });
        let refused = registry.send_as(&ann, Method::PUT, path, &json!({ "rules": [rule] })).await;
        let refused = refused.fails(400, "UNSUPPORTED").text();
        assert!(refused.contains("empty list"), "{refused}");
    }
    registry.send_as(&ann, Method::PUT, path, &rules("ann/*")).await.is(204);
    let read_back = registry.get_as(&ann, path).await.is(200).json();
    assert_eq!(read_back["rules"][0]["keep_newest"], 1);

    for name in ["ann/app", "ann/kept", "bob/app"] {
        let repository = registry.repository(name).of(&Who::root());
        repository.push_image("1").await;
        repository.push_image("2").await;
    }
    registry.send_as(&ann, Method::POST, "/api/v1/retention/run", &json!({})).await.fails(403, "DENIED");
    let run: RetentionReport = read(&send(&registry, "run", &json!({})).await.is(200));
    assert_eq!(deleted(&run), ["ann/app:1"], "the operator's rules come first");
    registry.ask_as(&ann, Method::DELETE, path).await.is(204);
    assert_eq!(registry.get_as(&ann, path).await.is(200).json()["rules"], json!([]));
}

#[tokio::test]
async fn administrator_sets_rules_for_all_repositories() {
    let registry = started(vec![Retention {
        keep_newest: None,
        keep: vec!["*".parse().unwrap()],
        ..retention("kept/**", "*")
    }])
    .await;
    let ann = registry.add_user("ann").await;
    let path = "/api/v1/retention/rules";
    let rules = |repositories: &str, newest: u64| json!({ "rules": [{ "repositories": [repositories], "keep_newest": newest }] });
    registry.send_as(&ann, Method::PUT, path, &rules("**", 1)).await.fails(403, "DENIED");
    registry.get_as(&ann, path).await.fails(403, "DENIED");
    assert_eq!(registry.get_as(&Who::root(), path).await.is(200).json()["rules"], json!([]));
    let unconditional = json!({ "rules": [{ "repositories": ["**"] }] });
    registry.send_as(&Who::root(), Method::PUT, path, &unconditional).await.fails(400, "UNSUPPORTED");
    registry.send_as(&Who::root(), Method::PUT, path, &rules("**", 1)).await.is(204);
    registry.send_as(&ann, Method::PUT, "/api/v1/retention/rules/ann", &rules("ann/**", 0)).await.is(204);
    let origins = registry.get_as(&Who::root(), "/api/v1/rules").await.is(200).json();
    let origins: Vec<_> = origins["retention"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["origin"].as_str().unwrap())
        .collect();
    assert_eq!(origins, ["configuration", "server", "owner"]);

    for name in ["ann/app", "kept/app", "other/app"] {
        let repository = registry.repository(name).of(&Who::root());
        repository.push_image("1").await;
        repository.push_image("2").await;
    }
    let run: RetentionReport = read(&send(&registry, "run", &json!({})).await.is(200));
    assert_eq!(deleted(&run), ["ann/app:1", "other/app:1"], "they come after the configuration");
    registry.ask_as(&Who::root(), Method::DELETE, path).await.is(204);
    let run: RetentionReport = read(&send(&registry, "run", &json!({})).await.is(200));
    assert_eq!(deleted(&run), ["ann/app:2"], "the rules of owners come last");
}

/// The entries are written with the deletions, so that a crash loses none.
#[tokio::test]
async fn retention_audit_entries_come_with_the_deletion() {
    let registry = started(vec![Retention { keep_newest: Some(1), ..retention("ci/**", "*") }]).await;
    let app = registry.repository("ci/app").of(&Who::root());
    app.push_image("1").await;
    app.push_image("2").await;
    send(&registry, "preview", &json!({})).await.is(200);
    let audited = async || {
        let found =
            registry.get_as(&Who::root(), "/api/v1/audit?action=retention.delete").await.is(200).json();
        found["entries"].as_array().unwrap().len()
    };
    assert_eq!(audited().await, 0, "a preview leaves no entries");
    send(&registry, "run", &json!({})).await.is(200);
    assert_eq!(audited().await, 1);
}
