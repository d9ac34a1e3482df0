//! Grants: their subjects.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Who, with_accounts};

#[tokio::test]
async fn grant_reveals_no_foreign_robot_or_team() {
    let registry = with_accounts().await;
    let (ann, carol) = (registry.add_user("ann").await, registry.add_user("carol").await);
    registry.add_organisation("acme", "ann").await;
    registry.ask_as(&ann, Method::PUT, "/api/v1/organisations/acme/teams/devs").await.is(204);
    registry.add_robot("acme+deploy").await;
    let grant = async |who: &Who, repositories: &str, subject: &str| {
        let grant = json!({ "subject": subject, "rights": ["pull"], "repositories": repositories });
        let answer = registry.send_as(who, Method::PUT, "/api/v1/grants", &grant).await;
        (answer.status, answer.text().replace(subject, "SUBJECT"))
    };
    for (existing, absent) in [("acme/devs", "acme/nosuch"), ("acme+deploy", "acme+nosuch")] {
        let refused = grant(&carol, "carol/app", absent).await;
        assert_eq!(refused.0, 400, "{}", refused.1);
        assert_eq!(grant(&carol, "carol/app", existing).await, refused);
        assert_eq!(grant(&ann, "ann/app", existing).await.0, 204);
        assert_eq!(grant(&Who::root(), "carol/app", existing).await.0, 204);
    }
    assert_eq!(grant(&carol, "carol/app", "ann").await.0, 204);
}
