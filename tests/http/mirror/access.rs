//! Access: who may pull cached content, who may fetch, and whose credentials go where.

use serde_json::json;
use wharfinger::config::{Config, FillChoice, Upstream};

use super::hub;
use crate::harness::{Fault, FaultProxy, TestRegistry, Who, basic, with_accounts_and};

struct Guarded {
    upstream: TestRegistry,
    proxy: FaultProxy,
    cache: TestRegistry,
}

async fn guarded(change: impl FnOnce(&mut Upstream), configure: impl FnOnce(&mut Config)) -> Guarded {
    let upstream = TestRegistry::start().await;
    let proxy = FaultProxy::start(upstream.address(), |_| Fault::None).await;
    let mut settings = hub(&proxy.url());
    settings.default = true;
    change(&mut settings);
    let cache = Box::pin(with_accounts_and(|config| {
        config.upstream.push(settings);
        configure(config);
    }))
    .await;
    upstream.repository("app").push_image("1").await;
    upstream.repository("app").push_image("2").await;
    Guarded { upstream, proxy, cache }
}

const ONE: &str = "/v2/hub/app/manifests/1";
const TWO: &str = "/v2/hub/app/manifests/2";

#[tokio::test]
async fn only_accounts_that_may_pull_fill() {
    let Guarded { upstream: _upstream, proxy, cache } = guarded(|_| {}, |_| {}).await;
    let ann = cache.add_user("ann").await;
    cache.get(ONE).await.is(401);
    cache.get_as(&ann, ONE).await.is(404);
    assert_eq!(proxy.asked("").len(), 0, "nobody may pull it yet");
    cache.grant("everyone", &["pull"], "hub/**").await;
    let challenge = cache.get(ONE).await.fails(401, "UNAUTHORIZED");
    assert!(challenge.header("www-authenticate").unwrap().contains("repository:hub/app:pull"));
    assert_eq!(proxy.asked("").len(), 0, "nobody anonymous may fetch");
    cache.get_as(&ann, ONE).await.is(200);
    // Cached content is served to everyone who may pull.
    cache.get(ONE).await.is(200);
    cache.get(TWO).await.is(401);
    let sent = proxy.asked("");
    assert!(sent.iter().all(|head| !head.contains("authorization:")), "{sent:?}");
}

#[tokio::test]
async fn right_to_fill_can_be_granted() {
    let Guarded { upstream: _upstream, proxy: _proxy, cache } =
        guarded(|hub| hub.fill = FillChoice::Granted, |_| {}).await;
    let (ann, ben) = (cache.add_user("ann").await, cache.add_user("ben").await);
    cache.grant("accounts", &["pull"], "hub/**").await;
    cache.get_as(&ann, ONE).await.fails(403, "DENIED");
    cache.grant("ben", &["fill"], "hub/**").await;
    cache.get_as(&ben, ONE).await.is(200);
    cache.get_as(&ann, ONE).await.is(200);
    let token = cache.bearer(&ben, &["repository:hub/app:pull"]).await;
    cache.get_as(&token, TWO).await.is(200);
}

#[tokio::test]
async fn everyone_fills_if_the_operator_says_so() {
    let Guarded { upstream: _upstream, proxy: _proxy, cache } =
        guarded(|hub| hub.fill = FillChoice::Everyone, |_| {}).await;
    cache.get(ONE).await.is(401);
    cache.grant("everyone", &["pull"], "hub/**").await;
    cache.get(ONE).await.is(200);
}

