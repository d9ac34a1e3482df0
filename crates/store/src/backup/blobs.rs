//! Copies of blobs: from a data directory to a backup, and back. Incremental and resumable, because a blob
//! that exists with its size is skipped.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use oci::{Algorithm, Digest, Digester};

use crate::{StoreError, permissions, regular_file};

/// The bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// The number of refused files that are named.
const NAMED: usize = 100;

/// The result of copying blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiedBlobs {
    /// Blobs that were linked or copied.
    pub copied: u64,
    /// The size of these.
    pub copied_bytes: u64,
    /// Blobs that were there before.
    pub present: u64,
    /// Blobs that were deleted during the copy.
    pub vanished: u64,
    /// Files of a backup that are no regular files, or that do not have the digest of their name.
    pub refused: u64,
    /// The first of these.
    pub refused_files: Vec<PathBuf>,
}

/// Copies all blobs of the data directory that a backup lacks: by hard links on one file system, else by
/// copies that are synced before they get their names. `progress` receives each state.
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
    copy(from, to, false, progress)
}

/// Copies all blobs of a backup that the data directory lacks, each after its digest is verified. The backup
/// may be somebody else's: symbolic links are refused, and a file of another user is copied and never linked.
///
/// # Errors
/// [`StoreError::Io`], [`StoreError::Full`].
pub(super) fn restore_blobs(
    from: &Path,
    to: &Path,
    progress: impl Fn(&CopiedBlobs),
) -> Result<CopiedBlobs, StoreError> {
    copy(from, to, true, progress)
}

fn copy(
    from: &Path,
    to: &Path,
    is_restore: bool,
    progress: impl Fn(&CopiedBlobs),
) -> Result<CopiedBlobs, StoreError> {
    let mut copied = CopiedBlobs::default();
    // `<algorithm>/<two digits>/<digest>/data`.
    for algorithm in directories(from)? {
        for prefix in directories(&from.join(&algorithm))? {
            let below = Path::new(&algorithm).join(&prefix);
            for digest in directories(&from.join(&below))? {
                let blob = below.join(&digest);
                let (source, target) = (from.join(&blob), to.join(&blob));
                if is_restore {
                    let name = format!("{}:{}", algorithm.to_string_lossy(), digest.to_string_lossy());
                    restore_blob(&source, &target, name.parse().ok(), &mut copied)?;
                } else {
                    copy_blob(&source, &target, &mut copied)?;
                }
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
    if is_present(&target, found.len()) {
        copied.present += 1;
        return Ok(());
    }
    let failed = |error| StoreError::io("copy a blob to", &target, error);
    let partial = make_room(to).map_err(failed)?;
    match fs::hard_link(&source, &target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            copied.vanished += 1;
            return Ok(());
        }
        // Another file system, one without links, or a file of another user.
        Err(_) => File::open(&source)
            .and_then(|mut source| copy_file(&mut source, &partial, &target))
            .map_err(failed)?,
    }
    copied.copied += 1;
    copied.copied_bytes += found.len();
    Ok(())
}

fn restore_blob(
    from: &Path,
    to: &Path,
    digest: Option<Digest>,
    copied: &mut CopiedBlobs,
) -> Result<(), StoreError> {
    let (source, target) = (from.join("data"), to.join("data"));
    let failed = |error| StoreError::io("restore a blob to", &target, error);
    let unreadable = |error| StoreError::io("read", &source, error);
    let opened = match regular_file::open_no_follow(&source) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            copied.vanished += 1;
            return Ok(());
        }
        opened => opened.map_err(unreadable)?,
    };
    let mut refuse = || {
        copied.refused += 1;
        if copied.refused_files.len() < NAMED {
            copied.refused_files.push(source.clone());
        }
    };
    let (Some(mut file), Some(digest)) = (opened, digest) else {
        refuse();
        return Ok(());
    };
    let found = file.metadata().map_err(unreadable)?;
    if is_present(&target, found.len()) {
        copied.present += 1;
        return Ok(());
    }
    if digest_of(&mut file, digest.algorithm()).map_err(unreadable)? != digest {
        refuse();
        return Ok(());
    }
    let partial = make_room(to).map_err(failed)?;
    // Another user could change a linked file later. The link is compared, because the name may have got
    // another file since it was opened.
    let is_own = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
    let is_linked = is_own
        && fs::hard_link(&source, &target).is_ok()
        && fs::symlink_metadata(&target)
            .is_ok_and(|linked| (linked.dev(), linked.ino()) == (found.dev(), found.ino()));
    if !is_linked {
        make_room(to).map_err(failed)?;
        file.rewind().and_then(|()| copy_file(&mut file, &partial, &target)).map_err(failed)?;
        let copy = File::open(&target).and_then(|mut copy| digest_of(&mut copy, digest.algorithm()));
        if copy.map_err(failed)? != digest {
            // The file was changed meanwhile.
            fs::remove_file(&target).map_err(failed)?;
            refuse();
            return Ok(());
        }
    }
    copied.copied += 1;
    copied.copied_bytes += found.len();
    Ok(())
}

/// Whether a blob is there with its size.
fn is_present(target: &Path, size: u64) -> bool {
    fs::symlink_metadata(target).is_ok_and(|there| there.is_file() && there.len() == size)
}

/// Creates the directory of a blob, without a leftover in it. Returns the path for a copy in progress.
fn make_room(directory: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let partial = directory.join("data.partial");
    for old in [&directory.join("data"), &partial] {
        match fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(partial)
}

fn copy_file(source: &mut File, partial: &Path, target: &Path) -> io::Result<()> {
    let mut file = permissions::create(partial)?;
    io::copy(source, &mut file)?;
    file.sync_all()?;
    fs::rename(partial, target)
}

fn digest_of(file: &mut File, algorithm: Algorithm) -> io::Result<Digest> {
    let mut digester = Digester::new(algorithm);
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(digester.finish());
        }
        digester.update(&buffer[..length]);
    }
}
