//! Request metrics: counts, latencies and bytes, by endpoint, method and status class.
//!
//! Each endpoint and method has a cell of atomics, found by an index. Threads use different stripes of a
//! cell, so a manifest from memory pays for two readings of the clock and a few additions to a cache line of
//! its own.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use metrics::encoding::{DescriptorEncoder, EncodeMetric};
use metrics::{
    Collector, ConstCounter, ConstGauge, LATENCY, MetricType, STRIPES, histogram, prefixed, stripe,
};

use crate::http::extract::endpoint::Endpoint;

/// The methods with series of their own. Others share the last one.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other"];
/// The classes of statuses. `none` is a client that left before there was an answer.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
const NO_STATUS: usize = 5;
/// The label of paths that are no endpoint.
const NO_ENDPOINT: &str = "none";
const BUCKETS: usize = LATENCY.len() + 1;
/// [`LATENCY`] in nanoseconds.
const BOUNDS: [u64; LATENCY.len()] = {
    let mut bounds = [0; LATENCY.len()];
    let mut index = 0;
    while index < bounds.len() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the bounds are small")]
        {
            bounds[index] = (LATENCY[index] * 1e9) as u64;
        }
        index += 1;
    }
    bounds
};

/// The metrics of all requests to a server.
pub(crate) struct RequestMetrics {
    /// The label of each endpoint, and of no endpoint at the end. Endpoints with one label share a cell.
    labels: Vec<&'static str>,
    /// The first endpoint with the same label.
    shared: Vec<usize>,
    /// By endpoint and method; made by the first request.
    cells: Box<[OnceLock<Box<Cell>>]>,
}

/// The place of a request in the metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(usize);

/// A request that is being measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) place: Place,
    begun: Instant,
}

#[derive(Default)]
struct Cell([Stripe; STRIPES]);

/// Selects a counter of a stripe.
type StripeField = fn(&Stripe) -> &AtomicU64;

#[derive(Default)]
#[repr(align(64))]
struct Stripe {
    begun: AtomicU64,
    statuses: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

impl RequestMetrics {
    pub(crate) fn new() -> Self {
        let labels: Vec<_> = Endpoint::labels().chain([NO_ENDPOINT]).collect();
        let first = |label| labels.iter().position(|other| *other == label);
        let shared = labels.iter().map(|label| first(*label).unwrap_or_default()).collect();
        let cells = (0..labels.len() * METHODS.len()).map(|_| OnceLock::new()).collect();
        Self { labels, shared, cells }
    }

    /// Begins a request to an endpoint, or to none.
    pub(crate) fn begin(&self, endpoint: Option<&Endpoint>, method: &Method) -> Measured {
        let endpoint = endpoint.map_or(self.labels.len() - 1, Endpoint::index);
        let method = match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::PATCH => 4,
            Method::DELETE => 5,
            _ => 6,
        };
        let place = Place(self.shared[endpoint] * METHODS.len() + method);
        self.stripe(place).begun.fetch_add(1, Ordering::Relaxed);
        Measured { place, begun: Instant::now() }
    }

