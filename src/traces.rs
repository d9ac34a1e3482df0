//! Traces: exports spans by OTLP over HTTP (protobuf), if `tracing.endpoint` is set.
//!
//! Spans are those of the crate `tracing` with the target [`SPANS`], at the level TRACE. Without a collector no
//! subscriber wants them, so that a span costs the comparison of a level. The exporter has a queue and a thread of its
//! own: if the collector is slow or gone, spans are dropped, and nothing waits.

use std::sync::OnceLock;
use std::time::Duration;

use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HeaderExtractor, HeaderInjector, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SamplingResult, SdkTracerProvider, ShouldSample};
use tokio::runtime::Handle;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::{Layer, Registry};

use crate::config::Tracing;
use crate::tls::client::{self, System};
use crate::warn_limit::WarnLimit;

/// The target of all spans. Other crates of the workspace write it out.
const SPANS: &str = "wharfinger::spans";
/// The time limit of a request to the collector.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The time to export the last spans at the end.
const LAST: Duration = Duration::from_secs(2);

/// The exporter of this process.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

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
    let ratio = f64::from(tracing.sample) / 10_000.0;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(RequestSampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)))))
        .with_resource(resource.build())
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("wharfinger"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_level(false)
        .with_target(false)
        .with_context_activation(false)
        .with_filter(Targets::new().with_target(SPANS, tracing::Level::TRACE));
    // A second start is a mistake that the subscriber reports.
    let _ = PROVIDER.set(provider);
    upstream::propagate_traces(inject);
    Ok(Some(Box::new(layer)))
}

/// Exports the last spans, for a short time.
pub(crate) async fn stop() {
    if let Some(provider) = PROVIDER.get() {
        // The exporter has dropped spans before if it fails here.
        let _ = tokio::task::spawn_blocking(|| provider.shutdown_with_timeout(LAST)).await;
    }
}

/// Begins the span of a request. Its parent is the one that the client names in `traceparent`.
pub(crate) fn request_span(
    method: &Method,
    route: &'static str,
    path: &str,
    id: &HeaderValue,
    headers: &HeaderMap,
) -> Span {
    let span = tracing::trace_span!(
        target: SPANS,
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
    if !span.is_disabled() {
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        // It fails only for a span that has begun.
        let _ = span.set_parent(parent);
    }
    span
}

/// Adds the context of the current span to the headers of a request to another server.
pub(crate) fn inject(headers: &mut HeaderMap) {
    if PROVIDER.get().is_some() {
        TraceContextPropagator::new()
            .inject_context(&Span::current().context(), &mut HeaderInjector(headers));
    }
}

/// Samples requests to this server and to others. The reads and writes of background tasks belong to no trace.
#[derive(Clone, Debug)]
struct RequestSampler(Sampler);

impl ShouldSample for RequestSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let has_parent = parent.is_some_and(|parent| parent.span().span_context().is_valid());
        let sampler = if has_parent || *kind != SpanKind::Internal { &self.0 } else { &Sampler::AlwaysOff };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
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
