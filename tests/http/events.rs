//! Events: webhooks, their deliveries, and the stream `/api/v1/events`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registry::webhooks::WebhookFormat;
use reqwest::Method;
use serde_json::{Value, json};
use wharfinger::config::{By, Quota, Retention, WebhookTable};

use crate::harness::{
    Ask, By as _, OCI_INDEX, OCI_MANIFEST, Received, Receiver, Repository, TestRegistry, Who, basic,
    eventually, free_address, with_accounts, with_accounts_and,
};

pub(crate) fn webhook(address: SocketAddr) -> WebhookTable {
    WebhookTable {
        url: format!("http://{address}/hook"),
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
        previous_secret: "old".to_owned(),
        events: Vec::new(),
        repositories: Vec::new(),
        media_types: Vec::new(),
        format: WebhookFormat::CloudEvents,
        allow_private: true,
        headers: vec!["X-Token: abc".to_owned()],
        ca: None,
        attempts: 30,
        name: "ci".to_owned(),
    }
}

/// Pushes a manifest with tags.
async fn push_tags(repository: &Repository<'_>, number: usize, tags: &[String]) {
    let image = repository.push_image(&format!("base-{number}")).await;
    let manifest = repository.get(format_args!("manifests/base-{number}")).await.is(200);
    let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
    let reference = format!("{}?{}", image.digest, query.join("&"));
    repository.put_manifest_as(reference, OCI_MANIFEST, manifest.text()).await.is(201);
}

/// Waits longer than `eventually`, for many deliveries on a busy machine.
async fn received(receiver: &Receiver, count: usize) {
    for _ in 0..12_000 {
        if receiver.count() >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} of {count} deliveries arrived", receiver.count());
}

fn event_id(received: &Received) -> i64 {
    received.header("webhook-id").rsplit('-').next().unwrap().parse().unwrap()
}

/// Verifies a signature as a receiver does.
fn assert_signed(received: &Received, key: &[u8]) {
    let (id, at) = (received.header("webhook-id"), received.header("webhook-timestamp"));
    let mut signed = format!("{id}.{at}.").into_bytes();
    signed.extend_from_slice(&received.body);
    let is_valid = received.header("webhook-signature").split(' ').any(|signature| {
        let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), &signed, &tag).is_ok()
    });
    assert!(is_valid, "{received:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_gets_all_events_after_an_outage() {
    const REPOSITORIES: usize = 5;
    const PUSHES: usize = 40;
    // A response has a header for each tag, and the client takes 100 headers.
    const TAGS: usize = 50;
    let address = free_address().await;
    let registry = TestRegistry::start_with(|config| {
        config.webhook = vec![WebhookTable { events: vec!["tag.*".into()], ..webhook(address) }];
    })
    .await;
    for number in 0..PUSHES {
        for repository in 0..REPOSITORIES {
            let repository = registry.repository(&format!("team/app-{repository}"));
            let tags: Vec<String> = (0..TAGS - 1).map(|tag| format!("t{number}-{tag}")).collect();
            push_tags(&repository, number, &tags).await;
        }
    }
    let receiver = Receiver::start(address, |_| 204).await;
    let count = REPOSITORIES * PUSHES * TAGS;
    received(&receiver, count).await;
    let all = receiver.received();
    let ids: BTreeSet<&str> = all.iter().map(|received| received.header("webhook-id")).collect();
    assert_eq!((ids.len(), all.len()), (count, count), "all arrive, and once");
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for received in &all {
        let repository = received.json()["data"]["repository"].as_str().unwrap().to_owned();
        let id = event_id(received);
        let before = last.insert(repository, id);
        assert!(before.is_none_or(|before| before < id), "in the order of the repository");
    }
    assert_eq!(last.len(), REPOSITORIES);
    assert_signed(&all[0], &STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
    assert_signed(&all[0], b"old");
    assert_eq!(all[0].header("x-token"), "abc");
    assert_eq!(all[0].header("content-type"), "application/cloudevents+json");
    assert_eq!(all[0].json()["type"], "wharfinger.tag.moved");
}

/// A push may arrive as soon as the server listens.
#[tokio::test]
async fn webhook_gets_the_first_event_of_a_server() {
    for _ in 0..8 {
        let address = free_address().await;
        let receiver = Receiver::start(address, |_| 204).await;
        let registry = TestRegistry::start_with(|config| {
            config.webhook = vec![WebhookTable { events: vec!["tag.*".into()], ..webhook(address) }];
        })
        .await;
        let empty = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] });
        let app = registry.repository("team/app");
        app.put_manifest_as("1", OCI_INDEX, empty.to_string()).await.is(201);
        received(&receiver, 1).await;
    }
}

