//! Connections to the SQLite database: how each kind is opened and set up, copies, and the errors of SQLite.

use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use rusqlite::{ErrorCode, OpenFlags};

use super::sql::Sql;
use super::{DatabaseError, DatabaseErrorKind};
use crate::StoreError;

/// Prepared statements that the writer caches: more than there are kinds of statements.
const WRITER_STATEMENTS: usize = 128;
/// Prepared statements that a reader caches: more than there are kinds of reads.
const READER_STATEMENTS: usize = 64;

/// The writer's page cache is small, because the kernel caches the same pages.
const SMALL_CACHE: &str = "PRAGMA cache_size = -1024";

/// The pages that are copied at a time.
const COPIED_PAGES: i32 = 4096;
/// The pause while another process checkpoints or recovers the log.
const COPY_PAUSE: Duration = Duration::from_millis(20);

/// A connection to the database.
pub(super) struct Connection(rusqlite::Connection);

impl Connection {
    /// Opens the database at `path` to write, and creates it if it does not exist.
    pub(super) fn writer(path: &Path) -> Result<Self, StoreError> {
        disable_memory_statistics();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = Self::open(path, flags)?;
        connection
            .script(
                "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; \
                 PRAGMA mmap_size = 2147418112; PRAGMA wal_autocheckpoint = 0; \
                 PRAGMA journal_size_limit = 67108864",
            )
            .map_err(|error| unreadable(error, path))?;
        connection.shrink_cache()?;
        connection.cache_statements(WRITER_STATEMENTS)?;
        Ok(connection)
    }

    /// Opens the database at `path` to read it beside the writer.
    pub(super) fn reader(path: &Path) -> Result<Self, StoreError> {
        let connection = Self::open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        // The page cache is tiny, because the kernel's pages are mapped.
        connection.script(
            "PRAGMA mmap_size = 2147418112; PRAGMA cache_size = -256; PRAGMA temp_store = MEMORY; \
             PRAGMA busy_timeout = 5000",
        )?;
        connection.cache_statements(READER_STATEMENTS)?;
        Ok(connection)
    }

    /// Opens the database at `path` to checkpoint it beside the writer.
    pub(super) fn checkpointer(path: &Path) -> Result<Self, StoreError> {
        let connection = Self::open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.shrink_cache()?;
        Ok(connection)
    }

    fn open(path: &Path, flags: OpenFlags) -> Result<Self, StoreError> {
        let opened = rusqlite::Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
        opened.map(Self).map_err(|error| unreadable(error.into(), path))
    }

    /// Keeps prepared statements with their plans.
    ///
    /// This build of SQLite (with `STAT4`) otherwise prepares a statement again for each new bound value,
    /// which takes several times as long as our statements run.
    fn cache_statements(&self, count: usize) -> Result<(), StoreError> {
        self.0.set_prepared_statement_cache_capacity(count);
        self.0.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(())
    }

