//! `/auth`, the sub-request of proxies.

use reqwest::Method;

use crate::harness::{Answer, Ask, By, TestRegistry, Who, basic, with_accounts, with_accounts_and};

async fn ask(registry: &TestRegistry, who: &Who, method: &str, uri: &str) -> Answer {
    let request = registry.request(Method::GET, "/auth").by(who);
    request.header("x-original-uri", uri).header("x-original-method", method).ask().await
}

/// Starts a registry with accounts behind a trusted proxy.
async fn behind_a_proxy() -> TestRegistry {
    with_accounts_and(|config| config.proxy.trusted = vec!["127.0.0.0/8".parse().unwrap()]).await
}

#[tokio::test]
async fn auth_answers_200_401_or_403() {
    let registry = behind_a_proxy().await;
    let ann = registry.add_user("ann").await;
    let bob = registry.add_user("bob").await;
    registry.grant("bob", &["pull"], "ann/app").await;
    registry.grant("everyone", &["pull"], "ann/open").await;
    let manifest = "/v2/ann/app/manifests/1";
    ask(&registry, &ann, "PUT", manifest).await.is(200).has("x-remote-user", "ann");
    ask(&registry, &bob, "GET", manifest).await.is(200).has("x-remote-user", "bob");
    ask(&registry, &bob, "HEAD", manifest).await.is(200);
    ask(&registry, &bob, "PUT", manifest).await.is(403);
    ask(&registry, &bob, "GET", "/v2/ann/other/manifests/1").await.is(403);
    let told = ask(&registry, &Who::NOBODY, "GET", manifest).await.is(401);
    let challenge = told.header("www-authenticate").unwrap();
    assert!(challenge.contains(r#"scope="repository:ann/app:pull""#), "{challenge}");
    ask(&registry, &Who::NOBODY, "GET", "/v2/ann/open/manifests/1").await.is(200).has_no("x-remote-user");
    ask(&registry, &basic("ann", "wrong"), "GET", "/v2/ann/open/manifests/1").await.is(401);
    ask(&registry, &Who::NOBODY, "GET", "/v2/").await.is(401);
    ask(&registry, &bob, "GET", "/v2/").await.is(200);
    // An unfiltered list needs the right to see everything.
    ask(&registry, &bob, "GET", "/v2/_catalog").await.is(403);
    ask(&registry, &Who::root(), "GET", "/v2/_catalog").await.is(200);
    // A mount needs rights on both repositories.
    let digest = format!("sha256:{}", "0".repeat(64));
    let mount = |from: &str| format!("/v2/bob/app/blobs/uploads/?mount={digest}&from={from}");
    ask(&registry, &bob, "POST", &mount("ann/app")).await.is(200);
    ask(&registry, &bob, "POST", &mount("ann/secret")).await.is(403);
    // A malformed path is refused for every account.
    for uri in ["/v2/../etc/manifests/1", "/v2/ann/app/nothing", "x", "/v2/ANN/app/manifests/1"] {
        ask(&registry, &Who::root(), "GET", uri).await.is(403);
    }
    // Without the method, the request needs the rights of every method of its endpoint.
    let without =
        |who: &Who| registry.request(Method::GET, "/auth").by(who).header("x-original-uri", manifest);
    without(&bob).ask().await.is(403);
    without(&ann).ask().await.is(200);
    // Without method and path, any account is enough.
    registry.get_as(&bob, "/auth").await.is(200).has("x-remote-user", "bob");
    registry.get("/auth").await.is(401);
}

/// The server behind the proxy may have other paths than a registry.
#[tokio::test]
async fn auth_refuses_all_but_the_registry_protocol() {
    let registry = behind_a_proxy().await;
    for path in ["/", "/token", "/healthz", "/readyz", "/auth", "/.well-known/jwks.json", "/api/v1/users"] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            for who in [&Who::NOBODY, &Who::root()] {
                ask(&registry, who, method, path).await.is(403);
            }
        }
        let without = registry.request(Method::GET, "/auth").by(&Who::root());
        without.header("x-original-uri", path).ask().await.is(403);
    }
    for path in ["/v1/_ping", "/_ping"] {
        ask(&registry, &Who::NOBODY, "GET", path).await.is(200);
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            ask(&registry, &Who::root(), method, path).await.is(403);
        }
    }
    ask(&registry, &Who::root(), "GET", "/v1/search?q=x").await.is(200);
    ask(&registry, &Who::root(), "GET", "/v2/").await.is(200);
    ask(&registry, &Who::root(), "POST", "/v2/").await.is(403);
}