#[tokio::test]
async fn webhook_filters_by_media_type() {
    let address = free_address().await;
    let receiver = Receiver::start(address, |_| 204).await;
    let registry = TestRegistry::start_with(|config| {
        let events = vec!["push".into()];
        config.webhook =
            vec![WebhookTable { events, media_types: vec![SBOM.parse().unwrap()], ..webhook(address) }];
    })
    .await;
    let app = registry.repository("team/app");
    app.push_image("image").await;
    push_index(&app, "index", json!(null)).await;
    push_index(&app, "sbom", json!(SBOM)).await;
    // Deliveries of a repository are in order, so the others would have come first.
    received(&receiver, 1).await;
    assert_eq!(receiver.received()[0].json()["data"]["tags"], json!(["sbom"]));
}

const SBOM: &str = "application/spdx+json";

/// Pushes an empty index, with an artifact type.
async fn push_index(repository: &Repository<'_>, tag: &str, artifact_type: Value) {
    let mut index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] });
    if artifact_type.is_string() {
        index["artifactType"] = artifact_type;
    }
    repository.put_manifest_as(tag, OCI_INDEX, index.to_string()).await.is(201);
}

#[tokio::test]
async fn owned_webhook_filters_by_media_type() {
    let mut registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    let path = "/api/v1/webhooks";
    let new = |media_types: Value| {
        json!({
            "url": "http://receiver.invalid/", "repositories": ["ann/*"], "events": ["push", "tag.deleted"],
            "media_types": media_types,
        })
    };
    registry.send_as(&ann, Method::POST, path, &new(json!(["index"]))).await.is(400);
    let made = registry.send_as(&ann, Method::POST, path, &new(json!([OCI_INDEX]))).await.is(201).json();
    assert_eq!(made["webhook"]["media_types"], json!([OCI_INDEX]));
    // The filter is kept, also by a change of the secret.
    let one = format!("{path}/{}", made["webhook"]["id"].as_str().unwrap());
    registry.send_as(&ann, Method::PATCH, &one, &json!({})).await.is(200);
    registry.restart().await;
    assert_eq!(registry.get_as(&ann, &one).await.is(200).json()["media_types"], json!([OCI_INDEX]));
    let app = registry.repository("ann/app").of(&ann);
    app.push_image("image").await;
    push_index(&app, "index", json!(null)).await;
    // A deletion has no media type, and is sent.
    app.delete("manifests/image").await.is(202);
    let deliveries = async || registry.get_as(&ann, &format!("{one}/deliveries")).await.is(200).json();
    eventually("two are enqueued", async || deliveries().await["deliveries"].as_array().unwrap().len() == 2)
        .await;
    let found = deliveries().await;
    let kinds: Vec<&Value> =
        found["deliveries"].as_array().unwrap().iter().map(|one| &one["event"]).collect();
    assert_eq!(kinds, ["tag.deleted", "push"]);
}

/// The receiver is a registry with a self-signed certificate, which refuses the request after the handshake.
#[tokio::test]
async fn webhook_trusts_the_certificates_of_its_file() {
    let secure =
        TestRegistry::start_with(|config| config.tls.self_signed = vec!["localhost".parse().unwrap()]).await;
    let trusted = secure.files("").into_iter().find(|file| file.ends_with("self-signed.pem")).unwrap();
    let address = secure.address();
    let url = format!("https://localhost:{}/hook", address.port());
    for (ca, status) in [(None, Value::Null), (Some(trusted.clone()), json!(404))] {
        let registry = with_accounts_and(|config| {
            config.webhook = vec![WebhookTable { url: url.clone(), ca, ..webhook(address) }];
        })
        .await;
        let test =
            registry.ask_as(&Who::root(), Method::POST, "/api/v1/webhooks/ci/test").await.is(200).json();
        assert_eq!((&test["delivered"], &test["status"]), (&json!(false), &status), "{test}");
    }
}

