//! Histograms of atomics: the histogram of prometheus-client takes a lock for each value.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds for latencies, in seconds: from an answer in memory to a blob on a slow line.
pub const LATENCY: &[f64] = &[
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    120.0, 600.0,
];
/// Upper bounds for numbers of things.
pub const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// The unit of the sum: 10⁻⁹ of the unit of the values.
const FRACTION: f64 = 1e9;

/// A histogram with fixed bounds. Clones share their values.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: &'static [f64],
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Makes a histogram with ascending upper bounds.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { bounds, buckets, sum: AtomicU64::new(0) }))
    }

    /// Counts a value, which is not negative.
    pub fn observe(&self, value: f64) {
        let Inner { bounds, buckets, sum } = &*self.0;
        buckets[bucket(bounds, value)].fetch_add(1, Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        sum.fetch_add((value * FRACTION) as u64, Ordering::Relaxed);
    }

    /// Counts the seconds of a duration.
    pub fn observe_time(&self, time: std::time::Duration) {
        self.observe(time.as_secs_f64());
    }
}

/// Returns the index of the first bound that is not below the value.
pub(crate) fn bucket(bounds: &[f64], value: f64) -> usize {
    bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len())
}

/// The type of the exemplars by bucket. There are none.
type Exemplars = HashMap<usize, Exemplar<[(&'static str, &'static str); 0], f64>>;

/// Encodes a histogram from the counts of its buckets, the last one of which has no upper bound.
///
/// # Errors
/// The errors of the encoder.
pub fn encode(encoder: &mut MetricEncoder<'_>, bounds: &[f64], counts: &[u64], sum: f64) -> fmt::Result {
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
    let exemplars: Option<&Exemplars> = None;
    encoder.encode_histogram(sum, counts.iter().sum(), &buckets, exemplars)
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let Inner { bounds, buckets, sum } = &*self.0;
        let counts: Vec<u64> = buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        encode(&mut encoder, bounds, &counts, sum.load(Ordering::Relaxed) as f64 / FRACTION)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