/// The registry behind the proxy would search all repositories for the blob.
#[tokio::test]
async fn auth_refuses_a_mount_without_from() {
    let registry = behind_a_proxy().await;
    let ann = registry.add_user("ann").await;
    let digest = format!("sha256:{}", "0".repeat(64));
    let uploads = "/v2/ann/app/blobs/uploads/";
    ask(&registry, &ann, "POST", uploads).await.is(200);
    ask(&registry, &ann, "POST", &format!("{uploads}?mount={digest}&from=ann/other")).await.is(200);
    for query in [
        format!("mount={digest}"),
        format!("mount={digest}&from="),
        format!("mount={digest}&from=../x"),
        format!("mount={digest}&from=ann/other&from=bob/app"),
        format!("mount={digest}&mount={digest}&from=ann/other"),
        "from=bob/app".to_owned(),
    ] {
        for who in [&ann, &Who::root()] {
            ask(&registry, who, "POST", &format!("{uploads}?{query}")).await.is(403);
        }
    }
    // distribution also reads the parameters of a form in the body.
    for form in ["application/x-www-form-urlencoded", "Multipart/Form-Data; boundary=x"] {
        let request = registry.request(Method::GET, "/auth").by(&ann).header("x-original-uri", uploads);
        request.header("x-original-method", "POST").header("content-type", form).ask().await.is(403);
    }
}

/// An untrusted proxy cannot set the method, because it may pass on a header of its client.
#[tokio::test]
async fn auth_ignores_a_method_set_by_the_client() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    let bob = registry.add_user("bob").await;
    registry.grant("bob", &["pull"], "ann/app").await;
    registry.grant("everyone", &["pull"], "ann/open").await;
    let uploads = "/v2/ann/app/blobs/uploads/";
    for method in ["GET", "HEAD", "OPTIONS", "POST"] {
        ask(&registry, &bob, method, "/v2/ann/app/manifests/1").await.is(403);
        ask(&registry, &Who::NOBODY, method, "/v2/ann/open/manifests/1").await.is(401);
        ask(&registry, &bob, method, uploads).await.is(403);
        ask(&registry, &ann, method, uploads).await.is(200);
    }
    // An endpoint that can only be read needs the right to read.
    ask(&registry, &bob, "GET", "/v2/ann/app/tags/list").await.is(200);
}

/// Two families of headers belong to two kinds of proxies. Each kind sets one family and passes the other on.
#[tokio::test]
async fn auth_refuses_contradicting_headers() {
    let registry = behind_a_proxy().await;
    let bob = registry.add_user("bob").await;
    registry.grant("bob", &["pull"], "ann/app").await;
    let manifest = "/v2/ann/app/manifests/1";
    let judged = async |uri: &str, other_uri: &str, method: &str, other_method: &str| {
        let request = registry.request(Method::GET, "/auth").by(&bob);
        let request = request.header("x-original-uri", uri).header("x-forwarded-uri", other_uri);
        let request = request.header("x-original-method", method).header("x-forwarded-method", other_method);
        request.ask().await.status
    };
    assert_eq!(judged(manifest, manifest, "GET", "GET").await, 200);
    assert_eq!(judged(manifest, manifest, "GET", "PUT").await, 403);
    assert_eq!(judged(manifest, manifest, "PUT", "GET").await, 403);
    assert_eq!(judged(manifest, "/v2/ann/secret/manifests/1", "GET", "GET").await, 403);
    assert_eq!(judged("/v1/_ping", "/v2/ann/secret/manifests/1", "GET", "GET").await, 403);
}

/// Many proxies pass on the client's `X-Forwarded-Prefix`, and `/auth` strips the prefix from the path. A
/// path that another registry reads differently must stay as it is.
#[tokio::test]
async fn auth_ignores_a_prefix_set_by_the_client() {
    let registry = behind_a_proxy().await;
    let ann = registry.add_user("ann").await;
    let digest = format!("sha256:{}", "0".repeat(64));
    let judged = async |who: &Who, method: &str, uri: &str, prefix: &str| {
        let request = registry.request(Method::GET, "/auth").by(who).header("x-original-uri", uri);
        let request = request.header("x-original-method", method).header("x-forwarded-prefix", prefix);
        request.ask().await.status
    };
    // The prefix of a proxy that serves the registry below a path.
    assert_eq!(judged(&ann, "PUT", "/hub/v2/ann/app/manifests/1", "/hub").await, 200);
    assert_eq!(judged(&ann, "PUT", "/hub/v2/bob/app/manifests/1", "/hub").await, 403);
    for (method, uri, prefix) in [
        ("PUT", "/v2/bob/v2/ann/app/manifests/1".to_owned(), "/v2/bob"),
        ("GET", "/v2/bob/app/manifests/healthz".to_owned(), "/v2/bob/app/manifests"),
        ("GET", "/v2/bob/app/manifests/1/".to_owned(), "/v2/bob/app/manifests/1"),
        ("POST", "/v2/bob/app/blobs/uploads/".to_owned(), "/v2/bob/app/blobs/uploads"),
        (
            "POST",
            format!("/v2/ann/app/blobs/uploads/?mount={digest}&from=bob/app"),
            "/v2/ann/app/blobs/uploads",
        ),
        ("GET", "/x/../v2/bob/app/manifests/healthz".to_owned(), "/x/../v2/bob/app/manifests"),
        ("GET", "/hub/../v2/bob/v2/ann/app/manifests/1".to_owned(), "/hub/../v2/bob"),
    ] {
        assert_eq!(judged(&ann, method, &uri, prefix).await, 403, "{method} {uri} below {prefix}");
    }
}
