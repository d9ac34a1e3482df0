//! `/api/v1/` for accounts, for callers with the right.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Ask, By, PASSWORD, Who, basic, eventually, with_accounts, with_accounts_and};

#[tokio::test]
async fn user_is_created_changed_and_removed() {
    let registry = with_accounts().await;
    let root = Who::root();
    let ann = registry.add_user("ann").await;
    let again = json!({ "name": "ann", "password": PASSWORD });
    registry.send_as(&root, Method::POST, "/api/v1/users", &again).await.is(409);
    for (name, status) in [("ann+ci", 400), ("", 400), ("a/b", 400), ("a b", 400), ("a:b", 400)] {
        let user = json!({ "name": name, "password": PASSWORD });
        registry.send_as(&root, Method::POST, "/api/v1/users", &user).await.is(status);
    }
    let short = json!({ "name": "carl", "password": "x" });
    registry.send_as(&root, Method::POST, "/api/v1/users", &short).await.is(400);
    let unknown = json!({ "name": "carl", "password": PASSWORD, "admin": true });
    let refused = registry.send_as(&root, Method::POST, "/api/v1/users", &unknown).await.is(400);
    assert!(refused.text().contains("admin"), "{}", refused.text());
    let form = registry.request(Method::POST, "/api/v1/users").by(&root).body(again.to_string());
    form.ask().await.is(415);

    // A user may change the own password, but not the own role.
    let rank = json!({ "administrator": true });
    registry.send_as(&ann, Method::PATCH, "/api/v1/users/ann", &rank).await.fails(403, "DENIED");
    let password = json!({ "password": "another password of ann" });
    registry.send_as(&ann, Method::PATCH, "/api/v1/users/ann", &password).await.is(200);
    registry.get_as(&ann, "/v2/").await.is(401);
    let ann = basic("ann", "another password of ann");
    registry.get_as(&ann, "/v2/").await.is(200);

    // The last administrator cannot be demoted.
    let demote = json!({ "administrator": false });
    registry.send_as(&root, Method::PATCH, "/api/v1/users/root", &demote).await.is(409);
    registry.ask_as(&root, Method::DELETE, "/api/v1/users/root").await.is(409);

    registry.repository("ann/app").of(&ann).push_image("1").await;
    let refused = registry.ask_as(&root, Method::DELETE, "/api/v1/users/ann").await.is(409);
    assert!(refused.text().contains("ann/app"), "{}", refused.text());
    registry.ask_as(&root, Method::DELETE, "/api/v1/users/ann?force=true").await.is(204);
    registry.get_as(&ann, "/v2/").await.is(401);
    registry.get_as(&root, "/v2/ann/app/manifests/1").await.is(200);
}