    /// Runs statements on this connection. The caller begins and ends the transaction.
    pub(super) fn sql(&self) -> Sql<'_> {
        Sql::file(&self.0)
    }

    /// Runs several statements, which may return rows.
    pub(super) fn script(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.0.execute_batch(sql)?)
    }

    pub(super) fn shrink_cache(&self) -> Result<(), StoreError> {
        self.script(SMALL_CACHE)
    }

    /// Copies the present state of the database to a new file without a log. Writers go on meanwhile.
    pub(super) fn copy_to(&self, target: &Path) -> Result<(), StoreError> {
        let mut copy = rusqlite::Connection::open(target)?;
        // A read transaction keeps one state. Without it, each commit would begin the copy anew.
        self.script("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")?;
        {
            let backup = Backup::new(&self.0, &mut copy)?;
            loop {
                match backup.step(COPIED_PAGES)? {
                    StepResult::Done => break,
                    StepResult::More => {}
                    _ => std::thread::sleep(COPY_PAUSE),
                }
            }
        }
        self.script("COMMIT")?;
        copy.execute_batch("PRAGMA journal_mode = DELETE")?;
        Ok(copy.close().map_err(|(_, error)| error)?)
    }

    /// Copies the log back into the database, as far as no reader still needs it.
    pub(super) fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(self.0.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))?)
    }

    pub(super) fn is_in_transaction(&self) -> bool {
        !self.0.is_autocommit()
    }

    /// The number of pages that this connection has written to the log since the last reset. Resets it on
    /// request.
    pub(super) fn pages_written(&self, reset: bool) -> u64 {
        let (mut pages, mut highest) = (0, 0);
        // SAFETY: the handle is that of an open connection, which this thread owns, and both pointers are
        // valid.
        let status = unsafe {
            rusqlite::ffi::sqlite3_db_status(
                self.0.handle(),
                rusqlite::ffi::SQLITE_DBSTATUS_CACHE_WRITE,
                &raw mut pages,
                &raw mut highest,
                reset.into(),
            )
        };
        if status == rusqlite::ffi::SQLITE_OK { u64::from(pages.unsigned_abs()) } else { 0 }
    }

    /// The number of rows changed since the connection was opened.
    pub(super) fn changes(&self) -> u64 {
        self.0.total_changes()
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => DatabaseErrorKind::Full,
            // The index of the log cannot grow.
            _ if error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE) => {
                DatabaseErrorKind::Full
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DatabaseErrorKind::Locked,
            Some(ErrorCode::DatabaseCorrupt) => DatabaseErrorKind::Corrupt,
            Some(ErrorCode::NotADatabase) => DatabaseErrorKind::NotADatabase,
            Some(ErrorCode::CannotOpen) => DatabaseErrorKind::CannotOpen,
            _ => DatabaseErrorKind::Other,
        };
        Self::Database(DatabaseError::new(kind, error.to_string()))
    }
}

/// The error for a file that cannot be read as a database.
pub(super) fn unreadable(error: StoreError, path: &Path) -> StoreError {
    let StoreError::Database(database) = &error else { return error };
    match database.kind {
        DatabaseErrorKind::NotADatabase => {
            StoreError::Directory(format!("{} is not a database", path.display()))
        }
        DatabaseErrorKind::Corrupt => StoreError::Damaged(format!(
            "the database {path}. Restore a backup (wharfinger restore). Without one, stop the server and move {path}* \
             away: the next start builds it again from repositories/, without accounts and rules",
            path = path.display()
        )),
        DatabaseErrorKind::CannotOpen => {
            StoreError::Directory(format!("{} cannot be opened: {database}", path.display()))
        }
        _ => error,
    }
}

/// Copies an error, for each of the operations whose transaction it ended.
pub(super) fn copy_error(error: &StoreError) -> StoreError {
    match error {
        StoreError::Database(error) => StoreError::Database(error.clone()),
        StoreError::Full { what } => StoreError::Full { what: what.clone() },
        StoreError::DatabaseGone(path) => StoreError::DatabaseGone(path.clone()),
        StoreError::Closed => StoreError::Closed,
        StoreError::Moving => StoreError::Moving,
        StoreError::Replica => StoreError::Replica,
        StoreError::ContentGone(path) => StoreError::ContentGone(path.clone()),
        StoreError::ObjectStore { action, what, reason } => {
            StoreError::ObjectStore { action, what: what.clone(), reason: reason.clone() }
        }
        StoreError::Io { action, path, source } => {
            let source =
                source.raw_os_error().map_or_else(|| source.kind().into(), io::Error::from_raw_os_error);
            StoreError::Io { action, path: path.clone(), source }
        }
        other => StoreError::Damaged(other.to_string()),
    }
}

/// Stops SQLite from counting its memory: it does so under one lock of all connections, which would make
/// concurrent reads wait for each other.
fn disable_memory_statistics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: the option takes one int. Concurrent calls would be unsound; `Once` excludes them here, and
        // a process that has opened a database elsewhere gets SQLITE_MISUSE, which changes nothing.
        let _ = unsafe {
            rusqlite::ffi::sqlite3_config(rusqlite::ffi::SQLITE_CONFIG_MEMSTATUS, 0 as std::ffi::c_int)
        };
    });
}
