//! The delivery task: enqueues the deliveries of new events, and runs a sender for each webhook.
//!
//! Deliveries of one repository are sent in their order. A refused delivery holds back its repository; a
//! receiver that is unwell holds back its webhook. Both wait with exponential backoff and jitter. No sender
//! waits for another.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use registry::Registry;
use registry::events::Event;
use registry::records::{DeliveryRecord, DeliveryState};
use registry::webhooks::Webhook;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Attempt, Receiver, Waker, Webhooks};

/// The number of deliveries that a sender reads at a time.
const WINDOW: usize = 256;
/// The number of repositories whose deliveries are sent at a time.
const PARALLEL: usize = 8;
/// The first delay after a failure.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(10 * 60);
/// The delay after an error of the store.
const RETRY: Duration = Duration::from_secs(5);
/// The time in which changes gather before they are enqueued.
const GATHER: Duration = Duration::from_millis(50);

/// The answer of a delivery that was not sent.
const NO_RIGHTS: &str =
    "not sent: the webhook's account may not pull and administer this repository any more";

/// Keeps changes for the webhooks, before the first request can make one.
pub(crate) async fn prepare(webhooks: &Webhooks, registry: &Registry) {
    let prepared = async {
        match webhooks.receivers(registry).await?.is_empty() {
            true => Ok(()),
            false => registry.keep_for_deliveries().await,
        }
    };
    if let Err(error) = prepared.await {
        tracing::warn!(%error, "cannot prepare the deliveries of webhooks; they may miss the first events");
    }
}

