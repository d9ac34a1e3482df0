//! `[[quota]]` and `storage.reserve`.

use api::{QuotaEntry, Quotas};
use registry::Reserve;
use wharfinger::config::Quota;

use super::{quota, read};
use crate::harness::{
    OCI_MANIFEST, Part, Repository, TestRegistry, Who, image_manifest, random, with_accounts_and,
};

async fn use_of(registry: &TestRegistry, scope: &str) -> QuotaEntry {
    let quotas: Quotas = read(&registry.get("/api/v1/usage/quotas").await.is(200));
    quotas.quotas.into_iter().find(|quota| quota.scope == scope).unwrap()
}

#[tokio::test]
async fn quota_counts_each_digest_once() {
    let mut registry =
        TestRegistry::start_with(|config| config.quota = vec![quota("team/**", Some(1 << 20), None)]).await;
    let app = registry.repository("team/app");
    let image = app.push_image("1").await;
    let bytes = image.blobs.iter().map(|(_, content)| content.len()).sum::<usize>() + image.manifest.len();
    assert_eq!(use_of(&registry, "repositories team/**").await.bytes, bytes as u64);

    // A copy in the same scope adds nothing, and one outside is not counted.
    for name in ["team/copy", "other/copy"] {
        let copy = registry.repository(name);
        for (digest, _) in &image.blobs {
            registry
                .post(copy.path(format_args!("blobs/uploads/?mount={digest}&from=team/app")))
                .await
                .is(201);
        }
        copy.put_manifest_as("1", OCI_MANIFEST, image.manifest.clone()).await.is(201);
    }
    let used = use_of(&registry, "repositories team/**").await;
    assert_eq!((used.bytes, used.tags, used.max_bytes), (bytes as u64, 2, Some(1 << 20)));
    registry.delete("/api/v1/repositories/team/app").await.is(202);
    assert_eq!(use_of(&registry, "repositories team/**").await.bytes, bytes as u64);
    registry.delete("/api/v1/repositories/team/copy").await.is(202);
    let used = use_of(&registry, "repositories team/**").await;
    assert_eq!((used.bytes, used.tags), (0, 0));

    // Other rules are counted at the start.
    registry.restart_with(|config| config.quota = vec![quota("**", None, Some(7))]).await;
    let used = use_of(&registry, "repositories **").await;
    assert_eq!((used.bytes, used.tags, used.max_tags), (bytes as u64, 1, Some(7)));
}

#[tokio::test]
async fn push_beyond_the_quota_is_refused() {
    let registry =
        TestRegistry::start_with(|config| config.quota = vec![quota("team/app", Some(10_000), None)]).await;
    let app = registry.repository("team/app");
    app.push_image("1").await;

    // The size is known, or only the bytes that arrive tell.
    let blob = random(9_000);
    let digest = oci::Algorithm::Sha256.digest(&blob);
    let whole = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    let refused = registry.request(reqwest::Method::POST, &whole).body(blob.clone());
    let refused = crate::harness::Ask::ask(refused).await.fails(403, "DENIED");
    let text = refused.text();
    assert!(text.contains("the quota of repositories team/app is exceeded"), "{text}");
    assert!(
        text.contains("Deleted images count until gc.grace has passed"),
        "a deletion alone does not help: {text}"
    );
    let upload = app.begin_upload().await;
    registry.patch(&upload, blob.clone()).await.fails(403, "DENIED");
    let upload = app.begin_upload().await;
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        blob.chunks(1_000).map(|chunk| Ok(chunk.to_vec())).collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    registry.patch(&upload, stream).await.fails(403, "DENIED");

    // Others are free, and what is there can be pushed again.
    let free = registry.repository("team/free");
    free.push_blob(blob.clone()).await;
    let image = app.push_image("1").await;
    app.put_manifest_as("2", OCI_MANIFEST, image.manifest.clone()).await.is(201);
    registry
        .post(app.path(format_args!("blobs/uploads/?mount={digest}&from=team/free")))
        .await
        .fails(403, "DENIED");
    assert!(use_of(&registry, "repositories team/app").await.bytes <= 10_000);
}

