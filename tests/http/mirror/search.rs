//! Searches that are passed on to an upstream.

use wharfinger::config::{FillChoice, SearchChoice};

use super::{Mirrored, hub};
use crate::harness::{Fault, FaultProxy, TestRegistry, with_accounts_and};

/// The names of the results.
async fn found(answer: crate::harness::Answer) -> Vec<String> {
    let results = answer.is(200).json();
    let results = results["results"].as_array().unwrap();
    results.iter().map(|result| result["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn search_is_passed_on_if_configured() {
    let mut mirrored = Mirrored::start(|hub| hub.deny = vec!["tools/secret".parse().unwrap()]).await;
    for name in ["tools/builder", "tools/secret", "tools/other"] {
        mirrored.upstream.repository(name).push_image("1").await;
    }
    mirrored.cache.repository("tools/mine").push_image("1").await;
    let search = "/v1/search?q=tools";
    assert_eq!(found(mirrored.cache.get(search).await).await, ["tools/mine"]);
    assert_eq!(mirrored.proxy.asked("/v1/search").len(), 0);
    mirrored.cache.restart_with(|config| config.upstream[0].search = SearchChoice::Upstream).await;
    let mut all = found(mirrored.cache.get(search).await).await;
    assert_eq!(all[0], "tools/mine", "what is here comes first");
    all.sort();
    assert_eq!(all, ["hub/tools/builder", "hub/tools/other", "tools/mine"]);
    // A kept image is found once.
    mirrored.cache.repository("hub/tools/builder").get("manifests/1").await.is(200);
    let mut all = found(mirrored.cache.get(search).await).await;
    all.sort();
    assert_eq!(all, ["hub/tools/builder", "hub/tools/other", "tools/mine"]);
    assert_eq!(found(mirrored.cache.get("/v1/search?q=tools&n=2&page=2").await).await.len(), 1);
    assert_eq!(mirrored.proxy.asked("/v1/search").len(), 1, "the answer is cached");
    assert_eq!(found(mirrored.cache.get("/v1/search?q=").await).await.len(), 2);
}

#[tokio::test]
async fn search_asks_upstreams_for_accounts_only() {
    let upstream = TestRegistry::start().await;
    upstream.repository("tools/builder").push_image("1").await;
    let proxy = FaultProxy::start(upstream.address(), |_| Fault::None).await;
    let cache = with_accounts_and(|config| {
        let mut settings = hub(&proxy.url());
        settings.search = SearchChoice::Upstream;
        config.upstream.push(settings);
    })
    .await;
    let (ann, ben) = (cache.add_user("ann").await, cache.add_user("ben").await);
    cache.grant("ann", &["pull"], "hub/**").await;
    let search = "/v1/search?q=builder";
    cache.get(search).await;
    assert_eq!(proxy.asked("/v1/search").len(), 0, "nobody anonymous may ask");
    assert_eq!(found(cache.get_as(&ben, search).await).await, [""; 0], "ben may not pull it");
    assert_eq!(found(cache.get_as(&ann, search).await).await, ["hub/tools/builder"]);
}

#[tokio::test]
async fn search_needs_the_right_to_fill() {
    let upstream = TestRegistry::start().await;
    upstream.repository("tools/builder").push_image("1").await;
    let url = format!("http://{}", upstream.address());
    let cache = with_accounts_and(|config| {
        let mut settings = hub(&url);
        settings.search = SearchChoice::Upstream;
        settings.fill = FillChoice::Granted;
        config.upstream.push(settings);
    })
    .await;
    let ann = cache.add_user("ann").await;
    cache.grant("ann", &["pull"], "hub/**").await;
    assert_eq!(found(cache.get_as(&ann, "/v1/search?q=builder").await).await, [""; 0]);
    cache.grant("ann", &["fill"], "hub/**").await;
    assert_eq!(found(cache.get_as(&ann, "/v1/search?q=builder").await).await, ["hub/tools/builder"]);
}

#[tokio::test]
async fn failing_search_of_an_upstream_adds_nothing() {
    let failing = |head: &str| match head.contains("/v1/search") {
        true => Fault::answer("200 OK", "content-type: text/html\r\n", "<html>no search here</html>"),
        false => Fault::None,
    };
    let mirrored = Mirrored::with_faults(failing, |hub| hub.search = SearchChoice::Upstream).await;
    mirrored.cache.repository("tools/mine").push_image("1").await;
    assert_eq!(found(mirrored.cache.get("/v1/search?q=tools").await).await, ["tools/mine"]);
}
