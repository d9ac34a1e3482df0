//! Upstreams that answer with pages, redirects, challenges and endless bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;

use super::Mirrored;
use crate::harness::{Ask, Fault, FaultProxy, Says, Upstream, header, random};

#[tokio::test]
async fn html_page_is_never_kept() {
    let page = |head: &str| match head.contains("/manifests/") || head.contains("/blobs/") {
        true => Fault::answer("200 OK", "content-type: text/html\r\n", "<html>please log in</html>"),
        false => Fault::None,
    };
    let mirrored = Mirrored::with_faults(page, |_| {}).await;
    let image = mirrored.upstream.repository("app").push_image("1").await;
    mirrored.cache.get("/v2/hub/app/manifests/1").await.fails(502, "UNAVAILABLE");
    mirrored.cache.get(format!("/v2/hub/app/manifests/{}", image.digest)).await.fails(502, "UNAVAILABLE");
    mirrored.cache.get(format!("/v2/hub/app/blobs/{}", image.blobs[1].0)).await.is(502);
    assert_eq!(mirrored.cache.get("/v2/_catalog").await.list("repositories"), [""; 0]);
}

#[tokio::test]
async fn manifest_with_another_digest_is_not_kept() {
    let other = |head: &str| match head.starts_with("get /v2/app/manifests/sha256") {
        true => Fault::answer(
            "200 OK",
            "content-type: application/vnd.oci.image.index.v1+json\r\n",
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
        ),
        false => Fault::None,
    };
    let mirrored = Mirrored::with_faults(other, |_| {}).await;
    let image = mirrored.upstream.repository("app").push_image("1").await;
    mirrored.cache.get(format!("/v2/hub/app/manifests/{}", image.digest)).await.fails(502, "UNAVAILABLE");
}

#[tokio::test]
async fn redirect_is_followed_without_credentials() {
    let content = random(200_000);
    let storage = {
        let content = content.clone();
        Upstream::start(move |_| {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.len());
            Says::All([head.as_bytes(), &content].concat())
        })
        .await
    };
    let location = format!("{}/signed?token=1", storage.url()).replace("127.0.0.1", "localhost");
    let redirect = {
        let location = location.clone();
        move |head: &str| match head.contains("/blobs/") {
            true => Fault::answer("307 Temporary Redirect", &format!("location: {location}\r\n"), ""),
            false => Fault::None,
        }
    };
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "secret\n").unwrap();
    let path = password.path().to_owned();
    let digest = oci::Algorithm::Sha256.digest(&content);
    // A private address is called only if the operator named the host.
    for (token_hosts, status) in [(vec![], 502), (vec!["localhost".to_owned()], 200)] {
        let mirrored = Mirrored::with_faults(redirect.clone(), |hub| {
            hub.token_hosts = token_hosts;
            hub.username = Some("ann".to_owned());
            hub.password_file = Some(path.clone());
        })
        .await;
        let answer = mirrored.cache.get(format!("/v2/hub/app/blobs/{digest}")).await;
        assert!(answer.status == status || (status == 502 && answer.status == 503), "{}", answer.text());
        assert!(status != 200 || answer.body == content);
    }
    assert_eq!(storage.asked("").len(), 1);
    assert_eq!(header(&storage.asked("")[0], "authorization"), None);
}

