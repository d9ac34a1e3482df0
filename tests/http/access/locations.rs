//! `auth.locations`: rules for parts of the registry.

use reqwest::Method;
use wharfinger::config::{Config, Location, Sources};

use crate::harness::{Ask, By, TestRegistry, Who, random, with_accounts_and};

/// `official` is open except `official/secret`. `legacy` requires accounts and challenges for Basic.
const LOCATIONS: &str = r#"[
    { path = "/v2/official/", auth = "open" },
    { path = "/v2/official/secret/", auth = "token" },
    { path = "/v2/legacy/", auth = "basic", realm = "The Old Yard" },
]"#;

fn locations(text: &str) -> Vec<Location> {
    let environment = vec![("WHARFINGER_AUTH_LOCATIONS".into(), text.into())];
    let sources = Sources { environment, file: Some("/dev/null".into()), ..Sources::default() };
    Config::load(&sources).unwrap_or_else(|mistakes| panic!("{mistakes:?}")).config.auth.locations
}

const REPOSITORIES: [&str; 7] = [
    "official",
    "official-x",
    "official/secret/a",
    "official/ubuntu",
    "legacy/app",
    "legacy/open",
    "ann/app",
];

/// Starts a registry with these locations, an image in each repository, and `legacy/open` granted to
/// everyone.
async fn registry() -> TestRegistry {
    let registry = with_accounts_and(|config| config.auth.locations = locations(LOCATIONS)).await;
    registry.add_user("ann").await;
    for repository in REPOSITORIES {
        registry.repository(repository).of(&Who::root()).push_image("1").await;
    }
    registry.grant("everyone", &["pull"], "legacy/open").await;
    registry.grant("everyone", &["pull"], "official/secret/**").await;
    registry
}

/// Everyone pulls from an open location, and nobody pushes there by the rule. Without an account, a closed
/// location looks absent.
#[tokio::test]
async fn open_location_allows_pulls_only() {
    let registry = registry().await;
    let ann = Who::user("ann");
    for (repository, nobody, account) in [
        ("official", 200, 200),
        ("official/ubuntu", 200, 200),
        ("official-x", 401, 404),
        ("official/secret/a", 401, 200),
        ("legacy/open", 401, 200),
        ("legacy/app", 401, 404),
        ("ann/app", 401, 200),
    ] {
        let digest = registry.repository(repository).of(&Who::root()).digest_of("1").await;
        for path in [
            format!("/v2/{repository}/manifests/1"),
            format!("/v2/{repository}/tags/list"),
            format!("/v2/{repository}/referrers/{digest}"),
            format!("/api/v1/repositories/{repository}"),
        ] {
            // Twice: the second answer comes from the permission cache.
            for _ in 0..2 {
                registry.get(&path).await.is(nobody);
                registry.get_as(&ann, &path).await.is(account);
            }
        }
        // Other spellings of the path follow the same rule.
        let spelled: String = repository.bytes().map(|byte| format!("%{byte:02x}")).collect();
        registry.get(format_args!("/v2/{spelled}/manifests/1")).await.is(nobody);
        if repository == "ann/app" {
            continue;
        }
        for (who, refused) in [(&Who::NOBODY, 401), (&ann, if account == 200 { 403 } else { 404 })] {
            for (method, below) in [
                (Method::POST, "blobs/uploads/".to_owned()),
                (Method::PUT, "manifests/2".to_owned()),
                (Method::DELETE, "manifests/1".to_owned()),
                (Method::DELETE, format!("manifests/{digest}")),
            ] {
                let path = format!("/v2/{repository}/{below}");
                let hidden = refused == 404 && method != Method::DELETE;
                registry.ask_as(who, method, &path).await.is(if hidden { 403 } else { refused });
            }
        }
    }
}

