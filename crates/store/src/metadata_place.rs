//! The place of a registry's metadata: a file of the data directory, or PostgreSQL.
//!
//! The data directory records the database, so that neither a start without the setting nor one with another
//! database serves a registry whose images and accounts are elsewhere.

use std::fs;
use std::io;

use crate::database_url::DatabaseUrl;
use crate::metadata::transfer;
use crate::{Directory, Metadata, StoreError, durable};

/// The file with the place and the id of the database in PostgreSQL.
pub(crate) const METADATA_PLACE: &str = "metadata";

impl Directory {
    /// Opens the metadata of this directory. The caller holds the lock.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the settings name another place than that of the metadata.
    pub fn open_metadata(&self) -> Result<Metadata, StoreError> {
        let recorded = self.check_metadata_place()?;
        let Some(url) = self.database() else { return Metadata::open(&self.metadata()) };
        transfer::check_server(url, recorded.as_ref().map(|(_, id)| id.as_str()))?;
        let metadata = Metadata::connect(url, self.own())?;
        match recorded {
            Some((place, id)) if id != metadata.id() => Err(StoreError::Directory(format!(
                "{} is another database than that of {}, which was in {place}: set metadata.url to that, or use another \
                 data directory",
                url.place(),
                self.root().display()
            ))),
            Some(_) => Ok(metadata),
            None => {
                self.record_database(url, metadata.id())?;
                Ok(metadata)
            }
        }
    }

    /// Checks that the settings name the recorded kind of place. Returns the recorded database in PostgreSQL.
    ///
    /// # Errors
    /// [`StoreError::Directory`].
    pub(crate) fn check_metadata_place(&self) -> Result<Option<(String, String)>, StoreError> {
        let recorded = self.recorded_metadata_place()?;
        let root = self.root().display();
        let refused = match (self.database(), &recorded) {
            (None, Some((place, _))) => format!(
                "the metadata of {root} are in {place}: set metadata.url, or pass --metadata to serve"
            ),
            (Some(url), None) if self.metadata().exists() => format!(
                "{root} holds its metadata in wharfinger/metadata.db, and not in {place}: remove metadata.url, and move them \
                 with `wharfinger move --to-metadata`",
                place = url.place()
            ),
            // The content of another registry is adopted. Ours had accounts, which only its database has.
            (Some(url), None) if self.has_identity() && !self.metadata_lists_content()? => format!(
                "{root} holds content of a registry, and the database {place} lists none: set metadata.url to its \
                 database, or restore that",
                place = url.place()
            ),
            _ => return Ok(recorded),
        };
        Err(StoreError::Directory(refused))
    }

    /// Whether the database lists content. Changes and creates nothing.
    pub(crate) fn metadata_lists_content(&self) -> Result<bool, StoreError> {
        match self.database() {
            Some(url) => Metadata::holds_content_on(url),
            None => Metadata::holds_content_at(&self.metadata()),
        }
    }

    /// Refuses a backup of metadata that are not in a file.
    ///
    /// # Errors
    /// [`StoreError::Directory`].
    pub fn check_metadata_file(&self) -> Result<(), StoreError> {
        let Some((place, _)) = self.recorded_metadata_place()? else { return Ok(()) };
        Err(StoreError::Directory(format!(
            "the metadata are in {place}: back up the database with its own tools, such as pg_dump, and the data directory \
             without wharfinger/uploads"
        )))
    }

    /// Records the database in PostgreSQL.
    pub(crate) fn record_database(&self, url: &DatabaseUrl, id: &str) -> Result<(), StoreError> {
        let text = format!("{}\n{id}\n", url.place());
        let path = self.own().join(METADATA_PLACE);
        durable::replace(&path, text.as_bytes()).map_err(|error| StoreError::io("write", path, error))
    }

    /// The place and the id of the recorded database in PostgreSQL.
    pub(crate) fn recorded_metadata_place(&self) -> Result<Option<(String, String)>, StoreError> {
        let path = self.own().join(METADATA_PLACE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", path, error)),
        };
        let recorded = text.split_once('\n').map(|(place, id)| (place.to_owned(), id.trim().to_owned()));
        recorded
            .map(Some)
            .ok_or_else(|| StoreError::Damaged(format!("{} has no second line", path.display())))
    }
}