#[tokio::test]
async fn open_network_pulls_with_foreign_credentials() {
    let open_to = |hub: &mut Upstream| hub.open_to = vec!["127.0.0.0/8".parse().unwrap()];
    let Guarded { upstream: _upstream, proxy, cache } = guarded(open_to, |_| {}).await;
    let theirs = basic("docker-hub-user", "their password");
    for _ in 0..40 {
        cache.get_as(&theirs, "/v2/app/manifests/1").await.is(200);
    }
    cache.get("/v2/app/manifests/2?ns=hub").await.is(200);
    cache.get_as(&Who::bearer("made-up"), ONE).await.is(200);
    // The token protocol, as dockerd speaks it with the credentials of Docker Hub.
    let scope = "/token?service=wharfinger&account=docker-hub-user&scope=repository:app:pull";
    let token = cache.get_as(&theirs, scope).await.is(200).json();
    cache.get_as(&Who::bearer(token["token"].as_str().unwrap()), "/v2/app/manifests/1").await.is(200);
    // Nothing else is open.
    cache.get_as(&theirs, "/v2/").await.is(401);
    cache.get_as(&theirs, "/token?service=wharfinger").await.is(401);
    cache.get_as(&theirs, "/token?service=wharfinger&scope=repository:hub/app:pull,push").await.is(401);
    cache.get_as(&theirs, "/api/v1/me").await.is(401);
    assert!(proxy.asked("").iter().all(|head| !head.contains("authorization:")));
}

#[tokio::test]
async fn other_networks_stay_closed() {
    let open_to = |hub: &mut Upstream| hub.open_to = vec!["10.0.0.0/8".parse().unwrap()];
    let trust = |config: &mut Config| config.proxy.trusted = vec!["127.0.0.1/32".parse().unwrap()];
    let Guarded { upstream: _upstream, proxy: _proxy, cache } = guarded(open_to, trust).await;
    let from = async |address: &str| {
        let request = cache.request(reqwest::Method::GET, ONE).header("x-forwarded-for", address);
        crate::harness::Ask::ask(request).await.status
    };
    assert_eq!((from("192.168.1.1").await, from("10.1.2.3").await), (401, 200));
}

#[tokio::test]
async fn credentials_of_the_operator_reach_the_upstream() {
    let upstream = with_accounts_and(|_| {}).await;
    let ann = upstream.add_user("ann").await;
    upstream.repository("ann/app").of(&ann).push_image("1").await;
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), crate::harness::PASSWORD).unwrap();
    let path = password.path().to_owned();
    let url = format!("http://{}", upstream.address());
    let with_account = |config: &mut Config| {
        let mut settings = hub(&url);
        settings.username = Some("ann".to_owned());
        settings.password_file = Some(path);
        config.upstream.push(settings);
    };
    let cache = TestRegistry::start_with(with_account).await;
    let image = cache.repository("hub/ann/app").get("manifests/1").await.is(200);
    for layer in image.json()["layers"].as_array().unwrap() {
        cache.get(format!("/v2/hub/ann/app/blobs/{}", layer["digest"].as_str().unwrap())).await.is(200);
    }
    let anonymous = TestRegistry::start_with(|config| config.upstream.push(hub(&url))).await;
    anonymous.get("/v2/hub/ann/app/manifests/1").await.fails(404, "MANIFEST_UNKNOWN");
}

/// Clients derive the scope of a token from the name that they pull.
#[tokio::test]
async fn token_for_a_name_covers_the_cached_repository() {
    let Guarded { upstream, proxy: _proxy, cache } =
        guarded(|hub| hub.namespace = Some("library".to_owned()), |_| {}).await;
    let image = upstream.repository("library/app").push_image("1").await;
    let ann = cache.add_user("ann").await;
    let names = ["library/app", "app", "hub/library/app", "hub/app"];
    let pull = async |name: &str| {
        let token = cache.bearer(&ann, &[&format!("repository:{name}:pull")]).await;
        cache.get_as(&token, &format!("/v2/{name}/manifests/1")).await
    };
    for name in names {
        pull(name).await.is(404);
    }
    cache.grant("accounts", &["pull"], "hub/library/**").await;
    for name in names {
        let answer = pull(name).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &image.manifest[..]), "{name}");
    }
    // Nothing else comes with it.
    let token = cache.bearer(&ann, &["repository:other:pull"]).await;
    cache.get_as(&token, "/v2/hub/library/app/manifests/1").await.is(401);
}

