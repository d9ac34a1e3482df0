//! The errors of PostgreSQL: which of them the store tells apart, and their text.

use tokio_postgres::error::SqlState;

use super::super::{DatabaseError, DatabaseErrorKind};
use crate::StoreError;

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let kind = match error.code() {
            Some(code) => kind_of(code),
            None if is_broken(&error) => DatabaseErrorKind::Away,
            None => DatabaseErrorKind::Other,
        };
        Self::Database(DatabaseError::new(kind, message(&error)))
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
