//! The place of a registry's blobs: its data directory, or a bucket.
//!
//! The data directory records the bucket, so that neither a start without the setting nor one with another bucket
//! serves a registry whose content is elsewhere.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::blobs::{BlobStore, open_files, open_objects};
use crate::object_settings::ObjectSettings;
use crate::{Directory, StoreError, permissions};

/// The file with the URL of the bucket. A backup holds it.
pub(crate) const BLOB_PLACE: &str = "blobs";

impl Directory {
    /// Opens the blobs of this directory, or those of its bucket. The caller holds the lock.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the settings name another place than that of the blobs.
    pub fn open_blobs(&self) -> Result<Arc<dyn BlobStore>, StoreError> {
        self.check_blob_place()?;
        match self.objects() {
            Some(settings) => open_objects(settings, self),
            None => Ok(open_files(self)),
        }
    }

    /// Records the bucket of the blobs. Called once the bucket belongs to the database.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn record_blob_place(&self) -> Result<(), StoreError> {
        let Some(ObjectSettings { url, .. }) = self.objects() else { return Ok(()) };
        if self.recorded_blob_place()?.is_some() {
            return Ok(());
        }
        let (path, new) = (self.blob_place(), self.own().join("blobs.new"));
        permissions::write(&new, format!("{url}\n").as_bytes())
            .and_then(|()| fs::File::open(&new)?.sync_all())
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| fs::File::open(self.own())?.sync_all())
            .map_err(|error| StoreError::io("write", path, error))
    }

    fn blob_place(&self) -> PathBuf {
        self.own().join(BLOB_PLACE)
    }

    /// Returns the URL of the bucket that holds the blobs; `None` if they are files.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn recorded_blob_place(&self) -> Result<Option<String>, StoreError> {
        match fs::read_to_string(self.blob_place()) {
            Ok(url) => Ok(Some(url.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", self.blob_place(), error)),
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
                if self.is_without_content()? && !self.metadata_lists_content()? {
                    return Ok(());
                }
                format!(
                    "{root} holds its blobs as files, which cannot be moved to {} yet: use a new data directory, and \
                     copy the images with a client such as skopeo sync, or remove blobs.url",
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
        let url = url.to_owned();
        Some(ObjectSettings { url, endpoint: None, region: None, path_style: true, key: None })
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
