//! Changes of files that survive a power failure, and removals of files that may be absent.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::{StoreError, permissions};

/// The files of an SQLite database, by the suffix of their names.
const DATABASE: [&str; 5] = ["", "-wal", "-shm", "-journal", ".mark"];

/// Replaces the content of a file, which is the old or the new one at any time.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    permissions::write(&new, content)?;
    File::open(&new)?.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Syncs a file, or the entries of a directory.
pub(crate) fn sync(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| StoreError::io("sync", path, error))
}

/// Removes a file, which may be absent.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    unless_absent(fs::remove_file(path), path)
}

/// Removes a directory with its content, which may be absent.
pub(crate) fn remove_directory(path: &Path) -> Result<(), StoreError> {
    unless_absent(fs::remove_dir_all(path), path)
}

/// Removes the files of an SQLite database.
pub(crate) fn remove_database(path: &Path) -> Result<(), StoreError> {
    DATABASE.iter().try_for_each(|suffix| remove(&beside(path, suffix)))
}

/// The path with a suffix.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn unless_absent(removed: io::Result<()>, path: &Path) -> Result<(), StoreError> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
        _ => Ok(()),
    }
}
