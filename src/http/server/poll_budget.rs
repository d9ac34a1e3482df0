//! Poll budget: repolls a connection that wakes itself, at most [`IN_A_ROW`] times.
//!
//! hyper passes each piece of a request body from the connection's reader to the handler, and the handler
//! wakes the reader. Both are in one task. The runtime would reschedule the task for each piece and wake
//! another thread, which may steal it from the core that has its bytes in the cache. A connection that was
//! woken while it was polled is therefore polled again at once.
//!
//! After that it yields until the runtime has polled the network. The runtime does so only every 61 tasks
//! while tasks are ready.
//!
//! Its gain beside tokio's own settings is not shown. Manifest requests (`wrk --latency`, 16 and 2
//! connections) ran beside two pushes of 200 MB. The slowest hundredth took 9.0 and 8.2 ms, and 10.1 and 10.7
//! ms without this waker. With an `event_interval` of 8 in its place it took 12.1 and 10.9 ms. These are
//! medians of three and four runs in turn on two busy cores, and single runs of one variant went from 3.4 to
//! 18.8 ms. Requests/s and the CPU of pushes (1.78 and 1.81 s/GB) do not differ. A quiet machine has to
//! decide whether it can go.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

use crate::sync::atomic::{AtomicU8, Ordering};

/// The number of polls in a row. A poll takes one piece of a body, which is some tens of microseconds.
const IN_A_ROW: usize = 2;

/// The future waits to be woken.
const WAITING: u8 = 0;
/// The future is being polled.
const POLLED: u8 = 1;
/// The future was woken and has to be polled again.
const WOKEN: u8 = 2;

/// Polls one future.
pub(crate) struct RepollWaker {
    wakes: Arc<Wakes>,
    waker: Waker,
}

/// The state of the waker that the future gets.
#[derive(Default)]
struct Wakes {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == WAITING {
            self.task.wake();
        }
    }
}

impl RepollWaker {
    pub(crate) fn new() -> Self {
        let wakes = Arc::<Wakes>::default();
        Self { waker: wakes.clone().into(), wakes }
    }

    /// Polls the future, always the same one, for the task of `cx`.
    pub(crate) fn poll<F: Future>(&self, mut future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Wakes { state, task } = &*self.wakes;
        task.register(cx.waker());
        for _ in 0..IN_A_ROW {
            // Not a store, which a processor may delay until after the reads of the poll. A wake from another
            // thread would be overwritten, and the future would wait for ever.
            state.swap(POLLED, Ordering::AcqRel);
            let outcome = future.as_mut().poll(&mut Context::from_waker(&self.waker));
            if outcome.is_ready()
                || state.compare_exchange(POLLED, WAITING, Ordering::AcqRel, Ordering::Acquire).is_ok()
            {
                return outcome;
            }
        }
        // A single poll schedules the task after the next poll of the network.
        let yielded = pin!(tokio::task::yield_now());
        let _ = yielded.poll(cx);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicU64, AtomicUsize};

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn self_wake_repolls_without_the_task() {
        let (poll_budget, counter) = (RepollWaker::new(), Arc::<Counter>::default());
        let mut polls = 0;
        let future = pin!(poll_fn(|cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls == IN_A_ROW { Poll::Ready(()) } else { Poll::Pending }
        }));
        let waker = counter.clone().into();
        assert!(poll_budget.poll(future, &mut Context::from_waker(&waker)).is_ready());
        assert_eq!((polls, counter.0.load(Ordering::Relaxed)), (IN_A_ROW, 0));
    }

    #[test]
    fn endless_self_wake_yields_and_reschedules() {
        let (poll_budget, counter) = (RepollWaker::new(), Arc::<Counter>::default());
        let mut polls = 0;
        let mut future = pin!(poll_fn(|cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        let waker = counter.clone().into();
        for _ in 0..3 {
            assert!(poll_budget.poll(future.as_mut(), &mut Context::from_waker(&waker)).is_pending());
        }
        assert_eq!((polls, counter.0.load(Ordering::Relaxed)), (3 * IN_A_ROW, 3));
    }

    /// A thread has a result while the future is polled again after a wake by itself. Shuttle runs one thread
    /// at a time, so it delays no store.
    #[test]
    fn wake_of_another_thread_is_not_lost() {
        const ROUNDS: u64 = 50_000;
        let wait_for = |number: &AtomicU64, round| {
            for turn in 0_u64.. {
                if number.load(Ordering::Acquire) >= round {
                    return;
                }
                // The threads meet only while both run.
                if turn % 256 == 255 { std::thread::yield_now() } else { std::hint::spin_loop() }
            }
        };
        let [begun, result, ended] = [const { AtomicU64::new(0) }; 3];
        let (poll_budget, counter) = (RepollWaker::new(), Arc::<Counter>::default());
        let (waker, task) = (poll_budget.waker.clone(), counter.clone().into());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    wait_for(&begun, round);
                    (0..round % 7).for_each(|_| std::hint::spin_loop());
                    result.swap(round, Ordering::AcqRel);
                    waker.wake_by_ref();
                    ended.store(round, Ordering::Release);
                }
            });
            for round in 1..=ROUNDS {
                let (mut is_first, wakes) = (true, counter.0.load(Ordering::Relaxed));
                let future = pin!(poll_fn(|cx| {
                    if std::mem::take(&mut is_first) {
                        cx.waker().wake_by_ref();
                        begun.store(round, Ordering::Release);
                        (0..round % 11).for_each(|_| std::hint::spin_loop());
                        return Poll::Pending;
                    }
                    if result.load(Ordering::Acquire) == round { Poll::Ready(()) } else { Poll::Pending }
                }));
                let is_pending = poll_budget.poll(future, &mut Context::from_waker(&task)).is_pending();
                wait_for(&ended, round);
                let is_woken = counter.0.load(Ordering::Relaxed) > wakes;
                if is_pending && !is_woken {
                    // Lets the other thread end.
                    begun.store(ROUNDS, Ordering::Release);
                    panic!("round {round}: the future waits for ever, and its result is there");
                }
            }
        });
    }

    #[test]
    fn wake_between_polls_wakes_the_task_once() {
        let (poll_budget, counter) = (RepollWaker::new(), Arc::<Counter>::default());
        let mut inner = None;
        let mut polls = 0;
        let mut future = pin!(poll_fn(|cx| {
            polls += 1;
            inner = Some(cx.waker().clone());
            if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
        }));
        let waker = counter.clone().into();
        assert!(poll_budget.poll(future.as_mut(), &mut Context::from_waker(&waker)).is_pending());
        assert_eq!(counter.0.load(Ordering::Relaxed), 0);
        poll_budget.waker.wake_by_ref();
        poll_budget.waker.wake_by_ref();
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        assert!(poll_budget.poll(future.as_mut(), &mut Context::from_waker(&waker)).is_ready());
        assert!(inner.is_some_and(|inner| inner.will_wake(&poll_budget.waker)));
    }
}
