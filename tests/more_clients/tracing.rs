//! Traces at a real collector: Jaeger receives the spans of two registries, and joins them to one trace.

use serde_json::Value;

use crate::harness::{Daemon, Image, Server, Terminal, free_address};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

/// Returns the address after `before` in the log.
fn logged(jaeger: &Daemon, before: &str) -> String {
    jaeger.wait_for(|log| {
        let (_, rest) = log.split_once(before)?;
        Some(rest.split_once('"')?.0.to_owned())
    })
}

/// The id of the parent of a span.
fn parent(span: &Value) -> Option<&str> {
    span["references"][0]["spanID"].as_str()
}

#[test]
fn trace_reaches_jaeger_through_two_registries() {
    let user = Terminal::open();
    // Jaeger refuses the same port, also 0, for both addresses of queries.
    let query = free_address();
    let mut arguments = vec![format!("--query.http-server.host-port={query}")];
    for name in [
        "collector.otlp.http",
        "collector.otlp.grpc",
        "collector.grpc-server",
        "collector.http-server",
        "admin.http",
    ] {
        arguments.push(format!("--{name}.host-port=127.0.0.1:0"));
    }
    arguments.push("--query.grpc-server.host-port=127.0.0.1:0".to_owned());
    let jaeger = Daemon::start(&Terminal::which("jaeger"), &arguments, &user.path("jaeger.log"));
    let collector = logged(&jaeger, r#""Starting HTTP server","endpoint":""#);
    jaeger.wait_for(|log| log.contains("Query server started").then_some(()));

    let tracing = format!("[tracing]\nendpoint = \"http://{collector}\"\nsample = \"0%\"\n");
    let upstream = Server::configured(&tracing);
    let settings =
        format!("{tracing}[[upstream]]\nname = \"up.example\"\nurl = [\"http://{}\"]\n", upstream.address());
    let cache = Server::configured(&settings);
    Image::saved(&user, "app", "traced");
    user.run(&format!(
        "skopeo copy --dest-tls-verify=false oci:app:latest docker://{}",
        upstream.at("team/app:1")
    ));
    let path = "/v2/up.example/team/app/manifests/1";
    let get = format!("curl -sSf -o manifest http://{}{path}", cache.address());
    user.run(&format!("{get} -H 'traceparent: 00-{TRACE}-{CLIENT}-01'"));
    // They export the last spans when they end.
    drop(cache.stop());
    drop(upstream.stop());

    let found = user.json(&format!("curl -sSf http://{query}/api/traces/{TRACE}"));
    let spans = found["data"][0]["spans"].as_array().expect("the trace has spans");
    let named = |name: &str| spans.iter().filter(|span| span["operationName"] == name).collect::<Vec<_>>();
    let requests = named("GET manifest");
    let at_cache =
        requests.iter().find(|span| parent(span) == Some(CLIENT)).expect("the request of the client");
    // The cache asks the upstream by a client's span, whose child is the request at the upstream.
    let asked = named("GET upstream");
    let asked = asked.iter().find(|client| {
        requests
            .iter()
            .any(|request| parent(request).is_some() && parent(request) == client["spanID"].as_str())
    });
    let mut span = *asked.unwrap_or_else(|| panic!("no request at the upstream: {found:#}"));
    while span["spanID"] != at_cache["spanID"] {
        let above = parent(span).and_then(|id| spans.iter().find(|span| span["spanID"] == id));
        span = above.unwrap_or_else(|| panic!("not below the request of the client: {found:#}"));
    }

    // The push and all else are not sampled.
    let traces = user.json(&format!("curl -sSf 'http://{query}/api/traces?service=wharfinger&limit=1000'"));
    assert_eq!(traces["data"].as_array().map(Vec::len), Some(1), "{traces:#}");
}
