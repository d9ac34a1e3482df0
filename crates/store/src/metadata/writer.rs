//! The writer: one thread that commits write operations in batches (group commit).
//!
//! Operations wait in a channel. The thread runs each waiting operation in a savepoint of one transaction,
//! commits once, and then answers all. So sixteen concurrent pushes cost one sync, and each is acknowledged
//! after it.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use accounts::Actor;
use tokio::sync::oneshot;

use super::DatabaseError;
use super::commit::{Commit, Listeners};
use super::connection::copy_error;
use super::metrics::WriterMetrics;
use super::sql::Sql;
use crate::StoreError;

/// The number of operations in a commit at most: a bound on the wait of the first.
const BATCH: usize = 128;

/// The number of attempts of a deletion with the ballast.
const FULL_ATTEMPTS: u32 = 3;

/// The number of attempts of an operation that conflicts with a transaction of another session.
const CONFLICT_ATTEMPTS: u32 = 4;

/// The database gets time for its own upkeep after this idle time.
const IDLE: Duration = Duration::from_secs(1);

/// The failure that an operation survives once it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Durability {
    /// The end of the process. The commit is not synced.
    Process,
    /// A power failure.
    Disk,
    /// A power failure. The operation is large and gets a commit of its own.
    Bulk,
}

/// The behaviour of an operation on a full disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnFull {
    Fail,
    /// It frees space later, so it runs again with the space of the ballast.
    UseBallast,
}

/// The database of the writer thread, as the thread needs it.
pub(super) trait WriterDatabase: Send {
    /// Runs statements in the open transaction.
    fn sql(&self) -> Sql<'_>;
    /// Begins a transaction whose commit survives `durability`.
    fn begin(&mut self, durability: Durability) -> Result<(), StoreError>;
    /// Whether a transaction is open. An error may have ended it.
    fn is_in_transaction(&self) -> bool;
    fn rollback(&self) -> Result<(), StoreError>;
    /// Begins a part of the transaction that can be rolled back alone.
    fn savepoint(&self) -> Result<(), StoreError>;
    /// Waits for the answers to the statements of the operation. Returns the first error.
    fn settle(&self) -> Result<(), StoreError>;
    /// Ends that part. Rolls it back if it failed.
    fn end_savepoint(&self, has_failed: bool) -> Result<(), StoreError>;
    /// Reads the state that [`committed`](Self::committed) records.
    fn prepare_commit(&mut self) -> Result<(), StoreError>;
    fn commit(&self) -> Result<(), StoreError>;
    /// Notes that the prepared state is committed, with its last change. After an error the commit may still
    /// be lost.
    fn committed(&mut self, durability: Durability, last_change: Option<i64>) -> Result<(), StoreError>;
    /// Upkeep between two transactions.
    fn after_batch(&mut self);
    /// Upkeep when no operation waits. Returns `false` to be called again.
    fn when_idle(&mut self) -> bool;
    /// Whether the session is another one than that of the last call. The database may then lack commits of
    /// the old one, or have commits whose answer never came.
    fn take_session_change(&mut self) -> bool;
    /// The time for which an operation may wait for its turn. `None` for a database that always answers.
    fn turn_within(&self) -> Option<Duration>;
    /// Makes room on a full disk for an operation that frees space. Returns `false` if it cannot.
    fn make_room(&mut self) -> bool;
    /// Takes back the room of [`make_room`](Self::make_room).
    fn keep_room(&mut self);
    /// Upkeep after a transaction that found the disk full.
    fn after_full(&mut self);
}

/// The sender of operations, and the thread that runs them.
pub(super) struct Writer {
    /// `None` after [`Writer::close`].
    jobs: Mutex<Option<Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    metrics: WriterMetrics,
}

