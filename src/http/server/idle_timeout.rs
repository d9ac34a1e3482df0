//! Idle timeouts: a time limit that every progress resets.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// An idle timeout that is cheap to reset.
///
/// Progress comes thousands of times per second. It only clears the start of the wait and leaves the timer
/// alone. When the timer fires, it is set again for the rest of the current wait.
#[derive(Debug)]
pub(crate) struct IdleTimeout {
    limit: Duration,
    since: Option<Instant>,
    /// Set to the end of this wait or an earlier one, never later.
    timer: Option<Pin<Box<Sleep>>>,
}

impl IdleTimeout {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, since: None, timer: None }
    }

    /// Records progress. The next wait starts anew.
    pub(crate) fn progress(&mut self) {
        self.since = None;
    }

    /// Ready when the timeout is over. The first call after progress starts the wait.
    pub(crate) fn poll_exhausted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        // A limit beyond the range of `Instant` never ends.
        let Some(deadline) = since.checked_add(self.limit) else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn timeout_ends_after_the_limit() {
        let mut idle_timeout = IdleTimeout::new(LIMIT);
        let start = Instant::now();
        poll_fn(|cx| idle_timeout.poll_exhausted(cx)).await;
        assert!(start.elapsed() >= LIMIT && start.elapsed() < LIMIT + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn progress_restarts_the_timeout() {
        let mut idle_timeout = IdleTimeout::new(LIMIT);
        for _ in 0..5 {
            let wait = timeout(LIMIT * 9 / 10, poll_fn(|cx| idle_timeout.poll_exhausted(cx)));
            assert!(wait.await.is_err(), "it ended although there was progress");
            idle_timeout.progress();
        }
        let start = Instant::now();
        poll_fn(|cx| idle_timeout.poll_exhausted(cx)).await;
        assert!(start.elapsed() >= LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn time_between_waits_does_not_count() {
        let mut idle_timeout = IdleTimeout::new(LIMIT);
        assert!(poll_fn(|cx| Poll::Ready(idle_timeout.poll_exhausted(cx))).await.is_pending());
        idle_timeout.progress();
        advance(LIMIT * 3).await;
        assert!(poll_fn(|cx| Poll::Ready(idle_timeout.poll_exhausted(cx))).await.is_pending());
    }
}
