//! Metrics of every layer: counters, gauges and histograms, and their text in the format of OpenMetrics.
//!
//! A layer keeps its metrics in a struct of handles, changes them where it works, and has a function that
//! adds them to [`Metrics`]. A handle is one atomic, so that no request looks a name up. Labels hold fixed
//! words only: names of repositories, accounts and addresses are private, and would make a series each.

pub mod histogram;
mod jobs;
mod labelled;
mod striped;

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::registry::{Metric, Registry};

pub use histogram::{Histogram, LATENCY, SIZES};
pub use jobs::{Job, JobStatus, Jobs};
pub use labelled::Labelled;
pub use prometheus_client::collector::Collector;
pub use prometheus_client::encoding;
pub use prometheus_client::metrics::MetricType;
pub use prometheus_client::metrics::counter::{ConstCounter, Counter};
pub use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
pub use striped::{STRIPES, StripedCounter, stripe};

/// A gauge of seconds, ratios and other fractions.
pub type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// The media type of [`Metrics::encode`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The prefix of every name, except for those that other programs share (`process_…`).
const PREFIX: &str = "wharfinger_";

/// The metrics that a scrape returns.
#[derive(Debug, Default)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metric. The name of a counter has no `_total`, which the text gets.
    pub fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.registry.register(format!("{PREFIX}{name}"), without_stop(help), metric);
    }

    /// Adds a metric whose name has no prefix.
    pub fn add_shared(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.registry.register(name, without_stop(help), metric);
    }

    /// Adds a gauge whose value is computed at each scrape. `None` leaves it out.
    pub fn add_computed(
        &mut self,
        name: &'static str,
        help: &'static str,
        value: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        self.add_collector(Computed { name: format!("{PREFIX}{name}"), help, value: Box::new(value) });
    }

    /// Adds a source of several metrics, which chooses its names itself.
    pub fn add_collector(&mut self, collector: impl Collector) {
        self.registry.register_collector(Box::new(collector));
    }

    /// Returns the present values as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(32 * 1024);
        let encoded = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        debug_assert!(encoded.is_ok(), "a metric cannot be encoded, and cuts the text: {text}");
        text
    }
}

/// Returns a name with the prefix of all metrics, for a [`Collector`].
#[must_use]
pub fn prefixed(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// The encoder adds a full stop.
fn without_stop(help: &str) -> &str {
    help.strip_suffix('.').unwrap_or(help)
}

struct Computed {
    name: String,
    help: &'static str,
    value: Box<dyn Fn() -> Option<f64> + Send + Sync>,
}

impl fmt::Debug for Computed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Computed").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for Computed {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(value) = (self.value)() else { return Ok(()) };
        let gauge = ConstGauge::new(value);
        gauge.encode(encoder.encode_descriptor(
            &self.name,
            without_stop(self.help),
            None,
            MetricType::Gauge,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_prefix_help_and_labels() {
        let mut metrics = Metrics::new();
        let sign_ins: Labelled<Counter> = Labelled::new("result", &["accepted", "wrong"]);
        metrics.add("sign_ins", "Sign-ins by result.", sign_ins.clone());
        metrics.add_computed("open", "Open things", || Some(2.5));
        metrics.add_computed("unknown", "Nothing", || None);
        sign_ins.of("wrong").inc();
        let text = metrics.encode();
        for line in [
            "# HELP wharfinger_sign_ins Sign-ins by result.",
            "# TYPE wharfinger_sign_ins counter",
            "wharfinger_sign_ins_total{result=\"accepted\"} 0",
            "wharfinger_sign_ins_total{result=\"wrong\"} 1",
            "wharfinger_open 2.5",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("unknown"), "{text}");
    }

    #[test]
    fn histogram_buckets_are_cumulative() {
        let mut metrics = Metrics::new();
        let commits = Histogram::new(&[0.001, 0.1]);
        metrics.add("commit_seconds", "Commits", commits.clone());
        for seconds in [0.001, 0.05, 3.0] {
            commits.observe(seconds);
        }
        let text = metrics.encode();
        for line in [
            "wharfinger_commit_seconds_bucket{le=\"0.001\"} 1",
            "wharfinger_commit_seconds_bucket{le=\"0.1\"} 2",
            "wharfinger_commit_seconds_bucket{le=\"+Inf\"} 3",
            "wharfinger_commit_seconds_count 3",
            "wharfinger_commit_seconds_sum 3.051",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn job_reports_progress_and_last_success() {
        let mut metrics = Metrics::new();
        let jobs = Jobs::default();
        let collection = jobs.job("garbage-collection");
        metrics.add_collector(jobs.clone());
        collection.started();
        collection.progress(7);
        let running = metrics.encode();
        assert!(running.contains("wharfinger_job_running{kind=\"garbage-collection\"} 1"), "{running}");
        assert!(running.contains("wharfinger_job_progress{kind=\"garbage-collection\"} 7"), "{running}");
        assert!(!running.contains("last_success"), "{running}");
        collection.succeeded();
        collection.started();
        collection.failed();
        let status = jobs.status();
        assert_eq!(
            (status[0].kind, status[0].running, status[0].is_failing),
            ("garbage-collection", 0, true)
        );
        assert!(status[0].last_success.is_some());
        let ended = metrics.encode();
        for part in [
            "wharfinger_job_running{kind=\"garbage-collection\"} 0",
            "wharfinger_job_failing{kind=\"garbage-collection\"} 1",
            "wharfinger_job_last_success_timestamp_seconds{kind=\"garbage-collection\"} 1",
            "wharfinger_job_runs_total{kind=\"garbage-collection\",result=\"failed\"} 1",
            "wharfinger_job_runs_total{kind=\"garbage-collection\",result=\"succeeded\"} 1",
        ] {
            assert!(ended.contains(part), "{part} is missing in\n{ended}");
        }
    }

    #[test]
    fn striped_counter_adds_up_over_threads() {
        let counter = StripedCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| (0..100).for_each(|_| counter.inc()));
            }
        });
        assert_eq!(counter.get(), 1200);
    }
}
