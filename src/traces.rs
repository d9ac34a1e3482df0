//! Traces: exports spans by OTLP over HTTP (protobuf), if `tracing.endpoint` is set.
//!
//! Spans are those of the crate `tracing` with the target [`SPANS`], at the level TRACE. Without a collector
//! no subscriber wants them, so that a span costs the comparison of a level. The exporter has a queue and a
//! thread of its own: if the collector is slow or gone, spans are dropped, and nothing waits.
//!
//! Head sampling: a request is sampled or not before its span is made. An unsampled request has no span, and
//! the filter of [`is_part_of_trace`] disables the spans of its parts, because they have no parent.

use registry::WarnLimit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HeaderInjector, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{DynFilterFn, LevelFilter, Targets};
use tracing_subscriber::layer;
use tracing_subscriber::registry::LookupSpan as _;
use tracing_subscriber::{Layer, Registry};

use crate::config::Tracing;
use crate::tls::client::{self, System};

/// The target of the parts of a trace. Other crates of the workspace write it out.
const SPANS: &str = "wharfinger::spans";
/// The target of spans that begin a trace, or go on with a client's. They are made for sampled requests
/// alone.
const ROOTS: &str = "wharfinger::spans::root";
/// The target of the mark of an unsampled request whose client has sent `traceparent`. It is not exported.
const UNSAMPLED: &str = "wharfinger::unsampled";
/// The header with the trace of a client (W3C Trace Context).
const TRACEPARENT: &str = "traceparent";
/// The time limit of a request to the collector.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The time to export the last spans at the end.
const LAST: Duration = Duration::from_secs(2);

/// The exporter of this process.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();
/// The share of requests without `traceparent` that are sampled, in hundredths of a percent.
static SAMPLE: AtomicU16 = AtomicU16::new(0);

/// The layer of the subscriber that takes the spans.
pub type TraceLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The exporter that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot export traces to {endpoint}")]
pub struct TraceError {
    endpoint: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Starts the exporter. `None` if no collector is configured. Call it once, in the runtime.
///
/// # Errors
/// [`TraceError`] if the HTTP client cannot be made.
pub fn start(tracing: &Tracing) -> Result<Option<TraceLayer>, TraceError> {
    let Some(endpoint) = &tracing.endpoint else { return Ok(None) };
    let endpoint = format!("{}/v1/traces", endpoint.as_str());
    let failed = |source| TraceError { endpoint: endpoint.clone(), source };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(Collector::new(&endpoint).map_err(failed)?)
        .with_endpoint(endpoint.clone())
        .with_timeout(TIMEOUT)
        .build()
        .map_err(|error| failed(error.into()))?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let mut resource = Resource::builder().with_attribute(version);
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("wharfinger");
    }
    set_sample(tracing.sample);
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        // Only sampled requests have spans. The parent of one may be a span of its client.
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource.build())
        .build();
    let parts = DynFilterFn::new(is_part_of_trace)
        .with_callsite_filter(|metadata| {
            if metadata.target().starts_with(SPANS) { Interest::sometimes() } else { Interest::never() }
        })
        .with_max_level_hint(LevelFilter::TRACE);
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("wharfinger"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_level(false)
        .with_target(false)
        .with_context_activation(false)
        .with_filter(parts)
        .and_then(Marks.with_filter(Targets::new().with_target(UNSAMPLED, Level::TRACE)));
    // A second start is a mistake that the subscriber reports.
    let _ = PROVIDER.set(provider);
    upstream::propagate_traces(inject);
    Ok(Some(Box::new(layer)))
}

/// Changes the share of requests that are sampled, in hundredths of a percent.
pub(crate) fn set_sample(sample: u16) {
    SAMPLE.store(sample, Ordering::Relaxed);
}

/// Whether the span belongs to a sampled request: it is the root, or has a parent.
fn is_part_of_trace(metadata: &Metadata<'_>, context: &layer::Context<'_, Registry>) -> bool {
    metadata.target() == ROOTS || (metadata.target() == SPANS && context.lookup_current().is_some())
}

/// Exports the last spans, for a short time.
pub(crate) async fn stop() {
    if let Some(provider) = PROVIDER.get() {
        // The exporter has dropped spans before if it fails here.
        let _ = tokio::task::spawn_blocking(|| provider.shutdown_with_timeout(LAST)).await;
    }
}

/// The decision about a request: head sampling, based on the parent.
enum Sampling {
    /// Sampled, below the span of the client if it has one.
    Sampled(Context),
    /// Not sampled. The `traceparent` of the client is for requests to other servers.
    Unsampled(Option<HeaderValue>),
}

