//! From a file beside the blobs to a blob, durably; and the other way, out.
//!
//! POSIX promises that a file's content and a directory's entries are on the disk only after an
//! `fsync` of that very file or directory. Hence, before a blob is acknowledged:
//!
//! 1. the file is synced, while it is still beside the blobs, so that the name never appears with
//!    less than the whole content;
//! 2. the directories `<alg>/<xx>/<hex>/` are made, and the file is renamed into them;
//! 3. `<hex>` is synced (it has a new entry, `data`), and `<xx>` (it may have a new entry,
//!    `<hex>`), both at the same time, so that the file system can do it with one write to its
//!    journal. `<alg>` and the directory above have a new entry only for the first blob of each
//!    `<xx>`, but that the entry is there does not tell that it was ever synced: the one who made
//!    it may not have come so far. So each process syncs them once for each `<xx>`.
//!
//! What is there already goes through step 3 as well, because the one who stored it may be between
//! steps, and its file is synced because another program may have written it. On ext4 such a sync
//! costs little while nobody else writes.
//!
//! Who deletes a blob sees to it that nobody stores it at that moment; the metadata knows. Here,
//! one of the two wins, and nothing is half there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use oci::{Algorithm, Digest};

use super::absent;
use crate::StoreError;

/// A directory of blobs, and what is known of its being on the disk.
pub(super) struct Installer {
    root: PathBuf,
    /// For each `<alg>/<xx>`: whether its entry, and those above it, were synced by this process.
    synced: Box<[AtomicBool]>,
}

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

impl Installer {
    pub(super) fn new(root: PathBuf) -> Self {
        let synced = (0..ALGORITHMS.len() * 256).map(|_| AtomicBool::new(false)).collect();
        Self { root, synced }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the content of a blob is.
    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        let mut path = self.directory(digest);
        path.push("data");
        path
    }

    fn directory(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let mut path = PathBuf::with_capacity(self.root.as_os_str().len() + hex.len() + 24);
        path.extend([self.root.as_path(), Path::new(digest.algorithm().as_str()), Path::new(&hex[..2])]);
        path.push(&hex);
        path
    }

    /// Whether the blob is there with that size; then its content is synced. One of another size is
    /// damaged (other registries left empty files after a crash) and counts as absent, so that
    /// pushing it again mends it.
    pub(super) fn is_there(&self, digest: &Digest, size: u64) -> Result<bool, StoreError> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => {
                return absent::<()>(error)
                    .map(|_| false)
                    .map_err(|error| StoreError::io("open", path, error));
            }
        };
        let found = file.metadata().map_err(|error| StoreError::io("look at", &path, error))?;
        if !found.is_file() || found.len() != size {
            return Ok(false);
        }
        file.sync_all().map_err(|error| StoreError::io("sync", &path, error))?;
        Ok(true)
    }

    /// Gives the file at `from`, whose content is synced, its place as the blob `digest`. Its name
    /// is durable after [`sync_own`](Self::sync_own) and [`sync_above`](Self::sync_above).
    pub(super) fn install(&self, from: &Path, digest: &Digest) -> Result<(), StoreError> {
        let directory = self.directory(digest);
        let to = directory.join("data");
        let installed = loop {
            if let Err(error) = make_with_parents(&directory) {
                break Err(StoreError::io("make", &directory, error));
            }
            match fs::rename(from, &to) {
                Ok(()) => break Ok(()),
                // One who deleted the same blob has removed the directory between the two calls.
                // If it is the file that is missing, this does not go on.
                Err(error) if error.kind() == io::ErrorKind::NotFound && from.exists() => {}
                Err(error) => break Err(StoreError::io("rename to", &to, error)),
            }
        };
        if installed.is_err() {
            // Leaves no empty directory under the digest; refused if a blob is in it.
            let _ = fs::remove_dir(&directory);
        }
        installed
    }

    /// Syncs the directory that holds the blob alone.
    pub(super) fn sync_own(&self, digest: &Digest) -> Result<(), StoreError> {
        sync_directory(&self.directory(digest))
    }

    /// Syncs the directories above that one, as far as needed.
    pub(super) fn sync_above(&self, digest: &Digest) -> Result<(), StoreError> {
        let directory = self.directory(digest);
        let mut above = directory.ancestors().skip(1);
        let mut next = || above.next().unwrap_or(&self.root);
        sync_directory(next())?;
        let algorithm = ALGORITHMS.iter().position(|known| *known == digest.algorithm()).unwrap_or(0);
        let synced = &self.synced[algorithm * 256 + usize::from(digest.hash()[0])];
        if !synced.load(Ordering::Acquire) {
            sync_directory(next())?;
            sync_directory(next())?;
            synced.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Removes a blob, and the directory that held it alone. Not synced: a blob that comes back
    /// after a crash is one that nobody refers to, and the next collection finds it again.
    pub(super) fn delete(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => {
                let _ = fs::remove_dir(self.directory(digest));
                Ok(true)
            }
            Err(error) => {
                absent::<()>(error).map(|_| false).map_err(|error| StoreError::io("delete", path, error))
            }
        }
    }
}

/// `mkdir -p` that tries the innermost first, because the others are there nearly always.
fn make_with_parents(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(directory),
        made => made,
    }
}

/// Makes the entries of a directory durable.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    match File::open(path).and_then(|directory| directory.sync_all()) {
        // Its blob was deleted meanwhile, and it with it; there is nothing to make durable.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced.map_err(|error| StoreError::io("sync", path, error)),
    }
}
