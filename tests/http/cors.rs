//! CORS: the origins that may use the registry, and the refusal of cross-site writes.

use reqwest::{Method, RequestBuilder};

use crate::harness::{Answer, Ask, By, Says, TestRegistry, Upstream, Who, gateway, with_accounts_and};

const UI: &str = "https://ui.example.com";

async fn with_origins(origins: &str) -> TestRegistry {
    let settings = [("WHARFINGER_WEB_CORS_ORIGINS".into(), origins.into())];
    let sources = wharfinger::config::Sources { environment: settings.to_vec(), ..Default::default() };
    let web = wharfinger::config::Config::load(&sources).unwrap().config.web;
    with_accounts_and(|config| config.web = web).await
}

async fn preflight(registry: &TestRegistry, path: &str, origin: &str) -> Answer {
    let request = registry.request(Method::OPTIONS, path).header("origin", origin);
    let request = request.header("access-control-request-method", "DELETE");
    request.header("access-control-request-headers", "authorization").ask().await
}

#[tokio::test]
async fn cors_is_off_by_default() {
    let registry = with_accounts_and(|_| {}).await;
    let answer = registry.request(Method::GET, "/v2/").by(&Who::root()).header("origin", UI).ask().await;
    answer.is(200).has_no("access-control-allow-origin").has_no("vary");
    for path in ["/v2/", "/v2/_catalog", "/api/v1/repositories"] {
        let answer = preflight(&registry, path, UI).await;
        assert!(matches!(answer.status, 401 | 405), "{path} {}", answer.status);
        answer.has_no("access-control-allow-origin");
    }
}

/// The requests of docker-registry-ui in their order: a preflight, the list, a manifest, a deletion.
#[tokio::test]
async fn cors_serves_a_listed_origin() {
    let registry = with_origins(&format!("{UI},http://localhost:8080")).await;
    let pushed = registry.repository("root/app").of(&Who::root()).push_image("1").await;
    let manifest = format!("/v2/root/app/manifests/{}", pushed.digest);
    for path in ["/v2/", "/v2/_catalog", &manifest, "/api/v1/users", "/token"] {
        let answer = preflight(&registry, path, UI).await.is(204);
        let answer =
            answer.has("access-control-allow-origin", UI).has("access-control-allow-credentials", "true");
        for (header, value) in
            [("methods", "DELETE"), ("headers", "Authorization"), ("headers", "Cache-Control")]
        {
            let all = answer.header(&format!("access-control-allow-{header}")).unwrap();
            assert!(all.contains(value), "{all}");
        }
    }
    let of = |request: RequestBuilder| request.by(&Who::root()).header("origin", UI);
    let answer = of(registry.request(Method::GET, "/v2/_catalog")).ask().await.is(200);
    answer.has("access-control-allow-origin", UI).has("vary", "Origin");
    for _ in 0..2 {
        let answer = of(registry.request(Method::GET, &manifest)).ask().await.is(200);
        let exposed = answer.has("access-control-allow-origin", UI);
        let exposed = exposed.header("access-control-expose-headers").unwrap().to_owned();
        for header in
            ["Docker-Content-Digest", "Link", "WWW-Authenticate", "Location", "Range", "OCI-Subject"]
        {
            assert!(exposed.split(", ").any(|exposed| exposed == header), "{header} in {exposed}");
        }
    }
    // The page must read the challenge as well.
    let answer = registry.request(Method::GET, "/v2/").header("origin", UI).ask().await.is(401);
    answer.has("access-control-allow-origin", UI);
    let delete = of(registry.request(Method::DELETE, &manifest)).header("sec-fetch-site", "cross-site");
    delete.ask().await.is(202);

    let other = "https://other.example.com";
    preflight(&registry, "/v2/", other).await.has_no("access-control-allow-origin");
    let answer = registry.request(Method::GET, "/v2/").by(&Who::root()).header("origin", other).ask().await;
    answer.is(200).has_no("access-control-allow-origin").has("vary", "Origin");
}

#[tokio::test]
async fn cors_for_all_goes_without_credentials() {
    let registry = with_origins("*").await;
    let answer = preflight(&registry, "/v2/_catalog", UI).await.is(204);
    answer.has("access-control-allow-origin", "*").has_no("access-control-allow-credentials");
}