impl Sampling {
    /// The client decides in `traceparent`. Without a valid one, the sample does.
    fn decide(headers: &HeaderMap, sample: u16) -> Self {
        let client = headers.get(TRACEPARENT);
        match client.and_then(|client| Some((client, Parent::parse(client.to_str().ok()?)?))) {
            Some((_, parent)) if parent.is_sampled => Self::Sampled(parent.context()),
            // The usual case behind a proxy that samples takes no allocation.
            Some((client, _)) => Self::Unsampled(Some(client.clone())),
            None if is_in_sample(sample) => Self::Sampled(Context::new()),
            None => Self::Unsampled(None),
        }
    }
}

/// The span of a client (W3C Trace Context, level 2). The propagator of OpenTelemetry refuses the flags of
/// that level.
struct Parent<'a> {
    trace: &'a str,
    span: &'a str,
    is_sampled: bool,
}

impl<'a> Parent<'a> {
    /// Parses `traceparent`. Later versions may have more fields.
    fn parse(text: &'a str) -> Option<Self> {
        let is_hex =
            |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
        let is_id = |part: &&str| is_hex(part) && part.bytes().any(|byte| byte != b'0');
        let (version, flags) = (text.get(..2)?, text.get(53..55)?);
        let has_dashes = [2, 35, 52].iter().all(|at| text.as_bytes()[*at] == b'-');
        let has_end = text.len() == 55 || (version != "00" && text.as_bytes()[55] == b'-');
        if !is_hex(version) || version == "ff" || !is_hex(flags) || !has_dashes || !has_end {
            return None;
        }
        let (trace, span) = (text.get(3..35).filter(is_id)?, text.get(36..52).filter(is_id)?);
        let is_sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        Some(Self { trace, span, is_sampled })
    }

    fn context(&self) -> Context {
        let trace = TraceId::from_hex(self.trace).unwrap_or(TraceId::INVALID);
        let span = SpanId::from_hex(self.span).unwrap_or(SpanId::INVALID);
        let flags = if self.is_sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        let parent = SpanContext::new(trace, span, flags, true, TraceState::default());
        Context::new().with_remote_span_context(parent)
    }
}

/// Draws whether a trace is sampled, as the probability in hundredths of a percent says.
fn is_in_sample(sample: u16) -> bool {
    let drawn = RandomIdGenerator::default().new_span_id().to_bytes();
    u64::from_be_bytes(drawn) % 10_000 < u64::from(sample)
}

/// Whether a trace that this server begins is sampled.
fn begins_trace() -> bool {
    PROVIDER.get().is_some() && is_in_sample(SAMPLE.load(Ordering::Relaxed))
}

/// Begins the span of a request, if it is sampled. Its parent is the one that the client names in
/// `traceparent`.
pub(crate) fn request_span(
    method: &Method,
    route: &'static str,
    path: &str,
    id: &HeaderValue,
    headers: &HeaderMap,
) -> Span {
    if PROVIDER.get().is_none() {
        return Span::none();
    }
    let parent = match Sampling::decide(headers, SAMPLE.load(Ordering::Relaxed)) {
        Sampling::Sampled(parent) => parent,
        Sampling::Unsampled(None) => return Span::none(),
        Sampling::Unsampled(Some(client)) => return mark(client),
    };
    let span = tracing::trace_span!(
        target: ROOTS,
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        http.request.method = %method,
        http.route = route,
        url.path = path,
        http.response.status_code = tracing::field::Empty,
        request.id = id.to_str().unwrap_or_default(),
    );
    // It fails only for a span that has begun.
    let _ = span.set_parent(parent);
    span
}

/// Begins the span of a delivery to a webhook, a trace of its own, if it is sampled.
pub(crate) fn webhook_span(webhook: &str) -> Span {
    if begins_trace() {
        tracing::trace_span!(target: ROOTS, "webhook", otel.kind = "client", webhook.id = webhook)
    } else {
        Span::none()
    }
}

/// Begins the span of a part of a request. It is disabled if the request is not sampled.
pub(crate) fn authorization_span(request: &Span) -> Span {
    if request.is_disabled() {
        return Span::none();
    }
    // The filter takes the current span for the parent.
    request.in_scope(|| tracing::trace_span!(target: SPANS, "authorization"))
}

/// The layer of marks: it wants them, so that the registry of spans keeps them.
struct Marks;

impl Layer<Registry> for Marks {}

/// The `traceparent` of an unsampled request.
struct Client(HeaderValue);

/// A span that carries the `traceparent` of a client to the requests that this server sends.
fn mark(client: HeaderValue) -> Span {
    let span = tracing::trace_span!(target: UNSAMPLED, "unsampled");
    span.with_subscriber(|(id, subscriber)| {
        if let Some(span) = subscriber.downcast_ref::<Registry>().and_then(|spans| spans.span(id)) {
            span.extensions_mut().insert(Client(client));
        }
    });
    span
}

