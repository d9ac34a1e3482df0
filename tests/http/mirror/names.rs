//! Names: the ways in which clients name an upstream, and what belongs to this registry itself.

use reqwest::Method;
use serde_json::json;

use super::{Mirrored, hub};
use crate::harness::{Fault, FaultProxy, TestRegistry, Who, with_accounts_and};

#[tokio::test]
async fn upstream_is_reached_in_every_way() {
    let mirrored = Mirrored::start(|hub| {
        hub.default = true;
        hub.host = Some("hub.registry.test".to_owned());
        hub.aliases = vec!["hub.alias".to_owned()];
        hub.namespace = Some("library".to_owned());
    })
    .await;
    let image = mirrored.upstream.repository("library/ubuntu").push_image("14.04").await;
    for path in [
        "/v2/hub/library/ubuntu/manifests/14.04",
        "/v2/hub/ubuntu/manifests/14.04",
        "/v2/library/ubuntu/manifests/14.04?ns=hub",
        "/v2/ubuntu/manifests/14.04?ns=hub",
        "/v2/library/ubuntu/manifests/14.04?ns=HUB.alias",
        "/v2/hub/library/ubuntu/manifests/14.04?ns=hub",
        "/v2/library/ubuntu/manifests/14.04",
        "/v2/ubuntu/manifests/14.04",
    ] {
        let answer = mirrored.cache.get(path).await.is(200).has("docker-content-digest", image.digest);
        assert_eq!(
            answer.header("oci-namespace").is_some(),
            !path.starts_with("/v2/hub/") || path.contains("ns=")
        );
    }
    let by_host = mirrored.cache.request(reqwest::Method::GET, "/v2/library/ubuntu/manifests/14.04");
    let by_host = crate::harness::Ask::ask(by_host.header("host", "hub.registry.test:5000")).await;
    by_host.is(200).has("oci-namespace", "hub");
    assert_eq!(mirrored.proxy.asked("/manifests/").len(), 1);
    assert_eq!(mirrored.cache.get("/v2/_catalog").await.list("repositories"), ["hub/library/ubuntu"]);
}

#[tokio::test]
async fn local_repository_precedes_the_default() {
    let mirrored = Mirrored::start(|hub| hub.default = true).await;
    mirrored.upstream.repository("team/app").push_image("1.0").await;
    let own = mirrored.cache.repository("team/app").push_image("1.0").await;
    let theirs = mirrored.upstream.repository("team/other").push_image("1.0").await;
    assert_eq!(mirrored.cache.repository("team/app").digest_of("1.0").await, own.digest);
    mirrored.cache.repository("team/app").get("manifests/2.0").await.fails(404, "MANIFEST_UNKNOWN");
    assert_eq!(mirrored.cache.repository("team/other").digest_of("1.0").await, theirs.digest);
    // A push to a free name is this registry's own, and stays so.
    let pushed = mirrored.cache.repository("team/other").push_image("1.0").await;
    assert_eq!(mirrored.cache.repository("team/other").digest_of("1.0").await, pushed.digest);
}

/// Without this, whoever may push `library/x` would decide what every docker engine behind the mirror runs.
#[tokio::test]
async fn pushed_image_does_not_replace_the_default() {
    let upstream = TestRegistry::start().await;
    let proxy = FaultProxy::start(upstream.address(), |_| Fault::None).await;
    let theirs = upstream.repository("grafana/grafana").push_image("1").await;
    let cache = with_accounts_and(|config| {
        let mut settings = hub(&proxy.url());
        settings.default = true;
        settings.open_to = vec!["127.0.0.0/8".parse().unwrap()];
        config.upstream.push(settings);
    })
    .await;
    let evil = cache.add_user("grafana").await;
    let own = cache.repository("grafana/grafana").of(&evil);
    let pushed = own.push_image("1").await;
    own.push_image("local").await;
    cache.grant("everyone", &["pull"], "grafana/**").await;
    let plain = cache.repository("grafana/grafana");
    assert_eq!(plain.digest_of("1").await, theirs.digest);
    for (digest, content) in &theirs.blobs {
        assert!(plain.get(format_args!("blobs/{digest}")).await.is(200).body == *content);
    }
    // The owner signs in, and means the own repository. So does a digest, and a tag that the upstream does
    // not have.
    assert_eq!(own.digest_of("1").await, pushed.digest);
    plain.get(format_args!("manifests/{}", pushed.digest)).await.is(200);
    plain.get("manifests/local").await.is(200);
}

#[tokio::test]
async fn upload_below_the_default_is_local() {
    let upstream = TestRegistry::start().await;
    let url = format!("http://{}", upstream.address());
    let cache = with_accounts_and(|config| {
        let mut settings = hub(&url);
        settings.default = true;
        config.upstream.push(settings);
    })
    .await;
    let ann = cache.add_user("ann").await;
    let location = cache.repository("ann/new").of(&ann).begin_upload().await;
    cache.get_as(&ann, &location).await.is(204);
}

