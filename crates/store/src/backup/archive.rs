//! The archive: writes it from a snapshot, and verifies it entry by entry.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use oci::{Algorithm, Digester};
use uuid::Uuid;

use super::{CONFIGURATION, ConfigurationFile, DATABASE, FORMAT, FileEntry, MANIFEST, Manifest, OWN_FILES};
use crate::blob_place::BLOB_PLACE;
use crate::blocking::{Priority, blocking_at};
use crate::metadata::SCHEMA_VERSION;
use crate::{Directory, Metadata, StoreError};

/// The files of our own directory that a backup holds besides the database. Directories are taken with all
/// files.
pub(super) const OWN: [&str; 3] = ["tls", "gateway.key", BLOB_PLACE];
/// The prefix of snapshots in progress.
const SNAPSHOT: &str = "snapshot-";
/// The bytes that are read at a time.
const CHUNK: usize = 256 << 10;
/// The largest manifest of an archive.
const MANIFEST_BYTES: u64 = 16 << 20;

/// An archive whose entries all have their digests.
#[derive(Debug)]
pub struct VerifiedArchive {
    file: File,
    manifest: Manifest,
}

/// Writes an archive of the registry to `output`, while it is in use.
///
/// # Errors
/// [`StoreError::Full`] if there is no room for the snapshot, and errors of `output`.
pub async fn write(
    directory: &Directory,
    metadata: &Metadata,
    configuration: Vec<ConfigurationFile>,
    output: impl Write + Send + 'static,
) -> Result<Manifest, StoreError> {
    let own = directory.own().to_owned();
    remove_snapshots(&own);
    let snapshot = Snapshot(own.join(format!("{SNAPSHOT}{}", Uuid::new_v4())));
    metadata.snapshot(&snapshot.0).await?;
    let id = metadata.id().to_owned();
    blocking_at(Priority::Low, move || {
        let mut files = vec![(DATABASE.to_owned(), snapshot.0.clone())];
        for name in OWN {
            find_files(&own.join(name), &format!("{OWN_FILES}/{name}"), &mut files)?;
        }
        let wanted = configuration.into_iter().filter(|file| file.path.is_file());
        files.extend(wanted.map(|file| (format!("{CONFIGURATION}/{}", file.name), file.path)));
        write_files(&id, files, output)
    })
    .await
}

/// A snapshot in progress, which is removed in the end.
struct Snapshot(PathBuf);

impl Drop for Snapshot {
    fn drop(&mut self) {
        // The next backup removes what is left.
        let _ = fs::remove_file(&self.0);
    }
}

/// Removes the snapshots of backups that a crash has ended. One backup is made at a time.
fn remove_snapshots(own: &Path) {
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(SNAPSHOT) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn find_files(path: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("read", path, error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.is_file() => files.push((name.to_owned(), path.to_owned())),
        Ok(found) if found.is_dir() => {
            let mut entries: Vec<_> =
                fs::read_dir(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let below = format!("{name}/{}", entry.file_name().to_string_lossy());
                find_files(&entry.path(), &below, files)?;
            }
        }
        Ok(_) => {}
    }
    Ok(())
}

fn write_files(id: &str, files: Vec<(String, PathBuf)>, output: impl Write) -> Result<Manifest, StoreError> {
    let mut entries = Vec::new();
    for (name, path) in &files {
        let failed = |error| StoreError::io("read", path, error);
        let mut file = File::open(path).map_err(failed)?;
        let (bytes, digest) = digest_of(&mut file).map_err(failed)?;
        entries.push(FileEntry { name: name.clone(), bytes, digest });
    }
    let created_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema: SCHEMA_VERSION,
        database: id.to_owned(),
        created_at,
        files: entries,
    };
    let written = |error| StoreError::io("write", "the backup", error);
    let json = serde_json::to_vec_pretty(&manifest).map_err(|error| written(error.into()))?;
    let mut archive = tar::Builder::new(output);
    let head = |bytes: u64| {
        let mut head = tar::Header::new_gnu();
        head.set_size(bytes);
        head.set_mode(0o600);
        head.set_mtime(created_at);
        head
    };
    archive.append_data(&mut head(json.len() as u64), MANIFEST, &*json).map_err(written)?;
    for ((name, path), entry) in files.iter().zip(&manifest.files) {
        let file = File::open(path).map_err(|error| StoreError::io("read", path, error))?;
        // A file that grew meanwhile must not shift the entries after it. A changed one fails the
        // verification.
        archive.append_data(&mut head(entry.bytes), name, file.take(entry.bytes)).map_err(written)?;
    }
    archive.into_inner().and_then(|mut output| output.flush()).map_err(written)?;
    Ok(manifest)
}

