//! The writer: one thread that does all writing, several operations to a commit.
//!
//! Operations wait in a channel. The thread takes what is waiting, runs each inside a savepoint of
//! one transaction, commits once, and answers all of them. So sixteen pushes at once cost one sync
//! rather than sixteen, and each still hears "stored" only when it is.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::sql::Sql;
use crate::StoreError;

/// How many operations share a commit at most: a bound on how long the first of them waits.
const BATCH: usize = 128;

/// After this many changed rows the log is written back into the database. Often enough that the
/// log stays a few MiB, seldom enough that the two syncs it costs do not matter.
const CHECKPOINT_CHANGES: u64 = 4_000;

/// A writer that had nothing to do for this long writes the log back.
const IDLE: Duration = Duration::from_secs(1);

/// What an operation must survive before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Durability {
    /// The end of the process, by whatever signal: no sync is waited for.
    Process,
    /// A power failure.
    Disk,
}

/// The sending end, and the thread.
pub(super) struct Writer {
    /// `None` once closed.
    jobs: Mutex<Option<Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread on a connection that is set up.
    pub(super) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (jobs, waiting) = channel();
        let thread = std::thread::Builder::new()
            .name("metadata-writer".into())
            .spawn(move || Thread::new(connection, waiting).run())
            .map_err(|error| StoreError::io("start", "metadata-writer", error))?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Runs `operation` in a transaction; returns when it is committed, or why it is not.
    ///
    /// The operation runs even if the returned future is dropped.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        operation: impl FnOnce(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Operation { durability, operation: Some(operation), outcome: None, answer: Some(answer) };
        match &*lock(&self.jobs) {
            Some(jobs) => jobs.send(Box::new(job)).map_err(|_| StoreError::Closed)?,
            None => return Err(StoreError::Closed),
        }
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Lets the thread end when it has done what is waiting, and waits for that. Blocks.
    pub(super) fn close(&self) {
        lock(&self.jobs).take();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the metadata's writer had died");
        }
    }
}

/// A lock whose holder cannot have left half a change behind, so that a panic of it is no reason to stop.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// An operation of whatever result.
trait Job: Send {
    fn durability(&self) -> Durability;
    /// Runs it, once. An error, of which this is a copy, means that its changes are not to be kept.
    fn run(&mut self, sql: Sql<'_>) -> Result<(), StoreError>;
    /// Tells the one who waits: what the operation returned, or why its changes were lost.
    fn answer(self: Box<Self>, lost: Option<StoreError>);
}

struct Operation<F, T> {
    durability: Durability,
    operation: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    answer: Option<oneshot::Sender<Result<T, StoreError>>>,
}

impl<F, T> Job for Operation<F, T>
where
    F: FnOnce(Sql<'_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, sql: Sql<'_>) -> Result<(), StoreError> {
        let operation = self.operation.take().ok_or(StoreError::Closed)?;
        // The savepoint is rolled back after a panic, so nothing half-done is left to be seen.
        let outcome = catch_unwind(AssertUnwindSafe(|| operation(sql))).unwrap_or_else(|panic| {
            tracing::error!(panic = panic_text(&*panic), "an operation on the metadata panicked");
            Err(StoreError::Closed)
        });
        self.outcome.insert(outcome).as_ref().map(|_| ()).map_err(copy)
    }