/// Lists, searches and mounts are filtered by the rules.
#[tokio::test]
async fn open_location_is_listed_for_everyone() {
    let registry = registry().await;
    let listed = async |who: &Who| {
        let answer = registry.get_as(who, "/api/v1/repositories").await.is(200).json();
        let names = answer["repositories"].as_array().unwrap().iter();
        names.map(|found| found["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&Who::NOBODY).await, ["official", "official/ubuntu"]);
    let ann = ["ann/app", "legacy/open", "official", "official/secret/a", "official/ubuntu"];
    assert_eq!(listed(&Who::user("ann")).await, ann);
    assert_eq!(listed(&Who::root()).await.len(), REPOSITORIES.len());
    let found = registry.get("/v1/search?q=official").await.is(200).json();
    assert_eq!(found["num_results"], 2);
    let catalog = registry.get_as(&Who::user("ann"), "/v2/_catalog").await.is(200);
    assert_eq!(catalog.list("repositories"), ann);

    registry.grant("everyone", &["push"], "drop/**").await;
    let mount = async |from: &str| {
        let blob = registry.repository(from).of(&Who::root()).push_blob(random(100)).await;
        registry.post(format_args!("/v2/drop/box/blobs/uploads/?mount={blob}&from={from}")).await.status
    };
    assert_eq!(mount("official/ubuntu").await, 201);
    assert_eq!(mount("legacy/open").await, 202, "it is for who has an account");
}

/// The longest matching location sets the challenge.
#[tokio::test]
async fn location_rule_sets_the_challenge() {
    let registry = registry().await;
    let challenge = async |registry: &TestRegistry, path: &str| {
        registry.get(path).await.is(401).header("www-authenticate").unwrap().to_owned()
    };
    let basic = r#"Basic realm="The Old Yard", charset="UTF-8""#;
    for path in ["/v2/legacy/app/manifests/1", "/v2/legacy/tags/list", "/api/v1/repositories/legacy/app"] {
        assert_eq!(challenge(&registry, path).await, basic, "{path}");
    }
    let secret = challenge(&registry, "/v2/official/secret/a/manifests/1").await;
    assert!(
        secret.starts_with("Bearer ") && secret.contains("scope=\"repository:official/secret/a:pull\""),
        "{secret}"
    );
    assert!(challenge(&registry, "/v2/").await.starts_with("Bearer "));
    // In an open location, a request that needs more rights gets the default challenge.
    let push = registry.post("/v2/official/ubuntu/blobs/uploads/").await.is(401);
    assert!(push.header("www-authenticate").unwrap().starts_with("Bearer "));
    // Both schemes are accepted, whatever the challenge says.
    let ann = Who::user("ann");
    let token = registry.bearer(&ann, &["repository:legacy/open:pull"]).await;
    for who in [&ann, &token] {
        registry.get_as(who, "/v2/legacy/open/manifests/1").await.is(200);
    }
    // An anonymous token is no account.
    let nobody = registry
        .bearer(&Who::NOBODY, &["repository:legacy/open:pull", "repository:official/ubuntu:pull"])
        .await;
    registry.get_as(&nobody, "/v2/legacy/open/manifests/1").await.is(401);
    registry.get_as(&nobody, "/v2/official/ubuntu/manifests/1").await.is(200);
    // Wrong credentials are refused also where none are needed.
    registry.get_as(&crate::harness::basic("ann", "wrong"), "/v2/official/ubuntu/manifests/1").await.is(401);

    let everywhere =
        r#"[{ path = "/v2/", auth = "basic", realm = "Restricted" }, { path = "/v2/new/", auth = "token" }]"#;
    let registry = with_accounts_and(|config| config.auth.locations = locations(everywhere)).await;
    for path in ["/v2/", "/v2/_catalog", "/v2/a/tags/list"] {
        assert_eq!(
            challenge(&registry, path).await,
            r#"Basic realm="Restricted", charset="UTF-8""#,
            "{path}"
        );
    }
    assert!(challenge(&registry, "/v2/new/a/tags/list").await.starts_with("Bearer "));
}

/// `/auth` follows the same rules.
#[tokio::test]
async fn auth_follows_location_rules() {
    let registry = registry().await;
    for (path, status) in [
        ("/v2/official/ubuntu/manifests/1", 401),
        ("/v2/official/ubuntu/tags/list", 200),
        ("/v2/official/secret/a/tags/list", 401),
        ("/v2/legacy/open/tags/list", 401),
    ] {
        let asked = registry.request(Method::GET, "/auth").by(&Who::NOBODY).header("x-original-uri", path);
        // The proxy is not trusted to set the method, so the request could be a push.
        asked.ask().await.is(status);
    }
}
