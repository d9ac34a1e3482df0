//! The connection pool of readers: a few read-only connections for blocking threads.
//!
//! The pool opens a connection when all others are busy, up to a limit, and reuses the last used one first.
//! Each read sees one snapshot with every commit that was acknowledged before it began.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::DatabaseError;
use super::sql::Sql;
use super::writer::lock;
use crate::StoreError;

/// A connection that only reads.
pub(super) trait ReaderConnection: Send {
    fn sql(&self) -> Sql<'_>;
    /// Begins a snapshot.
    fn begin(&self) -> Result<(), StoreError>;
    /// Ends the snapshot.
    fn end(&self) -> Result<(), StoreError>;
}

/// A read runs again on another connection if its own broke within this time.
const AGAIN: Duration = Duration::from_secs(5);

type Opener = dyn Fn() -> Result<Box<dyn ReaderConnection>, StoreError> + Send + Sync;

pub(super) struct Readers {
    open: Box<Opener>,
    connections: u32,
    /// The time for a connection to become free. `None` for a database that always answers.
    free_within: Option<Duration>,
    idle: Mutex<Vec<Box<dyn ReaderConnection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// A pool of at most `connections` concurrent reads.
    pub(super) fn new(
        connections: u32,
        free_within: Option<Duration>,
        open: impl Fn() -> Result<Box<dyn ReaderConnection>, StoreError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            open: Box::new(open),
            connections,
            free_within,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(connections as usize)),
        })
    }

    /// Runs `operation` on one snapshot of the database.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // The thread holds the permit, so that a read counts until its end even if its caller drops the
        // future.
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = match self.free_within {
            None => permit.await,
            Some(within) => tokio::time::timeout(within, permit).await.map_err(|_| busy(within))?,
        };
        let permit = permit.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let result = readers.read_blocking(operation);
            drop(permit);
            result
        });
        // A panic drops the connection; the next read opens another.
        reading.await.map_err(|_| StoreError::Closed)?
    }

    fn read_blocking<T>(
        &self,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        loop {
            let idle = lock(&self.idle).pop();
            let is_reused = idle.is_some();
            let connection = idle.map_or_else(|| (self.open)(), Ok)?;
            connection.begin()?;
            let result = operation(connection.sql());
            // Ends the snapshot.
            let ended = connection.end();
            if ended.is_ok() {
                lock(&self.idle).push(connection);
            }
            match result {
                // The server has closed an idle connection, as by a restart.
                Err(error) if is_reused && error.is_away() && begun.elapsed() < AGAIN => {}
                result => return result,
            }
        }
    }

    /// Waits for running reads, refuses later ones, and closes the connections.
    pub(super) async fn close(&self) {
        // An error means that the pool is closed already.
        if let Ok(all) = self.permits.acquire_many(self.connections).await {
            self.permits.close();
            all.forget();
        }
        lock(&self.idle).clear();
    }
}

fn busy(within: Duration) -> StoreError {
    let message = format!("all connections to the database have been busy for {within:?}");
    StoreError::Database(DatabaseError::away(message))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{by_tag, digest, empty, manifest, name, put, tagged};
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn read_sees_every_acknowledged_commit() {
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
    async fn read_without_a_free_connection_fails() {
        let opener = || -> Result<Box<dyn ReaderConnection>, StoreError> { Err(StoreError::Closed) };
        let readers = Readers::new(1, Some(Duration::from_millis(20)), opener);
        let taken = readers.permits.clone().acquire_owned().await.unwrap();
        let refused = readers.read(|_| Ok(())).await.unwrap_err();
        assert!(refused.is_away(), "{refused}");
        drop(taken);
        assert!(matches!(readers.read(|_| Ok(())).await, Err(StoreError::Closed)), "it may open one now");
    }

    #[tokio::test]
    async fn panicking_read_leaves_the_pool_usable() {
        let (metadata, _directory) = empty();
        put(&metadata, manifest("app", "m")).await;
        for _ in 0..10 {
            let panics = metadata.read(|_| -> Result<(), StoreError> { panic!("a read of a test panics") });
            assert!(matches!(panics.await, Err(StoreError::Closed)));
        }
        assert!(metadata.repository_exists(&name("app")).await.unwrap());
    }
}