/// Delivers until the future is dropped.
pub(crate) async fn run(webhooks: Arc<Webhooks>, registry: Registry) {
    let mut newest = registry.watch_events();
    // Dropping the set ends the senders.
    let mut senders = JoinSet::new();
    let mut running: Vec<Arc<Receiver>> = Vec::new();
    let mut is_first = true;
    loop {
        let version = webhooks.version();
        let receivers = match webhooks.receivers(&registry).await {
            Ok(receivers) => receivers,
            Err(error) => {
                tracing::warn!(%error, "cannot read the webhooks; trying again");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let same = receivers.len() == running.len()
            && receivers.iter().zip(&running).all(|(new, old)| new.is_same(old));
        if !same || is_first {
            let hooks = all(&receivers);
            if let Err(error) = registry.prepare_deliveries(&hooks).await {
                tracing::warn!(%error, "cannot prepare the deliveries of webhooks; trying again");
                tokio::time::sleep(RETRY).await;
                continue;
            }
            senders.shutdown().await;
            let mut wakers = HashMap::new();
            for receiver in &receivers {
                let waker = Arc::new(Waker::default());
                wakers.insert(receiver.webhook.id.clone(), waker.clone());
                let sender = Sender {
                    webhooks: webhooks.clone(),
                    registry: registry.clone(),
                    receiver: receiver.clone(),
                };
                senders.spawn(async move { sender.run(&waker).await });
            }
            *webhooks.senders.lock().unwrap_or_else(PoisonError::into_inner) = wakers;
            running = receivers;
            is_first = false;
        }
        let hooks = all(&running);
        loop {
            newest.borrow_and_update();
            match registry.enqueue_deliveries(&hooks, || webhooks.version() == version).await {
                Ok(true) => {
                    let senders = webhooks.senders.lock().unwrap_or_else(PoisonError::into_inner);
                    senders.values().for_each(|sender| sender.enqueued.notify_one());
                    continue;
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot enqueue the deliveries of webhooks; trying again");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            let changed = async {
                if hooks.is_empty() {
                    std::future::pending::<()>().await;
                }
                // An error means that the metadata is gone.
                _ = newest.changed().await;
                tokio::time::sleep(GATHER).await;
            };
            tokio::select! {
                () = changed => {}
                () = webhooks.wake.notified() => break,
            }
        }
    }
}

fn all(receivers: &[Arc<Receiver>]) -> Vec<Webhook> {
    receivers.iter().map(|receiver| receiver.webhook.clone()).collect()
}

/// Sends the deliveries of one webhook.
struct Sender {
    webhooks: Arc<Webhooks>,
    registry: Registry,
    receiver: Arc<Receiver>,
}

#[derive(Default)]
struct Window {
    /// The refused repositories, with the number of attempts.
    refused: Vec<(String, u32)>,
    has_delivered: bool,
}

impl Sender {
    async fn run(&self, waker: &Waker) {
        let mut failures = 0;
        let mut blocked: HashMap<String, Instant> = HashMap::new();
        loop {
            let now = Instant::now();
            blocked.retain(|_, until| *until > now);
            let except: Vec<String> = blocked.keys().cloned().collect();
            let id = &self.receiver.webhook.id;
            let pending = match self.registry.pending_deliveries(id, &except, WINDOW).await {
                Ok(pending) => pending,
                Err(error) => {
                    tracing::debug!(%error, "cannot read the deliveries of a webhook");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            if pending.is_empty() {
                if let Err(error) = self.registry.prune_deliveries(id).await {
                    tracing::debug!(%error, "cannot remove old deliveries of a webhook");
                }
                let until = blocked.values().min().copied();
                let retry = async {
                    match until {
                        Some(until) => tokio::time::sleep_until(until).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = waker.enqueued.notified() => {}
                    () = waker.retry.notified() => blocked.clear(),
                    () = retry => {}
                }
                continue;
            }
            let is_unwell = AtomicBool::new(false);
            let window = self.send_window(pending, &is_unwell).await;
            for (repository, attempts) in window.refused {
                blocked.insert(repository, Instant::now() + delay(attempts));
            }
            if is_unwell.into_inner() {
                failures = if window.has_delivered { 1 } else { failures + 1 };
                if failures == 1 {
                    tracing::warn!(
                        webhook = id.as_str(),
                        "a webhook's receiver does not answer; trying again"
                    );
                }
                tokio::select! {
                    () = tokio::time::sleep(delay(failures)) => {}
                    () = waker.retry.notified() => {
                        failures = 0;
                        blocked.clear();
                    }
                }
            } else {
                failures = 0;
            }
        }
    }

    /// Sends deliveries: those of a repository in order, those of several repositories at the same time.
    async fn send_window(&self, pending: Vec<DeliveryRecord>, is_unwell: &AtomicBool) -> Window {
        let mut groups: Vec<(String, Vec<DeliveryRecord>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for delivery in pending {
            let place = *places.entry(delivery.repository.clone()).or_insert_with(|| {
                groups.push((delivery.repository.clone(), Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(delivery);
        }
        let queue = Mutex::new(VecDeque::from(groups));
        let window = Mutex::new(Window::default());
        let worker = async || {
            loop {
                let group = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((repository, deliveries)) = group else { return };
                for delivery in deliveries {
                    if is_unwell.load(Ordering::Relaxed)
                        || !self.send(&repository, delivery, is_unwell, &window).await
                    {
                        break;
                    }
                }
            }
        };
        let workers: [_; PARALLEL] = std::array::from_fn(|_| worker());
        futures_util::future::join_all(workers).await;
        window.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a delivery, and records the attempt. Returns whether the next one of the repository may follow.
    async fn send(
        &self,
        repository: &str,
        delivery: DeliveryRecord,
        is_unwell: &AtomicBool,
        window: &Mutex<Window>,
    ) -> bool {
        let Ok(event) = serde_json::from_str::<Event>(&delivery.event) else {
            let unreadable = Some("the stored event cannot be read".to_owned());
            let recorded = self.registry.record_attempt(delivery.id, DeliveryState::Parked, None, unreadable);
            return recorded.await.is_ok();
        };
        let may_deliver = match self.registry.may_deliver(&self.receiver.webhook, &event).await {
            Ok(may_deliver) => may_deliver,
            Err(error) => {
                tracing::debug!(%error, "cannot read the rights of a webhook's account");
                is_unwell.store(true, Ordering::Relaxed);
                return false;
            }
        };
        let attempt = match may_deliver {
            true => self.webhooks.send(&self.receiver, &event).await,
            false => Attempt { status: None, answer: NO_RIGHTS.to_owned() },
        };
        let attempts = delivery.attempts + 1;
        let state = match attempt.is_delivered() {
            true => DeliveryState::Delivered,
            false if !may_deliver || attempts >= self.receiver.attempts => DeliveryState::Parked,
            false => DeliveryState::Pending,
        };
        if state == DeliveryState::Parked {
            tracing::warn!(
                webhook = self.receiver.webhook.id.as_str(),
                delivery = delivery.id,
                attempts,
                "a delivery is parked; `wharfinger webhook replay` sends it again"
            );
        }
        if may_deliver && !attempt.is_delivered() && attempt.is_unwell() {
            is_unwell.store(true, Ordering::Relaxed);
        }
        let (unwell, status) = (attempt.is_unwell(), attempt.status);
        if let Err(error) =
            self.registry.record_attempt(delivery.id, state, status, Some(attempt.answer)).await
        {
            tracing::debug!(%error, "cannot record an attempt to deliver");
            is_unwell.store(true, Ordering::Relaxed);
            return false;
        }
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            DeliveryState::Delivered => window.has_delivered = true,
            DeliveryState::Pending if !unwell => window.refused.push((repository.to_owned(), attempts)),
            _ => {}
        }
        state != DeliveryState::Pending
    }
}

/// The delay before the next attempt: it doubles, and half of it is random, so that receivers are not called
/// all at once.
fn delay(attempts: u32) -> Duration {
    let longest = longest_delay(attempts);
    let mut random = [0; 4];
    // Without random numbers the delay is the longest one.
    let share = match aws_lc_rs::rand::fill(&mut random) {
        Ok(()) => f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    };
    longest.div_f64(2.0).mul_f64(1.0 + share)
}

fn longest_delay(attempts: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::super::ATTEMPTS;
    use super::*;

    /// A delivery whose receiver is away for an hour is not parked, and arrives within ten minutes of its
    /// return.
    #[test]
    fn attempts_outlast_an_hour() {
        let shortest: Duration = (1..ATTEMPTS).map(|attempts| longest_delay(attempts) / 2).sum();
        assert!(shortest > Duration::from_secs(3600), "they end after {shortest:?}");
        assert_eq!(longest_delay(40), Duration::from_secs(600));
    }

    #[test]
    fn delay_doubles_up_to_a_limit() {
        for (attempts, most) in [(1, 1), (2, 2), (5, 16), (11, 600), (40, 600)] {
            let (most, delay) = (Duration::from_secs(most), delay(attempts));
            assert!(delay <= most && delay >= most / 2, "{attempts}: {delay:?}");
        }
    }
}
