//! Turns: a connection that wakes itself goes on at once.
//!
//! hyper hands the body of a request on piece by piece, from the part that reads the connection to the handler that
//! takes it in, and each piece that is taken wakes the reading part. Both are of one task. To the runtime that is a
//! task with more to do than one turn: it lets others go first and wakes another thread to help, which then takes the
//! task over, away from the core that has its bytes at hand; and so with every piece. Therefore a connection that was
//! woken while it had its turn has another right away.
//!
//! Then it comes after the others, and not only after those that the runtime knows of: while there are tasks to go on
//! with, it looks for requests that came in once in 61 tasks, and for whoever asks for a manifest while large pushes
//! run that was 12 ms in the slowest hundredth. So the connection yields, as a task does that has long to go, and has
//! its next turn after a look at the network.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// How many turns in a row. One takes in a piece of a body at most, which is some tens of microseconds.
const IN_A_ROW: usize = 2;

/// It waits to be woken.
const WAITING: u8 = 0;
/// It has its turn.
const POLLED: u8 = 1;
/// It was woken, and is still to have the turn for it.
const WOKEN: u8 = 2;

/// Polls one future, turn by turn.
pub(crate) struct RepollWaker {
    wakes: Arc<Wakes>,
    waker: Waker,
}

/// Who wakes the future comes here.
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

    /// Polls the future, always the same one, on behalf of the task of `cx`.
    pub(crate) fn poll<F: Future>(&self, mut future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Wakes { state, task } = &*self.wakes;
        task.register(cx.waker());
        for _ in 0..IN_A_ROW {
            state.store(POLLED, Ordering::Release);
            let outcome = future.as_mut().poll(&mut Context::from_waker(&self.waker));
            if outcome.is_ready()
                || state.compare_exchange(POLLED, WAITING, Ordering::AcqRel, Ordering::Acquire).is_ok()
            {
                return outcome;
            }
        }
        // Asked once, it wakes the task after that look, whether it is there to see it or not.
        let yielded = pin!(tokio::task::yield_now());
        let _ = yielded.poll(cx);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_wakes_itself_goes_on_without_the_task() {
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
    fn what_always_wakes_itself_lets_others_go_first_and_is_not_forgotten() {
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

    #[test]
    fn whoever_wakes_it_between_its_turns_wakes_the_task_once() {
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
