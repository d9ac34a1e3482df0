//! The last step of a move of blobs or metadata to another place, and its completion after a crash.
//!
//! The data directory stays, and records the places. Until the file `wharfinger/move` is there, the old
//! places are the registry's; from then on the new ones are. The records follow from that file, also at the
//! next start, so that no crash leaves one record of each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::blob_place::BLOB_PLACE;
use crate::blobs::{BlobStore, open_files, open_objects};
use crate::database_url::DatabaseUrl;
use crate::metadata::transfer::{self, CopiedTable, DatabasePlace};
use crate::metadata::{Frozen, Metadata, merge_log};
use crate::metadata_place::METADATA_PLACE;
use crate::object_settings::ObjectSettings;
use crate::{Directory, StoreError, blocking, durable};

/// The file with the new places, from the commit of a move until the next start.
const MOVE: &str = "move";
/// The database that is copied from PostgreSQL.
const COPY: &str = "metadata.db.moving";
/// The database that a move has left, or that had the name of a database that moves back.
const OLD: &str = "metadata.db.moved";

/// The new place of the blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobTarget {
    /// Files of the data directory.
    Files,
    /// A bucket.
    Bucket(Box<ObjectSettings>),
}

/// The new place of the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataTarget {
    /// A file of the data directory.
    File,
    /// A database in PostgreSQL.
    Server(Box<DatabaseUrl>),
}

/// The new places. `None` for what stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relocation {
    /// The blobs.
    pub blobs: Option<BlobTarget>,
    /// The metadata.
    pub metadata: Option<MetadataTarget>,
}

/// A committed move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Whether the blobs were moved, so that unfinished uploads are lost.
    pub blobs: bool,
    /// Whether the links of the directory are to be written anew.
    pub links_are_old: bool,
}

/// The file `move`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Committed {
    /// The URL of the bucket; empty for files.
    blobs: Option<String>,
    metadata: Option<CommittedMetadata>,
    /// Whether the links of the directory do not follow the metadata.
    #[serde(default)]
    links_are_old: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CommittedMetadata {
    File,
    Server { place: String, id: String },
}

impl Directory {
    /// Checks that a registry in this directory can move to these places. The caller holds the lock.
    ///
    /// # Errors
    /// [`StoreError::Directory`] with the reason.
    pub fn check_relocation(&self, to: &Relocation, id: &str) -> Result<(), StoreError> {
        let refused = |reason: String| Err(StoreError::Directory(reason));
        if self.own().join(MOVE).exists() {
            return refused(
                "the registry has moved already: restart the server with the settings of the new places"
                    .to_owned(),
            );
        }
        if to.blobs.is_none() && to.metadata.is_none() {
            return refused(
                "nothing to move: name the new place of the blobs, of the metadata, or of both".to_owned(),
            );
        }
        match (&to.blobs, self.objects()) {
            (Some(BlobTarget::Files), None) => {
                return refused(format!("the blobs of {} are files already", self.root().display()));
            }
            (Some(BlobTarget::Bucket(new)), Some(old))
                if new.url == old.url && new.endpoint == old.endpoint =>
            {
                return refused(format!("the blobs are in {} already", new.url));
            }
            _ => {}
        }
        match (&to.metadata, self.database()) {
            (Some(MetadataTarget::File), None) => {
                return refused(format!("the metadata of {} are in a file already", self.root().display()));
            }
            (Some(MetadataTarget::Server(new)), Some(old)) if **new == *old => {
                return refused(format!("the metadata are in {} already", new.place()));
            }
            _ => {}
        }
        if let Some(target) = &to.metadata {
            transfer::check_target(&self.target(target), id)?;
        }
        match self.database() {
            Some(database) => transfer::check_source(database),
            None => Ok(()),
        }
    }

    /// Opens the new place of the blobs. The caller holds the lock.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if its settings cannot be used.
    pub fn open_target(&self, target: &BlobTarget) -> Result<Arc<dyn BlobStore>, StoreError> {
        match target {
            BlobTarget::Files => Ok(open_files(self)),
            BlobTarget::Bucket(settings) => open_objects(settings, self),
        }
    }

    fn target(&self, target: &MetadataTarget) -> DatabasePlace {
        match target {
            MetadataTarget::File => DatabasePlace::File(self.own().join(COPY)),
            MetadataTarget::Server(url) => DatabasePlace::Server(url.clone()),
        }
    }

