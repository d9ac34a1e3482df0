//! Files that only their owner reads, such as backups.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Creates an unfinished file that only its owner reads, and locks it until it is closed, so that
/// [`remove_abandoned`] leaves it alone.
///
/// # Errors
/// [`io::ErrorKind::ResourceBusy`] if another process writes it, and errors of the system.
pub fn create_unfinished(path: &Path) -> io::Result<File> {
    loop {
        let file =
            File::options().write(true).read(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another backup writes this file"));
            }
            // Some network file systems have no locks.
            Err(TryLockError::Error(error)) => tracing::debug!(%error, "an unfinished backup is not locked"),
        }
        // Another process may have renamed or removed it before the lock.
        if is_at(&file, path)? {
            file.set_len(0)?;
            return Ok(file);
        }
    }
}

/// Removes an unfinished file if the process that wrote it has ended.
///
/// # Errors
/// The errors of the system.
pub fn remove_abandoned(path: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    match file.try_lock() {
        Ok(()) if is_at(&file, path)? => fs::remove_file(path),
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the open file is still the one with this name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_file_is_abandoned_once_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.partial");
        fs::write(&path, "of a killed process").unwrap();
        let file = create_unfinished(&path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        remove_abandoned(&path).unwrap();
        assert!(path.exists(), "it is being written");
        assert_eq!(create_unfinished(&path).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(file);
        remove_abandoned(&path).unwrap();
        assert!(!path.exists());
    }
}
