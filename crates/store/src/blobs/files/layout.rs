//! Publishes a file as a blob, durably, and deletes blobs.
//!
//! POSIX guarantees that a file's content and a directory's entries are on the disk only after an `fsync` of
//! that very file or directory. So a large blob takes these steps before it is acknowledged:
//!
//! 1. Sync the file beside the blobs, so that the name never appears with partial content.
//! 2. Create the directories `<alg>/<xx>/<hex>/` and rename the file into them.
//! 3. Sync `<hex>` (new entry `data`) and `<xx>` (perhaps new entry `<hex>`) at the same time, so that the
//!    file system can use one write to its journal. `<alg>` and the directory above get a new entry only for
//!    the first blob of each `<xx>`, but an existing entry may never have been synced. So each process syncs
//!    them once for each `<xx>`.
//!
//! Publishing replaces an existing large blob, because its bytes may be damaged without a sign of it:
//! comparing them would cost a read of the whole file.
//!
//! A small blob would need three syncs for a few KiB. So it is only named, later (see `journaled`), and the
//! caller journals its content until [`flush`](Layout::flush) has synced everything at once
//! ([`Stored::journaled`](crate::blobs::Stored::journaled)). After a power failure its file may have the
//! right size and wrong content. So a small blob exists only if its bytes match, not merely its size.
//!
//! The metadata keeps deletion and storing of one blob apart. Here one of the two wins, and nothing partial
//! is left.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use oci::{Algorithm, Digest};

use crate::blobs::local::absent;
use crate::{StoreError, permissions, regular_file};

/// The directory of the blobs.
pub(super) struct Layout {
    root: PathBuf,
    /// For each `<alg>/<xx>`: whether this process has synced its entry and those above it.
    synced: Box<[AtomicBool]>,
    /// The directory, open since the first [`flush`](Self::flush): `syncfs` reports a write error only to
    /// descriptors that were open when it happened, and to the first caller after it.
    flush_root: OnceLock<File>,
}

/// Content up to this size is journaled. Larger content costs more as a journal entry than the saved syncs.
pub(super) const SMALL: u64 = 64 << 10;

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

impl Layout {
    pub(super) fn new(root: PathBuf) -> Self {
        let synced = (0..ALGORITHMS.len() * 256).map(|_| AtomicBool::new(false)).collect();
        Self { root, synced, flush_root: OnceLock::new() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a blob's content.
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

    /// Returns whether the blob exists with exactly this content.
    pub(super) fn holds(&self, digest: &Digest, content: &[u8]) -> Result<bool, StoreError> {
        let path = self.path(digest);
        let holds = match regular_file::open(&path) {
            // Read only if the size matches.
            Ok(Some(file)) => file.metadata().and_then(|metadata| {
                let mut there = vec![0; content.len()];
                Ok(metadata.len() == content.len() as u64
                    && file.read_exact_at(&mut there, 0).map(|()| there == content)?)
            }),
            Ok(None) => Ok(false),
            Err(error) => absent::<()>(error).map(|_| false),
        };
        holds.map_err(|error| StoreError::io("read", path, error))
    }

    /// Renames the synced file `from` to the blob `digest`. [`sync_own`](Self::sync_own) and
    /// [`sync_above`](Self::sync_above) make its name durable.
    pub(super) fn publish(&self, from: &Path, digest: &Digest) -> Result<(), StoreError> {
        let directory = self.directory(digest);
        let to = directory.join("data");
        let published = loop {
            match fs::rename(from, &to) {
                Ok(()) => break Ok(()),
                // The directory is missing: the blob is new, or was deleted at this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound && from.exists() => {}
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => match move_aside(&to) {
                    Ok(()) => continue,
                    Err(error) => break Err(StoreError::io("rename", &to, error)),
                },
                Err(error) => break Err(StoreError::io("rename to", &to, error)),
            }
            if let Err(error) = self.create(&directory) {
                break Err(error);
            }
        };
        if published.is_err() {
            self.remove_empty(digest);
        }
        published
    }

    /// Creates the directory of a blob. Returns whether it is new; then the blob is new as well.
    pub(super) fn create_directory(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.create(&self.directory(digest))
    }

    fn create(&self, directory: &Path) -> Result<bool, StoreError> {
        permissions::create_dir_below(&self.root, directory).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::ContentGone(self.root.clone()),
            _ => StoreError::io("create", directory, error),
        })
    }

    /// Removes the directory of a blob if it is empty.
    pub(super) fn remove_empty(&self, digest: &Digest) {
        let _ = fs::remove_dir(self.directory(digest));
    }

    /// Syncs the blob's own directory.
    pub(super) fn sync_own(&self, digest: &Digest) -> Result<(), StoreError> {
        sync_directory(&self.directory(digest))
    }

    /// Syncs the directories above it, unless this process has done so.
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

    /// Syncs the whole file system: one call for any number of files and directories.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let failed = |error: io::Error| StoreError::io("sync", &self.root, error);
        let root = match self.flush_root.get() {
            Some(root) => root,
            None => {
                let root = File::open(&self.root).map_err(failed)?;
                self.flush_root.get_or_init(|| root)
            }
        };
        rustix::fs::syncfs(root).map_err(|error| failed(error.into()))
    }

    /// Deletes a blob and its directory. Not synced: a blob that comes back after a crash is unreferenced,
    /// and the next garbage collection finds it.
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

/// Renames a directory that is in the place of a blob's file. Nobody but another program can have made it.
fn move_aside(path: &Path) -> io::Result<()> {
    let aside = path.with_extension(format!("moved-{}", uuid::Uuid::new_v4()));
    fs::rename(path, &aside)?;
    tracing::warn!(directory = %path.display(), moved_to = %aside.display(), "moved a directory away: a blob belongs there");
    Ok(())
}

/// Makes the entries of a directory durable. A directory that was deleted meanwhile needs no sync.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    match File::open(path).and_then(|directory| directory.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced.map_err(|error| StoreError::io("sync", path, error)),
    }
}
