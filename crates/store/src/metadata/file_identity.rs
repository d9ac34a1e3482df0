//! Identity of the open database files: notices that another program removed or replaced them.
//!
//! SQLite keeps removed files open. It would go on to acknowledge writes to files that no name leads to, and
//! the next start would find an older database or none.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::StoreError;

/// Device and inode.
type Id = (u64, u64);

/// The files of a database that this process has open.
pub(super) struct FileIdentity {
    database: PathBuf,
    database_id: Option<Id>,
    log: PathBuf,
    /// Set when the log is first seen: the first transaction creates it.
    log_id: OnceLock<Id>,
}

impl FileIdentity {
    /// Records the file at `path`, which was opened before.
    pub(super) fn of(path: &Path) -> Self {
        let mut log = path.to_owned().into_os_string();
        log.push("-wal");
        Self {
            database: path.to_owned(),
            database_id: id(path).ok(),
            log: log.into(),
            log_id: OnceLock::new(),
        }
    }

    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    /// The size of the log in bytes.
    pub(super) fn log_size(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    /// Checks that the names still lead to the open files. Costs two stats.
    ///
    /// # Errors
    /// [`StoreError::DatabaseGone`].
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let is_same = |path: &Path, known: Id| match id(path) {
            Ok(found) => found == known,
            // After another error, assume the same file.
            Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        };
        if self.database_id.is_some_and(|known| !is_same(&self.database, known)) {
            return Err(StoreError::DatabaseGone(self.database.clone()));
        }
        match self.log_id.get() {
            Some(known) if !is_same(&self.log, *known) => Err(StoreError::DatabaseGone(self.log.clone())),
            Some(_) => Ok(()),
            None => {
                if let Ok(found) = id(&self.log) {
                    self.log_id.get_or_init(|| found);
                }
                Ok(())
            }
        }
    }
}

fn id(path: &Path) -> io::Result<Id> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Metadata;
    use super::super::fixtures::{in_file, manifest, name, put};
    use crate::StoreError;

    async fn push(metadata: &Metadata) -> Result<(), StoreError> {
        metadata.link_blob(&name("app"), &super::super::fixtures::digest("layer"), 1).await
    }

    #[tokio::test]
    async fn removed_database_refuses_writes_until_it_is_back() {
        for file in ["metadata.db", "metadata.db-wal"] {
            let (metadata, directory) = in_file();
            put(&metadata, manifest("app", "one")).await;
            let (path, away) = (directory.path().join(file), directory.path().join("away"));
            fs::rename(&path, &away).unwrap();
            assert!(matches!(push(&metadata).await, Err(StoreError::DatabaseGone(_))), "{file}");
            assert!(matches!(metadata.ready().await, Err(StoreError::DatabaseGone(_))));
            // A copy is another file: later writes would not be in it.
            fs::copy(&away, &path).unwrap();
            assert!(matches!(push(&metadata).await, Err(StoreError::DatabaseGone(_))));
            fs::rename(&away, &path).unwrap();
            push(&metadata).await.unwrap();
            metadata.ready().await.unwrap();
            metadata.close().await;
        }
    }
}