#[tokio::test]
async fn refused_delivery_is_parked_and_replayed() {
    let address = free_address().await;
    let registry = with_accounts_and(|config| {
        config.webhook = vec![WebhookTable { events: vec!["push".into()], attempts: 1, ..webhook(address) }];
    })
    .await;
    let root = Who::root();
    let refuses =
        |received: &Received| if received.json()["data"]["repository"] == "bad/app" { 422 } else { 204 };
    let receiver = Receiver::start(address, refuses).await;
    for name in ["bad/app", "good/app", "bad/app"] {
        registry.repository(name).of(&root).push_image("1").await;
    }
    received(&receiver, 3).await;
    let deliveries = async |state: &str| -> Vec<Value> {
        let path = format!("/api/v1/webhooks/ci/deliveries?state={state}");
        registry.get_as(&root, &path).await.is(200).json()["deliveries"].as_array().unwrap().clone()
    };
    eventually("two are parked", async || deliveries("parked").await.len() == 2).await;
    let parked = deliveries("parked").await;
    assert_eq!((&parked[0]["status"], &parked[0]["answer"]), (&json!(422), &json!("received")));
    assert_eq!(parked[0]["attempts"], 1);
    let replay = |body: Value| {
        let (registry, root) = (&registry, &root);
        async move {
            registry.send_as(root, Method::POST, "/api/v1/webhooks/ci/replay", &body).await.is(200).json()
        }
    };
    assert_eq!(replay(json!({})).await["replayed"], 2);
    received(&receiver, 5).await;
    let test = registry.ask_as(&root, Method::POST, "/api/v1/webhooks/ci/test").await.is(200).json();
    assert_eq!((&test["delivered"], &test["status"]), (&json!(true), &json!(204)));
    let listed = registry.get_as(&root, "/api/v1/webhooks").await.is(200).json();
    assert_eq!(listed["webhooks"][0]["id"], "ci");
    assert!(!listed.to_string().contains("whsec"), "{listed}");
}

#[tokio::test]
async fn distribution_receiver_gets_its_envelope() {
    let address = free_address().await;
    let receiver = Receiver::start(address, |_| 200).await;
    let registry = TestRegistry::start_with(|config| {
        config.webhook = vec![WebhookTable { format: WebhookFormat::Distribution, ..webhook(address) }];
    })
    .await;
    let app = registry.repository("team/app");
    let image = app.push_image("1.0").await;
    app.delete("manifests/1.0").await.is(202);
    received(&receiver, 2).await;
    let all = receiver.received();
    assert_eq!(all[0].header("content-type"), "application/vnd.docker.distribution.events.v2+json");
    let push = &all[0].json()["events"][0];
    assert_eq!((&push["action"], &push["target"]["tag"]), (&json!("push"), &json!("1.0")));
    assert_eq!(push["target"]["digest"], image.digest.to_string());
    assert_eq!((&push["request"]["method"], &push["request"]["useragent"]), (&json!("PUT"), &json!("")));
    assert_eq!(push["target"]["mediaType"], OCI_MANIFEST);
    let deletion = &all[1].json()["events"][0];
    assert_eq!((&deletion["action"], &deletion["target"]["tag"]), (&json!("delete"), &json!("1.0")));
}