impl Writer {
    /// Starts the thread, which runs the operations on `database`.
    pub(super) fn start(
        database: Box<dyn WriterDatabase>,
        listeners: Arc<Listeners>,
    ) -> Result<Self, StoreError> {
        let (jobs, waiting) = channel();
        let metrics = WriterMetrics::new();
        let thread = std::thread::Builder::new()
            .name("metadata-writer".into())
            .spawn({
                let metrics = metrics.clone();
                move || {
                    let thread =
                        Thread { database, jobs: waiting, waiting: VecDeque::new(), metrics, listeners };
                    thread.run();
                }
            })
            .map_err(|error| StoreError::io("start", "metadata-writer", error))?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)), metrics })
    }

    pub(super) fn metrics(&self) -> &WriterMetrics {
        &self.metrics
    }

    /// Runs `operation` in a transaction and returns its result after the commit.
    ///
    /// The operation runs even if the caller drops the future.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        on_full: OnFull,
        actor: Arc<Actor>,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let queued = Instant::now();
        let job = Operation {
            durability,
            on_full,
            actor,
            operation,
            queued,
            outcome: None,
            attempts: 0,
            answer: Some(answer),
        };
        match &*lock(&self.jobs) {
            Some(jobs) => {
                jobs.send(Box::new(job)).map_err(|_| StoreError::Closed)?;
                self.metrics.queue.inc();
            }
            None => return Err(StoreError::Closed),
        }
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Waits until the thread has run the waiting operations and ended. Blocks.
    pub(super) fn close(&self) {
        lock(&self.jobs).take();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the metadata's writer thread panicked");
        }
    }
}

/// Locks a mutex even if it is poisoned: its holders cannot leave a partial change.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// An operation with its result type erased.
trait Job: Send {
    fn durability(&self) -> Durability;
    /// The time for which it waits.
    fn waited(&self) -> Duration;
    /// Fails the operation, which does not run.
    fn refuse(&mut self, error: StoreError);
    /// Runs the operation and keeps its result. An error, a copy of that in the result, asks to roll back its
    /// changes.
    fn run(&mut self, sql: Sql<'_>) -> Result<(), StoreError>;
    /// Whether to run the operation again, because another transaction was in its way, or in that of its own
    /// transaction. Counts the attempts.
    fn is_to_repeat(&mut self, lost: Option<&StoreError>) -> bool;
    /// Whether the operation failed on a full disk, alone or with its transaction, and may use the ballast.
    fn needs_ballast(&self, lost: Option<&StoreError>) -> bool;
    /// Sends the result to the caller, or the error that rolled back the transaction.
    fn answer(self: Box<Self>, lost: Option<StoreError>);
}

struct Operation<F, T> {
    durability: Durability,
    on_full: OnFull,
    actor: Arc<Actor>,
    operation: F,
    queued: Instant,
    outcome: Option<Result<T, StoreError>>,
    /// The number of conflicts.
    attempts: u32,
    answer: Option<oneshot::Sender<Result<T, StoreError>>>,
}

impl<F, T> Operation<F, T> {
    /// The error of the operation, or that of its transaction.
    fn error<'a>(&'a self, lost: Option<&'a StoreError>) -> Option<&'a StoreError> {
        match &self.outcome {
            Some(Err(error)) => Some(error),
            _ => lost,
        }
    }
}

impl<F, T> Job for Operation<F, T>
where
    F: Fn(Sql<'_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn waited(&self) -> Duration {
        self.queued.elapsed()
    }

    fn refuse(&mut self, error: StoreError) {
        self.outcome = Some(Err(error));
    }

    fn run(&mut self, sql: Sql<'_>) -> Result<(), StoreError> {
        // A panic rolls back the savepoint, so no partial change remains.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.operation)(sql.acting_as(&self.actor))))
            .unwrap_or_else(|panic| {
                tracing::error!(panic = panic_text(&*panic), "an operation on the metadata panicked");
                Err(StoreError::Closed)
            });
        self.outcome.insert(outcome).as_ref().map(|_| ()).map_err(copy_error)
    }

    fn is_to_repeat(&mut self, lost: Option<&StoreError>) -> bool {
        if !self.error(lost).is_some_and(StoreError::is_conflict) {
            return false;
        }
        self.attempts += 1;
        self.attempts < CONFLICT_ATTEMPTS
    }

    fn needs_ballast(&self, lost: Option<&StoreError>) -> bool {
        self.on_full == OnFull::UseBallast && self.error(lost).is_some_and(StoreError::is_full)
    }

