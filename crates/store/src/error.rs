//! What can go wrong in a store.

use std::io;
use std::path::PathBuf;

use oci::Digest;
use rusqlite::ErrorCode;
use uuid::Uuid;

/// Why a store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room left: the file system, a quota or the database is full.
    #[error("no space left for {what}")]
    Full {
        /// What was being written.
        what: String,
    },
    /// The content does not have the digest that was claimed for it.
    #[error("the content has the digest {actual}, not {expected}")]
    DigestMismatch {
        /// What the client claimed.
        expected: Digest,
        /// What was received.
        actual: Digest,
    },
    /// The file system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "write", "sync" …
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database refused something.
    #[error("metadata: {0}")]
    Database(#[from] rusqlite::Error),
    /// Something kept does not have the form that it must have.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Bytes that an upload took in are not there any more.
    #[error("upload {id} took in {offset} bytes, but {left} are left in its file")]
    UploadLost {
        /// Names the upload.
        id: Uuid,
        /// How many bytes it took in.
        offset: u64,
        /// How many of them are left.
        left: u64,
    },
    /// The directory is in use by another process, or is not what it should be.
    #[error("{0}")]
    Directory(String),
    /// The directory of the content is not the one that was opened: it was moved away, or its volume is not mounted.
    #[error("{} is not the content of this registry any more; was it moved, or its volume unmounted?", .0.display())]
    ContentGone(PathBuf),
    /// The store is closing, or a task of it died.
    #[error("the store is shut down")]
    Closed,
}

impl StoreError {
    /// An I/O error with its action and path; a full disk becomes [`StoreError::Full`].
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { what: path.display().to_string() }
            }
            _ => Self::Io { action, path, source },
        }
    }

    /// Whether another program has locked the database.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self.database_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// Whether the database's file is damaged.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        matches!(self.database_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    fn database_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Database(error) => error.sqlite_error_code(),
            _ => None,
        }
    }

    /// Whether the reason is lack of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            other => other.database_code() == Some(ErrorCode::DiskFull),
        }
    }
}