/// The `traceparent` that the mark of the current request carries.
fn marked(span: &Span) -> Option<HeaderValue> {
    let found = span.with_subscriber(|(id, subscriber)| {
        let span = subscriber.downcast_ref::<Registry>()?.span(id)?;
        span.scope().find_map(|span| span.extensions().get::<Client>().map(|client| client.0.clone()))
    });
    found.flatten()
}

/// Adds the context of the current span to the headers of a request to another server. The context of an
/// unsampled request says so, so that the other server samples no part of it.
pub(crate) fn inject(headers: &mut HeaderMap) {
    if PROVIDER.get().is_none() {
        return;
    }
    let span = Span::current();
    let mut context = span.context();
    if !context.span().span_context().is_valid() {
        if let Some(client) = marked(&span) {
            headers.insert(TRACEPARENT, client);
            return;
        }
        let (ids, state) = (RandomIdGenerator::default(), TraceState::default());
        let unsampled =
            SpanContext::new(ids.new_trace_id(), ids.new_span_id(), TraceFlags::NOT_SAMPLED, false, state);
        context = Context::new().with_remote_span_context(unsampled);
    }
    TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(headers));
    // A client's state is for its own tracing system, and not for third parties.
    headers.remove("tracestate");
}

/// The HTTP client of the exporter. Its thread has no runtime, so that requests run on that of the server.
#[derive(Debug)]
struct Collector {
    client: reqwest::Client,
    runtime: Handle,
    failed: WarnLimit,
    endpoint: String,
}

impl Collector {
    fn new(endpoint: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(client::config(Vec::new(), System::Trusted)?)
            .timeout(TIMEOUT)
            .user_agent(concat!("wharfinger/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let runtime = Handle::try_current()?;
        Ok(Self { client, runtime, failed: WarnLimit::new(), endpoint: endpoint.to_owned() })
    }

    fn warn(&self, error: &str) {
        if self.failed.allows() {
            tracing::warn!(
                endpoint = self.endpoint,
                error,
                "spans are dropped: the collector does not take them"
            );
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: hyper::Request<Bytes>) -> Result<hyper::Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let response = client.execute(request.try_into()?).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut answer = hyper::Response::new(response.bytes().await?);
            (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
            Ok::<_, reqwest::Error>(answer)
        });
        match sent.await {
            Ok(Ok(answer)) => {
                if !answer.status().is_success() {
                    self.warn(answer.status().as_str());
                }
                Ok(answer)
            }
            Ok(Err(error)) => {
                self.warn(&upstream::error_chain(&error));
                Err(error.into())
            }
            // The server ends.
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn decide(traceparent: &str, sample: u16) -> Sampling {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", traceparent.parse().unwrap());
        Sampling::decide(&headers, sample)
    }

    #[test]
    fn traceparent_decides_before_the_sample() {
        let header = |flags: &str| format!("00-{TRACE}-b7ad6b7169203331-{flags}");
        let later = header("01").replacen("00", "01", 1) + "-more";
        for sampled in [header("01"), header("03"), later] {
            let Sampling::Sampled(parent) = decide(&sampled, 0) else { panic!("{sampled}") };
            let parent = parent.span().span_context().clone();
            assert_eq!((parent.trace_id().to_string().as_str(), parent.is_sampled()), (TRACE, true));
        }
        for flags in ["00", "02", "fe"] {
            let Sampling::Unsampled(Some(client)) = decide(&header(flags), 10_000) else { panic!("{flags}") };
            assert_eq!(client, header(flags));
        }
    }

    #[test]
    fn sample_decides_without_a_valid_traceparent() {
        let zero = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let wrong = [
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("00-{TRACE}-0000000000000000-00"),
            format!("00-{TRACE}-b7ad6b7169203331-0g"),
            format!("00-{TRACE}-b7ad6b7169203331-00-more"),
            format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
        ];
        for header in ["", "nonsense", &zero].into_iter().chain(wrong.iter().map(String::as_str)) {
            assert!(matches!(decide(header, 0), Sampling::Unsampled(None)), "{header}");
            assert!(matches!(decide(header, 10_000), Sampling::Sampled(_)), "{header}");
        }
        assert!(matches!(Sampling::decide(&HeaderMap::new(), 0), Sampling::Unsampled(None)));
        assert!(matches!(Sampling::decide(&HeaderMap::new(), 10_000), Sampling::Sampled(_)));
    }

    #[test]
    fn sample_is_a_probability() {
        // The standard deviation is 97, and 1,000 is ten times that.
        let sampled = (0..100_000).filter(|_| is_in_sample(1_000)).count();
        assert!((9_000..11_000).contains(&sampled), "{sampled}");
    }
}
