//! The data directory: its layout, and the lock that keeps a second server out.
//!
//! ```text
//! <data>/docker/registry/v2/blobs/          content, in distribution's layout
//! <data>/docker/registry/v2/repositories/   the derived view, in distribution's layout
//! <data>/docker/registry/v2/.wharfinger     the id of the database that the content belongs to
//! <data>/docker/registry/v2/.wharfinger-accounts   exists if there have ever been accounts
//! <data>/wharfinger/metadata.db             the metadata
//! <data>/wharfinger/metadata.db.mark        the number of the last commit
//! <data>/wharfinger/accounts                exists if there have ever been accounts
//! <data>/wharfinger/uploads/                uploads in progress
//! <data>/wharfinger/quarantine/             damaged content that a repair moved aside
//! <data>/wharfinger/lock                    locked by the process that uses the directory
//! <data>/wharfinger/control.sock            takes commands for a running server
//! <data>/wharfinger/gateway.key             exists if a gateway keeps its accounts here; the content is elsewhere
//! ```
//!
//! A volume that was mounted at distribution's `v2` directory holds `blobs/` and `repositories/` itself. Such a
//! directory is used as it is, with `wharfinger/` beside the two. This also applies if the volume is mounted at
//! `<data>/docker/registry/v2`, as in containers of `registry:2`: then `wharfinger/` must survive with the volume.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::{Metadata, StoreError, accounts_mark, permissions};

/// The file with the id of the database that the content belongs to. distribution ignores it.
const CONTENT_IDENTITY: &str = ".wharfinger";

/// The file that marks a directory as a gateway's.
const GATEWAY_KEY: &str = "gateway.key";

/// A complete, writable data directory.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
    blobs: PathBuf,
    repositories: PathBuf,
    own: PathBuf,
}

/// The exclusive lock of a data directory, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    /// Locked as well: `wharfinger/`, because another program may remove the lock file, and the content, because another
    /// path may lead to it.
    _directories: Vec<File>,
}

/// The identity of the content directory and of its blobs at the time when they were opened.
#[derive(Clone, Debug)]
pub struct Content {
    /// The path, device and inode of each.
    parts: [(PathBuf, u64, u64); 2],
}

impl Content {
    /// Checks that neither the content directory nor its blobs were moved or unmounted. Costs two stats.
    ///
    /// # Errors
    /// [`StoreError::ContentGone`].
    pub fn check(&self) -> Result<(), StoreError> {
        for (path, device, inode) in &self.parts {
            match fs::metadata(path) {
                Ok(metadata) if (metadata.dev(), metadata.ino()) == (*device, *inode) => {}
                _ if path.ends_with(CONTENT_IDENTITY) => {
                    return Err(StoreError::ContentGone(path.with_file_name("")));
                }
                _ => return Err(StoreError::ContentGone(path.clone())),
            }
        }
        Ok(())
    }

    fn of(paths: [PathBuf; 2]) -> Result<Self, StoreError> {
        let part = |path: PathBuf| match fs::metadata(&path) {
            Ok(metadata) => Ok((path, metadata.dev(), metadata.ino())),
            Err(error) => Err(StoreError::io("look at", path, error)),
        };
        let [identity, blobs] = paths;
        Ok(Self { parts: [part(identity)?, part(blobs)?] })
    }
}

/// The space of a file system in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// The whole size.
    pub size: u64,
    /// The part that this process may still use.
    pub available: u64,
}

/// The path of a Unix socket, within the length limit of the kernel.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// The open directory of a path through `/proc/self/fd`.
    _directory: Option<File>,
}

impl Socket {
    /// The longest path of a socket: `sun_path` has 108 bytes with the final zero (unix(7)).
    const MAX_LEN: usize = 107;

