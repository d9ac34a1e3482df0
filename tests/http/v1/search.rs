//! `/v1/search`.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Ask, By, TestRegistry, Who, basic, with_accounts};

async fn found(registry: &TestRegistry, query: &str) -> Vec<String> {
    let json = registry.get(format_args!("/v1/search?{query}")).await.is(200).json();
    let results = json["results"].as_array().unwrap();
    results.iter().map(|result| result["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn search_returns_the_description() {
    let registry = TestRegistry::start().await;
    let description = json!({ "annotations": { "org.opencontainers.image.description": "A small Linux" } });
    registry.repository("official/ubuntu").push_image_saying("14.04", description).await;
    registry.repository("team/app").push_image("1").await;
    let answer =
        registry.get("/v1/search?q=ubuntu&n=25").await.is(200).has("content-type", "application/json");
    assert_eq!(
        answer.json(),
        json!({
            "query": "ubuntu",
            "num_results": 1,
            "num_pages": 1,
            "page": 1,
            "page_size": 25,
            "results": [{
                "name": "official/ubuntu",
                "description": "A small Linux",
                "star_count": 0,
                "is_official": false,
                "is_automated": false,
            }],
        })
    );
    assert_eq!(found(&registry, "q=linux").await, ["official/ubuntu"]);
    assert_eq!(found(&registry, "q=ubun").await, ["official/ubuntu"]);
    assert_eq!(found(&registry, "q=nothing").await, [] as [&str; 0]);
}

#[tokio::test]
async fn search_results_come_in_pages() {
    let registry = TestRegistry::start().await;
    let mut names: Vec<_> = (0..7).map(|number| format!("team/app{number}")).collect();
    for name in &names {
        registry.repository(name).push_image("1").await;
    }
    let first = registry.get("/v1/search?q=app&n=3").await.is(200).json();
    assert_eq!(
        (&first["num_results"], &first["num_pages"], &first["page_size"]),
        (&json!(7), &json!(3), &json!(3))
    );
    let mut all = Vec::new();
    for (page, count) in [(1, 3), (2, 3), (3, 1), (4, 0)] {
        let results = found(&registry, &format!("q=app&n=3&page={page}")).await;
        assert_eq!(results.len(), count, "page {page}");
        all.extend(results);
    }
    all.sort_unstable();
    names.sort_unstable();
    assert_eq!(all, names);
    registry.get("/v1/search?q=app&page=99999999999999999999").await.is(200);
    assert_eq!(registry.get("/v1/search?q=app&n=1000000000").await.is(200).json()["page_size"], 100);
}

#[tokio::test]
async fn search_checks_n_and_page() {
    let registry = TestRegistry::start().await;
    for query in ["n=0", "n=-1", "n=x", "n=", "page=0", "page=-1", "page=x"] {
        registry.get(format_args!("/v1/search?q=a&{query}")).await.fails(400, "UNSUPPORTED");
    }
}

#[tokio::test]
async fn search_answers_any_query() {
    let registry = TestRegistry::start().await;
    registry.repository("team/app").push_image("1").await;
    for query in [
        "",
        "q",
        "q=",
        "q=%20",
        "q=%25",
        "q=*",
        "q=%22",
        "q='%20OR%201=1--",
        "q=%ff%fe",
        "q=%00",
        "q=a%2Fb",
        "q=(",
        "q=NOT",
    ] {
        registry.get(format_args!("/v1/search?{query}")).await.is(200);
    }
    let long = "x".repeat(10_000);
    registry.get(format_args!("/v1/search?q={long}")).await.is(200);
}

/// Over HTTPS, docker sends an empty name and an empty password for a search without a login.
#[tokio::test]
async fn search_with_empty_credentials_is_anonymous() {
    let nobody = basic("", "");
    let open = TestRegistry::start().await;
    open.repository("team/app").push_image("1").await;
    assert_eq!(open.get_as(&nobody, "/v1/search?q=app").await.is(200).json()["num_results"], 1);

    let registry = with_accounts().await;
    let answer = registry.get_as(&nobody, "/v1/search?q=app").await.is(200);
    assert_eq!(answer.json()["num_results"], 0);
    registry.get_as(&nobody, "/v2/").await.is(401).has_no("x-remote-user");
    registry.get_as(&nobody, "/api/v1/users").await.is(401);
    for who in [basic("", "x"), basic("root", "")] {
        registry.get_as(&who, "/v1/search?q=app").await.is(401);
    }
}

/// podman sends no credentials with a search until it is challenged. Then it reads the catalog with them.
#[tokio::test]
async fn search_challenges_clients_that_fall_back() {
    let search = async |registry: &TestRegistry, who: &Who| {
        let request = registry.request(Method::GET, "/v1/search?q=app").by(who);
        request.header("docker-distribution-api-version", "registry/2.0").ask().await
    };
    let open = TestRegistry::start().await;
    open.repository("team/app").push_image("1").await;
    assert_eq!(search(&open, &Who::NOBODY).await.is(200).json()["num_results"], 1);

    let registry = with_accounts().await;
    search(&registry, &Who::NOBODY).await.is(401);
    search(&registry, &Who::root()).await.is(200);
}
