//! The readers: a few read-only connections, used off the async runtime.
//!
//! A connection is opened when all others are busy, up to a limit, and the one used last is used
//! next: a server with little to do has one. Each read sees one state of the database, with every
//! commit that was answered before the read began.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::connection::Connection;
use super::sql::Sql;
use super::writer::lock;
use crate::StoreError;

/// How many reads run at once. They are short and mostly in memory: more would only wait for a core.
const CONNECTIONS: u32 = 4;

/// The pool.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            path,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(CONNECTIONS as usize)),
        })
    }

    /// Runs `operation` on one state of the database.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // The permit goes along, so that a read whose caller has gone counts until it is over.
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let result = readers.read_blocking(operation);
            drop(permit);
            result
        });
        // A panic loses that connection; the next read opens another.
        reading.await.map_err(|_| StoreError::Closed)?
    }

    fn read_blocking<T>(
        &self,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = lock(&self.idle).pop();
        let connection = idle.map_or_else(|| Connection::reader(&self.path), Ok)?;
        connection.sql().run("BEGIN", &[])?;
        let result = operation(connection.sql());
        // Nothing was written; this only lets go of the state that was read.
        let ended = connection.sql().run("COMMIT", &[]);
        if ended.is_ok() {
            lock(&self.idle).push(connection);
        }
        result
    }

    /// Waits for the reads that run, refuses others, and closes the connections.
    pub(super) async fn close(&self) {
        // An error means that they are closed already.
        if let Ok(all) = self.permits.acquire_many(CONNECTIONS).await {
            self.permits.close();
            all.forget();
        }
        lock(&self.idle).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{by_tag, digest, empty, manifest, name, put, tagged};
    use crate::StoreError;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_sees_every_commit_that_was_answered_before() {
        let (metadata, _directory) = empty();
        for n in 0..50 {
            let content = n.to_string();
            put(&metadata, tagged("app", &content, &["latest"])).await;
            let reads: Vec<_> = (0..8)
                .map(|_| {
                    let metadata = metadata.clone();
                    tokio::spawn(async move {
                        metadata.manifest(&name("app"), &by_tag("latest")).await.unwrap().unwrap().digest
                    })
                })
                .collect();
            for read in reads {
                assert_eq!(read.await.unwrap(), digest(&content));
            }
        }
    }

    #[tokio::test]
    async fn a_read_that_panics_takes_nothing_with_it() {
        let (metadata, _directory) = empty();
        put(&metadata, manifest("app", "m")).await;
        for _ in 0..10 {
            let panics = metadata.read(|_| -> Result<(), StoreError> { panic!("a read of a test panics") });
            assert!(matches!(panics.await, Err(StoreError::Closed)));
        }
        assert!(metadata.repository_exists(&name("app")).await.unwrap());
    }
}
