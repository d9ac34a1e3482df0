//! Manifests by tag and digest: what is asked, what is kept, and the policies without an answer.

use std::time::Duration;

use serde_json::json;
use wharfinger::config::Unavailable;

use super::Mirrored;
use crate::harness::{Fault, OCI_INDEX, Part, eventually, index_manifest};

#[tokio::test]
async fn fresh_tag_is_asked_for_once() {
    let mirrored = Mirrored::start(|_| {}).await;
    let image = mirrored.upstream.repository("team/app").push_image("1.0").await;
    let cached = mirrored.cache.repository("hub/team/app");
    for _ in 0..3 {
        let answer = cached.get("manifests/1.0").await.is(200).has("docker-content-digest", image.digest);
        assert_eq!(answer.body, image.manifest);
        cached.head("manifests/1.0").await.is(200).has("docker-content-digest", image.digest);
        cached.get(format_args!("manifests/{}", image.digest)).await.is(200);
    }
    assert_eq!(mirrored.proxy.asked("/manifests/").len(), 1);
    assert!(
        cached.get("manifests/1.0").await.header("cache-status").is_none_or(|status| status.contains("hit"))
    );
}

#[tokio::test]
async fn stale_tag_is_revalidated_by_head() {
    let mirrored = Mirrored::start(|hub| hub.fresh = Duration::ZERO).await;
    let upstream = mirrored.upstream.repository("app");
    let old = upstream.push_image("1.0").await;
    let cached = mirrored.cache.repository("hub/app");
    assert_eq!(cached.digest_of("1.0").await, old.digest);
    assert_eq!(cached.digest_of("1.0").await, old.digest);
    let heads = || mirrored.proxy.asked("head /v2/app/manifests").len();
    assert_eq!((heads(), mirrored.proxy.asked("get /v2/app/manifests").len()), (1, 1));
    let new = upstream.push_image("1.0").await;
    assert_eq!(cached.digest_of("1.0").await, new.digest);
    assert_eq!(mirrored.proxy.asked("get /v2/app/manifests").len(), 2);
    // The old one is kept, and never asked for.
    cached.get(format_args!("manifests/{}", old.digest)).await.is(200);
    assert_eq!(mirrored.proxy.asked("get /v2/app/manifests").len(), 2);
    let _ = heads;
}

#[tokio::test]
async fn concurrent_pulls_of_a_tag_make_one_request() {
    let mirrored = Mirrored::start(|_| {}).await;
    mirrored.upstream.repository("app").push_image("1.0").await;
    let cached = mirrored.cache.repository("hub/app");
    let pulls = (0..50).map(|_| cached.get("manifests/1.0"));
    for answer in futures_util::future::join_all(pulls).await {
        answer.is(200);
    }
    assert_eq!(mirrored.proxy.asked("/manifests/").len(), 1);
}

#[tokio::test]
async fn state_of_a_tag_survives_a_restart() {
    let mut mirrored = Mirrored::start(|_| {}).await;
    let image = mirrored.upstream.repository("app").push_image("1.0").await;
    mirrored.cache.repository("hub/app").get("manifests/1.0").await.is(200);
    mirrored.cache.restart().await;
    assert_eq!(mirrored.cache.repository("hub/app").digest_of("1.0").await, image.digest);
    assert_eq!(mirrored.proxy.asked("/manifests/").len(), 1);
}

#[tokio::test]
async fn deleted_tag_is_served_or_refused() {
    for (when_gone, status) in [(Unavailable::Serve, 200), (Unavailable::Refuse, 404)] {
        let mirrored = Mirrored::start(|hub| {
            hub.fresh = Duration::ZERO;
            hub.when_gone = when_gone;
        })
        .await;
        let upstream = mirrored.upstream.repository("app");
        let image = upstream.push_image("1.0").await;
        let cached = mirrored.cache.repository("hub/app");
        cached.get("manifests/1.0").await.is(200);
        upstream.delete(format_args!("manifests/{}", image.digest)).await.is(202);
        let answer = cached.get("manifests/1.0").await.is(status);
        if status == 200 {
            answer.has("cache-status", "wharfinger; hit; detail=upstream-gone");
        }
        cached.get(format_args!("manifests/{}", image.digest)).await.is(200);
    }
}

