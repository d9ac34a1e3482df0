//! State of upstreams: announces that one became unreachable, asked to wait, or answers again.

use std::future::pending;
use std::sync::Arc;

use serde_json::json;
use store::metadata::ChangeKind;
use upstream::Condition;

use super::{Mirror, Upstream};

const fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::Ok => "ok",
        Condition::Limited => "limited",
        Condition::Down => "down",
    }
}

impl Mirror {
    /// Starts to announce changes of the state of all upstreams.
    pub(super) fn watch_states(&self) {
        for upstream in &self.upstreams.all {
            let (mirror, upstream) = (self.clone(), upstream.clone());
            self.spawn(async move { mirror.watch_state(&upstream).await });
        }
    }

    async fn watch_state(&self, upstream: &Arc<Upstream>) {
        let client = &upstream.settings.client;
        let mut before = Condition::Ok;
        loop {
            let now = upstream.condition();
            if now != before {
                let failures = client.upstreams().iter().filter_map(|url| url.health().last_failure);
                let last = failures.max_by_key(|(_, at)| *at);
                let reason = last.filter(|_| now == Condition::Down).map(|(reason, _)| reason);
                let detail = json!({
                    "upstream": upstream.name(),
                    "state": word(now),
                    "previous": word(before),
                    "reason": reason,
                });
                let announced = self.inner.registry.announce(ChangeKind::UpstreamState, None, detail).await;
                if let Err(error) = announced {
                    tracing::warn!(upstream = upstream.name(), %error, "cannot write the event of an upstream's new state; it is lost");
                }
                before = now;
            }
            let waits = client.upstreams().iter().filter_map(upstream::Upstream::limited_for);
            let limit_ends = async {
                match waits.min() {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = client.condition_changed() => {}
                () = limit_ends => {}
            }
        }
    }
}

impl Upstream {
    /// The best condition of its URLs: one working URL is enough.
    pub(super) fn condition(&self) -> Condition {
        let conditions: Vec<_> =
            self.settings.client.upstreams().iter().map(upstream::Upstream::condition).collect();
        [Condition::Ok, Condition::Limited]
            .into_iter()
            .find(|condition| conditions.contains(condition))
            .unwrap_or(Condition::Down)
    }
}
