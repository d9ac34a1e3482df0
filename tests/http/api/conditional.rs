//! Entity tags, conditional requests and problem details of the management API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Ask as _, By as _, TestRegistry, Who, with_accounts};

/// The path of the retention rules of root.
const RULES: &str = "/api/v1/retention/rules/root";

fn tag(answer: &Answer) -> String {
    answer.header("etag").expect("an entity tag").to_owned()
}

fn rules(keep: u32) -> Value {
    json!({ "rules": [{ "repositories": ["root/**"], "keep_newest": keep }] })
}

async fn put_rules(registry: &TestRegistry, keep: u32, condition: Option<(&str, &str)>) -> Answer {
    let request = registry.request(Method::PUT, RULES).by(&Who::root()).json(&rules(keep));
    match condition {
        Some((header, value)) => request.header(header, value).ask().await,
        None => request.ask().await,
    }
}

#[tokio::test]
async fn unchanged_answers_are_not_sent_again() {
    let registry = with_accounts().await;
    let app = registry.repository("root/app").of(&Who::root());
    app.push_image("1").await;
    for path in [
        "/api/v1/repositories",
        "/api/v1/repositories/root/app/_tags",
        "/api/v1/version",
        "/api/v1/openapi.json",
    ] {
        let first =
            registry.get_as(&Who::root(), path).await.is(200).has("cache-control", "private, no-cache");
        let ask = async |method: Method| {
            let request = registry.request(method, path).by(&Who::root());
            request.header("if-none-match", tag(&first)).ask().await
        };
        for method in [Method::GET, Method::HEAD] {
            let known = ask(method).await.is(304).has("etag", tag(&first)).has_no("content-type");
            assert!(known.body.is_empty(), "{path}");
        }
    }
    let before = registry.get_as(&Who::root(), "/api/v1/repositories").await.is(200);
    app.push_image("2").await;
    let request = registry.request(Method::GET, "/api/v1/repositories").by(&Who::root());
    let after = request.header("if-none-match", tag(&before)).ask().await.is(200);
    assert_ne!(tag(&before), tag(&after));
}

#[tokio::test]
async fn change_of_an_old_state_is_refused() {
    let registry = with_accounts().await;
    put_rules(&registry, 1, None).await.is(204);
    let read = tag(&registry.get_as(&Who::root(), RULES).await.is(200));
    // Another client changes it in between.
    put_rules(&registry, 2, Some(("if-match", &read))).await.is(204);
    let refused = put_rules(&registry, 3, Some(("if-match", &read))).await;
    let problem = refused.fails(412, "PRECONDITION_FAILED").has("content-type", "application/problem+json");
    assert_eq!(problem.json()["status"], 412);
    let delete = registry.request(Method::DELETE, RULES).by(&Who::root()).header("if-match", &read);
    delete.ask().await.fails(412, "PRECONDITION_FAILED");
    let now = registry.get_as(&Who::root(), RULES).await.is(200);
    assert_eq!(now.json()["rules"][0]["keep_newest"], 2);
    put_rules(&registry, 4, Some(("if-none-match", &tag(&now)))).await.fails(412, "PRECONDITION_FAILED");
    put_rules(&registry, 4, Some(("if-match", "*"))).await.is(204);
    let anonymous = registry.request(Method::PUT, RULES).header("if-match", &read).json(&rules(5));
    anonymous.ask().await.fails(401, "UNAUTHORIZED");
}

/// Of changes to the same state, one takes place.
#[tokio::test]
async fn one_of_many_conditional_changes_wins() {
    let registry = with_accounts().await;
    put_rules(&registry, 100, None).await.is(204);
    let read = tag(&registry.get_as(&Who::root(), RULES).await.is(200));
    let changes = (1..=16).map(|keep| put_rules(&registry, keep, Some(("if-match", &read))));
    let mut statuses: Vec<u16> =
        futures_util::future::join_all(changes).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (204, &[412; 15][..]));
}

#[tokio::test]
async fn api_errors_are_problem_details() {
    let registry = with_accounts().await;
    for (path, status, code) in [
        ("/api/v1/users/nobody", 404, "NAME_UNKNOWN"),
        ("/api/v1/repositories?n=x", 400, "UNSUPPORTED"),
        ("/api/v1/repositories/no/such", 404, "NAME_UNKNOWN"),
        ("/api/v1/no-such-path", 404, "UNSUPPORTED"),
    ] {
        let answer = registry.get_as(&Who::root(), path).await.fails(status, code);
        let problem = answer.has("content-type", "application/problem+json").json();
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{path}");
        assert_eq!(problem["detail"], problem["errors"][0]["message"], "{path}");
    }
    // The registry protocol keeps the format of its specification.
    let answer = registry.get_as(&Who::root(), "/v2/no/such/tags/list").await.fails(404, "NAME_UNKNOWN");
    let body = answer.has("content-type", "application/json").json();
    assert_eq!(body.as_object().unwrap().len(), 1);
}
