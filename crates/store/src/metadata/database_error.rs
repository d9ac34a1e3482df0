//! The error of a database, whichever one it is.

use std::fmt;

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
    pub(super) fn new(kind: DatabaseErrorKind, message: String) -> Self {
        Self { kind, message }
    }

    /// An error of a server that does not serve this process now.
    pub(crate) fn away(message: String) -> Self {
        Self::new(DatabaseErrorKind::Away, message)
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