/// A page of another site makes the browser send a request with its stored password.
async fn refuses_cross_site(registry: &TestRegistry, root: &Who) {
    for (method, path) in [
        (Method::POST, "/v2/root/app/blobs/uploads/"),
        (Method::PUT, "/v2/root/app/manifests/1"),
        (Method::DELETE, "/v2/root/app/manifests/1"),
        (Method::POST, "/api/v1/users"),
        (Method::POST, "/token"),
    ] {
        let request = || registry.request(method.clone(), path).by(root);
        let evil = |request: RequestBuilder| request.header("origin", "https://evil.example.com");
        for request in [
            evil(request()),
            evil(request()).header("sec-fetch-site", "cross-site"),
            request().header("sec-fetch-site", "same-site"),
            request().header("origin", "null"),
        ] {
            let answer = request.ask().await.fails(403, "DENIED");
            assert!(answer.text().contains("web.cors_origins"), "{}", answer.text());
        }
        let own = format!("http://{}", registry.address());
        for request in
            [request(), request().header("origin", &own), request().header("sec-fetch-site", "none")]
        {
            let status = request.ask().await.status;
            assert!(status != 403, "{method} {path} {status}");
        }
    }
    let read = registry.request(Method::GET, "/v2/").by(root).header("sec-fetch-site", "cross-site");
    read.header("origin", "https://evil.example.com").ask().await.is(200);
}

#[tokio::test]
async fn cross_site_write_is_refused_by_a_registry() {
    refuses_cross_site(&with_accounts_and(|_| {}).await, &Who::root()).await;
}

#[tokio::test]
async fn cross_site_write_is_refused_by_a_gateway() {
    let upstream = Upstream::start(|_| Says::not_found()).await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    refuses_cross_site(&gateway, &Who::root()).await;
}

#[tokio::test]
async fn cross_site_write_is_refused_by_auth() {
    let registry =
        with_accounts_and(|config| config.proxy.trusted = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let asks = async |method: &str, site: &str| {
        let request = registry.request(Method::GET, "/auth").by(&Who::root());
        let request = request.header("x-original-uri", "/v2/root/app/manifests/1");
        request.header("x-original-method", method).header("sec-fetch-site", site).ask().await.status
    };
    assert_eq!(asks("DELETE", "cross-site").await, 403);
    assert_eq!(asks("DELETE", "same-origin").await, 200);
    assert_eq!(asks("GET", "cross-site").await, 200);
}

#[tokio::test]
async fn rebound_name_is_refused_without_accounts() {
    let settings = [("WHARFINGER_EXTERNAL_URL".into(), "http://registry.example.com:5000".into())];
    let sources = wharfinger::config::Sources { environment: settings.to_vec(), ..Default::default() };
    let external = wharfinger::config::Config::load(&sources).unwrap().config.external_url;
    let registry = TestRegistry::start_with(|config| config.external_url = external).await;
    registry.repository("team/app").push_image("1").await;
    let asks = async |method: Method, path: &str, host: &str, browser: &[(&'static str, &str)]| {
        let mut request = registry.request(method, path).header("host", host);
        for (name, value) in browser {
            request = request.header(*name, *value);
        }
        request.ask().await
    };
    let evil = "evil.example:31040";
    let page = [("origin", "http://evil.example:31040"), ("sec-fetch-site", "same-origin")];
    let manifest = "/v2/team/app/manifests/1";
    let refused = asks(Method::DELETE, manifest, evil, &page).await.fails(403, "DENIED");
    assert!(refused.text().contains("external_url"), "{}", refused.text());
    asks(Method::GET, manifest, evil, &page).await.is(403);
    // Over plain HTTP, a read of the same origin has neither header.
    asks(Method::GET, "/v2/_catalog", evil, &[("accept-language", "en")]).await.is(403);
    for host in ["localhost:5000", "127.0.0.1:5000", "registry.example.com:5000"] {
        let page = [("origin", &*format!("http://{host}")), ("accept-language", "en")];
        asks(Method::GET, manifest, host, &page).await.is(200);
    }
    // Clients that are no browsers use any name.
    asks(Method::DELETE, manifest, evil, &[]).await.is(202);
}
