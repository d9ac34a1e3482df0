//! The place of a registry's blobs: its data directory, or a bucket.
//!
//! The data directory records the bucket, so that neither a start without the setting nor one with another
//! bucket serves a registry whose content is elsewhere.

use std::fs;
use std::io;
use std::sync::Arc;

use crate::blobs::{BlobStore, open_files, open_objects};
use crate::object_settings::ObjectSettings;
use crate::{Directory, StoreError, durable};

/// The file with the URL of the bucket. A backup holds it.
pub(crate) const BLOB_PLACE: &str = "blobs";
/// The directory of copies of blobs of a bucket.
pub(crate) const CACHE: &str = "cache";
/// The file with the URL of a bucket whose content is being adopted.
const ADOPTING: &str = "adopting";

impl Directory {
    /// Opens the blobs of this directory, or those of its bucket. The caller holds the lock.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the settings name another place than that of the blobs.
    pub fn open_blobs(&self) -> Result<Arc<dyn BlobStore>, StoreError> {
        self.check_blob_place()?;
        if self.objects().is_none_or(|objects| objects.cache == 0) {
            self.remove_copies();
        }
        match self.objects() {
            Some(settings) => open_objects(settings, self),
            None => Ok(open_files(self)),
        }
    }

    /// Removes the cached copies of a bucket's blobs, because no cache would evict them any more.
    fn remove_copies(&self) {
        let path = self.own().join(CACHE);
        if let Err(error) = fs::remove_dir_all(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, directory = %path.display(), "cannot remove the copies of blobs");
        }
    }

    /// Records the bucket of the blobs. Called once the bucket belongs to the database.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn record_blob_place(&self) -> Result<(), StoreError> {
        let Some(ObjectSettings { url, .. }) = self.objects() else { return Ok(()) };
        if self.recorded_blob_place()?.is_none() {
            self.write_url(BLOB_PLACE, url)?;
        }
        self.end_adoption()
    }

    /// Marks the directory while it adopts the content of a bucket.
    pub(crate) fn begin_adoption(&self, settings: &ObjectSettings) -> Result<(), StoreError> {
        self.write_url(ADOPTING, &settings.url)
    }

    /// Whether the directory adopts the content of this bucket.
    pub(crate) fn is_adopting(&self, settings: &ObjectSettings) -> Result<bool, StoreError> {
        Ok(self.read_url(ADOPTING)?.is_some_and(|url| url == settings.url))
    }

    /// Ends an adoption. Idempotent.
    pub(crate) fn end_adoption(&self) -> Result<(), StoreError> {
        durable::remove(&self.own().join(ADOPTING))
    }

    fn write_url(&self, name: &str, url: &str) -> Result<(), StoreError> {
        let path = self.own().join(name);
        durable::replace(&path, format!("{url}\n").as_bytes())
            .map_err(|error| StoreError::io("write", path, error))
    }

    /// Returns the URL of the bucket that holds the blobs; `None` if they are files.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn recorded_blob_place(&self) -> Result<Option<String>, StoreError> {
        self.read_url(BLOB_PLACE)
    }

    fn read_url(&self, name: &str) -> Result<Option<String>, StoreError> {
        let path = self.own().join(name);
        match fs::read_to_string(&path) {
            Ok(url) => Ok(Some(url.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", path, error)),
        }
    }

    fn check_blob_place(&self) -> Result<(), StoreError> {
        let root = self.root().display();
        let refused = match (self.recorded_blob_place()?, self.objects()) {
            (None, None) => return Ok(()),
            (Some(recorded), Some(settings)) if recorded == settings.url => return Ok(()),
            (Some(recorded), None) => format!(
                "the blobs of {root} are in {recorded}: set blobs.url and the settings beside it, or pass --blobs to serve"
            ),
            (Some(recorded), Some(settings)) => format!(
                "the blobs of {root} are in {recorded}, and not in {}: set blobs.url to the former, or use another data \
                 directory",
                settings.url
            ),
            (None, Some(settings)) => {
                // A new directory for a database in PostgreSQL: the bucket must belong to it.
                let is_new = self.is_without_content()?
                    && (self.database().is_some() || !self.metadata_lists_content()?);
                if is_new || self.is_adopting(settings)? {
                    return Ok(());
                }
                format!(
                    "{root} holds its blobs as files, and not in {}: remove blobs.url, and move them with `wharfinger \
                     move --to-blobs`",
                    settings.url
                )
            }
        };
        Err(StoreError::Directory(refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(url: &str) -> Option<ObjectSettings> {
        Some(ObjectSettings::of(url.to_owned()))
    }

    #[test]
    fn recorded_bucket_must_be_the_set_one() {
        let scratch = tempfile::tempdir().unwrap();
        let directory =
            |url: Option<&str>| Directory::open(scratch.path()).unwrap().with_objects(url.and_then(objects));
        let reason = |url: Option<&str>| directory(url).check_blob_place().unwrap_err().to_string();
        directory(None).check_blob_place().unwrap();
        directory(Some("s3://a/b")).check_blob_place().unwrap();
        directory(Some("s3://a/b")).record_blob_place().unwrap();
        directory(Some("s3://a/b")).check_blob_place().unwrap();
        assert!(reason(None).contains("set blobs.url"));
        assert!(reason(Some("s3://other")).contains("are in s3://a/b, and not in s3://other"));
    }

    #[test]
    fn directory_with_files_gets_no_bucket() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        fs::create_dir_all(directory.blobs().join("sha256/ab")).unwrap();
        let refused = directory.with_objects(objects("s3://a")).check_blob_place().unwrap_err();
        assert!(refused.to_string().contains("holds its blobs as files"), "{refused}");
    }
}
