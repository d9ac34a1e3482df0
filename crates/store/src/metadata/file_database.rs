//! The database as an SQLite file: transactions, the readers' connections, and the upkeep of its log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::ballast::Ballast;
use super::checkpointer::Checkpointer;
use super::commit_mark::{CommitMark, SEQUENCE};
use super::connection::Connection;
use super::file_identity::FileIdentity;
use super::lock_holders;
use super::log_capture::{LogReader, SharedSink};
use super::readers::{ReaderConnection, Readers};
use super::sql::Sql;
use super::writer::{Durability, WriterDatabase};
use crate::StoreError;

/// The number of changed rows after which the log is checkpointed. It keeps the log near 10 MiB and still
/// merges repeated changes of a page.
const CHECKPOINT_CHANGES: u64 = 8_000;

/// The number of pages in the log after which it is checkpointed: 16 MiB, as large content fills it with few
/// rows.
const CHECKPOINT_PAGES: u64 = 4_096;
/// The same on a nearly full disk. The database has to grow by the pages of the log before that can be
/// truncated, which the ballast must allow for.
const CHECKPOINT_PAGES_SHORT: u64 = 128;
/// The free space of a nearly full disk in bytes.
const SHORT: u64 = 64 << 20;

/// The size up to which the log keeps its space on a full disk.
const LOG_KEPT: u64 = 2 << 20;

pub(super) struct FileDatabase {
    /// Dropped before the connection, so that closing the last connection writes back the log and removes it.
    checkpointer: Checkpointer,
    connection: Connection,
    /// The present `synchronous` setting of the connection.
    durability: Durability,
    /// [`Connection::changes`] at the last checkpoint.
    checkpointed: u64,
    mark: CommitMark,
    files: Arc<FileIdentity>,
    /// [`SEQUENCE`] after the last commit.
    sequence: i64,
    /// [`SEQUENCE`] of the transaction that is about to be committed.
    prepared: i64,
    ballast: Arc<Ballast>,
    log: LogReader,
    sink: SharedSink,
}

impl FileDatabase {
    /// Takes the writer connection to the database at `path`.
    pub(super) fn new(
        connection: Connection,
        path: &Path,
        mark: CommitMark,
        files: Arc<FileIdentity>,
        ballast: Arc<Ballast>,
        sink: SharedSink,
    ) -> Result<Self, StoreError> {
        let checkpointer = Checkpointer::start(path.to_owned())?;
        let checkpointed = connection.changes();
        // A failure only makes the first commit write the mark.
        let sequence = connection.sql().first(SEQUENCE, &[], |row| row.get(0)).ok().flatten().unwrap_or(-1);
        let durability = Durability::Disk;
        let prepared = sequence;
        Ok(Self {
            checkpointer,
            connection,
            durability,
            checkpointed,
            mark,
            files,
            sequence,
            prepared,
            ballast,
            log: LogReader::new(path),
            sink,
        })
    }

    /// Gives the pages of the last commit to the sink, if there is one.
    fn capture(&mut self, durability: Durability) -> Result<(), StoreError> {
        let Some(sink) = self.sink.get() else { return Ok(()) };
        match self.log.read() {
            Ok(Some(pages)) => sink.committed(pages, durability != Durability::Process),
            Ok(None) => Ok(()),
            Err(error) => {
                sink.missed(&error);
                Err(error)
            }
        }
    }

    /// Sets the durability of the next commits.
    fn set_durability(&mut self, durability: Durability) -> Result<(), StoreError> {
        if durability != self.durability {
            // In WAL mode, NORMAL writes a commit without a sync. The next synced commit includes it.
            self.statement(match durability {
                Durability::Disk | Durability::Bulk => "PRAGMA synchronous = FULL",
                Durability::Process => "PRAGMA synchronous = NORMAL",
            })?;
            self.durability = durability;
        }
        Ok(())
    }

    fn statement(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.sql().run(sql, &[])?;
        Ok(())
    }

