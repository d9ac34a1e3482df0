//! Compression of pages for browsers.

use std::io::Read as _;

use flate2::read::GzDecoder;
use reqwest::Method;

use super::HTML;
use crate::harness::{Answer, Ask, By as _, TestRegistry, Who, with_accounts_and};

fn unzipped(answer: &Answer) -> String {
    let mut text = String::new();
    GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn pages_and_assets_are_compressed() {
    let registry = TestRegistry::start().await;
    registry.repository("team/app").push_image("1.0").await;
    let ask = |path: &str| {
        let request = registry.request(Method::GET, path).header("accept", HTML);
        request.header("accept-encoding", "gzip, deflate, br").ask()
    };
    let page = ask("/team/app").await.is(200).has("content-encoding", "gzip");
    assert!(
        page.headers.get_all("vary").iter().any(|vary| vary.to_str().unwrap().contains("Accept-Encoding"))
    );
    let text = unzipped(&page);
    assert!(text.contains("docker pull") && page.body.len() * 2 < text.len());
    let style = text.split("href=\"").find(|rest| rest.starts_with("/-/assets/style")).unwrap();
    let style = ask(style.split('"').next().unwrap()).await.is(200).has("content-encoding", "gzip");
    assert!(unzipped(&style).contains("@media print"));
    let reference = ask("/-/api").await.is(200).has("content-encoding", "gzip");
    assert!(reference.body.len() < 60_000, "{} bytes", reference.body.len());
    // An error page, and a page for a client that does not decompress.
    ask("/team/absent").await.is(404).has("content-encoding", "gzip");
    registry
        .request(Method::GET, "/team/app")
        .header("accept", HTML)
        .ask()
        .await
        .is(200)
        .has_no("content-encoding");
    // The protocol and the API are as they were.
    ask("/v2/team/app/manifests/1.0").await.is(200).has_no("content-encoding");
}

/// A listener must not learn secrets from the length of pages that another site requests (BREACH).
#[tokio::test]
async fn page_for_another_site_is_not_compressed() {
    let registry =
        with_accounts_and(|config| config.proxy.trusted = vec!["127.0.0.1/32".parse().unwrap()]).await;
    for (site, compressed) in
        [(Some("same-origin"), true), (Some("none"), true), (Some("cross-site"), false), (None, false)]
    {
        let request = registry.request(Method::GET, "/?q=guess").by(&Who::root()).header("accept", HTML);
        let mut request = request.header("accept-encoding", "gzip").header("x-forwarded-proto", "https");
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        let answer = request.ask().await.is(200);
        assert_eq!(answer.header("content-encoding").is_some(), compressed, "{site:?}");
    }
}
