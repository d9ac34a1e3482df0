//! Limits on what one account may send.

use std::time::{Duration, Instant};

use crate::harness::{Who, random, with_accounts_and};

#[tokio::test]
async fn who_sends_too_many_requests_waits_and_nobody_else() {
    let registry = with_accounts_and(|config| config.limits.requests_per_account = Some(20)).await;
    let (ann, bob) = (registry.add_user("ann").await, registry.add_user("bob").await);
    registry.repository("ann/app").of(&ann).push_image("1").await;
    // From memory as well as not.
    for path in ["/v2/ann/app/manifests/1", "/v2/ann/app/tags/list"] {
        let mut refused = None;
        for _ in 0..2000 {
            let answer = registry.get_as(&ann, path).await;
            if answer.status != 200 {
                refused = Some(answer);
                break;
            }
        }
        let refused = refused.expect("2000 requests are too many").fails(429, "TOOMANYREQUESTS");
        assert!(refused.header("retry-after").is_some());
    }
    registry.get_as(&bob, "/v2/").await.is(200);
    registry.get_as(&Who::NOBODY, "/v2/").await.is(401);
}

/// All that an account sends and receives shares one bandwidth, whatever connections it comes by.
#[tokio::test]
async fn an_account_has_its_bandwidth_and_no_more() {
    let registry = with_accounts_and(|config| config.limits.bandwidth_per_account = Some(300_000)).await;
    let (ann, bob) = (registry.add_user("ann").await, registry.add_user("bob").await);
    let app = registry.repository("ann/app").of(&ann);
    let begun = Instant::now();
    let content = random(300_000);
    let digest = app.push_blob(content.clone()).await;
    let blob = format!("blobs/{digest}");
    let both = tokio::join!(app.get(&blob), app.get(&blob));
    both.0.is(200).carries(&content);
    both.1.is(200).carries(&content);
    // Nine hundred thousand bytes, of which a second's worth may come at once, and the last of each transfer an eighth of a
    // second early. That is no measure of speed: a slow machine takes longer.
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
    registry.repository("bob/app").of(&bob).push_blob(content).await;
}
