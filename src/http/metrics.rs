//! `/metrics`: counters, gauges and histograms for Prometheus.
//!
//! The listener of `metrics.listen` answers everyone who reaches it. The main port answers administrators,
//! and only while it listens on a loopback address: a port for clients is no place for figures of the whole
//! registry.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use metrics::encoding::{DescriptorEncoder, EncodeMetric};
use metrics::{
    Collector, ConstCounter, ConstGauge, Counter, Gauge, Labelled, MEDIA_TYPE, MetricType, Metrics,
};
use registry::Registry;
use registry::mirror::Mirror;

use crate::http::body::Body;
use crate::http::middleware::request_metrics::RequestMetrics;
use crate::http::response::Response;
use crate::tls::Acceptor;

/// The listeners of a server.
const LISTENERS: &[&str] = &["listen", "tls.redirect", "metrics.listen", "control"];
/// The limits of `limits.requests_per_…`.
const RATE_LIMITS: &[&str] = &["address", "account"];

pub(crate) struct ServerMetrics {
    pub(crate) requests: Arc<RequestMetrics>,
    /// Open connections by listener.
    pub(crate) connections: Labelled<Gauge>,
    /// Requests that a rate limit refused.
    pub(crate) rate_limited: Labelled<Counter>,
    certificate: Arc<OnceLock<Acceptor>>,
    mirror: Arc<ArcSwapOption<Mirror>>,
    all: Metrics,
    registry: Registry,
    /// Whether administrators may read them on the main port.
    pub(super) on_main_port: bool,
}

impl ServerMetrics {
    pub(crate) fn new(registry: &Registry, mirror: Option<&Mirror>, listen: SocketAddr) -> Self {
        let mut all = Metrics::new();
        let requests = Arc::new(RequestMetrics::new());
        let connections = Labelled::new("listener", LISTENERS);
        let rate_limited = Labelled::new("limit", RATE_LIMITS);
        let certificate = Arc::new(OnceLock::<Acceptor>::new());
        all.add_collector(BuildInfo);
        all.add_collector(requests.clone());
        all.add("connections", "Open connections by listener", connections.clone());
        all.add("rate_limited_requests", "Requests that a rate limit refused", rate_limited.clone());
        registry.register_metrics(&mut all);
        let mirror = Arc::new(ArcSwapOption::from_pointee(mirror.cloned()));
        all.add_collector(Upstreams(mirror.clone()));
        let help = "Time at which the certificate of HTTPS expires, since 1970";
        let acceptor = certificate.clone();
        all.add_computed("certificate_expiry_timestamp_seconds", help, move || {
            acceptor.get().and_then(Acceptor::expiry).map(|time| time as f64)
        });
        all.add_collector(Process::new());
        let on_main_port = listen.ip().to_canonical().is_loopback();
        Self {
            requests,
            connections,
            rate_limited,
            certificate,
            mirror,
            all,
            registry: registry.clone(),
            on_main_port,
        }
    }

    /// Adds the expiry of the certificate.
    pub(crate) fn set_certificate(&self, tls: Acceptor) {
        // A server has one certificate.
        let _ = self.certificate.set(tls);
    }

    /// Replaces the upstreams.
    pub(crate) fn set_mirror(&self, mirror: Option<&Mirror>) {
        self.mirror.store(mirror.cloned().map(Arc::new));
    }

    /// Returns the answer to a scrape.
    pub(crate) async fn scrape(&self) -> Response {
        self.registry.refresh_metrics().await;
        let mut response = Response::new(Body::full(self.all.encode()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response
    }
}

/// The metrics of the upstreams, if there are any.
#[derive(Debug)]
struct Upstreams(Arc<ArcSwapOption<Mirror>>);

impl Collector for Upstreams {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        match self.0.load().as_deref() {
            Some(mirror) => mirror.encode(encoder),
            None => Ok(()),
        }
    }
}

/// Version, commit and schema of the program, as labels of a constant.
#[derive(Debug)]
struct BuildInfo;

impl Collector for BuildInfo {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (name, help) = (metrics::prefixed("build_info"), "Version of the program");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        let schema = registry::SCHEMA_VERSION.to_string();
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("commit", crate::build::COMMIT.unwrap_or("unknown")),
            ("schema", &schema),
        ];
        ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)
    }
}

/// The metrics of a process that other exporters have too, from `/proc/self`.
#[derive(Debug)]
struct Process {
    started: f64,
}

impl Process {
    fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Self { started }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| -> fmt::Result {
            let Some(value) = value else { return Ok(()) };
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge(
            "process_start_time_seconds",
            "Time of the start of the server since 1970",
            Some(self.started),
        )?;
        gauge("process_resident_memory_bytes", "Memory that the process holds", memory_bytes())?;
        gauge("process_open_fds", "Open file descriptors", count_entries("/proc/self/fd"))?;
        gauge("process_threads", "Threads", count_entries("/proc/self/task"))?;
        let Some(seconds) = cpu_seconds() else { return Ok(()) };
        let help = "CPU time of the process";
        ConstCounter::new(seconds).encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            help,
            None,
            MetricType::Counter,
        )?)
    }
}

fn count_entries(directory: &str) -> Option<f64> {
    Some(fs::read_dir(directory).ok()?.count() as f64)
}

/// Reads VmRSS, in kilobytes (proc(5)).
fn memory_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

/// Reads utime and stime, fields 14 and 15 of `/proc/self/stat`. The name before them may contain spaces.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    // SAFETY: sysconf reads a constant and takes no pointer.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    (ticks > 0).then(|| (user + system) / ticks as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_metrics_are_read_from_proc() {
        let mut metrics = Metrics::new();
        metrics.add_collector(Process::new());
        let text = metrics.encode();
        for name in ["process_resident_memory_bytes ", "process_open_fds ", "process_cpu_seconds_total "] {
            let value = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{name}{value}");
        }
    }
}
