//! The error of a database, whichever one it is.

use std::fmt;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use tokio_postgres::error::SqlState;

use crate::StoreError;

/// A failed operation of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseError {
    pub(crate) kind: DatabaseErrorKind,
    message: String,
}

/// The errors that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatabaseErrorKind {
    /// The disk is full.
    Full,
    /// Another program holds a lock for too long.
    Locked,
    /// Another transaction was in the way. The same operation can succeed at once.
    Conflict,
    /// The file is damaged.
    Corrupt,
    /// The file is no database.
    NotADatabase,
    CannotOpen,
    /// The server does not answer, or does not take writes now.
    Away,
    Other,
}

impl DatabaseError {
    /// An error of a server that does not serve this process now.
    pub(crate) fn away(message: String) -> Self {
        Self { kind: DatabaseErrorKind::Away, message }
    }

    /// An error that another transaction caused.
    #[cfg(test)]
    pub(crate) fn conflict() -> Self {
        Self { kind: DatabaseErrorKind::Conflict, message: "a conflict of a test".to_owned() }
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DatabaseError {}

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
        Self::Database(DatabaseError { kind, message: error.to_string() })
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let kind = match error.code() {
            Some(code) => kind_of(code),
            None if is_broken(&error) => DatabaseErrorKind::Away,
            None => DatabaseErrorKind::Other,
        };
        Self::Database(DatabaseError { kind, message: message(&error) })
    }
}

fn kind_of(code: &SqlState) -> DatabaseErrorKind {
    match *code {
        SqlState::DISK_FULL => DatabaseErrorKind::Full,
        SqlState::LOCK_NOT_AVAILABLE | SqlState::QUERY_CANCELED => DatabaseErrorKind::Locked,
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => DatabaseErrorKind::Conflict,
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => DatabaseErrorKind::Corrupt,
        SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::TOO_MANY_CONNECTIONS
        | SqlState::CONNECTION_EXCEPTION
        | SqlState::CONNECTION_FAILURE
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        // A server that became a standby.
        | SqlState::READ_ONLY_SQL_TRANSACTION => DatabaseErrorKind::Away,
        _ => DatabaseErrorKind::Other,
    }
}

/// Whether the connection could not be made, or broke.
fn is_broken(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    error.is_closed() || source.is_some_and(|source| source.downcast_ref::<std::io::Error>().is_some())
}

/// The error with its cause, or the detail of the server.
fn message(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => {
            let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("PostgreSQL: {}{detail} ({})", error.message(), error.code().code())
        }
        None => {
            let cause =
                std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("PostgreSQL: {error}{cause}")
        }
    }
}
