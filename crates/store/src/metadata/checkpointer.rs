//! Writing the log back into the database while the writer goes on.
//!
//! A checkpoint copies every page that was changed, and waits for the disk to have them all. The
//! writer would keep everybody waiting meanwhile. So a thread with a connection of its own does it,
//! which SQLite allows beside a writer; then the writer has only to make up for what was written in
//! the meantime, and can begin the log anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::connection::Connection;
use crate::StoreError;

/// The thread. It ends when this is dropped, and is waited for.
pub(super) struct Checkpointer {
    /// `None` while it is dropped.
    wanted: Option<SyncSender<()>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread for the database at `path`, which its writer has opened.
    pub(super) fn start(path: PathBuf) -> Result<Self, StoreError> {
        let (wanted, waiting) = sync_channel(1);
        let done = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("metadata-checkpointer".into())
            .spawn({
                let done = done.clone();
                move || run(&path, &waiting, &done)
            })
            .map_err(|error| StoreError::io("start", "metadata-checkpointer", error))?;
        Ok(Self { wanted: Some(wanted), done, thread: Some(thread) })
    }

    /// Has a checkpoint begun, unless one is waiting.
    pub(super) fn begin(&self) {
        if let Some(wanted) = &self.wanted {
            // An error means that it has enough to do already.
            let _ = wanted.try_send(());
        }
    }

    /// Whether one was ended since this was last asked.
    pub(super) fn has_ended_one(&self) -> bool {
        self.done.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.wanted.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the metadata's checkpointer had died");
        }
    }
}

fn run(path: &Path, waiting: &Receiver<()>, done: &AtomicBool) {
    let mut connection = None;
    for () in waiting {
        match checkpoint(&mut connection, path) {
            Ok(()) => done.store(true, Ordering::Relaxed),
            // Nothing is lost: the log still has it. A full disk is the usual reason.
            Err(error) => tracing::warn!(%error, "the metadata's log could not be written back"),
        }
    }
}

/// Writes the log back, as far as no reader still needs it, with a connection that is kept.
fn checkpoint(cached: &mut Option<Connection>, path: &Path) -> Result<(), StoreError> {
    let connection = match cached {
        Some(connection) => connection,
        None => cached.insert(Connection::checkpointer(path)?),
    };
    connection.checkpoint()
}
