//! The state of an upstream: events, the API and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::Value;

use super::hub;
use crate::harness::{Fault, FaultProxy, TestRegistry, Who, eventually, with_accounts_and};

/// Starts an upstream with the image `app:1`, a proxy with faults, and a cache with an administrator.
async fn start(
    fault: impl Fn(&str) -> Fault + Send + Sync + 'static,
) -> (TestRegistry, FaultProxy, TestRegistry) {
    let upstream = TestRegistry::start().await;
    upstream.repository("app").push_image("1").await;
    let proxy = FaultProxy::start(upstream.address(), fault).await;
    let mut settings = hub(&proxy.url());
    settings.open_to = vec!["127.0.0.0/8".parse().unwrap()];
    let cache = with_accounts_and(|config| config.upstream.push(settings)).await;
    (upstream, proxy, cache)
}

/// The states that the events announce, in order.
async fn states(registry: &TestRegistry) -> Vec<String> {
    let answer = registry
        .get_as(&Who::root(), "/api/v1/events?follow=false&after=0&event=upstream.state")
        .await
        .is(200);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = events.map(|data| serde_json::from_str::<Value>(data).unwrap());
    events.map(|event| event["state"].as_str().unwrap().to_owned()).collect()
}

async fn state(registry: &TestRegistry) -> String {
    let answer = registry.get_as(&Who::root(), "/api/v1/upstreams").await.is(200).json();
    answer["upstreams"][0]["state"].as_str().unwrap().to_owned()
}

async fn up(registry: &TestRegistry) -> String {
    let metrics = registry.get_as(&Who::root(), "/metrics").await.is(200);
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let line = metrics.lines().find(|line| line.starts_with("wharfinger_upstream_up{"));
    line.expect("the metric").rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn state_changes_are_events() {
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = is_broken.clone();
    let fault = move |_: &str| match broken.load(Ordering::Relaxed) {
        true => Fault::answer("503 Busy", "", ""),
        false => Fault::None,
    };
    let (_upstream, proxy, cache) = start(fault).await;
    let cache = &cache;
    assert_eq!((state(cache).await.as_str(), up(cache).await.as_str()), ("ok", "1"));
    for tag in ["1", "2", "3"] {
        cache.get(format!("/v2/hub/app/manifests/{tag}")).await.is(503);
    }
    assert_eq!((state(cache).await.as_str(), up(cache).await.as_str()), ("down", "0"));
    eventually("the failure is announced", async || states(cache).await == ["down"]).await;
    // The circuit breaker is open.
    let asked = proxy.asked("").len();
    cache.get("/v2/hub/app/manifests/4").await.is(503);
    assert_eq!(proxy.asked("").len(), asked);
    is_broken.store(false, Ordering::Relaxed);
    cache.ask_as(&Who::root(), Method::POST, "/api/v1/upstreams/hub/test").await.is(200);
    assert_eq!((state(cache).await.as_str(), up(cache).await.as_str()), ("ok", "1"));
    eventually("the recovery is announced", async || states(cache).await == ["down", "ok"]).await;
    cache.get("/v2/hub/app/manifests/4").await.is(404);
}

#[tokio::test]
async fn rate_limit_is_an_event_until_it_ends() {
    let is_limited = Arc::new(AtomicBool::new(true));
    let limited = is_limited.clone();
    let fault = move |_: &str| match limited.swap(false, Ordering::Relaxed) {
        true => Fault::answer("429 Too Many Requests", "retry-after: 1\r\n", ""),
        false => Fault::None,
    };
    let (_upstream, _proxy, cache) = start(fault).await;
    cache.get("/v2/hub/app/manifests/1").await.is(429);
    eventually("both are announced", async || states(&cache).await == ["limited", "ok"]).await;
    cache.get("/v2/hub/app/manifests/1").await.is(200);
}
