//! The token protocol.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Ask, By, PASSWORD, TestRegistry, Who, basic, with_accounts, with_accounts_and};

async fn post(registry: &TestRegistry, form: &[(&str, &str)]) -> Answer {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = registry.request(Method::POST, "/token").body(form);
    request.header("content-type", "application/x-www-form-urlencoded").ask().await
}

/// Returns the claims of a token.
fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
}

#[tokio::test]
async fn challenge_names_realm_service_and_scope() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    let base = format!("http://{}", registry.address());
    let told = registry.get("/v2/").await.is(401);
    let challenge = format!(r#"Bearer realm="{base}/token",service="wharfinger""#);
    told.has("www-authenticate", &challenge).has("docker-distribution-api-version", "registry/2.0");
    let pull = registry.get("/v2/ann/app/manifests/1").await.fails(401, "UNAUTHORIZED");
    pull.has("www-authenticate", format!(r#"{challenge},scope="repository:ann/app:pull""#));
    let push = registry.post("/v2/ann/app/blobs/uploads/").await.is(401);
    push.has("www-authenticate", format!(r#"{challenge},scope="repository:ann/app:pull,push""#));
    let mount = "/v2/ann/app/blobs/uploads/?mount=sha256:0000000000000000000000000000000000000000000000000000000000000000&from=bob/app";
    let scope = "repository:ann/app:pull,push repository:bob/app:pull";
    let mount = registry.post(mount).await.is(401);
    mount.has("www-authenticate", format!(r#"{challenge},scope="{scope}""#));
    let catalog = registry.get("/v2/_catalog").await.is(401);
    catalog.has("www-authenticate", format!(r#"{challenge},scope="registry:catalog:*""#));
}

#[tokio::test]
async fn basic_challenge_setting_asks_for_passwords() {
    let registry =
        with_accounts_and(|config| config.auth.challenge = wharfinger::config::Challenge::Basic).await;
    let told = registry.get("/v2/").await.is(401);
    told.has("www-authenticate", r#"Basic realm="wharfinger", charset="UTF-8""#);
    registry.get_as(&Who::root(), "/v2/").await.is(200);
}

#[tokio::test]
async fn token_rights_never_exceed_the_account() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    registry.add_user("bob").await;
    registry.grant("ann", &["pull"], "bob/app").await;
    registry.repository("ann/app").of(&ann).push_image("1").await;
    registry.repository("bob/app").of(&Who::user("bob")).push_image("1").await;
    registry.repository("bob/other").of(&Who::user("bob")).push_image("1").await;

    let scopes =
        "scope=repository:ann/app:pull,push&scope=repository:bob/app:pull,push%20repository:bob/other:pull";
    let answer = registry.get_as(&ann, &format!("/token?service=wharfinger&account=ann&{scopes}")).await;
    let answer = answer.is(200).has("cache-control", "no-store").json();
    assert_eq!(answer["token"], answer["access_token"]);
    assert!(answer["expires_in"].as_u64().unwrap() >= 60, "{answer}");
    assert!(answer.get("refresh_token").is_none(), "nobody asked for one");
    let token = answer["token"].as_str().unwrap();
    let claims = claims(token);
    assert_eq!(claims["sub"], "ann");
    assert_eq!(claims["aud"], "wharfinger");
    let access = claims["access"].as_array().unwrap();
    let of =
        |name: &str| access.iter().find(|entry| entry["name"] == name).map(|entry| entry["actions"].clone());
    assert_eq!(of("ann/app"), Some(json!(["pull", "push"])));
    assert_eq!(of("bob/app"), Some(json!(["pull"])), "as far as the account may");
    assert!(of("bob/other").is_none_or(|actions| actions == json!([])));

    let bearer = Who::bearer(token);
    registry.get_as(&bearer, "/v2/ann/app/manifests/1").await.is(200);
    registry.get_as(&bearer, "/v2/bob/app/manifests/1").await.is(200);
    // The account lacks the right: another token would not help.
    registry.get_as(&bearer, "/v2/bob/other/manifests/1").await.is(404);
    // The account has the right, but the token lacks the scope.
    let further = registry.ask_as(&bearer, Method::DELETE, "/v2/ann/app/manifests/1").await.is(401);
    let challenge = further.header("www-authenticate").unwrap();
    assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
    assert!(challenge.contains("repository:ann/app:delete"), "{challenge}");

    // A token only restricts the current rights of the account.
    let path = "/api/v1/grants?subject=ann&repositories=bob/app";
    registry.ask_as(&Who::root(), Method::DELETE, path).await.is(204);
    registry.get_as(&bearer, "/v2/bob/app/manifests/1").await.is(404);
    let disable = json!({ "disabled": true });
    registry.send_as(&Who::root(), Method::PATCH, "/api/v1/users/ann", &disable).await.is(200);
    registry.get_as(&bearer, "/v2/ann/app/manifests/1").await.is(401);
}

#[tokio::test]
async fn anonymous_token_pulls_public_repositories() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    registry.repository("ann/app").of(&ann).push_image("1").await;
    registry.grant("everyone", &["pull"], "ann/app").await;
    let nobody = registry.bearer(&Who::NOBODY, &["repository:ann/app:pull,push"]).await;
    registry.get_as(&nobody, "/v2/ann/app/manifests/1").await.is(200);
    registry.get_as(&nobody, "/v2/").await.is(200);
    registry.ask_as(&nobody, Method::POST, "/v2/ann/app/blobs/uploads/").await.is(401);
    registry.get("/v2/ann/app/manifests/1").await.is(200);
}

#[tokio::test]
async fn token_form_takes_passwords_and_refresh_tokens() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    registry.repository("ann/app").of(&ann).push_image("1").await;
    let form = [
        ("grant_type", "password"),
        ("service", "wharfinger"),
        ("client_id", "test"),
        ("access_type", "offline"),
        ("username", "ann"),
        ("password", PASSWORD),
        ("scope", "repository:ann/app:pull"),
    ];
    let answer = post(&registry, &form).await.is(200).json();
    let refresh = answer["refresh_token"].as_str().expect("a refresh token").to_owned();
    let bearer = Who::bearer(answer["access_token"].as_str().unwrap());
    registry.get_as(&bearer, "/v2/ann/app/manifests/1").await.is(200);

    let form = |token: &'static str| {
        [
            ("grant_type", "refresh_token"),
            ("service", "wharfinger"),
            ("client_id", "test"),
            ("scope", "repository:ann/app:pull"),
            ("refresh_token", token),
        ]
    };
    let refresh: &'static str = refresh.leak();
    let answer = post(&registry, &form(refresh)).await.is(200).json();
    assert_eq!(answer["refresh_token"], *refresh);
    let bearer = Who::bearer(answer["access_token"].as_str().unwrap());
    registry.get_as(&bearer, "/v2/ann/app/manifests/1").await.is(200);
    // A refresh token serves for new tokens only.
    registry.get_as(&Who::bearer(refresh), "/v2/ann/app/manifests/1").await.is(401);
    registry.get_as(&basic("ann", refresh), "/v2/").await.is(401);
    post(&registry, &form("wfo_nonsense")).await.fails(401, "UNAUTHORIZED");

    // A new password revokes it.
    let change = json!({ "password": "another password of ann" });
    registry.send_as(&ann, Method::PATCH, "/api/v1/users/ann", &change).await.is(200);
    post(&registry, &form(refresh)).await.fails(401, "UNAUTHORIZED");
    registry.get_as(&ann, "/v2/").await.is(401);
}

#[tokio::test]
async fn malformed_token_request_is_refused() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    post(&registry, &[("grant_type", "magic")]).await.is(400);
    post(&registry, &[("grant_type", "password"), ("username", "ann")]).await.is(400);
    let wrong = [("grant_type", "password"), ("username", "ann"), ("password", "wrong")];
    post(&registry, &wrong).await.fails(401, "UNAUTHORIZED");
    registry
        .send_as(&Who::NOBODY, Method::POST, "/token", &json!({ "grant_type": "password" }))
        .await
        .is(400);
    registry.get_as(&basic("ann", "wrong"), "/token?service=wharfinger").await.fails(401, "UNAUTHORIZED");
    registry.get_as(&Who::user("ann"), "/token?service=another").await.is(400);
    // The parameter `account` is ignored.
    let token = registry.get_as(&Who::user("ann"), "/token?account=bob").await.is(200).json();
    assert_eq!(claims(token["token"].as_str().unwrap())["sub"], "ann");
    // A malformed scope grants nothing. The other scopes count.
    let odd = "/token?scope=nonsense&scope=repository:../x:pull&scope=repository:ann/app:pull,fly";
    let token = registry.get_as(&Who::user("ann"), odd).await.is(200).json();
    let access = claims(token["token"].as_str().unwrap())["access"].clone();
    assert_eq!(access, json!([{ "type": "repository", "name": "ann/app", "actions": ["pull"] }]));
}

/// Some clients send the parameters of the form in the query.
#[tokio::test]
async fn token_post_without_body_is_answered_like_get() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    let path = "/token?service=wharfinger&scope=repository:ann/app:pull";
    let token = registry.ask_as(&Who::user("ann"), Method::POST, path).await.is(200).json();
    let claims = claims(token["token"].as_str().unwrap());
    assert_eq!(claims["sub"], "ann");
    let access = json!([{ "type": "repository", "name": "ann/app", "actions": ["pull"] }]);
    assert_eq!(claims["access"], access);
    registry.ask_as(&basic("ann", "wrong"), Method::POST, path).await.fails(401, "UNAUTHORIZED");
    registry.ask_as(&Who::user("ann"), Method::POST, "/token?service=another").await.is(400);
}

#[tokio::test]
async fn token_keys_are_published_and_survive_restart() {
    let mut registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    registry.repository("ann/app").of(&ann).push_image("1").await;
    let bearer = registry.bearer(&ann, &["repository:ann/app:pull"]).await;
    let keys = registry.get("/.well-known/jwks.json").await.is(200).json();
    let key = &keys["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("EC"), &json!("P-256"), &json!("ES256")));
    assert!(key.get("d").is_none(), "the private half stays here");
    registry.restart().await;
    assert_eq!(registry.get("/.well-known/jwks.json").await.is(200).json(), keys);
    registry.get_as(&bearer, "/v2/ann/app/manifests/1").await.is(200);
}

/// Any changed character invalidates a token.
#[tokio::test]
async fn tampered_token_is_refused() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    let Who(Some(header)) = registry.bearer(&ann, &["repository:ann/app:pull"]).await else { unreachable!() };
    let token = header.strip_prefix("Bearer ").unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let mut claims = claims(token);
    claims["sub"] = json!("root");
    let forged = URL_SAFE_NO_PAD.encode(claims.to_string());
    for bad in [
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{}.{forged}.{}", parts[0], parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        token[..token.len() - 2].to_owned(),
        format!("{token}a"),
    ] {
        let request = registry.request(Method::GET, "/v2/").by(&Who::bearer(&bad));
        request.ask().await.fails(401, "UNAUTHORIZED");
    }
}

/// A personal token keeps its secret when its limits change, and the new limits hold for bearer tokens issued
/// before.
#[tokio::test]
async fn personal_token_limits_can_be_changed() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    registry.repository("ann/app").of(&ann).push_image("1").await;
    let wish =
        json!({ "label": "ci", "rights": ["pull", "push"], "repositories": ["ann/*"], "expires_in": 3600 });
    let token = basic("ann", &registry.add_token("ann", &wish).await);
    let bearer = registry.bearer(&token, &["repository:ann/app:pull,push", "registry:catalog:*"]).await;
    let may = async |who: &Who| {
        let pulls = registry.get_as(who, "/v2/ann/app/manifests/1").await.status;
        (pulls, registry.ask_as(who, Method::POST, "/v2/ann/app/blobs/uploads/").await.status)
    };
    assert_eq!((may(&token).await, may(&bearer).await), ((200, 202), (200, 202)));

    let tokens = "/api/v1/users/ann/tokens";
    let id = registry.get_as(&ann, tokens).await.is(200).json()["tokens"][0]["id"].to_string();
    let path = format!("{tokens}/{id}");
    let change = async |who: &Who, change: Value| registry.send_as(who, Method::PATCH, &path, &change).await;
    let changed = change(&ann, json!({ "rights": ["pull"] })).await.is(200).json();
    assert_eq!((&changed["label"], &changed["rights"]), (&json!("ci"), &json!(["pull"])));
    assert_eq!(changed["repositories"], json!(["ann/*"]));
    assert!(changed["expires_at"].is_number() && changed.get("secret").is_none(), "{changed}");
    // No new bearer token would allow more.
    assert_eq!((may(&token).await, may(&bearer).await), ((200, 403), (200, 403)));
    change(&ann, json!({ "repositories": ["ann/other"] })).await.is(200);
    assert_eq!((may(&token).await, may(&bearer).await), ((404, 403), (404, 403)));
    let listed = registry.get_as(&bearer, "/v2/_catalog").await.is(200).list("repositories");
    assert_eq!(listed, [""; 0]);
    let free = json!({ "rights": null, "repositories": null, "expires_in": null, "label": "laptop" });
    let changed = change(&Who::root(), free).await.is(200).json();
    for limit in ["rights", "repositories", "expires_at"] {
        assert_eq!(changed[limit], Value::Null, "{limit}");
    }
    assert_eq!((changed["label"].as_str(), may(&token).await), (Some("laptop"), (200, 202)));

    // A token cannot widen itself.
    change(&token, json!({ "expires_in": 1 })).await.is(403);
    registry.add_user("bob").await;
    change(&Who::user("bob"), json!({ "rights": null })).await.is(404);
    for nonsense in [
        json!({ "rights": [] }),
        json!({ "repositories": [] }),
        json!({ "expires_in": 0 }),
        json!({ "lable": "x" }),
    ] {
        change(&ann, nonsense.clone()).await.is(400);
    }
    registry.send_as(&ann, Method::PATCH, &format!("{tokens}/999"), &json!({ "label": "x" })).await.is(404);
    let audit = registry.get_as(&Who::root(), "/api/v1/audit?action=token.change").await.is(200).json();
    assert_eq!(audit["entries"][0]["detail"], format!("{id}: for pull"));
    assert_eq!(audit["entries"][1]["detail"], format!("{id}: on 1 repository or pattern"));
}

/// Robots, grants, members, webhooks and rules would outlive the token that made them.
#[tokio::test]
async fn expiring_token_gives_no_access() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    registry.add_user("bob").await;
    registry.add_organisation("acme", "ann").await;
    registry.add_robot("ann+ci").await;
    let short = json!({ "label": "short", "expires_in": 3600 });
    let expiring = basic("ann", &registry.add_token("ann", &short).await);
    let lasting = basic("ann", &registry.add_token("ann", &json!({ "label": "lasting" })).await);
    let root_token = basic("root", &registry.add_token("root", &short).await);
    let grant = json!({ "subject": "bob", "rights": ["pull"], "repositories": "ann/**" });
    let rules = json!({ "rules": [{ "repositories": ["ann/**"], "keep_newest": 1 }] });
    let changes = [
        (Method::POST, "/api/v1/robots", json!({ "name": "ann+persist" })),
        (Method::PUT, "/api/v1/robots/ann+ci/secret", json!({})),
        (Method::PATCH, "/api/v1/robots/ann+ci", json!({ "disabled": false })),
        (Method::PUT, "/api/v1/grants", grant.clone()),
        (Method::PUT, "/api/v1/organisations/acme/members/bob", json!({ "role": "owner" })),
        (Method::PUT, "/api/v1/organisations/acme/teams/devs", json!({})),
        (Method::POST, "/api/v1/webhooks", json!({ "url": "https://1.1.1.1/", "repositories": ["ann/app"] })),
        (Method::PUT, "/api/v1/retention/rules/ann", rules),
        (Method::POST, "/api/v1/users/ann/tokens", json!({ "label": "another" })),
    ];
    for (method, path, body) in &changes {
        let answer = registry.send_as(&expiring, method.clone(), path, body).await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
        assert!(answer.text().contains("outlive"), "{method} {path}: {}", answer.text());
    }
    for (path, body) in [
        ("/api/v1/users", json!({ "name": "mallory", "password": PASSWORD })),
        ("/api/v1/users/bob/tokens", json!({ "label": "another" })),
    ] {
        registry.send_as(&root_token, Method::POST, path, &body).await.fails(403, "DENIED");
    }
    // It still reads, and takes access away.
    registry.get_as(&expiring, "/api/v1/robots/ann+ci").await.is(200);
    registry.ask_as(&expiring, Method::DELETE, "/api/v1/robots/ann+ci").await.is(204);

    registry.send_as(&lasting, Method::PUT, "/api/v1/grants", &grant).await.is(204);
    let audit = registry.get_as(&Who::root(), "/api/v1/audit?action=grant.set").await.is(200).json();
    let tokens = registry.get_as(&ann, "/api/v1/users/ann/tokens").await.is(200).json();
    let id = &tokens["tokens"][1]["id"];
    assert_eq!(audit["entries"][1]["detail"], format!("bob: pull; with token {id}"));
}
