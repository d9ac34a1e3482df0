//! Traces: spans at a receiver of OTLP over HTTP, and `traceparent` from clients and to other servers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::{Registry, pusher};

/// A deadline for a busy machine.
const LONG: Duration = Duration::from_secs(30);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A request that a receiver got.
#[derive(Clone, Debug)]
struct Received {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// An HTTP server that keeps all requests, and answers each with a status.
struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    fn answering(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = received.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = kept.clone();
                // A connection ends with its client.
                std::thread::spawn(move || serve(stream.unwrap(), status, &kept));
            }
        });
        Self { address, received }
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The spans of all exports, with the name of their service.
    fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for request in self.received() {
            assert_eq!(request.path, "/v1/traces");
            assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
            let export = ExportTraceServiceRequest::decode(&request.body[..]).unwrap();
            for resource in export.resource_spans {
                let service = resource.resource.unwrap().attributes;
                let service = service.iter().find(|attribute| attribute.key == "service.name").unwrap();
                assert_eq!(text(service.value.as_ref().unwrap().value.as_ref()), "wharfinger");
                spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        spans
    }
}

/// Reads one request after the other. Returns when the client closes the connection.
fn serve(stream: TcpStream, status: &str, kept: &Mutex<Vec<Received>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        reader.read_line(&mut first).ok().filter(|length| *length > 0)?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
        let path = first.split(' ').nth(1)?.to_owned();
        let mut request = Received { path, headers, body: Vec::new() };
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        request.body = vec![0; length];
        reader.read_exact(&mut request.body).ok()?;
        kept.lock().unwrap().push(request);
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    Some(text(found.value.as_ref()?.value.as_ref()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends a GET within the sampled trace of the test, and returns the status.
fn get_traced(registry: &Registry, path: &str) -> u16 {
    get_with_flags(registry, path, "01")
}

/// Sends a GET with a `traceparent`, and returns the status.
fn get_with_flags(registry: &Registry, path: &str, flags: &str) -> u16 {
    let request = reqwest::Client::new()
        .get(format!("{}{path}", registry.url()))
        .header("traceparent", format!("00-{TRACE}-{PARENT}-{flags}"))
        .header("tracestate", "vendor=secret");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { request.send().await.unwrap().status().as_u16() })
}

/// Settings that trace only requests that ask for it.
fn settings(collector: SocketAddr) -> String {
    format!("[tracing]\nendpoint = \"http://{collector}\"\nsample = \"0%\"\n")
}

#[test]
fn trace_has_the_parts_of_a_request() {
    let collector = Receiver::answering("200 OK");
    let mut registry = Registry::configured(&settings(collector.address));
    let image = pusher::describe(1);
    assert_eq!(get_traced(&registry, "/v2/team/app-1/manifests/absent"), 404);
    assert_eq!(get_traced(&registry, &format!("/v2/team/app-1/blobs/{}", image.blobs[1])), 200);
    registry.server.take().unwrap().0.stop();

    let spans = collector.spans();
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "only traced requests: {spans:#?}");
    let root = |route: &str| {
        let root = spans.iter().find(|span| attribute(span, "http.route").as_deref() == Some(route));
        root.unwrap_or_else(|| panic!("{route}: {spans:#?}"))
    };
    let (manifest, blob) = (root("manifest"), root("blob"));
    assert_eq!(hex(&manifest.parent_span_id), PARENT);
    assert_eq!(attribute(manifest, "http.response.status_code").as_deref(), Some("404"));
    assert_eq!(attribute(manifest, "url.path").as_deref(), Some("/v2/team/app-1/manifests/absent"));
    let child = |parent: &Span, name: &str| {
        let found = spans.iter().any(|span| span.name == name && span.parent_span_id == parent.span_id);
        assert!(found, "{name}: {spans:#?}");
    };
    child(manifest, "authorization");
    child(manifest, "metadata.read");
    child(blob, "blob.open");
}

#[test]
fn trace_of_a_push_has_its_writes() {
    let collector = Receiver::answering("200 OK");
    let all = format!("[tracing]\nendpoint = \"http://{}\"\n", collector.address);
    let mut registry = Registry::configured(&all);
    registry.server.take().unwrap().0.stop();
    let spans = collector.spans();
    for name in ["blob.receive", "blob.commit", "metadata.write"] {
        let parts: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
        assert!(!parts.is_empty(), "{name}: {spans:#?}");
        for part in parts {
            let parent = spans.iter().find(|other| other.span_id == part.parent_span_id);
            // The work of background tasks is in no trace.
            assert!(parent.is_some(), "{part:?}");
        }
    }
}

#[test]
fn traceparent_goes_to_upstreams_and_webhooks() {
    let (collector, upstream) = (Receiver::answering("200 OK"), Receiver::answering("404 Not Found"));
    let hook = Receiver::answering("204 No Content");
    let settings = format!(
        "[[upstream]]\nname = \"up.example\"\nurl = [\"http://{}\"]\n\
         [[webhook]]\nurl = \"http://{}/hook\"\nevents = [\"push\"]\nallow_private = true\n\
         [tracing]\nendpoint = \"http://{}\"\n",
        upstream.address, hook.address, collector.address
    );
    let mut registry = Registry::configured(&settings);
    assert_eq!(get_traced(&registry, "/v2/up.example/team/app/manifests/v1"), 404);
    let begun = Instant::now();
    while hook.received().is_empty() {
        assert!(begun.elapsed() < LONG, "the webhook is not called");
        std::thread::sleep(Duration::from_millis(20));
    }
    registry.server.take().unwrap().0.stop();

    let spans = collector.spans();
    for (receiver, name) in [(&upstream, " upstream"), (&hook, "webhook")] {
        let called = &receiver.received()[0];
        let header = called.header("traceparent").unwrap_or_else(|| panic!("{called:?}"));
        let parts: Vec<&str> = header.split('-').collect();
        let client = spans.iter().find(|span| hex(&span.span_id) == parts[2]);
        let client = client.unwrap_or_else(|| panic!("{header}: {spans:#?}"));
        assert!(client.name.ends_with(name), "{client:?}");
        assert_eq!(hex(&client.trace_id), parts[1]);
    }
    for call in upstream.received() {
        assert!(call.header("traceparent").unwrap().contains(TRACE), "{call:?}");
        assert_eq!(call.header("tracestate"), None, "{call:?}");
    }
}

/// A table of an upstream, for a configuration file.
fn upstream_table(upstream: SocketAddr) -> String {
    format!("[[upstream]]\nname = \"up.example\"\nurl = [\"http://{upstream}\"]\n")
}

#[test]
fn unsampled_traceparent_goes_to_upstreams() {
    let (collector, upstream) = (Receiver::answering("200 OK"), Receiver::answering("404 Not Found"));
    let all = format!("[tracing]\nendpoint = \"http://{}\"\n", collector.address);
    let mut registry = Registry::configured(&(upstream_table(upstream.address) + &all));
    assert_eq!(get_with_flags(&registry, "/v2/up.example/team/app/manifests/v1", "00"), 404);
    registry.server.take().unwrap().0.stop();

    let calls = upstream.received();
    assert!(!calls.is_empty());
    for call in calls {
        assert_eq!(call.header("traceparent"), Some(&*format!("00-{TRACE}-{PARENT}-00")), "{call:?}");
        assert_eq!(call.header("tracestate"), None, "{call:?}");
    }
    // The push of the harness is sampled.
    let spans = collector.spans();
    assert!(!spans.is_empty() && spans.iter().all(|span| hex(&span.trace_id) != TRACE), "{spans:#?}");
}

#[test]
fn unsampled_request_has_no_spans() {
    let (collector, upstream) = (Receiver::answering("200 OK"), Receiver::answering("404 Not Found"));
    let hook = Receiver::answering("204 No Content");
    let webhook = format!(
        "[[webhook]]\nurl = \"http://{}/hook\"\nevents = [\"push\"]\nallow_private = true\n",
        hook.address
    );
    let mut registry =
        Registry::configured(&(upstream_table(upstream.address) + &webhook + &settings(collector.address)));
    let url = format!("{}/v2/up.example/team/app/manifests/v1", registry.url());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(async { reqwest::get(url).await.unwrap().status() }), 404);
    let begun = Instant::now();
    while hook.received().is_empty() {
        assert!(begun.elapsed() < LONG, "the webhook is not called");
        std::thread::sleep(Duration::from_millis(20));
    }
    registry.server.take().unwrap().0.stop();

    assert!(collector.received().is_empty(), "{:#?}", collector.spans());
    let calls = [upstream.received(), hook.received()].concat();
    for call in &calls {
        // Another server must not sample a part of a request that this one has not sampled.
        assert!(call.header("traceparent").is_some_and(|header| header.ends_with("-00")), "{call:?}");
    }
}

