//! `[[immutable]]` and `[[protected]]`.

use reqwest::Method;
use serde_json::json;

use super::{immutable, protected};
use crate::harness::{OCI_INDEX, OCI_MANIFEST, Part, TestRegistry, Who, index_manifest, with_accounts_and};

#[tokio::test]
async fn immutable_tag_refuses_move_and_deletion() {
    let registry = TestRegistry::start_with(|config| {
        config.immutable = vec![immutable("team/**", "v*"), immutable("**", ">=1.0 <2")];
    })
    .await;
    let app = registry.repository("team/app");
    let first = app.push_image("v1").await;
    let other = app.push_image("latest").await;

    // A push of the same image succeeds, as of a build that is repeated.
    app.put_manifest_as("v1", OCI_MANIFEST, first.manifest.clone()).await.is(201);
    let refused = app.put_manifest_as("v1", OCI_MANIFEST, other.manifest.clone()).await.fails(403, "DENIED");
    let text = refused.text();
    assert!(text.contains("the tag v1 of team/app is immutable") && text.contains("v*"), "{text}");
    assert_eq!(refused.json()["errors"][0]["detail"]["rule"], "v*");

    // By digest with `tag` parameters: then none of the tags moves.
    let path = format!("{}?tag=new&tag=v1", other.digest);
    app.put_manifest_as(&path, OCI_MANIFEST, other.manifest.clone()).await.fails(403, "DENIED");
    assert!(!app.tags().await.contains(&"new".to_owned()));
    app.delete("manifests/v1").await.fails(403, "DENIED");
    app.delete(format_args!("manifests/{}", first.digest)).await.fails(403, "DENIED");
    registry.delete("/api/v1/repositories/team/app").await.fails(403, "DENIED");
    assert_eq!(app.digest_of("v1").await, first.digest);

    // Others are free.
    app.push_image("latest").await;
    app.delete("manifests/latest").await.is(202);
    let elsewhere = registry.repository("other/app");
    elsewhere.push_image("vague").await;
    elsewhere.push_image("vague").await;
    elsewhere.push_image("1.2").await;
    let another = elsewhere.push_image("2.0").await;
    elsewhere.put_manifest_as("1.2", OCI_MANIFEST, another.manifest).await.fails(403, "DENIED");
}

#[tokio::test]
async fn protected_tag_is_deleted_by_administrators_only() {
    let registry = with_accounts_and(|config| config.protected = vec![protected("**", "prod-*")]).await;
    let ann = registry.add_user("ann").await;
    let app = registry.repository("ann/app").of(&ann);
    app.push_image("prod-1").await;
    let image = app.push_image("prod-1").await;
    let refused = app.delete("manifests/prod-1").await.fails(403, "DENIED");
    assert!(refused.text().contains("only an administrator may delete it"), "{}", refused.text());
    app.delete(format_args!("manifests/{}", image.digest)).await.fails(403, "DENIED");
    registry.ask_as(&ann, Method::DELETE, "/api/v1/repositories/ann/app").await.fails(403, "DENIED");
    registry.ask_as(&Who::root(), Method::DELETE, "/v2/ann/app/manifests/prod-1").await.is(202);
}

#[tokio::test]
async fn protected_tag_is_kept_without_accounts() {
    let registry =
        TestRegistry::start_with(|config| config.protected = vec![protected("**", "prod-*")]).await;
    let app = registry.repository("app");
    app.push_image("prod-1").await;
    app.delete("manifests/prod-1").await.fails(403, "DENIED");
}