#[tokio::test]
async fn layers_of_a_deleted_image_count_until_collected() {
    let registry = TestRegistry::start_with(|config| {
        config.quota = vec![quota("team/**", Some(1 << 20), None)];
        config.gc.grace = std::time::Duration::ZERO;
    })
    .await;
    let app = registry.repository("team/app");
    app.push_image("kept").await;
    let kept = use_of(&registry, "repositories team/**").await.bytes;
    let image = app.push_image("1").await;
    let layers = image.blobs.iter().map(|(_, content)| content.len() as u64).sum::<u64>();
    app.delete(format_args!("manifests/{}", image.digest)).await.is(202);
    let used = use_of(&registry, "repositories team/**").await.bytes;
    assert!(
        used > kept && used <= kept + layers,
        "{kept} of the other image, {layers} of the layers: {used}"
    );
    registry.post("/api/v1/gc").await.is(200);
    assert_eq!(use_of(&registry, "repositories team/**").await.bytes, kept);
}

/// The refusal of an upload whose size is known.
async fn refused_blob(app: &Repository<'_>) -> serde_json::Value {
    let blob = random(9_000);
    let digest = oci::Algorithm::Sha256.digest(&blob);
    let upload = app.request(reqwest::Method::POST, format_args!("blobs/uploads/?digest={digest}"));
    let refused = crate::harness::Ask::ask(upload.body(blob)).await.fails(403, "DENIED");
    refused.json()["errors"][0].clone()
}

