//! The checkpointer: copies the write-ahead log back into the database beside the writer.
//!
//! A checkpoint copies and syncs every changed page, which would block the writer. So a thread with its own
//! connection does it. The writer then checkpoints the few pages changed since, and the log restarts from its
//! beginning.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::connection::Connection;
use crate::StoreError;

/// The thread. Dropping this value waits for its end.
pub(super) struct Checkpointer {
    /// `None` during the drop.
    requests: Option<SyncSender<()>>,
    finished: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread for the database at `path`, after the writer has opened it.
    pub(super) fn start(path: PathBuf) -> Result<Self, StoreError> {
        let (requests, receiver) = sync_channel(1);
        let finished = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("metadata-checkpointer".into())
            .spawn({
                let finished = finished.clone();
                move || run(&path, &receiver, &finished)
            })
            .map_err(|error| StoreError::io("start", "metadata-checkpointer", error))?;
        Ok(Self { requests: Some(requests), finished, thread: Some(thread) })
    }

    /// Requests a checkpoint, unless one is waiting.
    pub(super) fn begin(&self) {
        if let Some(requests) = &self.requests {
            // An error means that a checkpoint is waiting already.
            let _ = requests.try_send(());
        }
    }

    /// Whether a checkpoint has ended since the last call.
    pub(super) fn take_finished(&self) -> bool {
        self.finished.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.requests.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the metadata's checkpointer thread panicked");
        }
    }
}

fn run(path: &Path, receiver: &Receiver<()>, finished: &AtomicBool) {
    let mut connection = None;
    for () in receiver {
        match checkpoint(&mut connection, path) {
            Ok(()) => finished.store(true, Ordering::Relaxed),
            // The log still has everything. The disk is probably full.
            Err(error) => {
                tracing::warn!(%error, "the metadata's log could not be checkpointed; the next checkpoint tries again")
            }
        }
    }
}

/// Checkpoints the log as far as no reader needs it, with a cached connection.
fn checkpoint(cached: &mut Option<Connection>, path: &Path) -> Result<(), StoreError> {
    let connection = match cached {
        Some(connection) => connection,
        None => cached.insert(Connection::checkpointer(path)?),
    };
    connection.checkpoint()
}