    /// Ends a request whose response was sent or aborted.
    pub(crate) fn end(&self, measured: Measured, status: Option<StatusCode>) {
        let elapsed = u64::try_from(measured.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let stripe = self.stripe(measured.place);
        let class = status.map_or(NO_STATUS, |status| usize::from(status.as_u16() / 100).wrapping_sub(1));
        stripe.statuses[class.min(NO_STATUS)].fetch_add(1, Ordering::Relaxed);
        let bucket = BOUNDS.iter().position(|bound| elapsed <= *bound).unwrap_or(BOUNDS.len());
        stripe.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        stripe.nanoseconds.fetch_add(elapsed, Ordering::Relaxed);
    }

    /// Counts bytes of a request body.
    pub(crate) fn received(&self, place: Place, bytes: u64) {
        self.stripe(place).received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes of a response body.
    pub(crate) fn sent(&self, place: Place, bytes: u64) {
        self.stripe(place).sent.fetch_add(bytes, Ordering::Relaxed);
    }

    fn stripe(&self, Place(place): Place) -> &Stripe {
        &self.cells[place].get_or_init(Box::default).0[stripe()]
    }

    /// The cells that have counted something, with their endpoint and method.
    fn used(&self) -> impl Iterator<Item = ([(&'static str, &'static str); 2], &Cell)> {
        self.cells.iter().enumerate().filter_map(|(place, cell)| {
            let (endpoint, method) = (self.labels[place / METHODS.len()], METHODS[place % METHODS.len()]);
            Some(([("endpoint", endpoint), ("method", method)], &**cell.get()?))
        })
    }

    /// The blob transfers under way: downloads and uploads.
    fn transfers(&self) -> [(&'static str, u64); 2] {
        let mut transfers = [("download", 0), ("upload", 0)];
        for ([(_, endpoint), (_, method)], cell) in self.used() {
            match (endpoint, method) {
                ("blob", "GET") => transfers[0].1 += cell.open(),
                ("uploads", "POST") | ("upload", "PATCH" | "PUT") => transfers[1].1 += cell.open(),
                _ => {}
            }
        }
        transfers
    }
}

impl Cell {
    fn sum(&self, counter: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
        self.0.iter().map(|stripe| counter(stripe).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }

    fn by_class(&self, class: usize) -> u64 {
        self.sum(|stripe| &stripe.statuses[class])
    }

    /// The number of requests under way.
    fn open(&self) -> u64 {
        let ended: u64 = (0..CLASSES.len()).map(|class| self.by_class(class)).sum();
        self.sum(|stripe| &stripe.begun).saturating_sub(ended)
    }
}

impl fmt::Debug for RequestMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMetrics").finish_non_exhaustive()
    }
}

impl Collector for RequestMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (counter, gauge) = (MetricType::Counter, MetricType::Gauge);
        let name = prefixed("http_requests");
        let help = "Requests by endpoint, method and class of the status; none is a client that left before an answer";
        let mut family = encoder.encode_descriptor(&name, help, None, counter)?;
        for ([endpoint, method], cell) in self.used() {
            for (class, label) in CLASSES.iter().enumerate() {
                let labels = [endpoint, method, ("status", *label)];
                ConstCounter::new(cell.by_class(class)).encode(family.encode_family(&labels)?)?;
            }
        }
        let name = prefixed("http_request_duration_seconds");
        let help = "Time from the head of a request to the end of its response";
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Histogram)?;
        for (labels, cell) in self.used() {
            let counts: Vec<u64> =
                (0..BUCKETS).map(|bucket| cell.sum(|stripe| &stripe.buckets[bucket])).collect();
            let seconds = Duration::from_nanos(cell.sum(|stripe| &stripe.nanoseconds)).as_secs_f64();
            histogram::encode(&mut family.encode_family(&labels)?, LATENCY, &counts, seconds)?;
        }
        let bytes: [(&str, &str, StripeField); 2] = [
            ("http_request_bytes", "Bytes of request bodies", |stripe| &stripe.received),
            ("http_response_bytes", "Bytes of response bodies", |stripe| &stripe.sent),
        ];
        for (name, help, field) in bytes {
            let name = prefixed(name);
            let mut family = encoder.encode_descriptor(&name, help, None, counter)?;
            for (labels, cell) in self.used() {
                ConstCounter::new(cell.sum(field)).encode(family.encode_family(&labels)?)?;
            }
        }
        let as_gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let name = prefixed("http_requests_in_flight");
        let mut family = encoder.encode_descriptor(&name, "Requests under way", None, gauge)?;
        for (labels, cell) in self.used() {
            as_gauge(cell.open()).encode(family.encode_family(&labels)?)?;
        }
        let name = prefixed("blob_transfers");
        let mut family = encoder.encode_descriptor(&name, "Blob transfers under way", None, gauge)?;
        for (direction, open) in self.transfers() {
            as_gauge(open).encode(family.encode_family(&[("direction", direction)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use metrics::Metrics;

    use super::*;

    fn text(requests: &Arc<RequestMetrics>) -> String {
        let mut metrics = Metrics::new();
        metrics.add_collector(requests.clone());
        metrics.encode()
    }

    #[test]
    fn request_counts_once_with_its_bytes() {
        let requests = Arc::new(RequestMetrics::new());
        let endpoint = Endpoint::parse("/v2/secret/app/blobs/uploads/").unwrap();
        let measured = requests.begin(Some(&endpoint), &Method::POST);
        requests.received(measured.place, 300);
        let during = text(&requests);
        assert!(during.contains("wharfinger_blob_transfers{direction=\"upload\"} 1"), "{during}");
        requests.end(measured, Some(StatusCode::CREATED));
        let after = text(&requests);
        let labels = "endpoint=\"uploads\",method=\"POST\"";
        for line in [
            format!("wharfinger_http_requests_total{{{labels},status=\"2xx\"}} 1"),
            format!("wharfinger_http_requests_total{{{labels},status=\"5xx\"}} 0"),
            format!("wharfinger_http_request_bytes_total{{{labels}}} 300"),
            format!("wharfinger_http_requests_in_flight{{{labels}}} 0"),
            format!("wharfinger_http_request_duration_seconds_count{{{labels}}} 1"),
        ] {
            assert!(after.lines().any(|found| found == line), "{line} is missing in\n{after}");
        }
        assert!(!after.contains("secret"), "{after}");
    }

    #[test]
    fn statuses_and_methods_have_bounded_labels() {
        let requests = Arc::new(RequestMetrics::new());
        let odd = Method::from_bytes(b"BREW").unwrap();
        requests.end(requests.begin(None, &odd), StatusCode::from_u16(999).ok());
        requests.end(requests.begin(None, &odd), None);
        let text = text(&requests);
        let line = "wharfinger_http_requests_total{endpoint=\"none\",method=\"other\",status=\"none\"} 2";
        assert!(text.contains(line), "{text}");
    }
}
