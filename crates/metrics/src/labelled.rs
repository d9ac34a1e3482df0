//! Metrics with one label of a few fixed values, all of which exist from the start, so that rates have no
//! gap.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A metric for each value of a label. Clones share their values.
#[derive(Debug)]
pub struct Labelled<M> {
    label: &'static str,
    values: &'static [&'static str],
    metrics: Arc<[M]>,
}

impl<M> Clone for Labelled<M> {
    fn clone(&self) -> Self {
        Self { label: self.label, values: self.values, metrics: self.metrics.clone() }
    }
}

impl<M: Default> Labelled<M> {
    /// Makes a metric for each of these values, of which there is at least one.
    #[must_use]
    pub fn new(label: &'static str, values: &'static [&'static str]) -> Self {
        Self { label, values, metrics: values.iter().map(|_| M::default()).collect() }
    }
}

impl<M> Labelled<M> {
    /// Returns the metric of a value. An unknown value is a mistake in the program and counts as the last
    /// one.
    #[must_use]
    pub fn of(&self, value: &str) -> &M {
        let known = self.values.iter().position(|known| *known == value);
        debug_assert!(known.is_some(), "{value} is no value of {}", self.label);
        &self.metrics[known.unwrap_or(self.values.len() - 1)]
    }
}

impl<M: EncodeMetric + TypedMetric> EncodeMetric for Labelled<M> {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        for (value, metric) in self.values.iter().zip(&*self.metrics) {
            metric.encode(encoder.encode_family(&[(self.label, *value)])?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}