    /// Copies the frozen metadata to their new place. `progress` receives the number of rows.
    ///
    /// # Errors
    /// [`StoreError`]; the target then has no copy.
    pub async fn copy_metadata(
        &self,
        to: &Relocation,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<Vec<CopiedTable>, StoreError> {
        let Some(target) = &to.metadata else { return Ok(Vec::new()) };
        let (target, with_uploads) = (self.target(target), to.blobs.is_none());
        let source = match self.database() {
            Some(url) => DatabasePlace::Server(Box::new(url.clone())),
            None => DatabasePlace::File(self.metadata()),
        };
        blocking::blocking(move || transfer::copy(&source, &target, with_uploads, progress)).await
    }

    /// Makes the new places those of the registry. The old ones stay frozen until the process ends.
    ///
    /// # Errors
    /// [`StoreError`]; then the old places are still those of the registry.
    pub async fn commit_relocation(
        &self,
        to: Relocation,
        id: &str,
        links_are_old: bool,
        frozen: Frozen,
    ) -> Result<(), StoreError> {
        let (directory, id) = (self.clone(), id.to_owned());
        // On its own thread, so that a caller that gives up does not end the freeze in between.
        blocking::blocking(move || {
            let committed = Committed {
                blobs: to.blobs.as_ref().map(|target| match target {
                    BlobTarget::Files => String::new(),
                    BlobTarget::Bucket(settings) => settings.url.clone(),
                }),
                metadata: to.metadata.as_ref().map(|target| match target {
                    MetadataTarget::File => CommittedMetadata::File,
                    MetadataTarget::Server(url) => CommittedMetadata::Server { place: url.place(), id },
                }),
                links_are_old,
            };
            let json =
                serde_json::to_vec(&committed).map_err(|error| StoreError::Damaged(error.to_string()))?;
            directory.replace(MOVE, &json)?;
            frozen.keep();
            if let (Some(target), Some(old)) = (&to.metadata, directory.database()) {
                let place = match target {
                    MetadataTarget::File => directory.metadata().display().to_string(),
                    MetadataTarget::Server(url) => url.place(),
                };
                if let Err(error) = transfer::mark_departed(old, &place) {
                    tracing::warn!(%error, database = old.place(), "cannot mark the old database as moved");
                }
            }
            let served = directory.database().is_none();
            if let Err(error) = directory.record(&committed, served) {
                tracing::warn!(%error, "the next start finishes the move");
            }
            Ok(())
        })
        .await
    }

    /// Writes the records of a committed move, which a crash may have interrupted. `None` if there is none.
    /// The caller holds the lock.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn finish_relocation(&self) -> Result<Option<Moved>, StoreError> {
        let path = self.own().join(MOVE);
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", path, error)),
        };
        let committed: Committed = serde_json::from_slice(&json)
            .map_err(|error| StoreError::Damaged(format!("{}: {error}", path.display())))?;
        self.record(&committed, false)?;
        Ok(Some(Moved { blobs: committed.blobs.is_some(), links_are_old: committed.links_are_old }))
    }

    /// Forgets a finished move: the registry was opened in its new places.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn end_relocation(&self) -> Result<(), StoreError> {
        durable::remove(&self.own().join(MOVE))?;
        durable::sync(self.own())
    }

    /// Writes the records of a committed move of the directory at `path`, if no process uses it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn finish_relocation_at(path: &Path) -> Result<(), StoreError> {
        let Some(directory) = Self::find(path).filter(|found| found.own().join(MOVE).exists()) else {
            return Ok(());
        };
        match directory.try_lock()? {
            Some(_lock) => directory.finish_relocation().map(drop),
            None => Ok(()),
        }
    }

    /// Writes the records of the new places. Idempotent. `is_served`: `metadata.db` is in use by this
    /// process.
    fn record(&self, committed: &Committed, is_served: bool) -> Result<(), StoreError> {
        match committed.blobs.as_deref() {
            None => {}
            Some("") => durable::remove(&self.own().join(BLOB_PLACE))?,
            Some(url) => self.replace(BLOB_PLACE, format!("{url}\n").as_bytes())?,
        }
        match &committed.metadata {
            None => {}
            Some(CommittedMetadata::Server { place, id }) => {
                self.replace(METADATA_PLACE, format!("{place}\n{id}\n").as_bytes())?;
                if !is_served {
                    self.retire_database()?;
                }
            }
            Some(CommittedMetadata::File) => {
                let copy = self.own().join(COPY);
                if copy.exists() {
                    self.retire_database()?;
                    let path = self.metadata();
                    fs::rename(&copy, &path).map_err(|error| StoreError::io("rename to", path, error))?;
                }
                durable::remove(&self.own().join(METADATA_PLACE))?;
            }
        }
        durable::sync(self.own())
    }

    /// Gives `metadata.db` another name, so that nothing takes it for the registry's.
    fn retire_database(&self) -> Result<(), StoreError> {
        let path = self.metadata();
        if !path.exists() {
            return Ok(());
        }
        merge_log(&path)?;
        let old = self.own().join(OLD);
        fs::rename(&path, &old).map_err(|error| StoreError::io("rename to", old, error))?;
        for suffix in ["-wal", "-shm"] {
            durable::remove(&durable::beside(&path, suffix))?;
        }
        Metadata::accept_older(&path)
    }

    fn replace(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let path = self.own().join(name);
        durable::replace(&path, content).map_err(|error| StoreError::io("write", path, error))
    }

    /// The database that a move has left in the directory.
    #[must_use]
    pub fn moved_database(&self) -> PathBuf {
        self.own().join(OLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(directory: &Directory, committed: &Committed) {
        directory.replace(MOVE, &serde_json::to_vec(committed).unwrap()).unwrap();
    }

    #[test]
    fn interrupted_commit_is_finished_at_the_next_start() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        drop(Metadata::open(&directory.metadata()).unwrap());
        let server = CommittedMetadata::Server { place: "postgres://db:5432/images".into(), id: "7".into() };
        let there =
            Committed { blobs: Some("s3://images/a".into()), metadata: Some(server), ..Committed::default() };
        committed(&directory, &there);
        // Interrupted after the first record.
        directory.replace(BLOB_PLACE, b"s3://images/a\n").unwrap();
        Directory::finish_relocation_at(scratch.path()).unwrap();
        assert_eq!(directory.recorded_blob_place().unwrap().as_deref(), Some("s3://images/a"));
        let refused = directory.check_metadata_place().unwrap_err().to_string();
        assert!(refused.contains("are in postgres://db:5432/images"), "{refused}");
        assert!(directory.moved_database().exists() && !directory.metadata().exists());

        drop(Metadata::open(&directory.own().join(COPY)).unwrap());
        let back = Committed {
            blobs: Some(String::new()),
            metadata: Some(CommittedMetadata::File),
            links_are_old: true,
        };
        committed(&directory, &back);
        directory.record(&back, true).unwrap();
        // Interrupted before the file was removed.
        assert_eq!(directory.finish_relocation().unwrap(), Some(Moved { blobs: true, links_are_old: true }));
        directory.end_relocation().unwrap();
        assert_eq!(directory.finish_relocation().unwrap(), None);
        assert_eq!(directory.recorded_blob_place().unwrap(), None);
        directory.check_metadata_place().unwrap();
        assert!(directory.metadata().exists() && !directory.own().join(COPY).exists());
    }

    #[test]
    fn move_in_use_waits_for_the_lock() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        committed(&directory, &Committed { blobs: Some("s3://a".into()), ..Committed::default() });
        let lock = directory.lock().unwrap();
        Directory::finish_relocation_at(scratch.path()).unwrap();
        assert_eq!(directory.recorded_blob_place().unwrap(), None);
        drop(lock);
        Directory::finish_relocation_at(scratch.path()).unwrap();
        assert_eq!(directory.recorded_blob_place().unwrap().as_deref(), Some("s3://a"));
    }

    #[test]
    fn move_to_the_same_place_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        let reason = |to: Relocation| directory.check_relocation(&to, "1").unwrap_err().to_string();
        assert!(reason(Relocation::default()).contains("nothing to move"));
        let files = Relocation { blobs: Some(BlobTarget::Files), metadata: None };
        assert!(reason(files).contains("are files already"));
        let file = Relocation { blobs: None, metadata: Some(MetadataTarget::File) };
        assert!(reason(file).contains("in a file already"));
    }
}