#[test]
fn sample_takes_whole_requests() {
    let collector = Receiver::answering("200 OK");
    let fifth = format!("[tracing]\nendpoint = \"http://{}\"\nsample = \"20%\"\n", collector.address);
    let mut registry = Registry::configured(&fifth);
    let url = format!("{}/v2/team/app-1/manifests/absent", registry.url());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::new();
        for _ in 0..500 {
            assert_eq!(client.get(&url).send().await.unwrap().status(), 404);
        }
    });
    registry.server.take().unwrap().0.stop();

    let spans = collector.spans();
    let (roots, parts): (Vec<&Span>, Vec<&Span>) =
        spans.iter().partition(|span| span.parent_span_id.is_empty());
    assert!(roots.iter().all(|root| attribute(root, "http.route").is_some()), "{roots:#?}");
    for part in parts {
        assert!(spans.iter().any(|span| span.span_id == part.parent_span_id), "{part:#?}");
    }
    let reads: Vec<&&Span> = roots.iter().filter(|root| root.name == "GET manifest").collect();
    // The standard deviation is 9.
    assert!((40..180).contains(&reads.len()), "{}", reads.len());
    for read in reads {
        for name in ["authorization", "metadata.read"] {
            let part = spans.iter().find(|span| span.name == name && span.parent_span_id == read.span_id);
            assert!(part.is_some(), "{name}: {read:#?}");
        }
    }
}