#[tokio::test]
async fn anonymous_body_is_refused_unread() {
    let registry = with_accounts().await;
    let wrong = json!({ "rank": "admin" });
    let anonymous = async |method, path| registry.request(method, path).json(&wrong).ask().await;
    for (method, path) in [
        (Method::PATCH, "/api/v1/users/root"),
        (Method::POST, "/api/v1/users"),
        (Method::PUT, "/api/v1/organisations/acme/members/root"),
        (Method::POST, "/api/v1/erase"),
        (Method::POST, "/api/v1/webhooks"),
    ] {
        let refused = anonymous(method, path).await.fails(401, "UNAUTHORIZED");
        assert!(!refused.text().contains("expected"), "{path}: {}", refused.text());
    }
    let mut client = registry.connect().await;
    let json = "Content-Type: application/json\r\nIf-Match: *\r\nContent-Length: 1000";
    client.send(format!("PATCH /api/v1/users/root HTTP/1.1\r\nHost: x\r\n{json}\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 401);
}

#[tokio::test]
async fn account_lists_come_in_pages() {
    let registry = with_accounts().await;
    for name in ["u1", "u2", "u3", "u4"] {
        registry.add_user(name).await;
    }
    let mut names = Vec::new();
    let mut page = Some("/api/v1/users?n=2".to_owned());
    while let Some(path) = page {
        let answer = registry.get_as(&Who::root(), &path).await.is(200);
        for user in answer.json()["users"].as_array().unwrap() {
            names.push(user["name"].as_str().unwrap().to_owned());
        }
        page = answer.next_page();
    }
    assert_eq!(names, ["root", "u1", "u2", "u3", "u4"]);
}

#[tokio::test]
async fn organisation_teams_give_rights() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    let bob = registry.add_user("bob").await;
    let carl = registry.add_user("carl").await;
    registry.add_organisation("acme", "ann").await;
    let own = json!({ "name": "mine" });
    registry.send_as(&ann, Method::POST, "/api/v1/organisations", &own).await.fails(403, "DENIED");
    registry.repository("acme/app").of(&ann).push_image("1").await;
    registry.get_as(&bob, "/v2/acme/app/manifests/1").await.is(404);

    let member = "/api/v1/organisations/acme/members/bob";
    registry.send_as(&bob, Method::PUT, member, &json!({ "role": "owner" })).await.is(404);
    registry.send_as(&ann, Method::PUT, member, &json!({ "role": "reader" })).await.is(204);
    registry.get_as(&bob, "/v2/acme/app/manifests/1").await.is(200);
    registry.ask_as(&bob, Method::POST, "/v2/acme/app/blobs/uploads/").await.is(403);
    registry.send_as(&ann, Method::PUT, member, &json!({ "role": "writer" })).await.is(204);
    registry.ask_as(&bob, Method::POST, "/v2/acme/app/blobs/uploads/").await.is(202);
    registry.ask_as(&bob, Method::DELETE, "/v2/acme/app/manifests/1").await.is(403);
    registry.send_as(&bob, Method::PUT, member, &json!({ "role": "owner" })).await.fails(403, "DENIED");
    let members = registry.get_as(&bob, "/api/v1/organisations/acme/members").await.is(200).json();
    assert_eq!(members["members"][1], json!({ "user": "bob", "role": "writer" }));
    registry.get_as(&carl, "/api/v1/organisations/acme/members").await.is(404);

    let team = "/api/v1/organisations/acme/teams/devs";
    registry.ask_as(&ann, Method::PUT, team).await.is(204);
    registry.ask_as(&ann, Method::PUT, team).await.is(409);
    registry.ask_as(&ann, Method::PUT, &format!("{team}/members/carl")).await.is(400);
    registry.ask_as(&ann, Method::PUT, &format!("{team}/members/bob")).await.is(204);
    let grant = json!({ "subject": "acme/devs", "rights": ["delete"], "repositories": "acme/*" });
    registry.send_as(&ann, Method::PUT, "/api/v1/grants", &grant).await.is(204);
    registry.ask_as(&bob, Method::DELETE, "/v2/acme/app/manifests/1").await.is(202);

    let last = registry.ask_as(&ann, Method::DELETE, "/api/v1/organisations/acme/members/ann").await.is(409);
    assert!(last.text().contains("last owner"), "{}", last.text());
    registry.ask_as(&bob, Method::DELETE, member).await.is(204);
    registry.get_as(&bob, "/v2/acme/app/tags/list").await.is(404);
}

#[tokio::test]
async fn robot_signs_in_with_its_secret() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    registry.repository("ann/app").of(&ann).push_image("1").await;
    let made =
        registry.send_as(&ann, Method::POST, "/api/v1/robots", &json!({ "name": "ann+ci" })).await.is(201);
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("wfr_"), "{secret}");
    let robot = basic("ann+ci", &secret);
    registry.get_as(&robot, "/v2/ann/app/manifests/1").await.is(404);
    let grant = json!({ "subject": "ann+ci", "rights": ["pull"], "repositories": "ann/**" });
    registry.send_as(&ann, Method::PUT, "/api/v1/grants", &grant).await.is(204);
    registry.get_as(&robot, "/v2/ann/app/manifests/1").await.is(200);
    registry.get_as(&Who::bearer(&secret), "/v2/ann/app/manifests/1").await.is(200);
    registry.ask_as(&robot, Method::POST, "/v2/ann/app/blobs/uploads/").await.is(403);
    let path = "/api/v1/robots/ann+ci/secret";
    let renewed = registry.ask_as(&ann, Method::PUT, path).await.is(200).json();
    registry.get_as(&robot, "/v2/ann/app/manifests/1").await.is(401);
    let robot = basic("ann+ci", renewed["secret"].as_str().unwrap());
    registry.get_as(&robot, "/v2/ann/app/manifests/1").await.is(200);
    registry
        .send_as(&ann, Method::PATCH, "/api/v1/robots/ann+ci", &json!({ "disabled": true }))
        .await
        .is(200);
    registry.get_as(&robot, "/v2/ann/app/manifests/1").await.is(401);
    registry.ask_as(&ann, Method::DELETE, "/api/v1/robots/ann+ci").await.is(204);
}

