//! A refused request never reaches the upstream of a gateway.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Says, Upstream, Who, basic, gateway};

/// Every route of a repository, for callers without the right.
#[tokio::test]
async fn refused_requests_never_reach_the_upstream() {
    let upstream = Upstream::start(|_| Says::ok("", "{}")).await;
    let gateway = gateway(&[&upstream.url()], &[]).await;
    let ann = gateway.add_user("ann").await;
    let bob = gateway.add_user("bob").await;
    let elsewhere = json!({ "label": "elsewhere", "repositories": ["ann/other"] });
    let narrow = basic("ann", &gateway.add_token("ann", &elsewhere).await);
    let bearer = gateway.bearer(&ann, &["repository:ann/other:pull,push"]).await;
    let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let mut walked = 0;
    // The access matrix walks the pages.
    let is_walked = |path: &str| {
        path.contains("{repository}") && ["/v2/", "/api/"].iter().any(|below| path.starts_with(below))
    };
    for (path, methods) in wharfinger::http::routes().filter(|(path, _)| is_walked(path)) {
        let path = path
            .replace("{repository}", "ann/app")
            .replace("{reference}", "1")
            .replace("{digest}", digest)
            .replace("{upload}", "7b9ab2a1-5c3f-4f0e-9c1b-0d3f1f6f0a51");
        for method in methods {
            let is_push = path.contains("/uploads/")
                || ["/_undo", "/_trash"].iter().any(|end| path.ends_with(end))
                || (method == Method::PUT && path.contains("/manifests/"));
            let refused = if is_push { 403 } else { 404 };
            for (who, status) in [(&Who::NOBODY, 401), (&bob, refused), (&narrow, refused), (&bearer, 401)] {
                gateway.ask_as(who, method.clone(), &path).await.is(status);
                walked += 1;
            }
        }
    }
    assert!(walked > 80, "{walked}");
    assert_eq!(upstream.asked("ann/app"), [""; 0]);
    // A mount without the right to pull the source is forwarded as an ordinary upload.
    let mount = format!("/v2/bob/open/blobs/uploads/?mount={digest}&from=ann/app");
    gateway.ask_as(&bob, Method::POST, &mount).await.is(200);
    assert_eq!((upstream.asked("bob/open").len(), upstream.asked("ann/app").len()), (1, 0));
    gateway.ask_as(&ann, Method::GET, "/v2/ann/app/tags/list").await.is(200);
    assert_eq!(upstream.asked("ann/app").len(), 1);
}