    fn in_directory(directory: &Path, name: &str) -> Result<Self, StoreError> {
        let path = directory.join(name);
        if path.as_os_str().len() <= Self::MAX_LEN {
            return Ok(Self { path, _directory: None });
        }
        let opened = File::open(directory).map_err(|error| StoreError::io("open", directory, error))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd())).join(name);
        Ok(Self { path, _directory: Some(opened) })
    }

    /// The path to bind or connect to; valid while this value exists.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Directory {
    /// Opens a data directory, and creates its missing parts.
    ///
    /// Tries early that files can be created, and renamed from the uploads to the blobs.
    ///
    /// # Errors
    /// [`StoreError::Directory`] with advice for the operator.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let given = path.as_ref();
        create(given, given)?;
        let directory = Self::at(given)?;
        directory.must_have_its_content()?;
        for part in [&directory.blobs, &directory.repositories, &directory.uploads()] {
            create(&directory.root, part)?;
        }
        directory.try_rename()?;
        Ok(directory)
    }

    /// Opens an existing data directory. For commands, where creating an empty one would hide a mistyped path.
    ///
    /// # Errors
    /// [`StoreError::Directory`] with advice for the operator.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let given = path.as_ref();
        let directory = match fs::metadata(given) {
            Ok(metadata) if !metadata.is_dir() => return Err(not_a_directory(given)),
            Ok(_) => Self::at(given)?,
            Err(error) => return Err(access_error(given, Access::Read, given, &error)),
        };
        if directory.blobs.is_dir() || directory.own.is_dir() {
            return Self::open(given);
        }
        Err(StoreError::Directory(format!(
            "{} is no data directory: it holds neither docker/registry/v2/blobs nor blobs nor wharfinger",
            given.display()
        )))
    }

    /// Returns the data directory at `path`, if it is one. Changes nothing.
    #[must_use]
    pub fn find(path: impl AsRef<Path>) -> Option<Self> {
        Self::at(path.as_ref()).ok().filter(|directory| directory.own.is_dir())
    }

    /// Removes a data directory that a server created and could not serve. A directory with content or accounts
    /// stays.
    pub fn remove_unused(path: impl AsRef<Path>) {
        let Some(directory) = Self::find(path) else { return };
        if directory.is_without_content().unwrap_or(false) && !directory.is_marked() {
            // A leftover directory is harmless.
            let _ = fs::remove_dir_all(&directory.root);
        }
    }

    /// Refuses a directory whose content was moved away, before an empty one is created in its place.
    fn must_have_its_content(&self) -> Result<(), StoreError> {
        if self.blobs.exists() || !Metadata::holds_content_at(&self.metadata()).unwrap_or(false) {
            return Ok(());
        }
        Err(self.content_is_missing("is missing"))
    }

    fn content_is_missing(&self, how: &str) -> StoreError {
        StoreError::Directory(format!(
            "{v2} {how}, but {own}/metadata.db lists images in it: was it moved away, or is its volume not mounted? Put \
             it back, or move {own} away as well to start with an empty registry",
            v2 = self.content().display(),
            own = self.own.display(),
        ))
    }

    fn at(given: &Path) -> Result<Self, StoreError> {
        // Absolute, so that messages are clear and the working directory does not matter.
        let root = given.canonicalize().map_err(|error| access_error(given, Access::Read, given, &error))?;
        let v2 = if ["blobs", "repositories"].iter().any(|part| root.join(part).is_dir()) {
            root.clone()
        } else {
            for inner in ["registry/v2", "v2"] {
                if root.join(inner).join("blobs").is_dir() {
                    return Err(StoreError::Directory(format!(
                        "{0} is not the data directory: use {0}/{inner}, which holds blobs, \
                         or the directory that holds docker/registry/v2",
                        root.display()
                    )));
                }
            }
            let v2 = root.join("docker/registry/v2");
            // A database beside `docker/` was there before the volume, and belongs to other content.
            if is_mount(&v2) && !root.join("wharfinger/metadata.db").exists() {
                return Ok(Self {
                    blobs: v2.join("blobs"),
                    repositories: v2.join("repositories"),
                    own: v2.join("wharfinger"),
                    root: v2,
                });
            }
            v2
        };
        Ok(Self {
            blobs: v2.join("blobs"),
            repositories: v2.join("repositories"),
            own: root.join("wharfinger"),
            root,
        })
    }

    /// The absolute path of the data directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of the blobs.
    #[must_use]
    pub fn blobs(&self) -> &Path {
        &self.blobs
    }

    /// The directory of the derived view.
    #[must_use]
    pub fn repositories(&self) -> &Path {
        &self.repositories
    }

    /// The directory that holds the blobs and the view.
    #[must_use]
    pub fn content(&self) -> &Path {
        self.blobs.parent().unwrap_or(&self.root)
    }

    /// Returns whether the data directory at `path` has had accounts, even if its database is lost. Creates nothing.
    #[must_use]
    pub fn has_had_accounts(path: impl AsRef<Path>) -> bool {
        Self::at(path.as_ref()).is_ok_and(|directory| directory.is_marked())
    }

    fn is_marked(&self) -> bool {
        accounts_mark::exists(&self.own, self.content())
    }

    /// The path of the metadata database.
    #[must_use]
    pub fn metadata(&self) -> PathBuf {
        self.own.join("metadata.db")
    }

    /// The directory of the uploads in progress.
    #[must_use]
    pub fn uploads(&self) -> PathBuf {
        self.own.join("uploads")
    }

    /// The directory of content that a repair moved aside. It exists once there is some.
    #[must_use]
    pub fn quarantine(&self) -> PathBuf {
        self.own.join("quarantine")
    }

    /// The socket where a running server takes commands.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the directory cannot be opened.
    pub fn control_socket(&self) -> Result<Socket, StoreError> {
        Socket::in_directory(&self.own, "control.sock")
    }

    /// The socket between a command that holds the lock and its own server.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the directory cannot be opened.
    pub fn command_socket(&self) -> Result<Socket, StoreError> {
        Socket::in_directory(&self.own, &format!("command-{}.sock", std::process::id()))
    }

    /// The space of the file system that holds the blobs.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn disk_space(&self) -> Result<DiskSpace, StoreError> {
        let found = rustix::fs::statvfs(&self.blobs)
            .map_err(|error| StoreError::io("look at the file system of", &self.blobs, error.into()))?;
        Ok(DiskSpace {
            size: found.f_blocks.saturating_mul(found.f_frsize),
            available: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    /// The directory of the database, the lock and the uploads.
    #[must_use]
    pub fn own(&self) -> &Path {
        &self.own
    }

    /// Returns the space of the file system that holds the content.
    ///
    /// # Errors
    /// Those of statvfs.
    pub fn space(&self) -> io::Result<crate::Space> {
        crate::Space::of(self.content())
    }

    /// Returns whether it holds neither blobs nor links.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be read.
    pub fn is_without_content(&self) -> Result<bool, StoreError> {
        for part in [&self.blobs, &self.repositories] {
            let mut entries = fs::read_dir(part).map_err(|error| StoreError::io("read", part, error))?;
            if entries.next().is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the signing key of a gateway's directory; `None` if the directory is not a gateway's.
    ///
    /// # Errors
    /// [`StoreError`] if the key exists and cannot be read.
    pub fn gateway_key(&self) -> Result<Option<[u8; 32]>, StoreError> {
        let path = self.own.join(GATEWAY_KEY);
        let key = match fs::read(&path) {
            Ok(key) => key,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", path, error)),
        };
        key.try_into().map(Some).map_err(|_| {
            StoreError::Directory(format!(
                "{} is not a key of 32 bytes: remove it. Uploads in progress through the gateway then start again",
                path.display()
            ))
        })
    }

    /// Makes the directory a gateway's for good: it serves no registry any more.
    ///
    /// # Errors
    /// [`StoreError`] if the key cannot be written.
    pub fn make_gateway(&self, key: &[u8; 32]) -> Result<(), StoreError> {
        let (path, new) = (self.own.join(GATEWAY_KEY), self.own.join("gateway.key.new"));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| file.write_all(key).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| File::open(&self.own)?.sync_all());
        written.map_err(|error| StoreError::io("write", path, error))
    }

    /// Checks that the content belongs to the database with this id. Content without an id gets this one. So does all
    /// content if `is_adopted`, because the database was made from it.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the content belongs to another database, or if `is_expected` and it is missing.
    pub fn claim_content(
        &self,
        id: &str,
        is_adopted: bool,
        is_expected: bool,
    ) -> Result<Content, StoreError> {
        let v2 = self.content();
        let identity = v2.join(CONTENT_IDENTITY);
        let recorded = match fs::read_to_string(&identity) {
            Ok(recorded) => Some(recorded.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::io("read", identity, error)),
        };
        match recorded {
            Some(recorded) if recorded == id => {}
            Some(_) if is_expected && !is_adopted => {
                return Err(StoreError::Directory(format!(
                    "{v2} is the content of another database than {own}/metadata.db: mount or restore the right one. If \
                     they belong together, remove {identity}",
                    v2 = v2.display(),
                    own = self.own.display(),
                    identity = identity.display(),
                )));
            }
            None if is_expected && !is_adopted && self.is_without_content()? => {
                return Err(self.content_is_missing("is empty"));
            }
            _ => {
                self.assign_content(id)?;
            }
        }
        Content::of([identity, self.blobs.clone()])
    }

    /// Records that the content belongs to the database with this id.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the content cannot be written.
    pub(crate) fn assign_content(&self, id: &str) -> Result<(), StoreError> {
        let (new, identity) =
            (self.content().join(format!("{CONTENT_IDENTITY}.new")), self.content().join(CONTENT_IDENTITY));
        permissions::write(&new, format!("{id}\n").as_bytes())
            .and_then(|()| fs::rename(&new, &identity))
            .map_err(|error| access_error(&self.root, Access::Write, &identity, &error))
    }

    /// Takes the exclusive lock.
    ///
    /// # Errors
    /// [`StoreError::Directory`] that names the process which holds it.
    pub fn lock(&self) -> Result<Lock, StoreError> {
        match self.try_lock()? {
            Some(lock) => Ok(lock),
            None => Err(StoreError::Directory(format!(
                "{} is in use by {}",
                self.root.display(),
                self.lock_holder()
            ))),
        }
    }

    /// Takes the exclusive lock; `None` if another process holds it.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the lock file cannot be created.
    pub fn try_lock(&self) -> Result<Option<Lock>, StoreError> {
        let path = self.own.join("lock");
        let failed = |error: io::Error| StoreError::io("lock", &path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        // The kernel frees the lock with the process, so none is ever stale. The content only names the process.
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        }
        let mut directories = Vec::new();
        for directory in [&self.own, self.content()] {
            let opened = match File::open(directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            };
            // NFS locks only files that are open for writing; there the lock file must do.
            let locked = rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive);
            if locked == Err(rustix::io::Errno::WOULDBLOCK) {
                return Ok(None);
            }
            directories.push(opened);
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Some(Lock { _file: file, _directories: directories }))
    }

    /// Describes the process that holds the lock: `process 28823 (wharfinger serve)`.
    #[must_use]
    pub fn lock_holder(&self) -> String {
        let mut text = String::new();
        let read = File::open(self.own.join("lock")).and_then(|file| file.take(32).read_to_string(&mut text));
        let Some(pid) = read.ok().and_then(|_| text.trim().parse::<u32>().ok()) else {
            return "another process".to_owned();
        };
        match command_of(pid) {
            Some(command) => format!("process {pid} ({command})"),
            None => format!("process {pid}"),
        }
    }

    /// Renames a file from the uploads to the blobs, as each push does. Equal device numbers would prove nothing: a
    /// rename between two mounts of one file system fails as well.
    fn try_rename(&self) -> Result<(), StoreError> {
        let name = format!(".probe-{}", uuid::Uuid::new_v4());
        let (from, to) = (self.uploads().join(&name), self.blobs.join(&name));
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&from);
        if let Err(error) = created {
            if is_full(&error) {
                // Pulls work on a full disk, and deletions make room.
                tracing::warn!(directory = %self.uploads().display(), "no space left, or no inode: pushes will fail");
                return Ok(());
            }
            return Err(access_error(&self.root, Access::Write, &self.uploads(), &error));
        }
        let renamed = fs::rename(&from, &to);
        // Only one of the two exists.
        let _ = fs::remove_file(&from);
        let _ = fs::remove_file(&to);
        renamed.or_else(|error| if is_full(&error) { Ok(()) } else { Err(error) }).map_err(|error| match error.kind() {
            io::ErrorKind::CrossesDevices => StoreError::Directory(format!(
                "{} and {} are on different mounts, but a rename must turn uploads into blobs: mount {} as one volume",
                self.uploads().display(),
                self.blobs.display(),
                self.root.display(),
            )),
            _ => access_error(&self.root, Access::Write, &self.blobs, &error),
        })
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether something is mounted at this path.
fn is_mount(path: &Path) -> bool {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    let stat = rustix::fs::statx(rustix::fs::CWD, path, flags, rustix::fs::StatxFlags::BASIC_STATS);
    // Kernels before 5.8 do not tell.
    stat.is_ok_and(|stat| stat.stx_attributes.contains(rustix::fs::StatxAttributes::MOUNT_ROOT))
}

/// Returns the program and subcommand of a process, such as `wharfinger serve`.
fn command_of(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let program = words.next().filter(|program| !program.is_empty())?;
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    let is_subcommand = |word: &str| word.starts_with(|first: char| first.is_ascii_lowercase());
    Some(match words.next().filter(|word| is_subcommand(word)) {
        Some(subcommand) => format!("{name} {subcommand}"),
        None => name,
    })
}

/// Creates a directory and its parents, unless it exists.
fn create(root: &Path, path: &Path) -> Result<(), StoreError> {
    permissions::create_dir_all(path).map_err(|error| {
        // Name the part of the path that is a file.
        let file = path.ancestors().find(|part| part.exists()).filter(|part| !part.is_dir());
        file.map_or_else(|| access_error(root, Access::Write, path, &error), not_a_directory)
    })
}

fn not_a_directory(path: &Path) -> StoreError {
    StoreError::Directory(format!("{} is a file; the data directory must be a directory", path.display()))
}

/// An access to the data directory, as messages name it.
#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

/// Explains why the data directory `root` cannot be used: the access to `path` in it failed.
fn access_error(given: &Path, access: Access, path: &Path, error: &io::Error) -> StoreError {
    let (root, path) = (given.display(), path.display());
    let verb = match access {
        Access::Read => "read",
        Access::Write => "write to",
    };
    StoreError::Directory(match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let user = user_name(rustix::process::geteuid().as_raw());
            // In a container, the path is that of the volume, and the owner is changed on the host.
            let volume =
                if is_mount(given) { ", or the directory of the host that is mounted there" } else { "" };
            format!(
                "user {user} may not {verb} {path}. Run this as the server's user, or: chown -R {user} {root}{volume}"
            )
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("cannot {verb} {path}: the file system is mounted read-only; mount it writable")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("cannot {verb} {path}: no space left; free some space and start again")
        }
        io::ErrorKind::NotFound => format!("cannot {verb} {path}: there is no such directory"),
        _ => format!("cannot {verb} {path}: {error}"),
    })
}

