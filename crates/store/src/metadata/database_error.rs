//! The error of a database, whichever one it is.

use std::fmt;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

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
    /// The file is damaged.
    Corrupt,
    /// The file is no database.
    NotADatabase,
    CannotOpen,
    Other,
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
