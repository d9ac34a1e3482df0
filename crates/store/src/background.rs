//! Work that no request waits for: it comes after all others.
//!
//! Making the files of what was pushed takes more of a processor than the push itself. While there
//! is enough to do for requests, they come first, unless too much of it has gathered.

use tokio::sync::oneshot;

use crate::StoreError;
use crate::blobs::files::blocking;

/// How nice work is to others, of 0 to 19: its thread gets about a tenth of what another gets.
const NICE: i32 = 10;

/// How much work in the background matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// It gets what others leave, and a little more.
    Low,
    /// It gets as much as anybody.
    Ordinary,
}

/// Does work that may block. Begun, it runs to its end, even if the returned future is dropped.
pub(crate) async fn run<T: Send + 'static>(
    priority: Priority,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    if priority == Priority::Ordinary {
        return blocking(work).await;
    }
    let (answer, answered) = oneshot::channel();
    // A thread for this alone: one that was made nice needs a privilege to become what it was.
    std::thread::Builder::new()
        .name("background".to_owned())
        .spawn(move || {
            // On Linux this is said of a thread, whatever POSIX means by it. Where it is refused, the
            // work is done all the same.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
            // An error means that nobody waits any more.
            let _ = answer.send(work());
        })
        .map_err(|error| StoreError::io("start", "background", error))?;
    answered.await.map_err(|_| StoreError::Closed)?
}
