//! Signing in: challenges, refusals, and the login throttle.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use wharfinger::config::Config;

use crate::harness::{Answer, Ask, By, PASSWORD, TestRegistry, Who, basic, with_accounts, with_accounts_and};

fn behind_a_proxy(config: &mut Config) {
    config.proxy.trusted = vec!["127.0.0.1/32".parse().unwrap()];
}

async fn from(registry: &TestRegistry, address: &str, who: &Who) -> Answer {
    registry.request(Method::GET, "/v2/").header("x-forwarded-for", address).by(who).ask().await
}

async fn entries(registry: &TestRegistry, query: &str) -> Vec<Value> {
    let answer = registry.get_as(&Who::root(), &format!("/api/v1/audit?{query}")).await.is(200).json();
    answer["entries"].as_array().unwrap().clone()
}

/// Concurrent guesses, because each may be delayed.
async fn guess(registry: &TestRegistry, address: &str, account: &str) -> Vec<Answer> {
    let guesses = (0..16).map(|guess| async move {
        from(registry, address, &basic(account, &format!("guess {guess}"))).await
    });
    futures_util::future::join_all(guesses).await
}

#[tokio::test]
async fn password_guesser_is_refused_but_not_the_owner() {
    let registry = with_accounts_and(behind_a_proxy).await;
    registry.add_user("ann").await;
    let answers = guess(&registry, "192.0.2.1", "ann").await;
    let (refused, wrong): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 429);
    assert!(wrong.len() >= 10 && wrong.iter().all(|answer| answer.status == 401), "{wrong:?}");
    assert!(!refused.is_empty());
    for answer in refused {
        assert!(
            answer.fails(429, "TOOMANYREQUESTS").header("retry-after").unwrap().parse::<u64>().unwrap() >= 1
        );
    }
    // From a new address, the right password is accepted at once.
    from(&registry, "192.0.2.2", &Who::user("ann")).await.is(200);
    from(&registry, "192.0.2.1", &Who::NOBODY).await.is(401);
    // Other accounts from the same address are not affected.
    from(&registry, "192.0.2.1", &Who::root()).await.is(200);
}

#[tokio::test]
async fn wrong_names_do_not_lock_a_network_out() {
    let registry = with_accounts_and(behind_a_proxy).await;
    registry.add_user("ann").await;
    for index in 0..60 {
        from(&registry, "192.0.2.1", &basic(&format!("user{index}"), "x")).await.is(401);
    }
    from(&registry, "192.0.2.1", &Who::user("ann")).await.is(200);
}

#[tokio::test]
async fn unknown_users_are_refused_like_known_ones() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    let of = async |name: &str| {
        let answer = registry.get_as(&basic(name, "wrong"), "/v2/").await.is(401);
        assert!(answer.text().contains("authentication required"), "{}", answer.text());
        (answer.header("www-authenticate").unwrap().to_owned(), answer.body.clone())
    };
    assert_eq!(of("ann").await, of("nobody").await);
}

#[tokio::test]
async fn credentials_without_accounts_are_ignored() {
    let registry = TestRegistry::start().await;
    let image = registry.repository("team/app").push_image("1").await;
    let stored = [basic("ann", "x"), Who::bearer("made.up.token"), Who(Some("Digest x".to_owned()))];
    for who in &stored {
        for path in [
            "/v2/",
            "/v2/_catalog",
            "/v2/team/app/manifests/1",
            "/v2/team/app/tags/list",
            "/v1/search?q=app",
            "/v1/_ping",
            "/auth",
            "/api/v1/repositories",
            "/token?service=wharfinger&scope=repository:team/app:pull",
        ] {
            registry.get_as(who, path).await.is(200);
        }
        registry.repository("team/app").of(who).push_image("2").await;
    }
    // Again, from the manifest cache.
    let path = format!("/v2/team/app/manifests/{}", image.digest);
    for _ in 0..2 {
        registry.get_as(&stored[0], &path).await.is(200);
    }
    let form = "grant_type=password&username=ann&password=x&scope=repository:team/app:pull";
    let form = registry.request(Method::POST, "/token").body(form);
    let token = form.header("content-type", "application/x-www-form-urlencoded").ask().await.is(200).json();
    registry.get_as(&Who::bearer(token["token"].as_str().unwrap()), "/v2/").await.is(200);
}

#[tokio::test]
async fn refused_push_names_the_missing_right() {
    let registry = with_accounts().await;
    let (ann, bob) = (registry.add_user("ann").await, registry.add_user("bob").await);
    registry.repository("ann/private").of(&ann).push_image("1").await;
    registry.repository("ann/public").of(&ann).push_image("1").await;
    registry.grant("everyone", &["pull"], "ann/public").await;
    for repository in ["ann/private", "ann/absent", "ann/public", "myteam/app"] {
        let expected = format!(
            "requested access to the resource is denied: you may not push to {repository}; bob/... is yours; \
             an administrator can grant more"
        );
        for (method, below) in [
            (Method::POST, "blobs/uploads/"),
            (Method::PUT, "manifests/2"),
            (Method::PATCH, "blobs/uploads/3a6ab1a4-8b6f-4c2e-9d0e-1f6a3b5c7d9e"),
        ] {
            let path = format!("/v2/{repository}/{below}");
            let refused = registry.ask_as(&bob, method.clone(), &path).await.fails(403, "DENIED");
            assert_eq!(refused.json()["errors"][0]["message"], expected, "{method} {path}");
            let nobody = registry.ask_as(&Who::NOBODY, method, &path).await.fails(401, "UNAUTHORIZED");
            assert!(nobody.text().contains("authentication required"), "{}", nobody.text());
        }
    }
}

