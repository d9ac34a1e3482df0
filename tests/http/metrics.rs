//! `/metrics`, on the main port and on the listener of `metrics.listen`.

use reqwest::Method;
use wharfinger::config::Upstream;

use crate::harness::{Answer, Ask as _, By as _, TestRegistry, Who, eventually, random, with_accounts};

/// The value of a series, by its name with all labels.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is missing in\n{text}")).parse().unwrap()
}

async fn with_listener() -> TestRegistry {
    TestRegistry::start_with(|config| config.metrics.listen = Some("127.0.0.1:0".parse().unwrap())).await
}

/// The whole body; [`Answer::text`] cuts it for messages.
fn whole(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

async fn scrape(registry: &TestRegistry) -> String {
    let address = registry.metrics_address();
    let answer = registry.get(format!("http://{address}/metrics")).await.is(200);
    whole(&answer.has("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8"))
}

#[tokio::test]
async fn scrape_counts_pushes_pulls_and_bytes() {
    let registry = with_listener().await;
    let repository = registry.repository("secret/app");
    let image = repository.push_image("v1").await;
    for _ in 0..3 {
        registry.get(repository.path("manifests/v1")).await.is(200);
    }
    registry.get(repository.path("manifests/absent")).await.is(404);
    let blob = registry.get(repository.path(format!("blobs/{}", image.blobs[1].0))).await.is(200);
    registry.get("/nothing").await.is(404);
    let counted = async || {
        let text = scrape(&registry).await;
        // A request is counted when its connection has sent the answer.
        text.contains("wharfinger_http_requests_total{endpoint=\"none\",method=\"GET\",status=\"4xx\"} 1")
    };
    eventually("the requests are counted", counted).await;
    let text = scrape(&registry).await;
    let manifest = "endpoint=\"manifest\",method=\"GET\"";
    assert_eq!(value(&text, &format!("wharfinger_http_requests_total{{{manifest},status=\"2xx\"}}")), 3.0);
    assert_eq!(value(&text, &format!("wharfinger_http_requests_total{{{manifest},status=\"4xx\"}}")), 1.0);
    assert_eq!(value(&text, &format!("wharfinger_http_request_duration_seconds_count{{{manifest}}}")), 4.0);
    let sent = value(&text, "wharfinger_http_response_bytes_total{endpoint=\"blob\",method=\"GET\"}");
    assert_eq!(sent, blob.body.len() as f64);
    let received: f64 = text
        .lines()
        .filter(|line| line.starts_with("wharfinger_http_request_bytes_total{endpoint=\"upload"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert!(received >= blob.body.len() as f64, "{received}");
    // The first pull fills the cache.
    assert_eq!(value(&text, "wharfinger_manifest_cache_hits_total"), 2.0);
    assert!(value(&text, "wharfinger_metadata_commit_duration_seconds_count") > 0.0);
    assert!(value(&text, "wharfinger_metadata_commit_operations_sum") > 0.0);
    assert_eq!(value(&text, "wharfinger_metadata_writer_queue"), 0.0);
    assert!(value(&text, "wharfinger_disk_size_bytes") >= value(&text, "wharfinger_disk_free_bytes"));
    assert!(value(&text, "wharfinger_disk_free_bytes") > 0.0);
    assert!(value(&text, "wharfinger_connections{listener=\"listen\"}") >= 1.0);
    assert_eq!(value(&text, "wharfinger_connections{listener=\"metrics.listen\"}"), 1.0);
    assert_eq!(value(&text, "wharfinger_job_failing{kind=\"upload-expiry\"}"), 0.0);
    assert!(text.contains("wharfinger_build_info{version=\""), "{text}");
    assert!(text.contains("process_cpu_seconds_total"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    for private in ["secret", "127.0.0.1", &image.digest.hex()] {
        assert!(!text.contains(private), "{private} is in\n{text}");
    }
}

/// An upstream and HTTPS have metrics of their own. A bucket adds some if the tests use one.
#[tokio::test]
async fn metrics_are_in_the_reference() {
    const REFERENCE: &str = include_str!("../../docs/reference/metrics.md");
    let registry = TestRegistry::start_with(|config| {
        config.metrics.listen = Some("127.0.0.1:0".parse().unwrap());
        config.tls.self_signed = vec!["localhost".parse().unwrap()];
        config.upstream.push(Upstream::from_argument("hub=http://127.0.0.1:1").unwrap());
    })
    .await;
    let text = scrape(&registry).await;
    let types: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    assert!(types.len() > 40, "{text}");
    for (name, kind) in types {
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        assert!(REFERENCE.contains(&format!("`{name}`")), "docs/reference/metrics.md lacks {name}");
    }
    for kind in registry::JobKind::ALL {
        let name = kind.name();
        assert!(REFERENCE.contains(&format!("`{name}`")), "docs/reference/metrics.md lacks the job {name}");
    }
}

#[tokio::test]
async fn scrape_has_numbers_of_stored_things() {
    let mut registry = with_listener().await;
    registry.repository("a").push_image("v1").await;
    registry.repository("b").push_image("v1").await;
    // Counted numbers are up to a minute old. A start counts anew.
    registry.restart().await;
    let text = scrape(&registry).await;
    assert_eq!(value(&text, "wharfinger_repositories"), 2.0);
    assert_eq!(value(&text, "wharfinger_manifests"), 2.0);
    assert_eq!(value(&text, "wharfinger_tags"), 2.0);
    assert!(value(&text, "wharfinger_blobs") >= 4.0);
    assert!(value(&text, "wharfinger_blob_bytes") > 0.0);
}

#[tokio::test]
async fn scrape_sees_a_download_under_way() {
    let registry = with_listener().await;
    let repository = registry.repository("app");
    let content = random(32 << 20);
    let digest = repository.push_blob(content).await;
    let mut client = registry.connect().await;
    client
        .send(&format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", repository.path(format!("blobs/{digest}"))))
        .await;
    let open = "wharfinger_blob_transfers{direction=\"download\"}";
    let is_open = async || value(&scrape(&registry).await, open) == 1.0;
    eventually("the download is seen", is_open).await;
    drop(client);
    let is_over = async || value(&scrape(&registry).await, open) == 0.0;
    eventually("the download is over", is_over).await;
}

#[tokio::test]
async fn sign_ins_are_counted_by_result() {
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    registry.get_as(&Who::user("ann"), "/v2/").await.is(200);
    registry.get_as(&Who::user("ann"), "/v2/").await.is(200);
    registry.get_as(&crate::harness::basic("ann", "wrong"), "/v2/").await.is(401);
    let text = whole(&registry.get_as(&Who::root(), "/metrics").await.is(200));
    assert!(value(&text, "wharfinger_sign_ins_total{result=\"accepted\"}") >= 2.0);
    assert_eq!(value(&text, "wharfinger_sign_ins_total{result=\"wrong\"}"), 1.0);
    assert!(value(&text, "wharfinger_sign_ins_cached_total") >= 1.0);
    assert!(!text.contains("ann\""), "{text}");
}

#[tokio::test]
async fn refused_requests_are_counted() {
    let registry = TestRegistry::start_with(|config| {
        config.limits.requests_per_address = Some(1);
        config.metrics.listen = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let mut refused = 0;
    for _ in 0..15 {
        refused += u32::from(registry.get("/healthz").await.status == 429);
    }
    assert!(refused > 0);
    let text = scrape(&registry).await;
    assert_eq!(value(&text, "wharfinger_rate_limited_requests_total{limit=\"address\"}"), f64::from(refused));
}

#[tokio::test]
async fn certificate_has_its_expiry() {
    let registry = TestRegistry::start_with(|config| {
        config.tls.self_signed = vec!["localhost".parse().unwrap()];
        config.metrics.listen = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let expiry = value(&scrape(&registry).await, "wharfinger_certificate_expiry_timestamp_seconds");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(expiry > now, "{expiry}");
}

#[tokio::test]
async fn main_port_has_metrics_on_loopback_only() {
    let open = TestRegistry::start().await;
    open.get("/metrics").await.is(200);
    let proxied =
        TestRegistry::start_with(|config| config.proxy.trusted = vec!["127.0.0.1/32".parse().unwrap()]).await;
    let elsewhere = proxied.request(Method::GET, "/metrics").header("x-forwarded-for", "192.0.2.7");
    elsewhere.ask().await.fails(404, "UNSUPPORTED");
    let public = TestRegistry::start_with(|config| {
        config.listen = "0.0.0.0:0".parse().unwrap();
        config.open = true;
    })
    .await;
    let port = public.address().port();
    let answer = public.get(format!("http://127.0.0.1:{port}/metrics")).await;
    let text = answer.fails(404, "UNSUPPORTED").text();
    assert!(text.contains("--metrics-listen"), "{text}");
}

#[tokio::test]
async fn metrics_listener_answers_nothing_else() {
    let registry = with_listener().await;
    let address = registry.metrics_address();
    for path in ["/", "/v2/", "/metrics/x"] {
        registry.get(format!("http://{address}{path}")).await.is(404);
    }
    registry.request(Method::POST, format!("http://{address}/metrics")).by(&Who::NOBODY).ask().await.is(405);
    registry.head(format!("http://{address}/metrics")).await.is(200);
}
