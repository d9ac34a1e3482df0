//! Restoration of a backup into a data directory.
//!
//! Everything is verified in a directory of its own first. The database takes its place last, by one rename.
//! So after a crash the directory has the old state or the new one, and the same command can be repeated.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use oci::{Algorithm, Digest};

use super::archive::{OWN, VerifiedArchive};
use super::blobs::{CopiedBlobs, restore_blobs};
use super::{CONFIGURATION, DATABASE, OWN_FILES};
use crate::blob_place::BLOB_PLACE;
use crate::metadata::{RestoredDatabase, StoredCounts, merge_log};
use crate::{Directory, StoreError, durable};

/// The directory of a restoration in progress.
const UNFINISHED: &str = "restore.partial";
/// The number of digests that a report lists of each kind.
const LISTED: usize = 1000;

/// The backup to restore, and its target.
#[derive(Clone, Debug)]
pub struct Restoring {
    /// The data directory. It is created if it does not exist.
    pub data: PathBuf,
    /// Whether to replace the metadata of the directory. It is kept in a directory of its own.
    pub replace: bool,
    /// A directory with blobs of the backup: `<algorithm>/<two digits>/<digest>/data`.
    pub blobs: Option<PathBuf>,
}

/// The result of a restoration.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// Numbers of the restored metadata.
    pub counts: StoredCounts,
    /// The blobs that were copied from the backup.
    pub copied: CopiedBlobs,
    /// Blobs of the metadata without a file, or with one of another size.
    pub missing: Difference,
    /// Files that the metadata does not know: pushed after the backup, or left over.
    pub extra: Difference,
    /// The directory with the replaced metadata.
    pub replaced: Option<PathBuf>,
    /// The directory with the configuration of the backup.
    pub configuration: Option<PathBuf>,
    /// Whether the registry has accounts.
    pub has_accounts: bool,
}

/// Blobs that are on one side only.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// Their number.
    pub number: u64,
    /// Their size.
    pub bytes: u64,
    /// The first of them.
    pub first: Vec<Digest>,
}

impl Difference {
    fn add(&mut self, digest: Digest, bytes: u64) {
        self.number += 1;
        self.bytes += bytes;
        if self.first.len() < LISTED {
            self.first.push(digest);
        }
    }
}

/// Restores a verified archive. `progress` receives the copied blobs.
///
/// # Errors
/// [`StoreError::Directory`] if the directory is in use, or holds metadata that may not be replaced. Then
/// nothing has changed.
pub fn restore(
    archive: &VerifiedArchive,
    restoring: &Restoring,
    progress: impl Fn(&CopiedBlobs),
) -> Result<RestoreReport, StoreError> {
    let is_new = !restoring.data.exists();
    let directory = Directory::open(&restoring.data)?;
    let restored = restore_into(archive, restoring, &directory, progress);
    if restored.is_err() && is_new {
        Directory::remove_unused(&restoring.data);
    }
    restored
}

fn restore_into(
    archive: &VerifiedArchive,
    restoring: &Restoring,
    directory: &Directory,
    progress: impl Fn(&CopiedBlobs),
) -> Result<RestoreReport, StoreError> {
    let _lock = directory.lock()?;
    let (own, database) = (directory.own(), directory.metadata());
    if database.exists() && !restoring.replace {
        return Err(StoreError::Directory(format!(
            "{} holds metadata: restore into another directory, or replace it with --replace",
            directory.root().display()
        )));
    }
    if let Some((place, _)) = directory.recorded_metadata_place()? {
        return Err(StoreError::Directory(format!(
            "the metadata of {} are in {place}: restore into another directory, or restore that database with the tools \
             of PostgreSQL",
            directory.root().display()
        )));
    }
    let partial = own.join(UNFINISHED);
    durable::remove_directory(&partial)?;
    fs::create_dir_all(&partial).map_err(|error| StoreError::io("create", &partial, error))?;
    archive.extract(&partial)?;
    let is_in_bucket = partial.join(OWN_FILES).join(BLOB_PLACE).exists();
    check_place(is_in_bucket, restoring, directory)?;
    let restored = RestoredDatabase::open(&partial.join(DATABASE))?;
    restored.prepare()?;
    let (id, counts, has_accounts) = (restored.id()?, restored.counts()?, restored.has_users()?);
    // Before this line, the directory is as it was.
    let copied = match &restoring.blobs {
        Some(blobs) => restore_blobs(blobs, directory.blobs(), progress)?,
        None => CopiedBlobs::default(),
    };
    let (missing, extra) = match is_in_bucket {
        // `wharfinger check` compares them with the bucket.
        true => (Difference::default(), Difference::default()),
        false => (find_missing(&restored, directory)?, find_extra(&restored, directory)?),
    };
    restored.close()?;
    let replaced = if database.exists() { Some(keep_old(directory)?) } else { None };
    put_files(&partial, own)?;
    let configuration = put_configuration(&partial, own)?;
    directory.assign_content(&id)?;
    put_database(&partial.join(DATABASE), &database)?;
    durable::remove_directory(&partial)?;
    Ok(RestoreReport { counts, copied, missing, extra, replaced, configuration, has_accounts })
}

