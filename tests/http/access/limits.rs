//! Limits on what one account may send.

use crate::harness::{Who, with_accounts_and};

#[tokio::test]
async fn who_sends_too_many_requests_waits_and_nobody_else() {
    let registry = with_accounts_and(|config| config.limits.requests_per_account = 20).await;
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