#[tokio::test]
async fn owner_adds_a_webhook_for_own_repositories() {
    let registry = with_accounts().await;
    let (ann, bob) = (registry.add_user("ann").await, registry.add_user("bob").await);
    let path = "/api/v1/webhooks";
    let new = |url: &str, pattern: &str| json!({ "url": url, "repositories": [pattern] });
    for private in [
        "http://127.0.0.1:1/",
        "http://localhost/",
        "http://[::1]/",
        "http://169.254.169.254/",
        "ftp://example.com/",
    ] {
        registry.send_as(&ann, Method::POST, path, &new(private, "ann/*")).await.is(400);
    }
    let url = "https://receiver.invalid/hook";
    registry.send_as(&ann, Method::POST, path, &new(url, "bob/*")).await.is(403);
    registry.send_as(&Who::NOBODY, Method::POST, path, &new(url, "ann/*")).await.is(401);
    let made = registry.send_as(&ann, Method::POST, path, &new(url, "ann/*")).await.is(201).json();
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let id = made["webhook"]["id"].as_str().unwrap();
    let one = format!("{path}/{id}");
    registry.get_as(&ann, &one).await.is(200);
    registry.get_as(&bob, &one).await.is(404);
    assert_eq!(registry.get_as(&bob, path).await.is(200).json()["webhooks"], json!([]));
    let rotated = registry.send_as(&ann, Method::PATCH, &one, &json!({})).await.is(200).json();
    assert_ne!(rotated["secret"], made["secret"]);
    let tested = registry.ask_as(&ann, Method::POST, &format!("{one}/test")).await.is(200).json();
    assert_eq!(tested["delivered"], false);
    assert!(
        tested["answer"].as_str().unwrap().ends_with("receiver.invalid has no public address"),
        "{tested}"
    );
    registry.ask_as(&bob, Method::DELETE, &one).await.is(404);
    registry.ask_as(&ann, Method::DELETE, &one).await.is(204);
    registry.get_as(&ann, &one).await.is(404);
}

/// The webhooks that an administrator sees, by id, with the numbers of pending and parked deliveries.
async fn backlog(registry: &TestRegistry, id: &str) -> (u64, u64) {
    let webhook = registry.get_as(&Who::root(), &format!("/api/v1/webhooks/{id}")).await.is(200).json();
    (webhook["pending"].as_u64().unwrap(), webhook["parked"].as_u64().unwrap())
}

#[tokio::test]
async fn webhook_ends_with_the_rights_of_its_account() {
    let registry = with_accounts().await;
    let (ann, bob) = (registry.add_user("ann").await, registry.add_user("bob").await);
    let root = Who::root();
    let grant = json!({ "subject": "bob", "repositories": "ann/app", "rights": ["pull", "administer"] });
    registry.send_as(&ann, Method::PUT, "/api/v1/grants", &grant).await.is(204);
    let new = json!({ "url": "http://receiver.invalid/", "repositories": ["ann/app"], "events": ["push"] });
    let made = registry.send_as(&bob, Method::POST, "/api/v1/webhooks", &new).await.is(201).json();
    let of_bob = made["webhook"]["id"].as_str().unwrap();
    let made = registry.send_as(&ann, Method::POST, "/api/v1/webhooks", &new).await.is(201).json();
    let of_ann = made["webhook"]["id"].as_str().unwrap();
    let app = registry.repository("ann/app").of(&ann);
    app.push_image("1").await;
    eventually("both have the first push", async || {
        backlog(&registry, of_bob).await == (1, 0) && backlog(&registry, of_ann).await == (1, 0)
    })
    .await;
    let grant = "/api/v1/grants?subject=bob&repositories=ann/app";
    registry.ask_as(&ann, Method::DELETE, grant).await.is(204);
    app.push_image("2").await;
    eventually("the push is for ann alone", async || backlog(&registry, of_ann).await == (2, 0)).await;
    registry.get_as(&bob, &format!("/api/v1/webhooks/{of_bob}")).await.is(404);
    eventually("what waited for bob is not sent", async || backlog(&registry, of_bob).await == (0, 1)).await;
    registry.ask_as(&root, Method::DELETE, "/api/v1/users/bob").await.is(204);
    registry.get_as(&root, &format!("/api/v1/webhooks/{of_bob}")).await.is(404);
}

#[tokio::test]
async fn webhooks_of_an_account_have_a_limit() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    let new = json!({ "url": "http://receiver.invalid/", "repositories": ["ann/*"] });
    for _ in 0..50 {
        registry.send_as(&ann, Method::POST, "/api/v1/webhooks", &new).await.is(201);
    }
    let refused = registry.send_as(&ann, Method::POST, "/api/v1/webhooks", &new).await.is(409);
    assert!(refused.text().contains("there are 50 webhooks already"), "{}", refused.text());
}

