//! Steps that belong together: what changes the store and what is in memory about it must not come apart because
//! a client hangs up in between.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use store::StoreError;

use crate::Error;

/// Runs the steps so that a client that hangs up cannot leave them half done: they
/// come to their end, on a task of their own. A body that they read ends in an error then.
///
/// As long as the client is there they run where they are asked for, on the task of the connection:
/// what came from it is taken in while the processor still has it at hand, and the memory that it
/// was received in is free for what comes next.
pub(crate) fn detach<T, S>(steps: S) -> DetachOnDrop<S>
where
    T: Send + 'static,
    S: Future<Output = Result<T, Error>> + Send + 'static,
{
    DetachOnDrop(Some(Box::pin(steps)))
}

/// Steps that go on if nobody waits for them any longer.
pub(crate) struct DetachOnDrop<S: Future<Output: Send> + Send + 'static>(Option<Pin<Box<S>>>);

impl<T: Send, S: Future<Output = Result<T, Error>> + Send + 'static> Future for DetachOnDrop<S> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Out of place meanwhile, so that steps that panic are not taken up again.
        let Some(mut steps) = self.0.take() else {
            return Poll::Ready(Err(Error::Store(StoreError::Closed)));
        };
        let outcome = steps.as_mut().poll(cx);
        if outcome.is_pending() {
            self.0 = Some(steps);
        }
        outcome
    }
}

impl<S: Future<Output: Send> + Send + 'static> Drop for DetachOnDrop<S> {
    fn drop(&mut self) {
        if let Some(steps) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(steps);
        }
    }
}