#[tokio::test]
async fn damaged_layer_is_fetched_again_after_a_check() {
    let open_to = |hub: &mut Upstream| hub.open_to = vec!["127.0.0.0/8".parse().unwrap()];
    let Guarded { upstream, proxy, cache } = guarded(open_to, |_| {}).await;
    let mut content = crate::harness::random(100_000);
    let digest = upstream.repository("app").push_blob(content.clone()).await;
    let path = format!("/v2/hub/app/blobs/{digest}");
    cache.get(&path).await.is(200);
    // The size stays the same, so that only its bytes tell.
    content[50_000] ^= 1;
    std::fs::write(cache.blob_file(&digest), &content).unwrap();
    let check = cache.ask_as(&Who::root(), reqwest::Method::POST, "/api/v1/check?read=true").await.is(200);
    assert!(check.text().contains("\"replaceable_files\":1"), "{}", check.text());
    content[50_000] ^= 1;
    assert!(cache.get(&path).await.is(200).body == content);
    assert!(std::fs::read(cache.blob_file(&digest)).unwrap() == content);
    assert_eq!(proxy.asked(&format!("get /v2/app/blobs/{digest}")).len(), 2);
}

/// The answers to one account for a private repository and for an absent one are the same.
#[tokio::test]
async fn private_name_looks_absent_to_the_default() {
    let Guarded { upstream: _upstream, proxy, cache } = guarded(|_| {}, |_| {}).await;
    let (ann, bob) = (cache.add_user("ann").await, cache.add_user("bob").await);
    let image = cache.repository("ann/secret").of(&ann).push_image("1").await;
    let blob = image.blobs[1].0;
    let items = [
        "tags/list".to_owned(),
        "manifests/1".to_owned(),
        format!("manifests/{}", image.digest),
        format!("blobs/{blob}"),
        format!("referrers/{}", image.digest),
    ];
    let answers = async |who: &Who, name: &str| {
        let mut answers = Vec::new();
        for item in &items {
            let answer = cache.get_as(who, &format!("/v2/{name}/{item}")).await;
            let challenge = answer.header("www-authenticate").unwrap_or_default().to_owned();
            answers.push((
                answer.status,
                answer.text().replace(name, "NAME"),
                challenge.replace(name, "NAME"),
            ));
        }
        answers
    };
    for who in [&bob, &Who::NOBODY] {
        assert_eq!(answers(who, "ann/secret").await, answers(who, "ann/absent").await);
    }
    assert_eq!(proxy.asked("").len(), 0);
    cache.grant("bob", &["pull"], "hub/**").await;
    assert_eq!(answers(&bob, "ann/secret").await, answers(&bob, "ann/absent").await);
    assert_eq!(proxy.asked("/v2/ann/secret/").len(), proxy.asked("/v2/ann/absent/").len());
    cache.get_as(&ann, "/v2/ann/secret/manifests/1").await.is(200);
    cache.get_as(&bob, "/v2/app/manifests/1").await.is(200);
}

#[tokio::test]
async fn stale_answers_are_in_the_audit_log() {
    let Guarded { upstream, proxy: _proxy, cache } =
        guarded(|hub| hub.fresh = std::time::Duration::ZERO, |_| {}).await;
    let ann = cache.add_user("ann").await;
    cache.grant("accounts", &["pull"], "hub/**").await;
    cache.get_as(&ann, ONE).await.is(200);
    upstream.repository("app").delete("manifests/1").await.is(202);
    for _ in 0..3 {
        cache.get_as(&ann, ONE).await.is(200);
    }
    let entries = cache.get_as(&Who::root(), "/api/v1/audit?action=upstream").await.is(200).json();
    let entries = entries["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["object"], json!("hub/app:1"));
    assert_eq!(entries[0]["detail"], json!("upstream-gone"));
}