/// Refuses a restoration that would mix blobs in a bucket with those in files.
fn check_place(is_in_bucket: bool, restoring: &Restoring, directory: &Directory) -> Result<(), StoreError> {
    let refused = match (is_in_bucket, directory.recorded_blob_place()?) {
        (true, None) if !directory.is_without_content()? => {
            "the blobs of the backup are in a bucket, and those of the directory in files: restore into a new directory"
        }
        (false, Some(_)) => {
            "the blobs of the backup are files, and those of the directory are in a bucket: restore into a new directory"
        }
        (true, _) if restoring.blobs.is_some() => {
            "the blobs of the backup are in a bucket: restore the file metadata.backup alone"
        }
        _ => return Ok(()),
    };
    Err(StoreError::Directory(refused.to_owned()))
}

fn find_missing(restored: &RestoredDatabase, directory: &Directory) -> Result<Difference, StoreError> {
    let mut missing = Difference::default();
    restored.each_blob(|digest, size| {
        let hex = digest.hex();
        let below = Path::new(digest.algorithm().as_str()).join(&hex[..2]).join(&hex).join("data");
        let file = fs::symlink_metadata(directory.blobs().join(below));
        if !file.is_ok_and(|file| file.is_file() && file.len() == size) {
            missing.add(digest, size);
        }
        Ok(())
    })?;
    Ok(missing)
}

fn find_extra(restored: &RestoredDatabase, directory: &Directory) -> Result<Difference, StoreError> {
    let mut extra = Difference::default();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let root = directory.blobs().join(algorithm.as_str());
        for prefix in fs::read_dir(&root).into_iter().flatten().flatten() {
            for entry in fs::read_dir(prefix.path()).into_iter().flatten().flatten() {
                let name = format!("{}:{}", algorithm.as_str(), entry.file_name().to_string_lossy());
                let Ok(digest) = name.parse::<Digest>() else { continue };
                let Ok(file) = fs::metadata(entry.path().join("data")) else { continue };
                if !restored.knows(&digest)? {
                    extra.add(digest, file.len());
                }
            }
        }
    }
    Ok(extra)
}

/// Keeps the replaced files of our own directory in a directory of their own, by hard links. All stay in
/// their places too, until others take these, one by one.
fn keep_old(directory: &Directory) -> Result<PathBuf, StoreError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (own, database) = (directory.own(), directory.metadata());
    let kept = own.join(format!("replaced-{now}"));
    let failed = |error| StoreError::io("keep the old metadata in", &kept, error);
    fs::create_dir_all(&kept).map_err(failed)?;
    // The log has to be in the file before another file takes its name. A damaged database keeps its log.
    let is_merged = merge_log(&database).is_ok();
    match fs::hard_link(&database, kept.join(DATABASE)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    for suffix in ["-wal", "-shm"] {
        let mut log = database.clone().into_os_string();
        log.push(suffix);
        let log = PathBuf::from(log);
        if !log.exists() {
            continue;
        }
        if is_merged {
            fs::remove_file(&log).map_err(failed)?;
        } else {
            fs::rename(&log, kept.join(format!("{DATABASE}{suffix}"))).map_err(failed)?;
        }
    }
    for name in OWN {
        for file in find_files(own, Path::new(name)).map_err(failed)? {
            let target = kept.join(&file);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            fs::hard_link(own.join(&file), target).map_err(failed)?;
        }
    }
    Ok(kept)
}

/// The files at a path below a directory.
fn find_files(root: &Path, below: &Path) -> io::Result<Vec<PathBuf>> {
    let path = root.join(below);
    if !path.is_dir() {
        return Ok(if path.is_file() { vec![below.to_owned()] } else { Vec::new() });
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(&path)? {
        files.extend(find_files(root, &below.join(entry?.file_name()))?);
    }
    Ok(files)
}

fn put_files(partial: &Path, own: &Path) -> Result<(), StoreError> {
    let extracted = partial.join(OWN_FILES);
    let failed = |error| StoreError::io("write to", own, error);
    for name in OWN {
        for file in find_files(&extracted, Path::new(name)).map_err(failed)? {
            let target = own.join(&file);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            fs::rename(extracted.join(&file), target).map_err(failed)?;
        }
    }
    Ok(())
}

fn put_configuration(partial: &Path, own: &Path) -> Result<Option<PathBuf>, StoreError> {
    let (from, to) = (partial.join(CONFIGURATION), own.join("restored-configuration"));
    if !from.exists() {
        return Ok(None);
    }
    durable::remove_directory(&to)?;
    fs::rename(&from, &to).map_err(|error| StoreError::io("write", &to, error))?;
    Ok(Some(to))
}

/// Puts the database in its place. The mark of the old one goes first, because it may be ahead.
fn put_database(from: &Path, to: &Path) -> Result<(), StoreError> {
    crate::Metadata::accept_older(to)?;
    let put = || -> io::Result<()> {
        fs::rename(from, to)?;
        match to.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    put().map_err(|error| StoreError::io("write", to, error))
}