    fn answer(mut self: Box<Self>, lost: Option<StoreError>) {
        let outcome = match (self.outcome.take(), lost) {
            // An operation that failed keeps its own error.
            (Some(Err(error)), _) | (_, Some(error)) => Err(error),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(StoreError::Closed),
        };
        if let Some(answer) = self.answer.take() {
            // The caller may have dropped the future.
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
    database: Box<dyn WriterDatabase>,
    jobs: Receiver<Box<dyn Job>>,
    waiting: VecDeque<Box<dyn Job>>,
    metrics: WriterMetrics,
    listeners: Arc<Listeners>,
}

impl Thread {
    fn run(mut self) {
        loop {
            if self.waiting.is_empty() {
                match self.jobs.recv_timeout(IDLE) {
                    Ok(job) => self.waiting.push_back(job),
                    Err(RecvTimeoutError::Timeout) => {
                        let is_done = self.database.when_idle();
                        self.announce_session();
                        if !is_done {
                            continue;
                        }
                        // Nothing is left to do: wait without a timeout.
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
            self.database.after_batch();
        }
    }

    /// Runs waiting operations in one transaction and answers them.
    fn batch(&mut self) {
        let mut batch = self.next_batch();
        let mut ran = Vec::with_capacity(batch.len());
        let begun = Instant::now();
        let lost = self.transaction_or_rollback(&mut batch, &mut ran);
        self.metrics.transactions.observe_time(begun.elapsed());
        self.metrics.batches.observe(ran.len() as f64);
        let mut repeated = VecDeque::new();
        let (mut again, mut done) = (Vec::new(), Vec::new());
        for mut job in ran {
            if job.is_to_repeat(lost.as_ref()) {
                repeated.push_back(job);
            } else if job.needs_ballast(lost.as_ref()) {
                again.push(job);
            } else {
                done.push(job);
            }
        }
        self.metrics.queue.dec_by(i64::try_from(done.len() + again.len()).unwrap_or(0));
        for job in done {
            job.answer(lost.as_ref().map(copy_error));
        }
        if !again.is_empty() {
            self.run_with_ballast(again, lost.as_ref());
        } else if lost.is_some_and(|error| error.is_full()) {
            self.database.after_full();
        }
        // Operations after the one that ended the transaction run in the next one.
        repeated.append(&mut batch);
        repeated.append(&mut self.waiting);
        self.waiting = repeated;
    }

    /// Runs operations that free space again, with the space of the ballast. Their callers hear after the
    /// ballast has taken it back: others may fill the disk at once.
    fn run_with_ballast(&mut self, jobs: Vec<Box<dyn Job>>, lost: Option<&StoreError>) {
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            let mut waiting = Some(job);
            for attempt in 1..=FULL_ATTEMPTS {
                let Some(job) = waiting.take() else { break };
                if !self.database.make_room() {
                    answers.push((job, lost.map(copy_error)));
                    break;
                }
                let (mut batch, mut ran) = (VecDeque::from([job]), Vec::with_capacity(1));
                let lost = self.transaction_or_rollback(&mut batch, &mut ran);
                for job in ran {
                    // Meanwhile others may have taken the space.
                    if attempt < FULL_ATTEMPTS && job.needs_ballast(lost.as_ref()) {
                        waiting = Some(job);
                    } else {
                        answers.push((job, lost.as_ref().map(copy_error)));
                    }
                }
            }
        }
        self.database.keep_room();
        for (job, lost) in answers {
            job.answer(lost);
        }
    }

    /// Runs a batch in one transaction. Returns the error after which none of its changes are kept.
    fn transaction_or_rollback(
        &mut self,
        batch: &mut VecDeque<Box<dyn Job>>,
        ran: &mut Vec<Box<dyn Job>>,
    ) -> Option<StoreError> {
        let lost = self.transaction(batch, ran).err()?;
        if self.database.is_in_transaction()
            && let Err(error) = self.database.rollback()
        {
            tracing::error!(%error, "a transaction of the metadata's writer could not be rolled back");
        }
        Some(lost)
    }

    /// Runs a batch in one transaction. Moves the operations that ran, or never will, to `ran`. After an
    /// error none of their changes are kept.
    fn transaction(
        &mut self,
        batch: &mut VecDeque<Box<dyn Job>>,
        ran: &mut Vec<Box<dyn Job>>,
    ) -> Result<(), StoreError> {
        let durability = batch.iter().map(|job| job.durability()).max().unwrap_or(Durability::Disk);
        if let Err(error) = self.database.begin(durability) {
            ran.extend(batch.drain(..));
            return Err(error);
        }
        self.announce_session();
        // A single operation needs no savepoint. In a savepoint, SQLite's bookkeeping per statement grows
        // with the changed pages, which slows bulk operations.
        let is_alone = batch.len() == 1;
        let effects = RefCell::default();
        let within = self.database.turn_within();
        while let Some(mut job) = batch.pop_front() {
            if let Some(within) = within
                && job.waited() > within
            {
                let message = format!("the writer of the database has been busy for {within:?}");
                job.refuse(StoreError::Database(DatabaseError::away(message)));
                ran.push(job);
                continue;
            }
            let done = if is_alone {
                self.run_job(&mut *job, &effects)
            } else {
                self.run_in_savepoint(&mut *job, &effects)
            };
            ran.push(job);
            done?;
        }
        self.database.prepare_commit()?;
        let committed = self.database.commit();
        // Also after an error, which leaves open whether the changes are on the disk.
        let effects = effects.into_inner();
        self.listeners.notify(&effects);
        committed?;
        self.database.committed(durability, effects.changes.last().map(|change| change.id))
    }

    /// Tells the listeners to drop their state of the database, if its session is a new one.
    fn announce_session(&mut self) {
        if self.database.take_session_change() {
            self.listeners.notify(&Commit { is_unknown: true, ..Commit::default() });
        }
    }

    fn run_job(&self, job: &mut dyn Job, effects: &RefCell<Commit>) -> Result<(), StoreError> {
        job.run(self.database.sql().recording(effects))?;
        self.database.settle().inspect_err(|error| job.refuse(copy_error(error)))
    }

    /// Returns an error only if the whole transaction is lost.
    fn run_in_savepoint(&self, job: &mut dyn Job, effects: &RefCell<Commit>) -> Result<(), StoreError> {
        self.database.savepoint()?;
        let before = effects.borrow().changes.len();
        let outcome = self.run_job(job, effects);
        let has_failed = outcome.is_err();
        if let Err(error) = outcome {
            if !self.database.is_in_transaction() {
                // The database has rolled back the transaction, for example because the disk is full.
                return Err(error);
            }
            effects.borrow_mut().changes.truncate(before);
        }
        self.database.end_savepoint(has_failed)
    }

    /// Returns the waiting operations up to the first bulk operation, or that operation alone.
    fn next_batch(&mut self) -> VecDeque<Box<dyn Job>> {
        let mut waiting = self.waiting.iter();
        let end =
            waiting.position(|job| job.durability() == Durability::Bulk).unwrap_or(self.waiting.len()).max(1);
        let rest = self.waiting.split_off(end);
        std::mem::replace(&mut self.waiting, rest)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use std::sync::mpsc;

    use super::super::Metadata;
    use super::super::connection::Connection;
    use super::super::fixtures::{digest, empty, in_file, manifest, name, open, put, tagged};
    use super::super::sql::params;
    use super::*;
    use accounts::Visible;

    fn insert(sql: Sql<'_>, name: &str) -> Result<(), StoreError> {
        sql.run("INSERT INTO repositories (name, updated_at) VALUES (?1, 0)", params![name])?;
        Ok(())
    }

    async fn count(metadata: &Metadata) -> usize {
        metadata.all_repositories(None, 1_000).await.unwrap().len()
    }

    /// Blocks the writer until the returned sender is dropped.
    async fn hold(metadata: &Metadata) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = oneshot::channel();
        let begin = Mutex::new(Some(begin));
        let metadata = metadata.clone();
        tokio::spawn(async move {
            let held = metadata.write(Durability::Process, move |_| {
                if let Some(begin) = lock(&begin).take() {
                    begin.send(()).unwrap();
                }
                let _ = released.recv();
                Ok(())
            });
            held.await.unwrap();
        });
        begun.await.unwrap();
        release
    }

    /// Waits until this number of operations waits behind that of [`hold`].
    async fn waiting(metadata: &Metadata, operations: i64) {
        // The operation that runs counts too.
        while metadata.inner.writer.metrics().queue.get() <= operations {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn conflicting_operation_runs_again() {
        let (metadata, _directory) = empty();
        let conflicts = |number: u32| {
            let runs = std::sync::atomic::AtomicU32::new(0);
            move |sql: Sql<'_>| {
                insert(sql, "app")?;
                let run = runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if run < number { Err(StoreError::Database(DatabaseError::conflict())) } else { Ok(run) }
            }
        };
        let error = metadata.write(Durability::Disk, conflicts(CONFLICT_ATTEMPTS)).await.unwrap_err();
        assert!(error.is_locked(), "{error}");
        assert_eq!(count(&metadata).await, 0);
        let hold = hold(&metadata).await;
        let other = metadata.clone();
        let beside =
            tokio::spawn(async move { other.write(Durability::Disk, |sql| insert(sql, "other")).await });
        waiting(&metadata, 1).await;
        let last = metadata.write(Durability::Disk, conflicts(CONFLICT_ATTEMPTS - 1));
        let (last, ()) = tokio::join!(last, async { drop(hold) });
        assert_eq!(last.unwrap(), CONFLICT_ATTEMPTS - 1);
        beside.await.unwrap().unwrap();
        assert_eq!((count(&metadata).await, metadata.inner.writer.metrics().queue.get()), (2, 0));
    }

    #[tokio::test]
    async fn locked_database_fails_writes_then_recovers() {
        let (metadata, directory) = in_file();
        let other = Connection::writer(&directory.path().join("metadata.db")).unwrap();
        other.script("BEGIN IMMEDIATE").unwrap();
        let error = metadata.write(Durability::Disk, |sql| insert(sql, "app")).await.unwrap_err();
        assert!(error.is_locked(), "{error}");
        other.script("ROLLBACK").unwrap();
        metadata.write(Durability::Disk, |sql| insert(sql, "app")).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn waiting_operations_share_a_commit() {
        let (metadata, directory) = in_file();
        let path = directory.path().join("metadata.db");
        let held = hold(&metadata).await;
        let writes: Vec<_> = (0..20)
            .map(|n| {
                let (metadata, path) = (metadata.clone(), path.clone());
                tokio::spawn(async move {
                    let write = metadata.write(Durability::Disk, move |sql| {
                        insert(sql, &format!("app{n}"))?;
                        // The count that other connections see.
                        let other = Connection::reader(&path)?;
                        other.sql().first("SELECT COUNT(*) FROM repositories", &[], |row| row.get::<i64>(0))
                    });
                    write.await.unwrap()
                })
            })
            .collect();
        waiting(&metadata, 20).await;
        drop(held);
        for write in writes {
            assert_eq!(write.await.unwrap(), Some(0), "nothing is committed until all have run");
        }
        assert_eq!(count(&metadata).await, 20);
    }

    #[tokio::test]
    async fn failed_operation_fails_alone() {
        let (metadata, _directory) = empty();
        let held = hold(&metadata).await;
        let write = |n: usize| {
            let metadata = metadata.clone();
            tokio::spawn(async move {
                metadata
                    .write(Durability::Disk, move |sql| {
                        insert(sql, &format!("app{n}"))?;
                        match n % 3 {
                            0 => Ok(()),
                            1 => insert(sql, &format!("app{n}")),
                            _ => panic!("an operation of a test panics"),
                        }
                    })
                    .await
            })
        };
        let writes: Vec<_> = (0..9).map(write).collect();
        waiting(&metadata, 9).await;
        drop(held);
        for (n, write) in writes.into_iter().enumerate() {
            let outcome = write.await.unwrap();
            match n % 3 {
                0 => outcome.unwrap(),
                1 => assert!(matches!(outcome, Err(StoreError::Database(_)))),
                _ => assert!(matches!(outcome, Err(StoreError::Closed))),
            }
        }
        assert_eq!(count(&metadata).await, 3);

        // An operation alone in its commit fails in the same way.
        let alone = metadata.write(Durability::Disk, |sql| {
            insert(sql, "alone")?;
            Err::<(), _>(StoreError::Damaged("on purpose".into()))
        });
        assert!(matches!(alone.await, Err(StoreError::Damaged(_))));
        assert_eq!(count(&metadata).await, 3);
        put(&metadata, manifest("afterwards", "m")).await;
    }

    #[tokio::test]
    async fn full_disk_fails_writes_until_there_is_room() {
        let (metadata, _directory) = in_file();
        put(&metadata, tagged("app", "m", &["latest"])).await;
        let limit = |pages: &'static str| {
            metadata.write(Durability::Process, move |sql| sql.first(pages, &[], |row| row.get::<i64>(0)))
        };
        limit("PRAGMA max_page_count = 1").await.unwrap();
        let held = hold(&metadata).await;
        let writes: Vec<_> = (0..50)
            .map(|n| {
                let metadata = metadata.clone();
                let image = tagged(&format!("team/app{n}"), &format!("m{n}"), &["a", "b", "c"]);
                tokio::spawn(async move { metadata.put_manifest(image).await })
            })
            .collect();
        waiting(&metadata, 50).await;
        drop(held);
        let mut refused = 0;
        for write in writes {
            if let Err(error) = write.await.unwrap() {
                assert!(error.is_full(), "{error}");
                refused += 1;
            }
        }
        assert!(refused > 0, "fifty manifests do not fit into a page or two");
        assert_eq!(count(&metadata).await, 51 - refused, "what was refused left nothing behind");

        limit("PRAGMA max_page_count = 1000000").await.unwrap();
        put(&metadata, tagged("app", "another", &["latest"])).await;
    }

    /// `FULL_DIRECTORY` is a small file system, such as a tmpfs of 2 MiB.
    #[tokio::test]
    #[ignore = "needs a small file system"]
    async fn file_system_fills_up_and_has_room_again() {
        let Some(full) = std::env::var_os("FULL_DIRECTORY") else { return };
        let directory = tempfile::tempdir_in(full).unwrap();
        for filler in (0..40).map(|step| 400_000 + step * 4_096) {
            let metadata = Metadata::open(&directory.path().join("metadata.db")).unwrap();
            let filling = directory.path().join("filling");
            std::fs::write(&filling, vec![1; filler]).unwrap();
            let mut stored = count(&metadata).await;
            let error = loop {
                let image =
                    tagged(&format!("f{filler}/app{stored}"), &format!("m{stored}"), &["a", "b", "c"]);
                match metadata.put_manifest(image).await {
                    Ok(_) => stored += 1,
                    Err(error) => break error,
                }
            };
            assert!(error.is_full(), "{error}");
            let all = metadata.repositories(&Visible::Everything, None, 100_000).await.unwrap();
            assert_eq!(all.len(), stored, "reads go on, and show what was stored");
            std::fs::remove_file(filling).unwrap();
            put(&metadata, manifest("there-is-room", "m")).await;
            metadata.close().await;
            for file in std::fs::read_dir(directory.path()).unwrap() {
                std::fs::remove_file(file.unwrap().path()).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn closed_metadata_refuses_operations() {
        let (metadata, _directory) = empty();
        let other = metadata.clone();
        metadata.close().await;
        metadata.close().await;
        assert!(matches!(other.link_blob(&name("app"), &digest("x"), 1).await, Err(StoreError::Closed)));
        assert!(matches!(other.catalog(&Visible::Everything, None, 1).await, Err(StoreError::Closed)));
    }

    #[tokio::test]
    async fn close_runs_waiting_operations() {
        let (metadata, directory) = empty();
        let held = hold(&metadata).await;
        let writes: Vec<_> = (0..20)
            .map(|n| {
                let metadata = metadata.clone();
                tokio::spawn(async move { put(&metadata, manifest(&format!("app{n}"), "m")).await })
            })
            .collect();
        waiting(&metadata, 20).await;
        let closing = metadata.clone();
        let closed = tokio::spawn(async move { closing.close().await });
        // The writer takes no more operations: it is closing.
        while lock(&metadata.inner.writer.jobs).is_some() {
            tokio::task::yield_now().await;
        }
        drop(held);
        closed.await.unwrap();
        for write in writes {
            write.await.unwrap();
        }
        let metadata = open(&directory);
        assert_eq!(count(&metadata).await, 20);
    }

    const VICTIM: &str = "WHARFINGER_TEST_VICTIM";

    /// The process that the next test kills: it writes and prints the number of each answered write.
    #[tokio::test]
    #[ignore = "runs as a process of its own, started by another test"]
    async fn victim() {
        let Some(path) = std::env::var_os(VICTIM) else { return };
        let metadata = Metadata::open(path.as_ref()).unwrap();
        for n in 0.. {
            if n % 2 == 0 {
                put(&metadata, tagged("app", &format!("m{n}"), &[&format!("t{n}")])).await;
            } else {
                let mut upload = super::super::uploads::tests::state(n);
                upload.id = uuid::Uuid::from_u128(n.into());
                metadata.create_upload(&name("app"), None, &upload).await.unwrap();
            }
            println!("answered {n}");
        }
    }

    #[tokio::test]
    async fn answered_writes_survive_a_kill() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metadata.db");
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["metadata::writer::tests::victim", "--exact", "--ignored", "--nocapture"])
            .env(VICTIM, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut last = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("answered ") {
                last = number.parse().unwrap();
            }
            if last == 200 {
                victim.kill().unwrap();
            }
        }
        victim.wait().unwrap();
        assert!(last >= 200);
        let metadata = Metadata::open(&path).unwrap();
        let tags = metadata.tags(&name("app"), None, 100_000).await.unwrap().unwrap();
        let uploads = metadata.unfinished_uploads().await.unwrap();
        let uploads: Vec<_> = uploads.into_iter().map(|upload| upload.id).collect();
        for n in 0..=last {
            if n % 2 == 0 {
                assert!(tags.contains(&format!("t{n}").parse().unwrap()), "{n} of {last}");
            } else {
                assert!(uploads.contains(&uuid::Uuid::from_u128(n)), "{n} of {last}");
            }
        }
    }
}
