//! Metrics of the upstreams. The label is the name of the upstream, which the operator chose.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::encoding::{DescriptorEncoder, EncodeMetric};
use metrics::{Collector, ConstCounter, ConstGauge, MetricType, prefixed};

use upstream::Condition;

use super::{Mirror, Upstream};

impl fmt::Debug for Mirror {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mirror").finish_non_exhaustive()
    }
}

impl Mirror {
    /// Encodes one series for each upstream and word.
    fn family(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help, kind): (&str, &str, MetricType),
        label: &str,
        values: impl Fn(&Upstream) -> Vec<(&'static str, u64)>,
    ) -> fmt::Result {
        let name = prefixed(name);
        let mut family = encoder.encode_descriptor(&name, help, None, kind)?;
        for upstream in &self.upstreams.all {
            for (word, value) in values(upstream) {
                let labels = [("upstream", upstream.name()), (label, word)];
                let labels = if label.is_empty() { &labels[..1] } else { &labels[..] };
                let encoder = family.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => ConstCounter::new(value).encode(encoder)?,
                    _ => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)?,
                }
            }
        }
        Ok(())
    }
}

impl Collector for Mirror {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let encoder = &mut encoder;
        let answers = "Answers to pulls of cached repositories, by source";
        self.family(encoder, ("upstream_answers", answers, MetricType::Counter), "source", |upstream| {
            let counters = &upstream.counters;
            vec![
                ("cache", value(&counters.hits)),
                ("upstream", value(&counters.misses)),
                ("stale", value(&counters.stale)),
            ]
        })?;
        let requests = "Requests to upstreams, by their purpose";
        self.family(encoder, ("upstream_requests", requests, MetricType::Counter), "purpose", |upstream| {
            let counters = &upstream.counters;
            vec![("fetch", value(&counters.fetches)), ("revalidate", value(&counters.revalidations))]
        })?;
        let bytes = "Content received from upstreams";
        self.family(encoder, ("upstream_received_bytes", bytes, MetricType::Counter), "", |upstream| {
            vec![("", value(&upstream.counters.bytes))]
        })?;
        let failures = "Failed requests to upstreams, by reason";
        self.family(encoder, ("upstream_failures", failures, MetricType::Counter), "reason", |upstream| {
            let health = upstream.settings.client.upstreams().iter().map(upstream::Upstream::health);
            let (mut failed, mut limited) = (0, 0);
            for health in health {
                failed += health.failures;
                limited += health.limited;
            }
            vec![("failed", failed), ("limited", limited)]
        })?;
        let up = "Whether an upstream is called: 0 after failures in a row, or while it asks to wait";
        self.family(encoder, ("upstream_up", up, MetricType::Gauge), "", |upstream| {
            vec![("", u64::from(upstream.condition() == Condition::Ok))]
        })?;
        let rest = "Requests that the rate limit of an upstream leaves, if it says so";
        self.family(encoder, ("upstream_rate_limit_remaining", rest, MetricType::Gauge), "", |upstream| {
            let mut urls = upstream.settings.client.upstreams().iter();
            urls.find_map(|url| url.health().remaining).map(|rest| ("", rest)).into_iter().collect()
        })?;
        let fills = "Blobs that are being fetched";
        self.family(encoder, ("upstream_fills", fills, MetricType::Gauge), "", |upstream| {
            vec![("", self.fills_of(upstream))]
        })
    }
}
