//! Copies of blobs: from a data directory to a backup, and back. Incremental and resumable, because a blob that exists
//! with its size is skipped.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::{StoreError, permissions};

/// The result of copying blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopiedBlobs {
    /// Blobs that were linked or copied.
    pub copied: u64,
    /// The size of these.
    pub copied_bytes: u64,
    /// Blobs that were there before.
    pub present: u64,
    /// Blobs that were deleted during the copy.
    pub vanished: u64,
}

/// Copies all blobs of one `blobs/` directory that another lacks: by hard links on one file system, else by copies
/// that are synced before they get their names. `progress` receives each state.
///
/// A hard link is safe: a blob is never changed in place. A repair puts another file in its place.
///
/// # Errors
/// [`StoreError::Io`], [`StoreError::Full`].
pub fn copy_blobs(
    from: &Path,
    to: &Path,
    progress: impl Fn(&CopiedBlobs),
) -> Result<CopiedBlobs, StoreError> {
    let mut copied = CopiedBlobs::default();
    // `<algorithm>/<two digits>/<digest>/data`.
    for algorithm in directories(from)? {
        for prefix in directories(&from.join(&algorithm))? {
            let below = Path::new(&algorithm).join(&prefix);
            for digest in directories(&from.join(&below))? {
                let blob = below.join(&digest);
                copy_blob(&from.join(&blob), &to.join(&blob), &mut copied)?;
                progress(&copied);
            }
        }
    }
    Ok(copied)
}

/// The names of the directories in a directory; none if it does not exist.
fn directories(path: &Path) -> Result<Vec<std::ffi::OsString>, StoreError> {
    let failed = |error| StoreError::io("read", path, error);
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            names.push(entry.file_name());
        }
    }
    names.sort();
    Ok(names)
}

fn copy_blob(from: &Path, to: &Path, copied: &mut CopiedBlobs) -> Result<(), StoreError> {
    let (source, target) = (from.join("data"), to.join("data"));
    let found = match fs::metadata(&source) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            copied.vanished += 1;
            return Ok(());
        }
        found => found.map_err(|error| StoreError::io("look at", &source, error))?,
    };
    if fs::metadata(&target).is_ok_and(|there| there.len() == found.len()) {
        copied.present += 1;
        return Ok(());
    }
    let failed = |error| StoreError::io("copy a blob to", &target, error);
    fs::create_dir_all(to).map_err(failed)?;
    // A leftover of another size is in the way of a link.
    let partial = to.join("data.partial");
    for old in [&target, &partial] {
        match fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    match fs::hard_link(&source, &target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            copied.vanished += 1;
            return Ok(());
        }
        // Another file system, one without links, or a file of another user.
        Err(_) => {
            let copy = || -> io::Result<()> {
                let mut source = File::open(&source)?;
                let mut file = permissions::create(&partial)?;
                io::copy(&mut source, &mut file)?;
                file.sync_all()?;
                fs::rename(&partial, &target)
            };
            copy().map_err(failed)?;
        }
    }
    copied.copied += 1;
    copied.copied_bytes += found.len();
    Ok(())
}
