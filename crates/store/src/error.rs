//! Errors of the store.

use std::io;
use std::path::PathBuf;

use oci::{Digest, RepositoryName, Tag};
use uuid::Uuid;

use crate::metadata::{ContentRefusal, DatabaseError, DatabaseErrorKind, QuotaExcess, TagRefusal};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system, a quota or the database is full.
    #[error("no space left for {what}")]
    Full {
        /// The file or object that was written.
        what: String,
    },
    /// The digest of the content differs from the claimed one.
    #[error("the content has the digest {actual}, not {expected}")]
    DigestMismatch {
        /// The digest that the client claimed.
        expected: Digest,
        /// The digest of the received content.
        actual: Digest,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The operation: "read", "write", "sync" …
        action: &'static str,
        /// The path of the operation.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A request to the object store failed.
    #[error("cannot {action} {what}: {reason}")]
    ObjectStore {
        /// The operation: "read", "write" …
        action: &'static str,
        /// The URL of the object.
        what: String,
        /// The answer of the store, or the error of the network.
        reason: String,
    },
    /// A database operation failed.
    #[error("metadata: {0}")]
    Database(#[source] DatabaseError),
    /// Stored data is malformed.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Received bytes of an upload are gone.
    #[error("upload {id} has received {offset} bytes, but its file holds only {left}")]
    UploadLost {
        /// The id of the upload.
        id: Uuid,
        /// The number of received bytes.
        offset: u64,
        /// The number of bytes in its file.
        left: u64,
    },
    /// The data directory is in use or unusable.
    #[error("{0}")]
    Directory(String),
    /// The content directory was moved away, or its volume was unmounted.
    #[error("{} is no longer the content of this registry: was it moved, or its volume unmounted?", .0.display())]
    ContentGone(PathBuf),
    /// A file of the database was removed or replaced while the server runs.
    #[error(
        "{} was removed or replaced: put it back, or stop the server and restore a backup. Until then nothing is written", .0.display()
    )]
    DatabaseGone(PathBuf),
    /// This server is a replica, and only the primary changes the registry.
    #[error("this server is a replica, and only the primary server of the registry makes changes")]
    Replica,
    /// The schema of the database is older than the first one for several servers.
    #[error(
        "the schema of the metadata database is {found}, and this version of wharfinger has {own}: stop the older server, \
         and the next start upgrades the database"
    )]
    OtherSchema {
        /// The version in the database, or 0.
        found: u32,
        /// The version of this program.
        own: u32,
    },
    /// Another server uses the database, and this one does not share it.
    #[error(
        "cannot use the metadata database {0}: another server uses it; several servers need cluster.address, each of them"
    )]
    InUse(String),
    /// Another server is the primary of the database.
    #[error("another server uses the metadata database {0}")]
    HasPrimary(String),
    /// The registry is moving to another storage, or has moved there.
    #[error("the registry is moving to another storage, and nothing can be changed here meanwhile")]
    Moving,
    /// A rule refuses the change of a tag.
    #[error("a rule refuses to change the tag {}:{}", .0.0, .0.1)]
    TagRefused(Box<(RepositoryName, Tag, TagRefusal)>),
    /// A rule on a tag refuses the deletion of content that its image needs.
    #[error("a rule on the tag {}:{} keeps {}", .0.repository, .0.tag, .0.digest)]
    ContentRefused(Box<ContentRefusal>),
    /// A change would exceed a quota.
    #[error("the quota of {} is exceeded", .0.scope)]
    QuotaExceeded(Box<QuotaExcess>),
    /// The owner has as many objects as it may have.
    #[error("there are {most} {what} already")]
    LimitReached {
        /// The objects.
        what: &'static str,
        /// Their maximum number.
        most: usize,
    },
    /// The store is closing, or one of its tasks panicked.
    #[error("the store is shut down")]
    Closed,
}

impl StoreError {
    /// Returns an I/O error; a full disk becomes [`StoreError::Full`].
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { what: path.display().to_string() }
            }
            _ => Self::Io { action, path, source },
        }
    }

    /// Returns whether another program has locked the database.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self.database_kind(), Some(DatabaseErrorKind::Locked | DatabaseErrorKind::Conflict))
    }

    /// Whether another transaction was in the way: the same operation can succeed at once.
    pub(crate) fn is_conflict(&self) -> bool {
        self.database_kind() == Some(DatabaseErrorKind::Conflict)
    }

    /// Returns whether the server of the database does not answer now, or takes no writes.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.database_kind() == Some(DatabaseErrorKind::Away)
    }

    /// Returns whether the file system is mounted read-only, or has become read-only after a fault of the
    /// disk.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }

    /// Returns whether the database file is damaged.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        matches!(self.database_kind(), Some(DatabaseErrorKind::Corrupt | DatabaseErrorKind::NotADatabase))
    }

    fn database_kind(&self) -> Option<DatabaseErrorKind> {
        match self {
            Self::Database(error) => Some(error.kind),
            _ => None,
        }
    }

    /// Returns whether the disk, a quota or the database is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            other => other.database_kind() == Some(DatabaseErrorKind::Full),
        }
    }
}
