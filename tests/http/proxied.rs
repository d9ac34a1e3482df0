//! The registry behind a proxy: headers of a trusted proxy set the addresses that clients get.

use reqwest::Method;

use crate::harness::{Ask, TestRegistry};

const CLIENT: &str = "192.0.2.7";

async fn trusting() -> TestRegistry {
    TestRegistry::start_with(|config| config.proxy.trusted = vec!["127.0.0.0/8".parse().unwrap()]).await
}

#[tokio::test]
async fn urls_begin_with_the_prefix_of_a_trusted_proxy() {
    for (registry, prefix) in [(trusting().await, "/registry"), (TestRegistry::start().await, "")] {
        let repository = registry.repository("team/app");
        repository.push_image("1").await;
        repository.push_image("2").await;
        let behind = |method: Method, path: &str| {
            let request = registry.request(method, path).header("x-forwarded-prefix", "/registry/");
            request.header("x-forwarded-host", "hub.example.com").header("x-forwarded-proto", "https")
        };
        let upload = behind(Method::POST, "/v2/team/app/blobs/uploads/").ask().await.is(202).location();
        assert!(upload.starts_with(&format!("{prefix}/v2/team/app/blobs/uploads/")), "{upload}");
        let upload = upload.strip_prefix(prefix).unwrap();
        let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let put = behind(Method::PUT, &format!("{upload}?digest={digest}")).body("abc").ask().await.is(201);
        assert_eq!(put.location(), format!("{prefix}/v2/team/app/blobs/{digest}"));
        for path in ["/v2/team/app/tags/list?n=1", "/api/v1/repositories/team/app/_tags?n=1"] {
            let next = behind(Method::GET, path).ask().await.is(200).next_page().unwrap();
            let expected = format!("{prefix}{}?n=1", path.split_once('?').unwrap().0);
            assert!(next.starts_with(&expected), "{next}");
        }
    }
}

#[tokio::test]
async fn external_url_wins_over_forwarded_headers() {
    let registry = TestRegistry::start_with(|config| {
        config.proxy.trusted = vec!["127.0.0.1/32".parse().unwrap()];
        let settings = [("WHARFINGER_EXTERNAL_URL".into(), "https://hub.example.com/r".into())];
        let sources = wharfinger::config::Sources { environment: settings.to_vec(), ..Default::default() };
        config.external_url = wharfinger::config::Config::load(&sources).unwrap().config.external_url;
    })
    .await;
    let request =
        registry.request(Method::POST, "/v2/a/blobs/uploads/").header("x-forwarded-prefix", "/other");
    let upload = request.ask().await.is(202).location();
    assert!(upload.starts_with("https://hub.example.com/r/v2/a/blobs/uploads/"), "{upload}");
}

#[tokio::test]
async fn root_page_names_the_called_address() {
    let registry = trusting().await;
    let page =
        registry.request(Method::GET, "/").header("x-forwarded-host", "hub.example.com").ask().await.is(200);
    assert!(page.text().contains("docker push hub.example.com/team/app:1.0"), "{}", page.text());
    let page =
        registry.request(Method::GET, "/").header("forwarded", "host=hub.example.com").ask().await.is(200);
    assert!(page.text().contains("docker push hub.example.com/"), "{}", page.text());
    let untrusting = TestRegistry::start().await;
    let page =
        untrusting.request(Method::GET, "/").header("x-forwarded-host", "evil.example.com").ask().await;
    assert!(!page.text().contains("evil"), "{}", page.text());
}

#[tokio::test]
async fn rate_limit_counts_the_client_behind_the_proxy() {
    let limited = |config: &mut wharfinger::config::Config| config.limits.requests_per_address = Some(1);
    let registry = TestRegistry::start_with(|config| {
        limited(config);
        config.proxy.trusted = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let from =
        |client: &str| registry.request(Method::GET, "/healthz").header("x-forwarded-for", client).ask();
    // The burst is ten seconds' worth. One or two more may have come into the bucket since.
    let mut refused = None;
    for _ in 0..30 {
        let answer = from(CLIENT).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("30 requests at once are more than 10").fails(429, "TOOMANYREQUESTS");
    assert_eq!(refused.header("retry-after"), Some("1"));
    from("192.0.2.8").await.is(200);

    let untrusting = TestRegistry::start_with(limited).await;
    let mut statuses = Vec::new();
    for client in 0..30 {
        let request = untrusting
            .request(Method::GET, "/healthz")
            .header("x-forwarded-for", format!("192.0.2.{client}"));
        statuses.push(request.ask().await.status);
    }
    assert!(statuses.contains(&429), "whoever claims to be many is still one");
}

#[tokio::test]
async fn buffered_bodies_come_whole() {
    let registry =
        TestRegistry::start_with(|config| config.limits.bandwidth_per_address = Some(400_000)).await;
    let repository = registry.repository("team/app");
    let content = crate::harness::random(700_000);
    let digest = repository.push_blob(content.clone()).await;
    repository.get(format_args!("blobs/{digest}")).await.is(200).carries(&content);
}