#[tokio::test]
async fn unavailable_upstream_is_bridged_or_not() {
    for (when_down, status) in [(Unavailable::Serve, 200), (Unavailable::Refuse, 503)] {
        let mirrored = Mirrored::start(|hub| {
            hub.fresh = Duration::ZERO;
            hub.when_down = when_down;
        })
        .await;
        let Mirrored { mut upstream, proxy, cache } = mirrored;
        let image = upstream.repository("app").push_image("1.0").await;
        let cached = cache.repository("hub/app");
        cached.get("manifests/1.0").await.is(200);
        upstream.stop().await;
        for _ in 0..5 {
            let answer = cached.get("manifests/1.0").await.is(status);
            if status == 200 {
                answer.has("cache-status", "wharfinger; hit; detail=upstream-down");
            }
        }
        cached.get(format_args!("manifests/{}", image.digest)).await.is(200);
        let message = cached.get("manifests/2.0").await.is(503).text();
        assert!(message.contains("hub does not answer") && !message.contains("127.0.0.1"), "{message}");
        // The circuit breaker is open: the upstream is not called each time.
        assert!(proxy.asked("head").len() + proxy.asked("get").len() < 12);
    }
}

#[tokio::test]
async fn rate_limit_is_obeyed_and_told_by_reach() {
    let limited = |head: &str| match head.contains("/manifests/2") {
        true => Fault::answer(
            "429 Too Many",
            "retry-after: 100\r\n",
            r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#,
        ),
        false => Fault::None,
    };
    let mirrored = Mirrored::with_faults(limited, |hub| {
        hub.fresh = Duration::ZERO;
        hub.default = true;
    })
    .await;
    let upstream = mirrored.upstream.repository("app");
    upstream.push_image("1").await;
    let cached = mirrored.cache.repository("hub/app");
    cached.get("manifests/1").await.is(200);
    let answer = cached.get("manifests/2").await.fails(429, "TOOMANYREQUESTS");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=100).contains(&wait), "{wait}");
    let before = mirrored.proxy.asked("").len();
    // A client of a mirror is sent to its next endpoint, without a request to the upstream.
    mirrored.cache.get("/v2/app/manifests/2?ns=hub").await.is(503);
    mirrored.cache.get("/v2/app/manifests/2").await.is(503);
    cached.get("manifests/1").await.is(200).has("cache-status", "wharfinger; hit; detail=upstream-limited");
    assert_eq!(mirrored.proxy.asked("").len(), before);
}

#[tokio::test]
async fn absent_manifest_is_remembered_briefly() {
    let mirrored = Mirrored::start(|_| {}).await;
    mirrored.upstream.repository("app").push_image("1.0").await;
    let cached = mirrored.cache.repository("hub/app");
    for _ in 0..3 {
        let answer = cached.get("manifests/2.0").await.fails(404, "MANIFEST_UNKNOWN");
        assert!(answer.text().contains("hub has no manifest 2.0"), "{}", answer.text());
    }
    assert_eq!(mirrored.proxy.asked("/manifests/").len(), 1);
}

#[tokio::test]
async fn index_is_sparse_until_its_children_are_pulled() {
    let mirrored = Mirrored::start(|_| {}).await;
    let upstream = mirrored.upstream.repository("app");
    let (amd64, arm64) = (upstream.push_image("amd64").await, upstream.push_image("arm64").await);
    let index = index_manifest(&[amd64.part(), arm64.part()]);
    upstream.put_manifest("1.0", &index).await.is(201);
    let cached = mirrored.cache.repository("hub/app");
    cached.get("manifests/1.0").await.is(200).has("content-type", OCI_INDEX);
    assert_eq!(mirrored.proxy.asked("/manifests/").len(), 1);
    cached.get(format_args!("manifests/{}", amd64.digest)).await.is(200);
    assert_eq!(mirrored.proxy.asked("/manifests/").len(), 2);
    assert_eq!(mirrored.proxy.asked(&arm64.digest.to_string()).len(), 0);
}

