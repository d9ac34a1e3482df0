//! Backups on the disk, as commands use them: verification, restoration, and copies of blobs.

use std::path::{Path, PathBuf};

use store::Directory;
pub use store::StoreError;
pub use store::backup::{
    CopiedBlobs, Difference, Manifest, RestoreReport, Restoring, VerifiedArchive, copy_blobs, restore, verify,
};

pub use super::scheduled_backup::remove_unfinished;
use crate::config::Config;

/// The name of the archive in a directory that also has the blobs.
pub const ARCHIVE: &str = "metadata.backup";
/// The directory of the blobs in a backup.
pub const BLOBS: &str = "blobs";

/// Returns the directory of the blobs of the configured data directory.
///
/// # Errors
/// [`StoreError`] if there is no data directory.
pub fn blobs_of(config: &Config) -> Result<PathBuf, StoreError> {
    let directory = Directory::open_existing(&config.data)?;
    match directory.recorded_blob_place()? {
        None => Ok(directory.blobs().to_owned()),
        Some(bucket) => Err(StoreError::Directory(format!(
            "the blobs are in {bucket}, and not in files: copy the bucket with the tools of the object store"
        ))),
    }
}

/// Refuses a backup of metadata in PostgreSQL.
///
/// # Errors
/// [`StoreError`] with advice.
pub fn check_metadata(config: &Config) -> Result<(), StoreError> {
    Directory::find(&config.data).map_or(Ok(()), |directory| directory.check_metadata_file())
}

/// Returns the archive that a path names: a file, or the newest one in a directory.
#[must_use]
pub fn archive_at(path: &Path) -> PathBuf {
    if !path.is_dir() {
        return path.to_owned();
    }
    let with_blobs = path.join(ARCHIVE);
    match super::scheduled_backup::backups(path).pop() {
        Some(newest) if !with_blobs.exists() => newest,
        _ => with_blobs,
    }
}