#[tokio::test]
async fn refusal_names_the_bytes_of_deleted_images() {
    let registry =
        TestRegistry::start_with(|config| config.quota = vec![quota("team/**", Some(10_000), None)]).await;
    let (app, other) = (registry.repository("team/app"), registry.repository("team/other"));
    let image = app.push_image("1").await;
    let gone = other.push_image("1").await;
    let size = |number: usize| gone.blobs[number].1.len() as u64;
    // The config and the first layer of the deleted image are needed by an image of another repository as
    // well.
    let parts = [Part::config(&gone.blobs[0].1), Part::layer(&gone.blobs[1].1)];
    for (digest, _) in &gone.blobs[..2] {
        registry.post(app.path(format_args!("blobs/uploads/?mount={digest}&from=team/other"))).await.is(201);
    }
    let shares = image_manifest(&parts[0], &parts[1..]).to_string();
    app.put_manifest_as("2", OCI_MANIFEST, shares).await.is(201);
    let refused = refused_blob(&app).await;
    assert_eq!(refused["detail"]["deleted"], 0, "{refused}");

    other.delete(format_args!("manifests/{}", gone.digest)).await.is(202);
    let refused = refused_blob(&app).await;
    assert_eq!(refused["detail"]["deleted"], size(2), "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("2.0 KiB of it by deleted images"), "{message}");
    // The transaction of a manifest says the same.
    let large = image_manifest(&Part::config(&image.blobs[0].1), &[]).to_string() + &" ".repeat(8_000);
    let refused = app.put_manifest_as("3", OCI_MANIFEST, large).await.fails(403, "DENIED");
    assert_eq!(refused.json()["errors"][0]["detail"]["deleted"], size(2));

    // An image whose last tag was deleted is there until the grace period ends.
    app.delete("manifests/1").await.is(202);
    let layers = image.blobs.iter().map(|(_, content)| content.len()).sum::<usize>();
    let refused = refused_blob(&app).await;
    assert_eq!(refused["detail"]["deleted"], size(2) + (layers + image.manifest.len()) as u64, "{refused}");
}

#[tokio::test]
async fn quota_on_tags_refuses_new_ones_only() {
    let registry = TestRegistry::start_with(|config| {
        config.quota = vec![Quota { each: true, ..quota("team/*", None, Some(2)) }];
    })
    .await;
    let app = registry.repository("team/app");
    app.push_image("1").await;
    let image = app.push_image("2").await;
    let refused = app.put_manifest_as("3", OCI_MANIFEST, image.manifest.clone()).await.fails(403, "DENIED");
    assert!(refused.text().contains("2 of 2 tags used"), "{}", refused.text());
    app.put_manifest_as("1", OCI_MANIFEST, image.manifest.clone()).await.is(201);
    app.delete("manifests/1").await.is(202);
    app.put_manifest_as("3", OCI_MANIFEST, image.manifest.clone()).await.is(201);
    // The limit is for each repository.
    registry.repository("team/other").push_image("1").await;
    assert_eq!(use_of(&registry, "repository team/other").await.tags, 1);
}

#[tokio::test]
async fn owner_sees_the_own_quota_only() {
    let registry = with_accounts_and(|config| {
        let of = |owner: &str| Quota {
            repositories: None,
            owner: Some(owner.parse().unwrap()),
            each: false,
            bytes: Some(1 << 20),
            tags: None,
        };
        config.quota = vec![of("ann"), of("bob")];
    })
    .await;
    let ann = registry.add_user("ann").await;
    registry.repository("ann/app").of(&ann).push_image("1").await;
    let scopes = async |who: &Who| -> Vec<String> {
        let quotas: Quotas = read(&registry.get_as(who, "/api/v1/usage/quotas").await.is(200));
        quotas.quotas.into_iter().map(|quota| quota.scope).collect()
    };
    assert_eq!(scopes(&Who::root()).await, ["owner ann", "owner bob"]);
    assert_eq!(scopes(&ann).await, ["owner ann"]);
    assert!(scopes(&Who::NOBODY).await.is_empty());
}

#[tokio::test]
async fn reserve_refuses_uploads_and_nothing_else() {
    let mut registry = TestRegistry::start().await;
    registry.repository("app").push_image("1").await;
    registry.restart_with(|config| config.storage.reserve = Reserve::Share(9_999)).await;
    let app = registry.repository("app");
    let refused = registry.post("/v2/app/blobs/uploads/").await.fails(507, "INSUFFICIENT_STORAGE");
    assert!(refused.text().contains("storage.reserve"), "{}", refused.text());
    app.put_manifest_as("2", OCI_MANIFEST, b"{}".to_vec()).await.fails(507, "INSUFFICIENT_STORAGE");
    app.get("manifests/1").await.is(200);
    app.delete("manifests/1").await.is(202);
}

#[tokio::test]
async fn unfinished_uploads_count_towards_the_quota() {
    let mut registry =
        TestRegistry::start_with(|config| config.quota = vec![quota("team/**", Some(10_000), None)]).await;
    let app = registry.repository("team/app");
    // A client whose connection broke begins again.
    let first = app.begin_upload().await;
    registry.patch(&first, random(6_000)).await.is(202);
    let second = app.begin_upload().await;
    let location = registry.patch(&second, random(6_000)).await.is(202).location();

    let post = |repository: &str| format!("/v2/{repository}/blobs/uploads/");
    let refused = registry.post(post("team/app")).await.fails(403, "DENIED");
    let text = refused.text();
    assert!(text.contains("unfinished uploads hold 11.7 KiB"), "{text}");
    assert_eq!(refused.json()["errors"][0]["detail"]["unfinished"], 12_000);
    registry.post(post("team/other")).await.fails(403, "DENIED");
    registry.post(post("free/app")).await.is(202);
    let blob = random(100);
    let whole = format!("{}?digest={}", post("team/app"), oci::Algorithm::Sha256.digest(&blob));
    let request = registry.request(reqwest::Method::POST, &whole).body(blob);
    crate::harness::Ask::ask(request).await.fails(403, "DENIED");

    registry.restart().await;
    registry.post(post("team/app")).await.fails(403, "DENIED");
    registry.delete(&location).await.is(204);
    registry.post(post("team/app")).await.is(202);
}

#[tokio::test]
async fn open_uploads_of_an_account_are_limited() {
    let registry = with_accounts_and(|_| {}).await;
    let (ann, bob) = (registry.add_user("ann").await, registry.add_user("bob").await);
    let app = registry.repository("ann/app").of(&ann);
    let upload = app.begin_upload().await;
    for _ in 1..1_000 {
        app.begin_upload().await;
    }
    let refused = app.request(reqwest::Method::POST, "blobs/uploads/");
    let refused = crate::harness::Ask::ask(refused).await.fails(403, "DENIED");
    assert!(refused.text().contains("ann has 1000 unfinished uploads"), "{}", refused.text());
    registry.repository("bob/app").of(&bob).begin_upload().await;
    registry.ask_as(&ann, reqwest::Method::DELETE, &upload).await.is(204);
    app.begin_upload().await;
}