#[tokio::test]
async fn private_realm_gets_nothing() {
    let evil = Upstream::start(|_| Says::ok("", r#"{"token":"t"}"#)).await;
    let realm = format!("{}/token", evil.url()).replace("127.0.0.1", "127.0.0.2");
    let challenge = move |_: &str| {
        let challenge = format!("www-authenticate: Bearer realm=\"{realm}\",service=\"s\"\r\n");
        Fault::answer("401 Unauthorized", &challenge, "")
    };
    let mirrored = Mirrored::with_faults(challenge, |_| {}).await;
    mirrored.cache.get("/v2/hub/app/manifests/1").await.is(503).has_no("www-authenticate");
    assert_eq!(evil.asked("").len(), 0);
}

#[tokio::test]
async fn token_without_a_lifetime_is_renewed_on_401() {
    let issued = Arc::new(AtomicUsize::new(0));
    let count = issued.clone();
    let url = Arc::new(std::sync::OnceLock::<String>::new());
    let own = url.clone();
    let fault = move |head: &str| {
        let realm = own.get().cloned().unwrap_or_default();
        if head.starts_with("get /token") {
            let number = count.fetch_add(1, Ordering::Relaxed);
            return Fault::answer("200 OK", "", &format!(r#"{{"token":"t{number}","access_token":""}}"#));
        }
        // The first token ends in the middle.
        let last = count.load(Ordering::Relaxed).max(1) - 1;
        let expired = head.contains("/blobs/") && last == 0;
        if head.contains(&format!("authorization: bearer t{last}")) && !expired {
            return Fault::None;
        }
        let challenge = format!("www-authenticate: Bearer realm=\"{realm}/token\",service=\"hub\"\r\n");
        Fault::answer("401 Unauthorized", &challenge, "")
    };
    let mirrored = Mirrored::with_faults(fault, |_| {}).await;
    url.set(mirrored.proxy.url()).unwrap();
    let image = mirrored.upstream.repository("app").push_image("1").await;
    let cached = mirrored.cache.repository("hub/app");
    cached.get("manifests/1").await.is(200);
    for (digest, content) in &image.blobs {
        assert!(cached.get(format_args!("blobs/{digest}")).await.is(200).body == *content);
    }
    assert_eq!(issued.load(Ordering::Relaxed), 2);
    assert!(mirrored.proxy.asked("get /token")[0].contains("scope=repository%3aapp%3apull"));
}

#[tokio::test]
async fn private_upstream_repository_is_not_found() {
    let url = Arc::new(std::sync::OnceLock::<String>::new());
    let own = url.clone();
    let fault = move |head: &str| {
        if head.starts_with("get /token") {
            return Fault::answer("200 OK", "", r#"{"token":"anonymous"}"#);
        }
        let realm = own.get().cloned().unwrap_or_default();
        let challenge = format!("www-authenticate: Bearer realm=\"{realm}/token\",service=\"hub\"\r\n");
        Fault::answer("401 Unauthorized", &challenge, "")
    };
    let mirrored = Mirrored::with_faults(fault, |_| {}).await;
    url.set(mirrored.proxy.url()).unwrap();
    mirrored.cache.get("/v2/hub/app/manifests/1").await.fails(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn oversized_blob_is_cut_off() {
    let content = random(300_000);
    let digest = oci::Algorithm::Sha256.digest(&content);
    let fault = |head: &str| match head.contains("/blobs/") {
        true => {
            let head = b"HTTP/1.1 200 OK\r\n\r\n";
            Fault::Answer([head.as_slice(), &random(3_000_000)].concat())
        }
        false => Fault::None,
    };
    let mirrored =
        Mirrored::configured(fault, |_| {}, |config| config.limits.blob_bytes = Some(1_000_000)).await;
    let request = mirrored.cache.request(Method::GET, format!("/v2/hub/app/blobs/{digest}"));
    request.try_ask().await.expect_err("the body is cut");
    assert!(!mirrored.cache.blob_file(&digest).exists());
}

#[tokio::test]
async fn failing_url_is_replaced_by_the_next() {
    let mut mirrored = Mirrored::with_faults(
        |_| Fault::answer("503 Busy", "content-type: text/html\r\n", "<h1>busy"),
        |_| {},
    )
    .await;
    let second = FaultProxy::start(mirrored.upstream.address(), |_| Fault::None).await;
    let url = super::hub(&second.url()).url;
    let image = mirrored.upstream.repository("app").push_image("1").await;
    mirrored.cache.get("/v2/hub/app/manifests/1").await.is(503);
    mirrored.cache.restart_with(|config| config.upstream[0].url.extend(url)).await;
    let cached = mirrored.cache.repository("hub/app");
    assert_eq!(cached.digest_of("1").await, image.digest);
}

#[tokio::test]
async fn other_port_of_an_upstream_is_not_called() {
    let other = Upstream::start(|_| Says::ok("", "secret")).await;
    let location = format!("{}/redirected", other.url());
    let redirect = move |head: &str| match head.contains("/blobs/") {
        true => Fault::answer("307 Temporary Redirect", &format!("location: {location}\r\n"), ""),
        false => Fault::None,
    };
    let mirrored = Mirrored::with_faults(redirect, |_| {}).await;
    let digest = oci::Algorithm::Sha256.digest(b"secret");
    mirrored.cache.get(format!("/v2/hub/app/blobs/{digest}")).await.is(502);
    assert_eq!(other.asked("").len(), 0);
}

#[tokio::test]
async fn bad_realm_of_one_repository_is_forgotten() {
    let challenge = |head: &str| match head.contains("/v2/bad/") {
        true => {
            let realm = "www-authenticate: Bearer realm=\"http://127.0.0.2:1/token\",service=\"s\"\r\n";
            Fault::answer("401 Unauthorized", realm, "")
        }
        false => Fault::None,
    };
    let mirrored = Mirrored::with_faults(challenge, |_| {}).await;
    mirrored.upstream.repository("app").push_image("1").await;
    for _ in 0..2 {
        mirrored.cache.get("/v2/hub/bad/manifests/1").await.is(503);
        mirrored.cache.get("/v2/hub/app/manifests/1").await.is(200);
    }
}

#[tokio::test]
async fn manifests_work_while_storage_of_upstream_fails() {
    let storage =
        Upstream::start(|_| Says::All(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_vec())).await;
    let location = format!("{}/layer", storage.url()).replace("127.0.0.1", "localhost");
    let redirect = move |head: &str| match head.contains("/blobs/") {
        true => Fault::answer("307 Temporary Redirect", &format!("location: {location}\r\n"), ""),
        false => Fault::None,
    };
    let allow = |hub: &mut wharfinger::config::Upstream| hub.token_hosts = vec!["localhost".to_owned()];
    let mirrored = Mirrored::with_faults(redirect, allow).await;
    // More failures than open a circuit breaker, each for another blob.
    for number in 0_u8..8 {
        let digest = oci::Algorithm::Sha256.digest(&[number]);
        mirrored.cache.get(format!("/v2/hub/app/blobs/{digest}")).await.is(503);
    }
    assert!(!storage.asked("").is_empty());
    let image = mirrored.upstream.repository("app").push_image("1").await;
    assert_eq!(mirrored.cache.repository("hub/app").digest_of("1").await, image.digest);
}

#[tokio::test]
async fn manifest_with_wrong_digest_header_is_not_kept() {
    let other = oci::Algorithm::Sha256.digest(b"other");
    let named = move |head: &str| match head.contains("/manifests/1") {
        true => Fault::answer(
            "200 OK",
            &format!(
                "content-type: application/vnd.oci.image.index.v1+json\r\ndocker-content-digest: {other}\r\n"
            ),
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
        ),
        false => Fault::None,
    };
    let mirrored = Mirrored::with_faults(named, |_| {}).await;
    mirrored.cache.get("/v2/hub/app/manifests/1").await.fails(502, "UNAVAILABLE");
    assert_eq!(mirrored.cache.get("/v2/_catalog").await.list("repositories"), [""; 0]);
}