#[tokio::test]
async fn refused_push_is_one_row_of_the_audit_log() {
    let registry = with_accounts().await;
    let (ann, bob) = (registry.add_user("ann").await, registry.add_user("bob").await);
    let image = registry.repository("ann/app").of(&ann).push_image("1").await;
    let app = registry.repository("ann/app").of(&bob);
    for (digest, _) in &image.blobs {
        app.head(format!("blobs/{digest}")).await.is(404);
        app.request(Method::POST, "blobs/uploads/").ask().await.is(403);
    }
    app.put_manifest_as("2", crate::harness::OCI_MANIFEST, image.manifest.clone()).await.is(403);
    let rows = entries(&registry, "account=bob&verdict=denied").await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (&rows[0]["action"], &rows[0]["object"], &rows[0]["status"], &rows[0]["detail"]),
        (&json!("blob.upload"), &json!("ann/app"), &json!(403), &json!("without the right to push"))
    );
}

#[tokio::test]
async fn sign_ins_are_recorded_with_way_and_reason() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    let token = registry.add_token("ann", &json!({ "label": "ci" })).await;
    for _ in 0..3 {
        registry.get_as(&ann, "/v2/").await.is(200);
        registry.get_as(&basic("ann", &token), "/v2/").await.is(200);
        registry.get_as(&basic("ann", "wrong"), "/v2/").await.is(401);
        registry.get_as(&basic("nobody", PASSWORD), "/v2/").await.is(401);
        registry.get_as(&Who::bearer("made.up.token"), "/v2/").await.is(401);
    }
    let mut rows: Vec<_> = entries(&registry, "action=sign_in").await;
    rows.retain(|row| row["account"] != "root");
    let rows: Vec<_> =
        rows.iter().map(|row| json!([row["account"], row["verdict"], row["detail"]])).collect();
    assert_eq!(
        rows,
        [
            json!(["ann", "allowed", "with a password"]),
            json!(["ann", "allowed", "with a personal token"]),
            json!(["ann", "denied", "wrong password"]),
            json!(["nobody", "denied", "no such account"]),
            json!([null, "denied", "a bearer token that was not issued here"]),
        ]
    );
}

#[tokio::test]
async fn forged_tokens_are_refused_and_recorded_once() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    let bearer = registry.bearer(&ann, &[]).await;
    let mut refused = 0;
    for index in 0..300 {
        let answer = registry.get_as(&Who::bearer(&format!("made.up.{index}")), "/v2/").await;
        refused += usize::from(answer.status == 429);
    }
    assert!(refused > 50, "{refused}");
    let rows = entries(&registry, "action=sign_in&verdict=denied").await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    // Valid tokens and passwords are still accepted.
    registry.get_as(&bearer, "/v2/").await.is(200);
    registry.get_as(&ann, "/v2/").await.is(200);
}

#[tokio::test]
async fn registrations_are_limited_by_network() {
    let registry = with_accounts_and(|config| {
        behind_a_proxy(config);
        config.auth.self_registration = true;
    })
    .await;
    let register = async |address: &str, name: &str| {
        let request =
            registry.request(Method::POST, "/api/v1/registration").header("x-forwarded-for", address);
        request.json(&json!({ "name": name, "password": PASSWORD })).ask().await
    };
    for index in 0..5 {
        register("192.0.2.1", &format!("user{index}")).await.is(201);
    }
    let refused = register("192.0.2.1", "user5").await.fails(429, "TOOMANYREQUESTS");
    assert!(refused.header("retry-after").is_some());
    register("192.0.2.2", "user5").await.is(201);
}

/// A client that sends a body byte by byte cannot hold its connection for ever.
#[tokio::test]
async fn trickled_body_ends_with_a_timeout() {
    let limit = Duration::from_millis(600);
    let registry = with_accounts_and(|config| {
        config.limits.body_timeout = limit;
        config.auth.self_registration = true;
    })
    .await;
    for (path, kind) in
        [("/token", "application/x-www-form-urlencoded"), ("/api/v1/registration", "application/json")]
    {
        let mut client = registry.connect().await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
        );
        client.send(head).await;
        let trickle = async {
            loop {
                tokio::time::sleep(limit / 6).await;
                if client.try_send("a").await.is_err() {
                    break;
                }
            }
        };
        // The client sends on after the answer, until the connection closes.
        tokio::time::timeout(Duration::from_secs(30), trickle).await.expect("the connection ends");
    }
}

/// The memory of a form is held for some seconds only, whatever `limits.body_timeout` is.
#[tokio::test]
async fn slow_form_of_a_sign_in_ends_early() {
    let registry = with_accounts().await;
    let mut client = registry.connect().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000";
    client.send(format!("POST /token HTTP/1.1\r\nHost: x\r\n{form}\r\n\r\na")).await;
    assert_eq!(client.answer().await.status, 408);
}

#[tokio::test]
async fn registration_that_is_off_reads_no_body() {
    let registry = with_accounts().await;
    let mut client = registry.connect().await;
    client
        .send("POST /api/v1/registration HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 403);
}

#[tokio::test]
async fn grant_on_a_pattern_without_names_is_refused() {
    let registry = with_accounts().await;
    registry.add_user("bob").await;
    for pattern in ["acme/../bob/*", "../*", "-*"] {
        let grant = json!({ "subject": "bob", "rights": ["pull"], "repositories": pattern });
        let refused = registry.send_as(&Who::root(), Method::PUT, "/api/v1/grants", &grant).await;
        refused.fails(400, "UNSUPPORTED");
        let token = json!({ "label": "x", "repositories": [pattern] });
        registry.send_as(&Who::user("bob"), Method::POST, "/api/v1/users/bob/tokens", &token).await.is(400);
    }
}