    /// Checkpoints the log on a full disk, and gives the space of a large log to the disk. A small one keeps
    /// its space for the next deletion.
    fn shrink_log(&self) {
        let is_large = self.files.log_size() > LOG_KEPT;
        let checkpoint =
            if is_large { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(RESTART)" };
        if let Err(error) = self.connection.script(checkpoint) {
            tracing::error!(%error, "the metadata's log could not be checkpointed on a full disk");
        }
    }

    fn note_checkpoint(&mut self) {
        self.checkpointed = self.connection.changes();
        self.connection.pages_written(true);
    }

    /// Checkpoints the log as far as no reader needs it.
    fn checkpoint(&mut self) {
        if self.connection.changes() != self.checkpointed {
            self.note_checkpoint();
            if let Err(error) = self.connection.checkpoint() {
                // The log still has everything. The disk is probably full.
                tracing::warn!(%error, "the metadata's log could not be checkpointed; the next checkpoint tries again");
            }
        }
    }
}

impl WriterDatabase for FileDatabase {
    fn sql(&self) -> Sql<'_> {
        self.connection.sql()
    }

    fn begin(&mut self, durability: Durability) -> Result<(), StoreError> {
        self.files.check()?;
        let begun = self.set_durability(durability).and_then(|()| self.statement("BEGIN IMMEDIATE"));
        if let Err(error) = &begun
            && error.is_locked()
        {
            let database = self.files.database();
            let holders = lock_holders::describe(database);
            tracing::warn!(database = %database.display(), %holders, "the database is locked; pushes fail");
        }
        begun
    }

    fn is_in_transaction(&self) -> bool {
        self.connection.is_in_transaction()
    }

    fn rollback(&self) -> Result<(), StoreError> {
        self.connection.script("ROLLBACK")
    }

    fn savepoint(&self) -> Result<(), StoreError> {
        self.statement("SAVEPOINT operation")
    }

    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn end_savepoint(&self, has_failed: bool) -> Result<(), StoreError> {
        if has_failed {
            self.statement("ROLLBACK TO operation")?;
        }
        self.statement("RELEASE operation")
    }

    fn prepare_commit(&mut self) -> Result<(), StoreError> {
        let sequence = self.connection.sql().first(SEQUENCE, &[], |row| row.get(0))?;
        self.prepared = sequence.unwrap_or(self.sequence);
        Ok(())
    }

    fn commit(&self) -> Result<(), StoreError> {
        self.statement("COMMIT")
    }

    fn committed(&mut self, durability: Durability, _: Option<i64>) -> Result<(), StoreError> {
        // Only a commit that wrote something is synced, together with all commits before.
        let has_moved = std::mem::replace(&mut self.sequence, self.prepared) != self.prepared;
        if has_moved && durability != Durability::Process {
            self.mark.write(self.sequence)?;
        }
        self.capture(durability)
    }

    fn after_batch(&mut self) {
        if self.checkpointer.take_finished() {
            // Checkpointing the few changes since then lets the log restart from its beginning.
            self.checkpoint();
        } else if self.connection.changes() - self.checkpointed >= CHECKPOINT_CHANGES
            || self.connection.pages_written(false) >= CHECKPOINT_PAGES
        {
            self.note_checkpoint();
            self.checkpointer.begin();
        } else if self.connection.pages_written(false) >= CHECKPOINT_PAGES_SHORT
            && self.ballast.has_less_than(SHORT)
        {
            self.checkpoint();
        }
    }

    fn when_idle(&mut self) -> bool {
        self.checkpoint();
        if let Err(error) = self.connection.shrink_cache() {
            tracing::warn!(%error, "the page cache of the metadata's writer could not be shrunk");
        }
        true
    }

    fn take_session_change(&mut self) -> bool {
        false
    }

    fn turn_within(&self) -> Option<Duration> {
        None
    }

    fn make_room(&mut self) -> bool {
        self.ballast.release();
        // The database may grow by a few pages now, and the log begins anew in the space that it has.
        self.shrink_log();
        true
    }

    fn keep_room(&mut self) {
        self.shrink_log();
        if let Err(error) = self.ballast.fill() {
            tracing::debug!(%error, "the space for deletions on a full disk is smaller now");
        }
    }

    fn after_full(&mut self) {
        self.shrink_log();
    }
}

/// The number of concurrent reads. They are short and mostly in memory, so more would only wait for a core.
const READERS: u32 = 4;

/// The readers of the database at `path`.
pub(super) fn readers(path: &Path) -> Arc<Readers> {
    let path = path.to_owned();
    Readers::new(READERS, None, move || Ok(Box::new(Connection::reader(&path)?)))
}

impl ReaderConnection for Connection {
    fn sql(&self) -> Sql<'_> {
        self.sql()
    }

    fn begin(&self) -> Result<(), StoreError> {
        self.sql().run("BEGIN", &[])?;
        Ok(())
    }

    fn end(&self) -> Result<(), StoreError> {
        self.sql().run("COMMIT", &[])?;
        Ok(())
    }
}
