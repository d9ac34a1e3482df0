//! HTTP/2 without TLS, with a hand-written client.

use reqwest::{Client, Method};
use uuid::Uuid;
use wharfinger::http::routes;

use crate::harness::TestRegistry;

fn http2() -> Client {
    Client::builder()
        .http2_prior_knowledge()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client")
}

#[tokio::test]
async fn head_over_http2_has_no_body_on_any_route() {
    let registry = TestRegistry::start_with(|config| config.http2_clear = true).await;
    let app = registry.repository("team/app");
    let image = app.push_image("1").await;
    let client = http2();
    let digests = [image.digest.to_string(), image.blobs[0].0.to_string()];
    let mut seen = 0;
    for (template, methods) in routes() {
        // Metrics differ from scrape to scrape, and the stream of events does not end.
        if !methods.contains(&Method::HEAD) || ["/metrics", "/api/v1/events"].contains(&template) {
            continue;
        }
        for (repository, reference) in [("team/app", "1"), ("team/app", "absent"), ("nowhere", "1")] {
            for digest in &digests {
                let mut path = template
                    .replace("{repository}", repository)
                    .replace("{reference}", reference)
                    .replace("{digest}", digest)
                    .replace("{upload}", &Uuid::nil().to_string());
                while let (Some(open), Some(close)) = (path.find('{'), path.find('}')) {
                    path.replace_range(open..=close, "x");
                }
                let url = format!("http://{}{path}", registry.address());
                // Twice: the second answer may come from the cache.
                for _ in 0..2 {
                    let head = client.head(&url).send().await.unwrap();
                    let (status, length) = (head.status(), head.headers().get("content-length").cloned());
                    // A DATA frame would be a stream error, which fails the body.
                    assert_eq!(head.bytes().await.unwrap(), "", "{path}");
                    let get = client.get(&url).send().await.unwrap();
                    assert_eq!(get.status(), status, "{path}");
                    let expected = get.bytes().await.unwrap().len();
                    let said = length.map_or(0, |length| length.to_str().unwrap().parse().unwrap());
                    assert_eq!(said, expected, "{path}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 100, "{seen}");
}