#[test]
fn sample_changes_by_a_reload() {
    let collector = Receiver::answering("200 OK");
    let mut registry = Registry::configured(&settings(collector.address));
    let all = settings(collector.address).replace("0%", "100%");
    std::fs::write(registry.config(), all).unwrap();
    assert_eq!(registry.json("reload")["applied"], serde_json::json!(["tracing.sample"]));
    registry.says("ls");
    registry.server.take().unwrap().0.stop();
    let spans = collector.spans();
    assert!(spans.iter().any(|span| attribute(span, "http.route").is_some()), "{spans:#?}");
}

#[test]
fn collector_that_hangs_or_is_gone_delays_nothing() {
    // One accepts no connection, and the other closed its port.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [hanging.local_addr().unwrap(), gone] {
        let all = format!("[tracing]\nendpoint = \"http://{address}\"\n");
        let mut registry = Registry::configured(&all);
        let url = format!("{}/v2/team/app-1/manifests/v1", registry.url());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let client = reqwest::Client::new();
            // More spans than the queue holds.
            for _ in 0..3000 {
                assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
            }
        });
        registry.server.take().unwrap().0.stop();
        let log = std::fs::read_to_string(registry.scratch.path().join("log")).unwrap();
        let warnings = log.matches("spans are dropped").count();
        // The collector that hangs is noticed if the requests outlast the timeout of an export.
        assert!(if address == gone { warnings == 1 } else { warnings <= 1 }, "{warnings} warnings: {log}");
    }
}
