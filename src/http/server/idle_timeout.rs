//! Patience: how long to wait for the other side before giving up.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A time limit that starts anew with each bit of progress, and is hardly ever reached.
///
/// Progress comes thousands of times a second and costs nothing here: the timer is not moved, only the note of when
/// the waiting began is dropped. When the timer goes off, it is looked up whether the wait has been as long as it
/// seems, and if not the timer is set again for the rest.
#[derive(Debug)]
pub(crate) struct IdleTimeout {
    limit: Duration,
    since: Option<Instant>,
    /// Set to the end of this wait or of an earlier one, so never too late.
    timer: Option<Pin<Box<Sleep>>>,
}

impl IdleTimeout {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, since: None, timer: None }
    }

    /// What was waited for has come; the next wait is a new one.
    pub(crate) fn progress(&mut self) {
        self.since = None;
    }

    /// Ready when the wait has been too long. To be called whenever there is nothing to do but wait; the first call
    /// after progress begins the wait.
    pub(crate) fn poll_exhausted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        // A limit beyond the end of time is none.
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
    async fn it_ends_after_the_limit() {
        let mut idle_timeout = IdleTimeout::new(LIMIT);
        let start = Instant::now();
        poll_fn(|cx| idle_timeout.poll_exhausted(cx)).await;
        assert!(start.elapsed() >= LIMIT && start.elapsed() < LIMIT + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn progress_begins_it_anew() {
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