#[tokio::test]
async fn personal_token_is_shown_once_and_revocable() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    registry.repository("ann/app").of(&ann).push_image("1").await;
    let secret = registry.add_token("ann", &json!({ "label": "laptop", "rights": ["pull"] })).await;
    assert!(secret.starts_with("wfp_"), "{secret}");
    for who in [basic("ann", &secret), Who::bearer(&secret)] {
        registry.get_as(&who, "/v2/ann/app/manifests/1").await.is(200);
        registry.ask_as(&who, Method::DELETE, "/v2/ann/app/manifests/1").await.is(403);
        // A limited token cannot create a wider one.
        let more = json!({ "label": "more" });
        registry.send_as(&who, Method::POST, "/api/v1/users/ann/tokens", &more).await.is(403);
    }
    registry.get_as(&basic("bob", &secret), "/v2/").await.is(401);
    let list = registry.get_as(&ann, "/api/v1/users/ann/tokens").await.is(200);
    assert!(!list.text().contains(&secret));
    let token = &list.json()["tokens"][0];
    assert_eq!(token["label"], "laptop");
    registry.ask_as(&ann, Method::DELETE, &format!("/api/v1/users/ann/tokens/{}", token["id"])).await.is(204);
    registry.get_as(&basic("ann", &secret), "/v2/ann/app/manifests/1").await.is(401);
}

#[tokio::test]
async fn repository_owner_alone_may_grant() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    let bob = registry.add_user("bob").await;
    registry.repository("ann/app").of(&ann).push_image("1").await;
    let grant = |subject: &str, pattern: &str| json!({ "subject": subject, "rights": ["pull"], "repositories": pattern });
    let set =
        async |who: &Who, grant: &Value| registry.send_as(who, Method::PUT, "/api/v1/grants", grant).await;
    set(&bob, &grant("bob", "ann/app")).await.fails(403, "DENIED");
    for beyond in ["**", "a*/app", "official/ubuntu", "ubuntu", "*"] {
        set(&ann, &grant("bob", beyond)).await.fails(403, "DENIED");
    }
    set(&ann, &grant("nobody", "ann/app")).await.is(400);
    set(&ann, &grant("everyone", "ann/app")).await.is(204);
    registry.get("/v2/ann/app/manifests/1").await.is(200);
    registry
        .ask_as(&ann, Method::DELETE, "/api/v1/grants?subject=everyone&repositories=ann/app")
        .await
        .is(204);
    registry.get("/v2/ann/app/manifests/1").await.is(401);
    // Only the administrator grants on names without an owner.
    registry.ask_as(&ann, Method::POST, "/v2/official/ubuntu/blobs/uploads/").await.is(403);
    registry.ask_as(&ann, Method::POST, "/v2/ubuntu/blobs/uploads/").await.is(403);
    set(&Who::root(), &json!({ "subject": "ann", "rights": ["push"], "repositories": "official/*" }))
        .await
        .is(204);
    registry.ask_as(&ann, Method::POST, "/v2/official/ubuntu/blobs/uploads/").await.is(202);
    registry.ask_as(&Who::root(), Method::POST, "/v2/ubuntu/blobs/uploads/").await.is(202);
}

