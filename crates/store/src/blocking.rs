//! Work that waits for a disk or takes long: it runs on threads that may block, and some of it comes
//! after all others.
//!
//! What many wait for a little, the threads that answer requests among it, should not wait for what
//! takes seconds anyway: hashing and writing a large upload, and making the files of what was pushed,
//! which takes more of a processor than the push itself.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::StoreError;

/// How nice a thread of low priority is to others, of 0 to 19: it gets about a tenth of what another
/// gets, and waits for whoever else has something to do.
const NICE: i32 = 10;

/// How much work matters while there is more of it than processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// It gets what others leave, and a little more.
    Low,
    /// It gets as much as anybody.
    Ordinary,
}

/// Threads of their own: one that was made nice needs a privilege to become what it was. Of this
/// runtime only they are used, nobody drives it. `None` if it cannot be had.
static NICE_THREADS: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    // On Linux niceness is a thread's, whatever POSIX means by it. Where it is refused, the work is
    // done all the same.
    let be_nice = || {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
    };
    Builder::new_current_thread().thread_name("background").on_thread_start(be_nice).build().ok()
});

/// Runs work that blocks. If the caller loses interest before it has begun, it never begins; once
/// begun, it runs to its end.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    blocking_at(Priority::Ordinary, work).await
}

/// The same with a priority.
pub(crate) async fn blocking_at<T: Send + 'static>(
    priority: Priority,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    struct AbortOnDrop<T>(JoinHandle<T>);
    impl<T> Drop for AbortOnDrop<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let nice_threads = if priority == Priority::Low { NICE_THREADS.as_ref() } else { None };
    let mut task = AbortOnDrop(match nice_threads {
        Some(runtime) => runtime.spawn_blocking(work),
        None => tokio::task::spawn_blocking(work),
    });
    (&mut task.0).await.unwrap_or(Err(StoreError::Closed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_after_others_is_nice_and_the_rest_is_not() {
        let niceness = || {
            rustix::process::getpriority_process(Some(rustix::thread::gettid()))
                .map_err(|error| StoreError::io("look at", "thread", error.into()))
        };
        let own = niceness().unwrap();
        assert_eq!(blocking(niceness).await.unwrap(), own);
        assert_eq!(blocking_at(Priority::Low, niceness).await.unwrap(), own.max(NICE));
        assert_eq!(blocking(niceness).await.unwrap(), own);
    }
}