fn digest_of(content: &mut impl Read) -> io::Result<(u64, String)> {
    let mut digester = Digester::new(Algorithm::Sha256);
    let (mut buffer, mut bytes) = (vec![0; CHUNK], 0);
    loop {
        let length = content.read(&mut buffer)?;
        if length == 0 {
            return Ok((bytes, digester.finish().to_string()));
        }
        digester.update(&buffer[..length]);
        bytes += length as u64;
    }
}

/// Reads a whole archive and compares all entries with its manifest. Changes nothing.
///
/// # Errors
/// [`StoreError::Directory`] that names the first wrong entry.
pub fn verify(mut file: File) -> Result<VerifiedArchive, StoreError> {
    let wrong = |what: String| StoreError::Directory(format!("this is not a complete backup: {what}"));
    // Messages of the tar library contain bytes of the file.
    let unreadable = |error: io::Error| match error.raw_os_error() {
        Some(_) => wrong(format!("it cannot be read ({error})")),
        None => wrong("it is cut off or altered, or is not a backup".to_owned()),
    };
    file.rewind().map_err(unreadable)?;
    let mut archive = tar::Archive::new(io::BufReader::with_capacity(CHUNK, &file));
    let mut entries = archive.entries().map_err(unreadable)?;
    let first = entries.next().ok_or_else(|| wrong("it is empty".to_owned()))?.map_err(unreadable)?;
    if first.path().map_err(unreadable)?.as_os_str() != MANIFEST || first.size() > MANIFEST_BYTES {
        return Err(wrong(format!("its first entry is not {MANIFEST}")));
    }
    let manifest: Manifest =
        serde_json::from_reader(first).map_err(|error| wrong(format!("{MANIFEST} is invalid: {error}")))?;
    if manifest.format != FORMAT || manifest.schema > SCHEMA_VERSION {
        return Err(StoreError::Directory(format!(
            "this backup is of version {}, which is newer than this program: restore it with that version",
            manifest.version
        )));
    }
    for expected in &manifest.files {
        let name = &expected.name;
        let missing = || wrong(format!("{name} is missing"));
        let mut entry = entries.next().ok_or_else(missing)?.map_err(unreadable)?;
        if entry.path().map_err(unreadable)?.as_os_str() != name.as_str() {
            return Err(missing());
        }
        let (bytes, digest) = digest_of(&mut entry).map_err(unreadable)?;
        if (bytes, &digest) != (expected.bytes, &expected.digest) {
            return Err(wrong(format!(
                "{name} has {bytes} bytes with {digest}, and not {} bytes with {}",
                expected.bytes, expected.digest
            )));
        }
    }
    if entries.next().transpose().map_err(unreadable)?.is_some() {
        return Err(wrong("it has a part that its manifest does not list".to_owned()));
    }
    if !manifest.files.iter().any(|entry| entry.name == DATABASE) {
        return Err(wrong(format!("it has no {DATABASE}")));
    }
    Ok(VerifiedArchive { file, manifest })
}

impl VerifiedArchive {
    /// The contents.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Writes all entries but the manifest below `target`, with mode 0600, and syncs them.
    pub(super) fn extract(&self, target: &Path) -> Result<(), StoreError> {
        let failed = |error| StoreError::io("extract the backup to", target, error);
        (&self.file).rewind().map_err(failed)?;
        let mut archive = tar::Archive::new(io::BufReader::with_capacity(CHUNK, &self.file));
        for entry in archive.entries().map_err(failed)?.skip(1) {
            let mut entry = entry.map_err(failed)?;
            let name = entry.path().map_err(failed)?.into_owned();
            // The manifest lists the verified files. A component other than a name could leave the directory.
            let is_plain = name.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            if !is_plain || !self.manifest.files.iter().any(|file| Path::new(&file.name) == name) {
                continue;
            }
            let path = target.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            let mut file = create_private(&path).map_err(failed)?;
            io::copy(&mut entry, &mut file).and_then(|_| file.sync_all()).map_err(failed)?;
        }
        Ok(())
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}