/// Returns the name of a user, or its number if `/etc/passwd` does not list it.
fn user_name(id: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<impl std::fmt::Debug, StoreError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn new_directory_has_the_layout_of_distribution() {
        let data = tempfile::tempdir().unwrap();
        let directory = Directory::open(data.path().join("new/data")).unwrap();
        let root = data.path().canonicalize().unwrap().join("new/data");
        assert_eq!(directory.root(), root);
        assert_eq!(directory.blobs(), root.join("docker/registry/v2/blobs"));
        assert_eq!(directory.repositories(), root.join("docker/registry/v2/repositories"));
        assert!(directory.uploads().is_dir());
        assert!(fs::read_dir(directory.blobs()).unwrap().next().is_none(), "the probe is gone");
        assert!(fs::read_dir(directory.uploads()).unwrap().next().is_none(), "the probe is gone");
    }

    #[test]
    fn mounted_v2_directory_is_used_as_it_is() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("repositories")).unwrap();
        let directory = Directory::open(data.path()).unwrap();
        assert_eq!(directory.blobs(), directory.root().join("blobs"));
        assert!(!directory.root().join("docker").exists());
    }

    #[test]
    fn directory_above_v2_is_refused_with_advice() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir_all(data.path().join("registry/v2/blobs")).unwrap();
        assert!(message(Directory::open(data.path())).contains("registry/v2, which holds blobs"));
    }

    #[test]
    fn file_is_no_data_directory() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let said = message(Directory::open(path));
            assert!(said.contains("file is a file"), "{said}");
        }
        assert!(message(Directory::open_existing(&file)).contains("is a file"));
    }

    #[test]
    fn mistyped_path_is_not_created() {
        let data = tempfile::tempdir().unwrap();
        assert!(message(Directory::open_existing(data.path().join("dta"))).contains("no such directory"));
        assert!(!data.path().join("dta").exists());
        assert!(message(Directory::open_existing(data.path())).contains("no data directory"));
        Directory::open(data.path()).unwrap();
        Directory::open_existing(data.path()).unwrap();
    }

    #[test]
    fn gateway_directory_has_a_key() {
        let data = tempfile::tempdir().unwrap();
        let directory = Directory::open(data.path()).unwrap();
        assert_eq!(directory.gateway_key().unwrap(), None);
        directory.make_gateway(&[7; 32]).unwrap();
        assert_eq!(Directory::open(data.path()).unwrap().gateway_key().unwrap(), Some([7; 32]));
        fs::write(directory.own().join("gateway.key"), "short").unwrap();
        assert!(message(directory.gateway_key()).contains("not a key of 32 bytes"));
    }

    #[test]
    fn denied_access_names_the_user_and_the_remedy() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let said =
            access_error(Path::new("/data"), Access::Write, Path::new("/data/uploads"), &denied).to_string();
        let user = user_name(rustix::process::geteuid().as_raw());
        let expected = format!(
            "user {user} may not write to /data/uploads. Run this as the server's user, or: chown -R {user} /data"
        );
        assert_eq!(said, expected);
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(4_000_000_000), "4000000000");
    }

    #[test]
    fn lock_holds_without_its_file() {
        let data = tempfile::tempdir().unwrap();
        let directory = Directory::open(data.path()).unwrap();
        let lock = directory.lock().unwrap();
        fs::remove_file(directory.own().join("lock")).unwrap();
        assert!(directory.try_lock().unwrap().is_none());
        drop(lock);
        directory.lock().unwrap();
    }

    #[test]
    fn lock_holds_for_other_paths_to_the_content() {
        let data = tempfile::tempdir().unwrap();
        let directory = Directory::open(data.path()).unwrap();
        let _lock = directory.lock().unwrap();
        let inner = Directory::open(directory.content()).unwrap();
        assert!(inner.try_lock().unwrap().is_none());
    }

    #[test]
    fn moved_content_is_detected() {
        let data = tempfile::tempdir().unwrap();
        let directory = Directory::open(data.path()).unwrap();
        let content = directory.claim_content("one", false, false).unwrap();
        content.check().unwrap();
        fs::rename(data.path().join("docker"), data.path().join("away")).unwrap();
        assert!(matches!(content.check(), Err(StoreError::ContentGone(_))));
        // A new directory in its place is not the same one.
        let empty = Directory::open(data.path()).unwrap();
        let said = message(empty.claim_content("one", false, true));
        assert!(said.contains("was it moved away"), "{said}");
        fs::remove_dir_all(data.path().join("docker")).unwrap();
        fs::rename(data.path().join("away"), data.path().join("docker")).unwrap();
        content.check().unwrap();
        let (blobs, away) = (directory.blobs().to_owned(), directory.blobs().with_file_name("away"));
        fs::rename(&blobs, &away).unwrap();
        for again in [false, true] {
            assert!(
                matches!(content.check(), Err(StoreError::ContentGone(path)) if path == blobs),
                "{again}"
            );
            fs::create_dir_all(&blobs).unwrap();
        }
        fs::remove_dir(&blobs).unwrap();
        fs::rename(away, blobs).unwrap();
        content.check().unwrap();
        let said = message(directory.claim_content("two", false, true));
        assert!(said.contains("content of another database"), "{said}");
        directory.claim_content("two", true, true).unwrap();
        directory.claim_content("two", false, true).unwrap();
    }

    #[test]
    fn only_unused_directory_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let root = data.path().join("data");
        let directory = Directory::open(&root).unwrap();
        fs::create_dir(directory.blobs().join("sha256")).unwrap();
        Directory::remove_unused(&root);
        assert!(root.exists());
        fs::remove_dir(directory.blobs().join("sha256")).unwrap();
        Directory::remove_unused(&root);
        assert!(!root.exists());
    }

    #[test]
    fn second_lock_names_the_first_process() {
        let data = tempfile::tempdir().unwrap();
        let directory = Directory::open(data.path()).unwrap();
        let lock = directory.lock().unwrap();
        let second = Directory::open(data.path()).unwrap();
        assert!(second.try_lock().unwrap().is_none());
        let said = message(second.lock());
        let holder = format!("in use by process {} (store-", std::process::id());
        assert!(said.contains(&holder), "{said}");
        drop(lock);
        second.lock().unwrap();
    }
}
