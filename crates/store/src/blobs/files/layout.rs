//! From a file beside the blobs to a blob, durably; and the other way, out.
//!
//! POSIX promises that a file's content and a directory's entries are on the disk only after an
//! `fsync` of that very file or directory. Hence, before a large blob is acknowledged:
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
//! A large blob that is there already is replaced, because its bytes may be damaged without a sign of it: comparing
//! them would cost a read of the whole file, and the received bytes are written by then anyway.
//!
//! For a small blob that would be three syncs for a few KiB. So it is only named, later (see
//! `journaled`), and whoever acknowledges it keeps its content until [`flush`](Installer::settle)
//! has made durable all that there is at once
//! ([`Stored::journaled`](crate::blobs::Stored::unsettled)). After a failure of power a file may then
//! be there with its size and not with its content, and nobody may know, since it was never
//! acknowledged. So a small blob counts as being there if its bytes are the right ones, and not
//! already if its size is.
//!
//! Who deletes a blob sees to it that nobody stores it at that moment; the metadata knows. Here,
//! one of the two wins, and nothing is half there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use oci::{Algorithm, Digest};

use super::absent;
use crate::{StoreError, permissions};

/// A directory of blobs, and what is known of its being on the disk.
pub(super) struct Layout {
    root: PathBuf,
    /// For each `<alg>/<xx>`: whether its entry, and those above it, were synced by this process.
    synced: Box<[AtomicBool]>,
    /// The directory, open from the first [`flush`](Self::settle) on: the system reports an error
    /// of writing to those who had the file system open when it happened, or are the first to ask.
    flushed: OnceLock<File>,
}

/// Content up to this size is left unsettled. More of it would be more to write to the log than
/// the syncs cost that are saved.
pub(super) const SMALL: u64 = 64 << 10;

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

impl Layout {
    pub(super) fn new(root: PathBuf) -> Self {
        let synced = (0..ALGORITHMS.len() * 256).map(|_| AtomicBool::new(false)).collect();
        Self { root, synced, flushed: OnceLock::new() }
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

    /// Whether the blob is there with exactly this content.
    pub(super) fn holds(&self, digest: &Digest, content: &[u8]) -> Result<bool, StoreError> {
        let path = self.path(digest);
        let found = match File::open(&path) {
            // Only what has the right size is read.
            Ok(file) => file.metadata().and_then(|found| {
                let mut there = vec![0; content.len()];
                Ok(found.is_file()
                    && found.len() == content.len() as u64
                    && file.read_exact_at(&mut there, 0).map(|()| there == content)?)
            }),
            Err(error) => absent::<()>(error).map(|_| false),
        };
        found.map_err(|error| StoreError::io("read", path, error))
    }

    /// Gives the file at `from`, whose content is synced, its place as the blob `digest`. Its name
    /// is durable after [`sync_own`](Self::sync_own) and [`sync_above`](Self::sync_above).
    pub(super) fn install(&self, from: &Path, digest: &Digest) -> Result<(), StoreError> {
        let directory = self.directory(digest);
        let to = directory.join("data");
        let installed = loop {
            match fs::rename(from, &to) {
                Ok(()) => break Ok(()),
                // The directory is not there yet, or not any more, since somebody deleted the same
                // blob. If it is the file that is missing, this does not go on.
                Err(error) if error.kind() == io::ErrorKind::NotFound && from.exists() => {}
                Err(error) => break Err(StoreError::io("rename to", &to, error)),
            }
            if let Err(error) = self.make_directory(&directory) {
                break Err(error);
            }
        };
        if installed.is_err() {
            self.leave_nothing(digest);
        }
        installed
    }

    /// Makes the directory of a blob; whether it was not there, and so neither was the blob.
    pub(super) fn make(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.make_directory(&self.directory(digest))
    }

    /// Makes a directory below the root, which must be there: a tree that was moved away is not begun anew.
    fn make_directory(&self, directory: &Path) -> Result<bool, StoreError> {
        let made = make_with_parents(&self.root, directory);
        made.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::ContentGone(self.root.clone()),
            _ => StoreError::io("make", directory, error),
        })
    }

    /// Leaves no empty directory under the digest; refused if a blob is in it.
    pub(super) fn leave_nothing(&self, digest: &Digest) {
        let _ = fs::remove_dir(self.directory(digest));
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

    /// Makes durable all that is on the file system: one call for any number of files and their
    /// directories.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let failed = |error: io::Error| StoreError::io("sync", &self.root, error);
        let root = match self.flushed.get() {
            Some(root) => root,
            None => {
                let root = File::open(&self.root).map_err(failed)?;
                self.flushed.get_or_init(|| root)
            }
        };
        rustix::fs::syncfs(root).map_err(|error| failed(error.into()))
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

/// `mkdir -p` below `root`, which is not made. Tries the innermost first, because the others are there nearly always.
/// Whether it was not there.
pub(crate) fn make_with_parents(root: &Path, directory: &Path) -> io::Result<bool> {
    match permissions::create_dir(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound && root.is_dir() => {
            permissions::create_dir_all(directory).map(|()| true)
        }
        Err(error) => Err(error),
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
