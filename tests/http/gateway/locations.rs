//! Location rules of a gateway, equivalent to those of an nginx before a registry.

use reqwest::Method;

use crate::harness::{Ask, By, Says, Upstream, Who, gateway};

/// One location is open, the rest needs a password. The upstream never sees a refused request.
#[tokio::test]
async fn open_location_is_forwarded_without_account() {
    let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let manifest = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{digest}"}}}}"#);
    let upstream = Upstream::start(move |_| {
        Says::ok("content-type: application/vnd.oci.image.manifest.v1+json\r\n", &manifest)
    })
    .await;
    let locations = r#"[{ path = "/v2/", auth = "basic", realm = "Restricted" }, { path = "/v2/official/", auth = "open" }]"#;
    let gateway = gateway(&[&upstream.url()], &[("AUTH_LOCATIONS", locations), ("GATEWAY_CACHE", "0")]).await;
    let blob = format!("/v2/official/a/blobs/{digest}");
    for path in ["/v2/official/a/manifests/1", "/v2/official/a/tags/list", &blob] {
        gateway.get(path).await.is(200);
        assert_eq!(upstream.asked(path).len(), 1, "{path}");
    }
    gateway.add_user("ann").await;
    for (method, path) in [
        (Method::GET, "/v2/"),
        (Method::GET, "/v2/ann/a/manifests/1"),
        (Method::GET, "/v2/officially/a/manifests/1"),
        (Method::PUT, "/v2/official/a/manifests/2"),
        (Method::DELETE, "/v2/official/a/manifests/2"),
        (Method::POST, "/v2/official/b/blobs/uploads/"),
    ] {
        let refused = gateway.request(method.clone(), path).ask().await.is(401);
        let challenge = refused.header("www-authenticate").unwrap();
        let asks = if path.starts_with("/v2/official/") { "Bearer " } else { "Basic realm=\"Restricted\"" };
        assert!(challenge.starts_with(asks), "{path}: {challenge}");
        if path.starts_with("/v2/official/") {
            gateway.request(method.clone(), path).by(&Who::user("ann")).ask().await.is(403);
        }
        assert_eq!(
            upstream.asked(&format!("{} {path} ", method.as_str().to_lowercase())).len(),
            0,
            "{method} {path}"
        );
    }
    gateway.get_as(&Who::user("ann"), "/v2/ann/a/manifests/1").await.is(200);
    // A repository that was pushed through the gateway is listed for callers who may pull it.
    let found = gateway.get("/v1/search?q=a").await.is(200).json();
    assert_eq!(found["results"][0]["name"], "official/a", "{found}");
    assert_eq!(found["num_results"], 1);
}
