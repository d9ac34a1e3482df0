//! Thread pool for blocking work, with two priorities.
//!
//! Threads that answer requests must not wait behind work that takes seconds anyway, such as hashing and
//! writing a large upload. Creating the files of small pushes takes more CPU time than the pushes. Both run
//! on nice threads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::StoreError;

/// The nice value of a low-priority thread, of 0 to 19: it gets about a tenth of the CPU time of another
/// thread.
const NICE: i32 = 10;

/// The share of CPU time under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// The time that other threads leave.
    Low,
    /// An equal share.
    Ordinary,
}

/// A separate pool: a nice thread needs a privilege to become normal again. Only the blocking threads of this
/// runtime are used. `None` if it cannot be created.
static NICE_THREADS: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    // On Linux niceness belongs to a thread. If it is denied, the work runs all the same.
    let be_nice = || {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
    };
    Builder::new_current_thread().thread_name("background").on_thread_start(be_nice).build().ok()
});

/// Blocking work in progress. Dropping it cancels work that has not begun; begun work runs to its end. `None`
/// if no thread can be created.
pub(crate) struct Task<T>(Option<JoinHandle<Result<T, StoreError>>>);

impl<T> Task<T> {
    /// Waits for the result.
    pub(crate) async fn join(mut self) -> Result<T, StoreError> {
        match &mut self.0 {
            Some(handle) => handle.await.unwrap_or(Err(StoreError::Closed)),
            None => {
                let error = io::Error::other("the system allows no more threads");
                Err(StoreError::io("create", "a thread for blocking work", error))
            }
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }
}

/// Runs blocking work and waits for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    blocking_at(Priority::Ordinary, work).await
}

/// Runs blocking work with a priority and waits for it.
pub(crate) async fn blocking_at<T: Send + 'static>(
    priority: Priority,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking_at(priority, work).join().await
}

/// Starts blocking work with a priority.
pub(crate) fn spawn_blocking_at<T: Send + 'static>(
    priority: Priority,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Task<T> {
    let nice_threads = if priority == Priority::Low { NICE_THREADS.as_ref() } else { None };
    spawn_on(&nice_threads.map_or_else(Handle::current, |runtime| runtime.handle().clone()), work)
}

/// Starts blocking work on a runtime. Tokio panics if its pool has no thread and the system allows none. The
/// work is then an error of the request, and does not run later, when there are threads again.
fn spawn_on<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Task<T> {
    let work = Arc::new(Mutex::new(Some(work)));
    let take = |work: &Mutex<Option<_>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let queued = Arc::clone(&work);
    let spawned = catch_unwind(AssertUnwindSafe(|| {
        runtime.spawn_blocking(move || take(&queued).map_or(Err(StoreError::Closed), |work| work()))
    }));
    if spawned.is_err() {
        drop(take(&work));
    }
    Task(spawned.ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_low_priority_work_is_nice() {
        let niceness = || {
            rustix::process::getpriority_process(Some(rustix::thread::gettid()))
                .map_err(|error| StoreError::io("look at", "thread", error.into()))
        };
        let own = niceness().unwrap();
        assert_eq!(blocking(niceness).await.unwrap(), own);
        assert_eq!(blocking_at(Priority::Low, niceness).await.unwrap(), own.max(NICE));
        assert_eq!(blocking(niceness).await.unwrap(), own);
    }

    #[test]
    fn work_without_a_thread_is_an_error() {
        // No system has the space for such a stack.
        let runtime = Builder::new_current_thread().thread_stack_size(1 << 60).build().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let task = spawn_on(runtime.handle(), move || {
            sender.send(()).ok();
            Ok(())
        });
        let error = runtime.block_on(task.join()).unwrap_err();
        assert!(error.to_string().contains("create a thread"), "{error}");
        assert!(receiver.recv().is_err(), "the work does not wait for a thread");
    }
}
