//! Rate limits of an account: requests and bandwidth.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::harness::{Who, random, with_accounts_and};

#[tokio::test]
async fn request_limit_refuses_one_account_alone() {
    let registry = with_accounts_and(|config| config.limits.requests_per_account = Some(20)).await;
    let (ann, bob) = (registry.add_user("ann").await, registry.add_user("bob").await);
    registry.repository("ann/app").of(&ann).push_image("1").await;
    // One path is answered from the manifest cache, the other is not.
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

/// All connections of an account share one bandwidth.
#[tokio::test]
async fn bandwidth_limit_delays_one_account_alone() {
    const SECONDS: usize = 60;
    let registry = with_accounts_and(|config| config.limits.bandwidth_per_account = Some(300_000)).await;
    let (ann, bob) = (registry.add_user("ann").await, registry.add_user("bob").await);
    let app = registry.repository("ann/app").of(&ann);
    let content = random(300_000);
    let digest = app.push_blob(content.clone()).await;
    // Each download alone fits into the burst of one second. Together they take a minute.
    let downloads = join_all((0..SECONDS).map(|_| app.get(format!("blobs/{digest}"))));
    timeout(Duration::from_secs(1), downloads).await.expect_err("the limit delays the downloads");
    registry.repository("bob/app").of(&bob).push_blob(content).await;
}
