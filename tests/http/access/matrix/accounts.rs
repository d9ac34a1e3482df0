//! The routes of the management of accounts, from the OpenAPI document.

use reqwest::Method;
use serde_json::{Value, json};

use super::callers::{Caller, Fixture};
use super::is_of_accounts;
use crate::harness::{Ask as _, By as _, PASSWORD, Who};

/// Every account operation of the OpenAPI document refuses callers without the right.
#[tokio::test]
async fn account_management_refuses_every_other_caller() {
    let fixture = Fixture::new().await;
    let registry = &fixture.registry;
    registry.add_organisation("acme", "ann").await;
    let team = "/api/v1/organisations/acme/teams/devs";
    registry.ask_as(&Who::root(), Method::PUT, team).await.is(204);
    let description = registry.get_as(&Who::NOBODY, "/api/v1/openapi.json").await.is(200).json();
    let mut cells = 0;
    for (path, operations) in description["paths"].as_object().unwrap() {
        if !is_of_accounts(path) {
            continue;
        }
        for method in operations.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let filled = path
                .replace("{user}", "ann")
                .replace("{organisation}", "acme")
                .replace("{team}", "devs")
                .replace("{robot}", "ann+ci")
                .replace("{upstream}", "docker.io")
                .replace("{webhook}", "1")
                .replace("{id}", "1");
            let method: Method = method.to_uppercase().parse().unwrap();
            for caller in [
                Caller::Anonymous,
                Caller::Stranger,
                Caller::Reader,
                Caller::Writer,
                Caller::Maintainer,
                Caller::Robot,
                Caller::NarrowToken,
                Caller::NarrowBearer,
                Caller::ExpiredToken,
                Caller::ForeignBearer,
            ] {
                let who = fixture.who(caller);
                let mut request = registry.request(method.clone(), &filled).by(&who);
                if method == Method::POST || method == Method::PUT || method == Method::PATCH {
                    request = request.json(&body_of(path));
                }
                if path == "/api/v1/grants" && method == Method::DELETE {
                    request = request.query(&[("subject", "everyone"), ("repositories", "ann/public")]);
                }
                if path == "/api/v1/access" {
                    request = request.query(&[("account", "ann"), ("repository", "ann/private")]);
                }
                let answer = request.ask().await;
                let allowed = refusals(path, &method, caller);
                assert!(
                    allowed.contains(&answer.status),
                    "{caller:?} {method} {filled}: {} is not among {allowed:?}: {}",
                    answer.status,
                    answer.text()
                );
                cells += 1;
            }
        }
    }
    assert!(cells > 300, "{cells} cells");
    println!("{cells} account requests by callers without the right");
    // None of them had an effect.
    for path in ["/api/v1/users/ann", "/api/v1/organisations/acme", "/api/v1/robots/ann+ci"] {
        registry.get_as(&Who::root(), path).await.is(200);
    }
    registry.get_as(&Who::user("ann"), "/v2/").await.is(200);
    registry.get_as(&Who::NOBODY, "/v2/ann/public/manifests/1").await.is(200);
    registry.get_as(&fixture.robot, "/v2/ann/private/manifests/1").await.is(200);
}

/// Returns a body that the operation accepts.
fn body_of(path: &str) -> Value {
    match path {
        "/api/v1/registration" => json!({ "name": "mallory", "password": PASSWORD }),
        "/api/v1/users" => json!({ "name": "mallory", "password": PASSWORD, "administrator": true }),
        "/api/v1/users/{user}" => json!({ "password": "mallory knows this one" }),
        "/api/v1/users/{user}/tokens" => json!({ "label": "mallory" }),
        "/api/v1/organisations" => json!({ "name": "mallory", "owner": "dave" }),
        "/api/v1/organisations/{organisation}" => json!({ "description": "mallory" }),
        "/api/v1/organisations/{organisation}/members/{user}" => json!({ "role": "reader" }),
        "/api/v1/robots" => json!({ "name": "ann+mallory" }),
        "/api/v1/robots/{robot}" => json!({ "disabled": true }),
        "/api/v1/erase" => {
            json!({ "repository": "ann/private", "digest": format!("sha256:{}", "0".repeat(64)) })
        }
        "/api/v1/webhooks" => {
            json!({ "url": "https://example.com/", "repositories": ["ann/private"] })
        }
        "/api/v1/grants" => {
            json!({ "subject": "dave", "rights": ["administer"], "repositories": "ann/private" })
        }
        _ => json!({}),
    }
}

/// Returns the statuses that a caller without administrative rights may get.
fn refusals(path: &str, method: &Method, caller: Caller) -> &'static [u16] {
    match caller {
        Caller::ExpiredToken | Caller::ForeignBearer => return &[401],
        _ => {}
    }
    match (path, method.as_str(), caller) {
        ("/api/v1/me", "GET", _) => &[200],
        // Self-registration is off.
        ("/api/v1/registration", ..) => &[403],
        (_, _, Caller::Anonymous) => &[401],
        // Limited tokens manage nothing.
        (_, _, Caller::NarrowToken | Caller::NarrowBearer) => &[403, 404],
        // The lists contain the caller alone, or nothing.
        (
            "/api/v1/users"
            | "/api/v1/organisations"
            | "/api/v1/robots"
            | "/api/v1/grants"
            | "/api/v1/audit"
            | "/api/v1/webhooks",
            "GET",
            _,
        ) => &[200],
        _ => &[403, 404],
    }
}