#[tokio::test]
async fn wanted_platforms_are_completed() {
    let mirrored = Mirrored::start(|hub| hub.complete = vec!["linux/arm64".parse().unwrap()]).await;
    let upstream = mirrored.upstream.repository("app");
    let (amd64, arm64) = (upstream.push_image("amd64").await, upstream.push_image("arm64").await);
    let child = |part: Part, architecture: &str| {
        let mut child = part.json();
        child["platform"] = json!({ "os": "linux", "architecture": architecture });
        child
    };
    let mut index = index_manifest(&[]);
    index["manifests"] = json!([child(amd64.part(), "amd64"), child(arm64.part(), "arm64")]);
    upstream.put_manifest("1.0", &index).await.is(201);
    let cached = mirrored.cache.repository("hub/app");
    cached.get("manifests/1.0").await.is(200);
    let layer = arm64.blobs[2].0;
    eventually("the layers of arm64 are here", async || mirrored.cache.blob_file(&layer).exists()).await;
    assert_eq!(mirrored.proxy.asked(&amd64.digest.to_string()).len(), 0);
}

#[tokio::test]
async fn new_digest_waits_in_quarantine() {
    let mut mirrored = Mirrored::start(|hub| {
        hub.fresh = Duration::ZERO;
        hub.quarantine = Duration::from_secs(24 * 60 * 60);
    })
    .await;
    let upstream = mirrored.upstream.repository("app");
    let old = upstream.push_image("1.0").await;
    let answer = mirrored.cache.repository("hub/app").get("manifests/1.0").await.fails(403, "DENIED");
    assert!(answer.text().contains("quarantine"), "{}", answer.text());
    // By digest it is served, because the client chose it.
    mirrored.cache.repository("hub/app").get(format_args!("manifests/{}", old.digest)).await.is(200);
    mirrored.cache.restart_with(|config| config.upstream[0].quarantine = Duration::ZERO).await;
    assert_eq!(mirrored.cache.repository("hub/app").digest_of("1.0").await, old.digest);
    let quarantine = Duration::from_secs(24 * 60 * 60);
    mirrored.cache.restart_with(|config| config.upstream[0].quarantine = quarantine).await;
    mirrored.upstream.repository("app").push_image("1.0").await;
    let cached = mirrored.cache.repository("hub/app");
    let answer = cached.get("manifests/1.0").await.is(200).has("docker-content-digest", old.digest);
    answer.has("cache-status", "wharfinger; hit; detail=quarantine");
}

#[tokio::test]
async fn tags_of_upstream_and_cache_are_merged() {
    let mirrored = Mirrored::start(|hub| hub.fresh = Duration::ZERO).await;
    let upstream = mirrored.upstream.repository("app");
    for tag in ["a", "b", "c"] {
        upstream.push_image(tag).await;
    }
    let cached = mirrored.cache.repository("hub/app");
    cached.get("manifests/a").await.is(200);
    upstream.delete("manifests/a").await.is(202);
    assert_eq!(cached.tags().await, ["a", "b", "c"]);
    let first = cached.get("tags/list?n=2").await.is(200);
    assert_eq!(first.list("tags"), ["a", "b"]);
    assert!(first.next_page().unwrap().starts_with("/v2/hub/app/tags/list?"));
    mirrored.cache.get("/v2/hub/absent/tags/list").await.is(404);
}

#[tokio::test]
async fn referrers_of_the_upstream_are_listed_and_pulled() {
    let mirrored = Mirrored::start(|_| {}).await;
    let upstream = mirrored.upstream.repository("app");
    let image = upstream.push_image("1.0").await;
    let subject = json!({ "subject": image.part().json(), "artifactType": "application/x.signature" });
    let signature = upstream.push_image_saying("signature", subject).await;
    let cached = mirrored.cache.repository("hub/app");
    for query in ["", "?artifactType=application/x.signature"] {
        let index = cached.get(format_args!("referrers/{}{query}", image.digest)).await.is(200).json();
        assert_eq!(index["manifests"][0]["digest"], signature.digest.to_string());
    }
    let other = format!("referrers/{}?artifactType=application/x.other", image.digest);
    assert_eq!(cached.get(other).await.is(200).json()["manifests"], json!([]));
    cached.get(format_args!("manifests/{}", signature.digest)).await.is(200);
}