/// Nobody owns the namespace of an upstream, whatever the account is called.
#[tokio::test]
async fn upstream_name_is_no_account() {
    let upstream = TestRegistry::start().await;
    upstream.repository("app").push_image("1").await;
    let url = format!("http://{}", upstream.address());
    let mut cache = with_accounts_and(|config| config.auth.self_registration = true).await;
    let squatter = cache.add_user("hub").await;
    cache
        .restart_with(|config| {
            let mut settings = hub(&url);
            settings.default = true;
            settings.namespace = Some("library".to_owned());
            config.upstream.push(settings);
        })
        .await;
    cache.get_as(&squatter, "/v2/hub/app/manifests/1").await.is(404);
    let grant = json!({ "subject": "everyone", "rights": ["pull", "fill"], "repositories": "hub/**" });
    cache.send_as(&squatter, Method::PUT, "/api/v1/grants", &grant).await.is(403);
    for name in ["library", "hub"] {
        let account = json!({ "name": name, "password": crate::harness::PASSWORD });
        let answer = cache.send_as(&Who::NOBODY, Method::POST, "/api/v1/registration", &account).await;
        assert_eq!(answer.status, 409, "{name}: {}", answer.text());
    }
    let account = json!({ "name": "library", "password": crate::harness::PASSWORD });
    cache.send_as(&Who::root(), Method::POST, "/api/v1/users", &account).await.is(409);
}

#[tokio::test]
async fn tag_of_a_cached_repository_is_not_moved() {
    let mirrored = Mirrored::start(|_| {}).await;
    let image = mirrored.upstream.repository("app").push_image("1").await;
    mirrored.cache.repository("hub/app").get("manifests/1").await.is(200);
    let undo = json!({ "tag": "new", "to_digest": image.digest.to_string() });
    let path = "/api/v1/repositories/hub/app/_undo";
    let refused = mirrored.cache.send_as(&Who::NOBODY, Method::POST, path, &undo).await;
    assert!(refused.text().contains("takes no pushes"), "{}", refused.text());
    mirrored.cache.get("/v2/hub/app/manifests/new").await.is(404);
}

#[tokio::test]
async fn unknown_namespace_is_not_found() {
    let mirrored = Mirrored::start(|_| {}).await;
    mirrored.cache.repository("library/ubuntu").push_image("14.04").await;
    let other = mirrored.cache.get("/v2/library/ubuntu/manifests/14.04?ns=quay.io").await;
    let other = other.fails(404, "NAME_UNKNOWN");
    assert!(other.text().contains("does not mirror quay.io"), "{}", other.text());
    let own = format!("/v2/library/ubuntu/manifests/14.04?ns={}", mirrored.cache.address());
    mirrored.cache.get(own).await.is(200);
    // Without upstreams the parameter has no meaning, as before.
    let plain = TestRegistry::start().await;
    plain.repository("library/ubuntu").push_image("14.04").await;
    plain.get("/v2/library/ubuntu/manifests/14.04?ns=quay.io").await.is(200);
}

#[tokio::test]
async fn push_below_an_upstream_is_refused_or_kept() {
    use wharfinger::config::PushChoice;
    let mirrored = Mirrored::start(|_| {}).await;
    mirrored.upstream.repository("app").push_image("1.0").await;
    let cached = mirrored.cache.repository("hub/app");
    let refused = cached.request(reqwest::Method::POST, "blobs/uploads/");
    let refused = crate::harness::Ask::ask(refused).await.fails(403, "DENIED");
    assert!(refused.text().contains("hub/app is cached from hub"), "{}", refused.text());
    cached.put_manifest_as("1.0", crate::harness::OCI_MANIFEST, "{}").await.fails(403, "DENIED");

    let overlay = Mirrored::start(|hub| hub.push = PushChoice::Overlay).await;
    overlay.upstream.repository("app").push_image("1.0").await;
    let theirs = overlay.upstream.repository("app").push_image("2.0").await;
    let own = overlay.cache.repository("hub/app").push_image("1.0").await;
    assert_eq!(overlay.cache.repository("hub/app").digest_of("1.0").await, own.digest);
    assert_eq!(overlay.cache.repository("hub/app").digest_of("2.0").await, theirs.digest);
}

#[tokio::test]
async fn patterns_limit_what_is_pulled_through() {
    let mirrored = Mirrored::start(|hub| {
        hub.default = true;
        hub.allow = vec!["library/**".parse().unwrap(), "team/*".parse().unwrap()];
        hub.deny = vec!["team/secret".parse().unwrap()];
    })
    .await;
    for name in ["library/a", "team/app", "team/secret", "other/app"] {
        mirrored.upstream.repository(name).push_image("1").await;
    }
    let status = async |path: &str| mirrored.cache.get(path).await.status;
    assert_eq!(status("/v2/hub/library/a/manifests/1").await, 200);
    assert_eq!(status("/v2/hub/team/app/manifests/1").await, 200);
    assert_eq!(status("/v2/hub/team/secret/manifests/1").await, 403);
    assert_eq!(status("/v2/team/secret/manifests/1").await, 404, "a client of a mirror goes on");
    assert_eq!(status("/v2/hub/other/app/tags/list").await, 403);
    assert_eq!(mirrored.proxy.asked("secret").len() + mirrored.proxy.asked("other").len(), 0);
}

#[tokio::test]
async fn longest_name_does_not_confuse_upstreams() {
    let mirrored = Mirrored::configured(
        |_| Fault::None,
        |_| {},
        |config| {
            let other = hub("http://127.0.0.1:1").url;
            let mut second = hub("http://127.0.0.1:1");
            second.name = "hub-x".parse().unwrap();
            second.url = other;
            config.upstream.push(second);
        },
    )
    .await;
    mirrored.upstream.repository("app").push_image("1").await;
    mirrored.cache.get("/v2/hub/app/manifests/1").await.is(200);
    mirrored.cache.get("/v2/hub-x/app/manifests/1").await.is(503);
    mirrored.cache.get("/v2/hubx/app/manifests/1").await.is(404);
}
