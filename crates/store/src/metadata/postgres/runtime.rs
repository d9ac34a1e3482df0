//! The thread that drives the sockets of all sessions, and the wait for its answers.
//!
//! The operations of the metadata are synchronous, and some run inside an asynchronous task. So their threads
//! only wait for channels, and need no runtime of their own.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::StoreError;

/// Returns the runtime of the sockets. The first call starts its thread, which runs as long as the process.
pub(super) fn handle() -> Result<&'static Handle, StoreError> {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    if let Some(handle) = RUNTIME.get() {
        return Ok(handle);
    }
    let failed = |error| StoreError::io("start", "metadata-postgres", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("metadata-postgres".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(failed)?;
    Ok(RUNTIME.get_or_init(|| handle))
}

/// Waits for a future on this thread. Returns `None` if its output does not come in time.
pub(super) fn wait<F: Future>(future: F, within: Option<Duration>) -> Option<F::Output> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let deadline = within.map(|within| Instant::now() + within);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => std::thread::park(),
            Some(Duration::ZERO) => return None,
            Some(left) => std::thread::park_timeout(left),
        }
    }
}

/// Polls a future once, which sends its request. Returns its output if that is there already.
pub(super) fn start<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