    fn answer(mut self: Box<Self>, lost: Option<StoreError>) {
        let outcome = match (self.outcome.take(), lost) {
            // What failed by itself keeps its own reason.
            (Some(Err(error)), _) | (_, Some(error)) => Err(error),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(StoreError::Closed),
        };
        if let Some(answer) = self.answer.take() {
            // Nobody waits any more: what was done stays done.
            let _ = answer.send(outcome);
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

struct Thread {
    connection: Connection,
    jobs: Receiver<Box<dyn Job>>,
    waiting: VecDeque<Box<dyn Job>>,
    /// What the connection's commits wait for at the moment.
    durability: Durability,
    /// [`Connection::total_changes`] at the last checkpoint.
    checkpointed: u64,
}

impl Thread {
    fn new(connection: Connection, jobs: Receiver<Box<dyn Job>>) -> Self {
        let checkpointed = connection.total_changes();
        Self { connection, jobs, waiting: VecDeque::new(), durability: Durability::Disk, checkpointed }
    }

    fn run(mut self) {
        loop {
            if self.waiting.is_empty() {
                match self.jobs.recv_timeout(IDLE) {
                    Ok(job) => self.waiting.push_back(job),
                    Err(RecvTimeoutError::Timeout) => {
                        self.checkpoint();
                        // Nothing changed since: wait without waking up every second.
                        match self.jobs.recv() {
                            Ok(job) => self.waiting.push_back(job),
                            Err(_) => break,
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            while self.waiting.len() < BATCH
                && let Ok(job) = self.jobs.try_recv()
            {
                self.waiting.push_back(job);
            }
            self.batch();
            if self.connection.total_changes() - self.checkpointed >= CHECKPOINT_CHANGES {
                self.checkpoint();
            }
        }
        // Closing the last connection writes the log back and removes it.
    }

    /// Runs what is waiting in one transaction, and answers it.
    fn batch(&mut self) {
        let mut ran = Vec::with_capacity(self.waiting.len());
        let lost = self.run_waiting(&mut ran).err();
        if lost.is_some() && !self.connection.is_autocommit() {
            self.or_log("ROLLBACK");
        }
        if let Some(error) = &lost {
            tracing::error!(%error, operations = ran.len(), "a commit of the metadata failed");
        }
        for job in ran {
            job.answer(lost.as_ref().map(copy));
        }
    }

    fn run_waiting(&mut self, ran: &mut Vec<Box<dyn Job>>) -> Result<(), StoreError> {
        let durability = self.waiting.iter().map(|job| job.durability()).max().unwrap_or(Durability::Disk);
        let begun = self.begin(durability);
        if begun.is_err() {
            ran.extend(self.waiting.drain(..));
        }
        begun?;
        while let Some(job) = self.waiting.pop_front() {
            ran.push(job);
            self.statement("SAVEPOINT operation")?;
            let Some(job) = ran.last_mut() else { break };
            if let Err(error) = job.run(Sql::inside_transaction(&self.connection)) {
                if self.connection.is_autocommit() {
                    // A full disk or the like has made SQLite give up the whole transaction, and
                    // with it what ran before. What still waits gets a transaction of its own.
                    return Err(error);
                }
                self.statement("ROLLBACK TO operation")?;
            }
            self.statement("RELEASE operation")?;
        }
        self.statement("COMMIT")
    }

    fn begin(&mut self, durability: Durability) -> Result<(), StoreError> {
        if durability != self.durability {
            // With the log, NORMAL means that a commit is written but not synced; it is synced
            // along with the next one that is.
            self.statement(match durability {
                Durability::Disk => "PRAGMA synchronous = FULL",
                Durability::Process => "PRAGMA synchronous = NORMAL",
            })?;
            self.durability = durability;
        }
        self.statement("BEGIN IMMEDIATE")
    }

    fn statement(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached(sql)?.execute(())?;
        Ok(())
    }

    fn or_log(&self, sql: &str) {
        if let Err(error) = self.statement(sql) {
            tracing::error!(%error, sql, "the metadata's writer");
        }
    }

    /// Writes the log back into the database, as far as no reader still needs it.
    fn checkpoint(&mut self) {
        let changes = self.connection.total_changes();
        if changes != self.checkpointed {
            self.checkpointed = changes;
            let done = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()));
            if let Err(error) = done {
                // Nothing is lost: the log still has it. A full disk is the usual reason.
                tracing::warn!(%error, "the metadata's log could not be written back");
            }
        }
    }
}

/// The same error for another of those whom it concerns.
fn copy(error: &StoreError) -> StoreError {
    match error {
        StoreError::Database(rusqlite::Error::SqliteFailure(code, text)) => {
            StoreError::Database(rusqlite::Error::SqliteFailure(*code, text.clone()))
        }
        StoreError::Full { what } => StoreError::Full { what: what.clone() },
        StoreError::Closed => StoreError::Closed,
        other => StoreError::Damaged(other.to_string()),
    }
}
