//! Rebuilds a lost or missing database from the directory tree: the first start on a directory of `registry:2`, or a
//! start after the database was lost.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use oci::Manifest;

use crate::adopt::{self, Report, Scope};
use crate::{BlobStore, Directory, Metadata, StoreError};

/// Creates the database of a directory that has none, from its `repositories/` tree.
///
/// The new database has a temporary name until it is complete, so an interrupted rebuild starts again. Returns `None`
/// if the directory has a database, or neither repositories nor problems.
///
/// # Errors
/// Those of [`adopt::adopt`], and [`StoreError::Io`] if the new database cannot be put in place.
pub async fn rebuild_if_missing<F, D>(
    directory: &Directory,
    blobs: &dyn BlobStore,
    describe: F,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Option<Report>, StoreError>
where
    F: Fn(Manifest) -> D + Send + Sync,
    D: Future<Output = Result<Option<String>, StoreError>> + Send,
{
    directory.check_metadata_place()?;
    let path = directory.metadata();
    if path.exists() || directory.database().is_some() {
        return Ok(None);
    }
    let unfinished = path.with_extension("unfinished");
    remove_database(&unfinished)?;
    let metadata = Metadata::open(&unfinished)?;
    let report = adopt::adopt(directory, blobs, &metadata, Scope::All, None, describe, progress).await?;
    metadata.close().await;
    // The marks belong to the lost database and to the temporary name.
    Metadata::accept_older(&unfinished)?;
    Metadata::accept_older(&path)?;
    fs::rename(&unfinished, &path).map_err(|error| StoreError::io("rename to", &path, error))?;
    sync_directory(directory.own())?;
    Ok((report.repositories > 0 || !report.problems.is_empty()).then_some(report))
}

/// Removes what an interrupted rebuild has left.
fn remove_database(path: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", file, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| StoreError::io("sync", path, error))
}