#[tokio::test]
async fn self_registration_needs_the_setting() {
    let registry = with_accounts_and(|config| config.auth.self_registration = true).await;
    registry.repository("zoe/app").of(&Who::root()).push_image("1").await;
    let register = async |name: &str| {
        let wish = json!({ "name": name, "password": PASSWORD });
        registry.send_as(&Who::NOBODY, Method::POST, "/api/v1/registration", &wish).await
    };
    register("mia").await.is(201);
    registry.repository("mia/app").of(&Who::user("mia")).push_image("1").await;
    register("mia").await.is(409);
    register("root").await.is(409);
    // The new user would own what another account has pushed.
    register("zoe").await.is(409);
    let me = registry.get_as(&Who::user("mia"), "/api/v1/me").await.is(200).json();
    assert_eq!(me["administrator"], false);
}

/// The next account of a name inherits nothing from the one before.
#[tokio::test]
async fn namesake_inherits_nothing() {
    let registry = with_accounts_and(|config| config.auth.self_registration = true).await;
    let (root, eve) = (Who::root(), registry.add_user("eve").await);
    registry.add_user("carol").await;
    let image = registry.repository("eve/old").of(&eve).push_image("1").await;
    let grant = json!({ "subject": "carol", "rights": ["pull", "push"], "repositories": "eve/**" });
    registry.send_as(&eve, Method::PUT, "/api/v1/grants", &grant).await.is(204);
    let hook = json!({ "url": "https://1.1.1.1/", "repositories": ["eve/*"] });
    registry.send_as(&eve, Method::POST, "/api/v1/webhooks", &hook).await.is(201);
    registry.ask_as(&eve, Method::DELETE, "/api/v1/repositories/eve/old").await.is(202);
    let is_gone = async || registry.ask_as(&root, Method::DELETE, "/api/v1/users/eve").await.status == 204;
    eventually("the account is removed", is_gone).await;
    let left = registry.get_as(&root, "/api/v1/grants").await.is(200).json();
    assert_eq!(left["grants"], json!([]));
    assert_eq!(registry.get_as(&root, "/api/v1/webhooks").await.is(200).json()["webhooks"], json!([]));

    let again = json!({ "name": "eve", "password": PASSWORD });
    let refused = registry.send_as(&Who::NOBODY, Method::POST, "/api/v1/registration", &again).await;
    refused.fails(409, "DENIED");
    registry.send_as(&root, Method::POST, "/api/v1/users", &again).await.is(201);
    registry.get_as(&eve, "/v2/").await.is(200);
    let history = registry.get_as(&eve, "/api/v1/repositories/eve/old/_history").await;
    assert!(!history.text().contains(&image.digest.to_string()), "{}", history.text());
    let undo = json!({ "tag": "1", "to_digest": image.digest.to_string() });
    registry.send_as(&eve, Method::POST, "/api/v1/repositories/eve/old/_undo", &undo).await.is(404);
    registry.repository("eve/old").of(&eve).get("manifests/1").await.is(404);
    let events = registry.get_as(&eve, "/api/v1/events?follow=false&after=0").await.is(200).text();
    assert!(!events.contains("eve/old"), "{events}");
    let entries = registry.get_as(&eve, "/api/v1/audit").await.is(200).json();
    let actions: Vec<&str> = entries["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert!(!actions.contains(&"grant.set"), "{actions:?}");
}

#[tokio::test]
async fn move_over_the_network_is_refused() {
    let registry = with_accounts().await;
    let ann = registry.add_user("ann").await;
    let to = json!({ "blobs": { "url": "s3://images", "path_style": true } });
    let refused = registry.send_as(&Who::root(), Method::POST, "/api/v1/move", &to).await;
    let refused = refused.fails(403, "DENIED");
    assert!(refused.text().contains("on the registry's machine"), "{}", refused.text());
    registry.send_as(&ann, Method::POST, "/api/v1/move", &to).await.fails(403, "DENIED");
}