#[tokio::test]
async fn content_of_an_immutable_tag_is_not_deleted() {
    let registry =
        TestRegistry::start_with(|config| config.immutable = vec![immutable("team/**", "v*")]).await;
    let app = registry.repository("team/app");
    let image = app.push_image("v1").await;
    for (digest, _) in &image.blobs {
        let refused = app.delete(format_args!("blobs/{digest}")).await.fails(403, "DENIED");
        let text = refused.text();
        assert!(text.contains("team/app:v1 needs it, which is immutable"), "{text}");
        app.get(format_args!("blobs/{digest}")).await.is(200);
    }

    // The children of an index below an index, and their layers.
    let child = app.push_image("child").await;
    let inner = index_manifest(&[child.part()]).to_string().into_bytes();
    app.put_manifest_as("inner", OCI_INDEX, inner.clone()).await.is(201);
    let inner = Part::of(OCI_INDEX, &inner);
    app.put_manifest("v2", &index_manifest(std::slice::from_ref(&inner))).await.is(201);
    for tag in ["child", "inner"] {
        app.delete(format_args!("manifests/{tag}")).await.is(202);
    }
    for manifest in [child.digest, inner.digest] {
        app.delete(format_args!("manifests/{manifest}")).await.fails(403, "DENIED");
        app.get(format_args!("manifests/{manifest}")).await.is(200);
    }
    for (digest, _) in &child.blobs {
        app.delete(format_args!("blobs/{digest}")).await.fails(403, "DENIED");
    }

    // Others are free: a signature of the image, unused blobs, and images without a rule.
    let signature =
        app.push_image_saying("signature", serde_json::json!({ "subject": image.part().json() })).await;
    app.delete(format_args!("manifests/{}", signature.digest)).await.is(202);
    let unused = app.push_blob("unused").await;
    app.delete(format_args!("blobs/{unused}")).await.is(202);
    let latest = app.push_image("latest").await;
    app.delete(format_args!("blobs/{}", latest.blobs[1].0)).await.is(202);
    let elsewhere = registry.repository("other/app");
    let free = elsewhere.push_image("v1").await;
    elsewhere.delete(format_args!("blobs/{}", free.blobs[1].0)).await.is(202);
}

#[tokio::test]
async fn content_of_a_protected_tag_needs_an_administrator() {
    let registry = with_accounts_and(|config| config.protected = vec![protected("**", "prod-*")]).await;
    let ann = registry.add_user("ann").await;
    let app = registry.repository("ann/app").of(&ann);
    let image = app.push_image("prod-1").await;
    let layer = format!("blobs/{}", image.blobs[1].0);
    let refused = app.delete(&layer).await.fails(403, "DENIED");
    assert!(refused.text().contains("only an administrator may delete it"), "{}", refused.text());
    let root = Who::root();
    registry.repository("ann/app").of(&root).delete(&layer).await.is(202);
}

#[tokio::test]
async fn several_tags_are_deleted_except_kept_ones() {
    let registry = with_accounts_and(|config| {
        config.immutable = vec![immutable("**", "v*")];
        config.protected = vec![protected("**", "prod-*")];
    })
    .await;
    let ann = registry.add_user("ann").await;
    let app = registry.repository("ann/app").of(&ann);
    let mut digests = Vec::new();
    for tag in ["a", "b", "v1", "prod-1"] {
        digests.push(app.push_image(tag).await.digest.to_string());
    }
    let path = "/api/v1/repositories/ann/app/_delete";
    let tags = json!({ "tags": ["b", "v1", "a", "prod-1", "absent", "a"] });
    registry.send_as(&ann, Method::POST, path, &json!({ "tags": [] })).await.is(400);
    let many: Vec<String> = (0..1001).map(|number| format!("t{number}")).collect();
    registry.send_as(&ann, Method::POST, path, &json!({ "tags": many })).await.is(400);
    let deleted = registry.send_as(&ann, Method::POST, path, &tags).await.is(200).json();
    assert_eq!(
        deleted,
        json!({
            "deleted": [{ "tag": "a", "digest": digests[0] }, { "tag": "b", "digest": digests[1] }],
            "absent": ["absent"],
            "kept": [
                { "tag": "prod-1", "rule": "prod-*", "immutable": false },
                { "tag": "v1", "rule": "v*", "immutable": true },
            ],
        })
    );
    assert_eq!(app.tags().await, ["prod-1", "v1"]);
    // Each is an entry of the audit log, and its manifest is still there.
    let log = registry.get_as(&Who::root(), "/api/v1/audit?action=manifest.delete").await.is(200).json();
    let objects = log["entries"].as_array().unwrap().iter().map(|entry| entry["object"].as_str().unwrap());
    let mut objects: Vec<&str> = objects.collect();
    objects.sort_unstable();
    assert_eq!(objects, ["ann/app:a", "ann/app:b"]);
    app.get(format_args!("manifests/{}", digests[0])).await.is(200);
    // An administrator may delete a protected one. A repetition changes nothing.
    let deleted = registry.send_as(&Who::root(), Method::POST, path, &tags).await.is(200).json();
    assert_eq!(deleted["deleted"], json!([{ "tag": "prod-1", "digest": digests[3] }]));
    assert_eq!(deleted["absent"], json!(["a", "absent", "b"]));
    registry.send_as(&Who::root(), Method::POST, "/api/v1/repositories/no/app/_delete", &tags).await.is(404);
}