/// Reads the events of a stream that ends.
async fn events(registry: &TestRegistry, who: &Who, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/events?follow=false&{query}");
    let answer = registry.get_as(who, &path).await.is(200).has("content-type", "text/event-stream");
    answer
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[tokio::test]
async fn stream_shows_what_may_be_pulled() {
    let registry = with_accounts().await;
    let (ann, bob) = (registry.add_user("ann").await, registry.add_user("bob").await);
    registry.repository("ann/app").of(&ann).push_image("1").await;
    registry.repository("bob/app").of(&bob).push_image("1").await;
    let repositories = |events: &[Value]| -> BTreeSet<String> {
        events.iter().filter_map(|event| Some(event["repository"].as_str()?.to_owned())).collect()
    };
    let seen = events(&registry, &ann, "after=0").await;
    assert_eq!(repositories(&seen), BTreeSet::from(["ann/app".to_owned()]));
    let all = events(&registry, &Who::root(), "after=0").await;
    assert_eq!(repositories(&all).len(), 2);
    let push = all.iter().find(|event| event["event"] == "push").unwrap();
    assert_eq!((&push["account"], &push["tags"]), (&json!("ann"), &json!(["1"])));
    assert!(push["address"].is_string());
    assert!(seen.iter().all(|event| event.get("address").is_none()));

    let after = format!("after={}", push["id"]);
    let rest = events(&registry, &Who::root(), &after).await;
    assert_eq!(rest.len(), all.iter().filter(|event| event["id"].as_i64() > push["id"].as_i64()).count());
    let pushes = events(&registry, &Who::root(), "after=0&event=push&repository=bob/app").await;
    assert_eq!(pushes.len(), 1);
    registry.get_as(&ann, "/api/v1/events?event=nothing").await.is(400);
    registry.get_as(&ann, "/api/v1/events?after=x").await.is(400);
}

/// The kinds of events of the operator's document, besides `upstream.state`, which `mirror::state` tests.
#[tokio::test]
async fn every_kind_of_event_is_announced() {
    let address = free_address().await;
    let receiver = Receiver::start(address, |_| 204).await;
    let registry = with_accounts_and(|config| {
        config.webhook = vec![WebhookTable {
            events: vec!["*".into()],
            format: WebhookFormat::CloudEventsBinary,
            ..webhook(address)
        }];
        config.events.pulls = 1;
        config.gc.grace = Duration::ZERO;
        let repositories = Some("limited/*".parse().unwrap());
        config.quota = vec![Quota { repositories, owner: None, each: true, bytes: None, tags: Some(1) }];
        config.retention = vec![Retention {
            repositories: vec!["old/**".parse().unwrap()],
            tags: vec!["*".parse().unwrap()],
            keep_newest: Some(0),
            by: By::Push,
            keep_pushed_within: None,
            keep_pulled_within: None,
            keep: Vec::new(),
        }];
        config.retention_minimum_age = Duration::ZERO;
    })
    .await;
    let root = Who::root();
    let push = async |name: &str| registry.repository(name).of(&root).push_image("1").await;
    push("limited/app").await;
    push("old/app").await;
    let image = push("team/app").await;
    registry.get_as(&root, "/v2/team/app/manifests/1").await.is(200);
    registry.get_as(&basic("root", "not-the-password"), "/v2/").await.is(401);
    registry.send_as(&root, Method::POST, "/api/v1/retention/run", &json!({})).await.is(200);
    let gone = push("gone/app").await;
    let path = format!("/v2/gone/app/manifests/{}", gone.digest);
    registry.ask_as(&root, Method::DELETE, &path).await.is(202);
    registry.ask_as(&root, Method::POST, "/api/v1/gc").await.is(200);
    let layer = registry.blob_file(&image.blobs[1].0);
    eventually("the layer is in its file", async || layer.exists()).await;
    std::fs::remove_file(&layer).unwrap();
    registry.ask_as(&root, Method::POST, "/api/v1/check").await.is(200);
    let test = registry.ask_as(&root, Method::POST, "/api/v1/webhooks/ci/test").await.is(200).json();
    assert_eq!(test["delivered"], true);

    let expected = BTreeSet::from(
        [
            "push",
            "tag.moved",
            "tag.deleted",
            "manifest.deleted",
            "repository.deleted",
            "blob.pushed",
            "blob.deleted",
            "pull",
            "quota.warning",
            "retention.run",
            "gc.run",
            "check.finding",
            "sign-in.failed",
            "test",
        ]
        .map(|kind| format!("wharfinger.{kind}")),
    );
    let kinds =
        || receiver.received().iter().map(|one| one.header("ce-type").to_owned()).collect::<BTreeSet<_>>();
    eventually("each kind has arrived", async || expected.is_subset(&kinds())).await;
    let all = receiver.received();
    let of = |kind: &str| all.iter().find(|one| one.header("ce-type").ends_with(kind)).unwrap();
    for one in &all {
        assert_eq!((one.header("ce-specversion"), one.header("content-type")), ("1.0", "application/json"));
        assert_signed(one, b"old");
    }
    assert_eq!(of("quota.warning").json()["repository"], "limited/app");
    assert_eq!(of("retention.run").json()["deleted"], 1);
    assert_eq!(of("check.finding").json()["repository"], "team/app");
    assert_eq!(of("pull").json()["digest"], image.digest.to_string());
}

/// Checks that the metrics have a line.
async fn scrape(registry: &TestRegistry, line: &str) {
    let path = format!("http://{}/metrics", registry.metrics_address());
    let text = String::from_utf8(registry.get(path).await.is(200).body.to_vec()).unwrap();
    assert!(text.lines().any(|metric| metric == line), "{line} is not in\n{text}");
}

#[tokio::test]
async fn nearly_full_repositories_are_in_the_metrics() {
    let registry = TestRegistry::start_with(|config| {
        config.metrics.listen = Some("127.0.0.1:0".parse().unwrap());
        let repositories = Some("team/*".parse().unwrap());
        config.quota = vec![Quota { repositories, owner: None, each: true, bytes: None, tags: Some(2) }];
    })
    .await;
    for (repository, tag) in [("team/full", "1"), ("team/full", "2"), ("team/half", "1"), ("other/free", "1")]
    {
        registry.repository(repository).push_image(tag).await;
    }
    scrape(&registry, "wharfinger_quotas_nearly_reached 1").await;
}

#[tokio::test]
async fn quota_and_damage_raise_events_and_metrics() {
    let mut registry = TestRegistry::start_with(|config| {
        config.metrics.listen = Some("127.0.0.1:0".parse().unwrap());
        let repositories = Some("app".parse().unwrap());
        config.quota = vec![Quota { repositories, owner: None, each: false, bytes: Some(8_000), tags: None }];
    })
    .await;
    let image = registry.repository("app").push_image("1").await;
    scrape(&registry, "wharfinger_quotas_nearly_reached 0").await;
    registry.repository("app").push_image("2").await;
    scrape(&registry, "wharfinger_quotas_nearly_reached 1").await;
    let warnings = events(&registry, &Who::NOBODY, "after=0&event=quota.warning").await;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0]["repository"], "app");

    // After a restart, all content has its file.
    registry.restart().await;
    let digest = image.blobs[1].0;
    std::fs::remove_file(registry.blob_file(&digest)).unwrap();
    for _ in 0..2 {
        registry.get(format!("/v2/app/blobs/{digest}")).await.fails(404, "BLOB_UNKNOWN");
    }
    scrape(&registry, "wharfinger_damaged_content_answers_total 2").await;
    let found = async || events(&registry, &Who::NOBODY, "after=0&event=check.finding").await;
    eventually("the first request is an event", async || !found().await.is_empty()).await;
    let found = found().await;
    assert_eq!((found.len(), &found[0]["digest"]), (1, &json!(digest)), "{found:?}");
}

#[tokio::test]
async fn stream_follows_and_ends_with_the_server() {
    let mut registry = TestRegistry::start().await;
    let mut stream = registry.request(Method::GET, "/api/v1/events").by(&Who::NOBODY).send().await.unwrap();
    registry.repository("team/app").push_image("1").await;
    let mut text = String::new();
    while !text.contains("event: tag.moved") {
        text.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().expect("the stream goes on")));
    }
    let id = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    registry.stop().await;
    while stream.chunk().await.unwrap().is_some() {}
    registry.run().await;
    let resumed = registry.request(Method::GET, "/api/v1/events?follow=false").header("last-event-id", &id);
    let resumed = resumed.ask().await.is(200).text();
    assert!(resumed.contains("event: tag.moved") && !resumed.contains(&format!("id: {id}\n")), "{resumed}");
}
