//! The audit log, read through the API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Ask, By, PASSWORD, TestRegistry, Who, basic, with_accounts, with_accounts_and};

async fn log(registry: &TestRegistry, who: &Who, query: &str) -> Vec<Value> {
    let answer = registry.get_as(who, &format!("/api/v1/audit?{query}")).await.is(200).json();
    answer["entries"].as_array().unwrap().clone()
}

#[tokio::test]
async fn audit_log_records_actions_and_refusals() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    let bob = registry.add_user("bob").await;
    registry.repository("ann/app").of(&ann).push_image("1").await;
    registry.grant("bob", &["pull"], "ann/app").await;
    registry.ask_as(&bob, Method::DELETE, "/v2/ann/app/manifests/1").await.is(403);
    registry.get_as(&basic("ann", "a wrong password"), "/v2/").await.is(401);
    let deleted = registry.request(Method::DELETE, "/v2/ann/app/manifests/1").by(&ann);
    let deleted = deleted.header("x-request-id", "the-deletion").ask().await.is(202);
    assert_eq!(deleted.header("x-request-id"), Some("the-deletion"));

    let of = async |query: &str| -> Vec<Value> {
        let entries = log(&registry, &Who::root(), query).await;
        let short =
            |entry: &Value| json!([entry["account"], entry["object"], entry["verdict"], entry["status"]]);
        entries.iter().map(short).collect()
    };
    assert_eq!(of("action=manifest.push").await, [json!(["ann", "ann/app:1", "allowed", 201])]);
    assert_eq!(
        of("action=manifest.delete").await,
        [json!(["bob", "ann/app:1", "denied", 403]), json!(["ann", "ann/app:1", "allowed", 202])]
    );
    assert_eq!(of("action=sign_in&verdict=denied").await, [json!(["ann", null, "denied", 401])]);
    assert_eq!(of("action=user").await.len(), 3, "the first administrator among them");
    assert_eq!(of("action=grant.set").await.len(), 1);
    let deletion = log(&registry, &Who::root(), "account=ann&action=manifest.delete").await;
    assert_eq!(deletion[0]["request_id"], "the-deletion");
    assert_eq!(deletion[0]["address"], "127.0.0.1");
    assert!(of("action=manifest.pull").await.is_empty(), "pulls are not recorded unless that is asked for");

    // Other accounts see their own rows.
    assert!(log(&registry, &bob, "").await.iter().all(|entry| entry["account"] == "bob"));
    registry.get_as(&bob, "/api/v1/audit?account=ann").await.fails(403, "DENIED");

    // No row contains a secret.
    let all = Value::from(log(&registry, &Who::root(), "").await).to_string();
    assert!(!all.contains(PASSWORD) && !all.contains("a wrong password"), "{all}");
}

#[tokio::test]
async fn audit_log_records_work_on_the_server() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    registry.ask_as(&Who::root(), Method::POST, "/api/v1/gc?dry_run=true").await.is(200);
    let work =
        [("/api/v1/gc", "gc.run", json!(null)), ("/api/v1/check?read=true", "check.run", json!("read=true"))];
    for (path, action, object) in work {
        registry.ask_as(&ann, Method::POST, path).await.is(403);
        registry.ask_as(&Who::root(), Method::POST, path).await.is(200);
        let rows = log(&registry, &Who::root(), &format!("action={action}")).await;
        assert_eq!(rows.len(), 1, "{path}: {rows:?}");
        assert_eq!((&rows[0]["account"], &rows[0]["object"]), (&json!("root"), &object));
    }
}

#[tokio::test]
async fn audit_log_records_pulls_when_enabled() {
    let registry = with_accounts_and(|config| config.audit.pulls = true).await;
    let ann = registry.add_user("ann").await;
    registry.repository("ann/app").of(&ann).push_image("1").await;
    for _ in 0..2 {
        registry.get_as(&ann, "/v2/ann/app/manifests/1").await.is(200);
    }
    assert_eq!(log(&registry, &Who::root(), "action=manifest.pull").await.len(), 2);
}

/// A follower asks from the last number, and gets each row once.
#[tokio::test]
async fn audit_log_can_be_followed() {
    let registry = with_accounts().await;
    let mut seen = 0;
    let mut after = 0;
    for user in ["a1", "b2", "c3", "d4"] {
        registry.add_user(user).await;
        for entry in log(&registry, &Who::root(), &format!("after={after}&n=2&action=user.add")).await {
            after = entry["id"].as_i64().unwrap();
            seen += 1;
        }
    }
    assert_eq!(seen, 5, "the first administrator among them");
    let last = log(&registry, &Who::root(), "latest=true&n=2&action=user.add").await;
    let objects: Vec<_> = last.iter().map(|entry| entry["object"].as_str().unwrap()).collect();
    assert_eq!(objects, ["c3", "d4"]);

    // A reader of the latest entries goes back by the first number of a page.
    let (mut before, mut seen) = (String::new(), Vec::new());
    loop {
        let path = format!("/api/v1/audit?latest=true&n=2&action=user.add{before}");
        let page = registry.get_as(&Who::root(), &path).await.is(200).json();
        let entries = page["entries"].as_array().unwrap();
        seen.extend(entries.iter().rev().map(|entry| entry["object"].as_str().unwrap().to_owned()));
        if page["more"] == json!(false) {
            break;
        }
        before = format!("&before={}", entries[0]["id"]);
    }
    assert_eq!(seen, ["d4", "c3", "b2", "a1", "root"]);
}

/// Sign-ins through a token form and through `/auth` are recorded as well.
#[tokio::test]
async fn failed_sign_ins_are_recorded_on_every_path() {
    let registry =
        with_accounts_and(|config| config.proxy.trusted = vec!["127.0.0.0/8".parse().unwrap()]).await;
    registry.add_user("ann").await;
    let form = "grant_type=password&username=ann&password=a+wrong+one&service=wharfinger";
    let form = registry.request(Method::POST, "/token").body(form);
    form.header("content-type", "application/x-www-form-urlencoded").ask().await.is(401);
    registry.get_as(&basic("bob", "a wrong one"), "/auth").await.is(401);
    let proxy = |who: &Who| {
        let request = registry.request(Method::GET, "/auth").by(who).header("x-real-ip", "192.0.2.7");
        request.header("x-original-uri", "/v2/root/app/manifests/1").header("x-original-method", "PUT")
    };
    proxy(&basic("carl", "a wrong one")).ask().await.is(401);
    proxy(&Who::user("ann")).ask().await.is(403);
    proxy(&Who::NOBODY).ask().await.is(401);
    let denied = log(&registry, &Who::root(), "").await;
    let denied: Vec<Value> = denied
        .iter()
        .filter(|entry| entry["verdict"] == "denied")
        .map(|entry| json!([entry["action"], entry["account"], entry["address"], entry["object"]]))
        .collect();
    assert_eq!(
        denied,
        [
            json!(["sign_in", "ann", "127.0.0.1", null]),
            json!(["sign_in", "bob", "127.0.0.1", null]),
            json!(["sign_in", "carl", "192.0.2.7", "root/app:1"]),
            json!(["manifest.push", "ann", "192.0.2.7", "root/app:1"]),
        ]
    );
}
