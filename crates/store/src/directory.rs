//! The data directory: which path is which, and the lock that keeps a second server out.
//!
//! ```text
//! <data>/docker/registry/v2/blobs/          content, in distribution's layout
//! <data>/docker/registry/v2/repositories/   the derived view, in distribution's layout
//! <data>/docker/registry/v2/.wharfinger     which database the content belongs to
//! <data>/docker/registry/v2/.wharfinger-accounts   only where there have been accounts
//! <data>/wharfinger/metadata.db             the truth about repositories
//! <data>/wharfinger/metadata.db.mark        how far its commits have come
//! <data>/wharfinger/accounts                only where there have been accounts
//! <data>/wharfinger/uploads/                content on its way in
//! <data>/wharfinger/lock                    held by the one process that works here
//! <data>/wharfinger/control.sock            where a running server takes commands
//! <data>/wharfinger/gateway.key             only where a gateway keeps its accounts; content is elsewhere then
//! ```
//!
//! Operators who ran distribution with a volume mounted at its `v2` directory have a directory
//! that holds `blobs/` and `repositories/` itself. Given that, it is used as it is, and our own
//! files lie in a third directory beside these two.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::{StoreError, accounts_mark, permissions};

/// The file that says which database the content belongs to. distribution takes no notice of it.
const CONTENT_IDENTITY: &str = ".wharfinger";

/// What makes a directory a gateway's.
const GATEWAY_KEY: &str = "gateway.key";

/// A data directory that is there, with all of its parts, and can be written.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
    blobs: PathBuf,
    repositories: PathBuf,
    own: PathBuf,
}

/// The right to work in a data directory. No other process has it until this is dropped, or until
/// the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    /// Our own directory, because a lock file can be removed while it is held; and the content, because another path
    /// can lead to it.
    _directories: Vec<File>,
}

/// The content of a data directory, as it was when it was opened.
#[derive(Clone, Debug)]
pub struct Content {
    identity: PathBuf,
    device: u64,
    inode: u64,
}

impl Content {
    /// Whether the content is still the same directory: it was not moved away, nor its volume unmounted. Costs one stat.
    ///
    /// # Errors
    /// [`StoreError::ContentGone`].
    pub fn check(&self) -> Result<(), StoreError> {
        match fs::metadata(&self.identity) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(()),
            _ => Err(StoreError::ContentGone(self.identity.with_file_name(""))),
        }
    }
}

/// The path of a Unix socket, short enough for the system.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// What a path through `/proc/self/fd` stands on.
    _directory: Option<File>,
}

impl Socket {
    /// The longest path that the system takes for a socket: `sun_path` has 108 bytes, the last of
    /// them zero (unix(7)).
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

    /// The path to bind or to connect to, while this value lives.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Directory {
    /// Opens a data directory, and makes it, or what is missing of it.
    ///
    /// What could fail later is tried now: that files can be made, and renamed from the uploads to
    /// the blobs.
    ///
    /// # Errors
    /// [`StoreError::Directory`], whose text tells the operator what to do.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let given = path.as_ref();
        make(given)?;
        let directory = Self::at(given)?;
        for part in [&directory.blobs, &directory.repositories, &directory.uploads()] {
            make(part)?;
        }
        directory.try_rename()?;
        Ok(directory)
    }

    /// Opens a data directory that must be there already: for commands that look at one, where
    /// making an empty one would hide a mistyped path.
    ///
    /// # Errors
    /// [`StoreError::Directory`], whose text tells the operator what to do.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let given = path.as_ref();
        let directory = match fs::metadata(given) {
            Ok(found) if !found.is_dir() => return Err(not_a_directory(given)),
            Ok(_) => Self::at(given)?,
            Err(error) => return Err(refused("open", given, &error)),
        };
        if directory.blobs.is_dir() || directory.own.is_dir() {
            return Self::open(given);
        }
        Err(StoreError::Directory(format!(
            "{} is no data directory: it holds neither docker/registry/v2/blobs nor blobs nor wharfinger",
            given.display()
        )))
    }

    /// The data directory at `path`, if it is one, without making or changing anything.
    #[must_use]
    pub fn find(path: impl AsRef<Path>) -> Option<Self> {
        Self::at(path.as_ref()).ok().filter(|directory| directory.own.is_dir())
    }

    /// Removes a data directory that a server made and could not serve: nothing is left to be taken for a registry.
    /// One that holds content, or has had accounts, stays.
    pub fn remove_unused(path: impl AsRef<Path>) {
        let Some(directory) = Self::find(path) else { return };
        if directory.is_without_content().unwrap_or(false) && !directory.is_marked() {
            // What cannot be removed is as harmless as it was.
            let _ = fs::remove_dir_all(&directory.root);
        }
    }

    fn at(given: &Path) -> Result<Self, StoreError> {
        // An absolute path, so that a change of the working directory does not matter, and so that
        // messages name what was meant.
        let root = given.canonicalize().map_err(|error| refused("open", given, &error))?;
        let v2 = if ["blobs", "repositories"].iter().any(|part| root.join(part).is_dir()) {
            root.clone()
        } else {
            for inner in ["registry/v2", "v2"] {
                if root.join(inner).join("blobs").is_dir() {
                    return Err(StoreError::Directory(format!(
                        "{0} holds {inner}/blobs; give {0}/{inner} as the data directory, \
                         or the directory that holds docker/registry/v2",
                        root.display()
                    )));
                }
            }
            root.join("docker/registry/v2")
        };
        Ok(Self {
            blobs: v2.join("blobs"),
            repositories: v2.join("repositories"),
            own: root.join("wharfinger"),
            root,
        })
    }

    /// The directory as a whole, as an absolute path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Content, in distribution's layout.
    #[must_use]
    pub fn blobs(&self) -> &Path {
        &self.blobs
    }

    /// The derived view, in distribution's layout.
    #[must_use]
    pub fn repositories(&self) -> &Path {
        &self.repositories
    }

    /// The directory that holds the blobs and the view.
    #[must_use]
    pub fn content(&self) -> &Path {
        self.blobs.parent().unwrap_or(&self.root)
    }

    /// Whether the data directory at `path` has had accounts, even if its database is lost. Makes nothing.
    #[must_use]
    pub fn has_had_accounts(path: impl AsRef<Path>) -> bool {
        Self::at(path.as_ref()).is_ok_and(|directory| directory.is_marked())
    }

    fn is_marked(&self) -> bool {
        accounts_mark::exists(&self.own, self.content())
    }

    /// The database file of the metadata.
    #[must_use]
    pub fn metadata(&self) -> PathBuf {
        self.own.join("metadata.db")
    }

    /// Where uploads lie until they are blobs.
    #[must_use]
    pub fn uploads(&self) -> PathBuf {
        self.own.join("uploads")
    }

    /// Where a running server takes commands.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the directory cannot be opened.
    pub fn control_socket(&self) -> Result<Socket, StoreError> {
        Socket::in_directory(&self.own, "control.sock")
    }

    /// Where a command that has the directory to itself talks to its own server.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the directory cannot be opened.
    pub fn command_socket(&self) -> Result<Socket, StoreError> {
        Socket::in_directory(&self.own, &format!("command-{}.sock", std::process::id()))
    }

    /// Where our own files are: database, lock and uploads.
    #[must_use]
    pub fn own(&self) -> &Path {
        &self.own
    }

    /// Whether there is no file of a blob and no link in it.
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

    /// The key of the gateway whose accounts are kept here; `None` if the directory is not a gateway's. With such a
    /// key it signs what must come back to it unchanged.
    ///
    /// # Errors
    /// [`StoreError`] if the key is there and cannot be read.
    pub fn gateway_key(&self) -> Result<Option<[u8; 32]>, StoreError> {
        let path = self.own.join(GATEWAY_KEY);
        let key = match fs::read(&path) {
            Ok(key) => key,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", path, error)),
        };
        key.try_into().map(Some).map_err(|_| {
            StoreError::Directory(format!(
                "{} is not a key of 32 bytes; remove it, and the uploads that are under way through the gateway begin \
                 anew",
                path.display()
            ))
        })
    }

    /// Makes the directory a gateway's, for good: no registry is served from it any more.
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

    /// Makes sure that the content belongs to the database with this id. Content without an identity gets this one, and
    /// so does all content if `is_adopted`: the database was made from it.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if it is the content of another database, or if none is here and there should be
    /// (`is_expected`).
    pub fn claim_content(
        &self,
        id: &str,
        is_adopted: bool,
        is_expected: bool,
    ) -> Result<Content, StoreError> {
        let v2 = self.content();
        let identity = v2.join(CONTENT_IDENTITY);
        let found = match fs::read_to_string(&identity) {
            Ok(found) => Some(found.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::io("read", identity, error)),
        };
        match found {
            Some(found) if found == id => {}
            Some(_) if is_expected && !is_adopted => {
                return Err(StoreError::Directory(format!(
                    "{v2} is the content of another database than {own}/metadata.db: mount or restore the right one; or, \
                     if they belong together, remove {identity}",
                    v2 = v2.display(),
                    own = self.own.display(),
                    identity = identity.display(),
                )));
            }
            None if is_expected && !is_adopted && self.is_without_content()? => {
                return Err(StoreError::Directory(format!(
                    "{v2} is empty, and {own}/metadata.db knows images that were in it: was it moved away, or is its volume \
                     not mounted? Put it back; or, to begin anew, move {own} away as well",
                    v2 = v2.display(),
                    own = self.own.display(),
                )));
            }
            _ => {
                let new = v2.join(format!("{CONTENT_IDENTITY}.new"));
                permissions::write(&new, format!("{id}\n").as_bytes())
                    .and_then(|()| fs::rename(&new, &identity))
                    .map_err(|error| refused("write", &identity, &error))?;
            }
        }
        let found = fs::metadata(&identity).map_err(|error| StoreError::io("look at", &identity, error))?;
        Ok(Content { identity, device: found.dev(), inode: found.ino() })
    }

    /// Takes the right to work in the directory.
    ///
    /// # Errors
    /// [`StoreError::Directory`] that names the process which has it.
    pub fn lock(&self) -> Result<Lock, StoreError> {
        match self.try_lock()? {
            Some(lock) => Ok(lock),
            None => Err(StoreError::Directory(format!(
                "{} is in use by {}; stop it first, or give this one a data directory of its own",
                self.root.display(),
                self.lock_holder()
                    .map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")),
            ))),
        }
    }

    /// Takes the right to work in the directory, or tells that another process has it (`None`).
    ///
    /// # Errors
    /// [`StoreError::Io`] if the lock file cannot be made.
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
        // The system frees such a lock when the process is gone, so that none is ever left over.
        // What the file holds is for people only.
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
            // NFS locks only what is open for writing; the lock file has to do there.
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

    /// The process that holds the lock, as far as the lock file tells.
    #[must_use]
    pub fn lock_holder(&self) -> Option<u32> {
        let mut text = String::new();
        File::open(self.own.join("lock")).ok()?.take(32).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    /// Renames a file from the uploads to the blobs, as each push does. Comparing device numbers
    /// would not do: a rename between two mounts of one file system is refused as well.
    fn try_rename(&self) -> Result<(), StoreError> {
        let name = format!(".probe-{}", uuid::Uuid::new_v4());
        let (from, to) = (self.uploads().join(&name), self.blobs.join(&name));
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&from)
            .map_err(|error| refused("write to", &self.uploads(), &error))?;
        let renamed = fs::rename(&from, &to);
        // Only one of the two is there; which one does not matter.
        let _ = fs::remove_file(&from);
        let _ = fs::remove_file(&to);
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::CrossesDevices => StoreError::Directory(format!(
                "{} and {} are on different file systems or mounts; uploads become blobs by renaming, \
                 so mount the whole of {} as one",
                self.uploads().display(),
                self.blobs.display(),
                self.root.display(),
            )),
            _ => refused("write to", &self.blobs, &error),
        })
    }
}

/// Makes a directory and those above it. One that is there already is no error.
fn make(path: &Path) -> Result<(), StoreError> {
    permissions::create_dir_all(path).map_err(|error| {
        // The part of the path that is there, but as a file, is what the operator must see.
        let file = path.ancestors().find(|part| part.exists()).filter(|part| !part.is_dir());
        file.map_or_else(|| refused("make", path, &error), not_a_directory)
    })
}

fn not_a_directory(path: &Path) -> StoreError {
    StoreError::Directory(format!("{} is a file; the data directory must be a directory", path.display()))
}

fn refused(action: &str, path: &Path, error: &io::Error) -> StoreError {
    let path = path.display();
    StoreError::Directory(match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "may not {action} {path}: permission denied for user {}; give it to that user, \
             or choose another data directory",
            rustix::process::geteuid().as_raw()
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("cannot {action} {path}: the file system is mounted read-only; mount it writable")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("cannot {action} {path}: no space left; free some and start again")
        }
        io::ErrorKind::NotFound => format!("cannot {action} {path}: there is no such directory"),
        _ => format!("cannot {action} {path}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<impl std::fmt::Debug, StoreError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_fresh_directory_has_distributions_layout() {
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
    fn a_mounted_v2_directory_is_used_as_it_is() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("repositories")).unwrap();
        let directory = Directory::open(data.path()).unwrap();
        assert_eq!(directory.blobs(), directory.root().join("blobs"));
        assert!(!directory.root().join("docker").exists());
    }

    #[test]
    fn a_directory_between_the_two_is_refused_with_the_right_one() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir_all(data.path().join("registry/v2/blobs")).unwrap();
        assert!(message(Directory::open(data.path())).contains("registry/v2 as the data directory"));
    }

    #[test]
    fn a_file_is_no_data_directory() {
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
    fn a_mistyped_path_is_not_made() {
        let data = tempfile::tempdir().unwrap();
        assert!(message(Directory::open_existing(data.path().join("dta"))).contains("no such directory"));
        assert!(!data.path().join("dta").exists());
        assert!(message(Directory::open_existing(data.path())).contains("no data directory"));
        Directory::open(data.path()).unwrap();
        Directory::open_existing(data.path()).unwrap();
    }

    #[test]
    fn a_gateways_directory_is_known_by_its_key() {
        let data = tempfile::tempdir().unwrap();
        let directory = Directory::open(data.path()).unwrap();
        assert_eq!(directory.gateway_key().unwrap(), None);
        directory.make_gateway(&[7; 32]).unwrap();
        assert_eq!(Directory::open(data.path()).unwrap().gateway_key().unwrap(), Some([7; 32]));
        fs::write(directory.own().join("gateway.key"), "short").unwrap();
        assert!(message(directory.gateway_key()).contains("not a key of 32 bytes"));
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
    fn content_is_locked_by_whatever_path() {
        let data = tempfile::tempdir().unwrap();
        let directory = Directory::open(data.path()).unwrap();
        let _lock = directory.lock().unwrap();
        let inner = Directory::open(directory.content()).unwrap();
        assert!(inner.try_lock().unwrap().is_none());
    }

    #[test]
    fn content_moved_away_is_noticed() {
        let data = tempfile::tempdir().unwrap();
        let directory = Directory::open(data.path()).unwrap();
        let content = directory.claim_content("one", false, false).unwrap();
        content.check().unwrap();
        fs::rename(data.path().join("docker"), data.path().join("away")).unwrap();
        assert!(matches!(content.check(), Err(StoreError::ContentGone(_))));
        // What another process makes in its place is not it either.
        let empty = Directory::open(data.path()).unwrap();
        let said = message(empty.claim_content("one", false, true));
        assert!(said.contains("was it moved away"), "{said}");
        fs::remove_dir_all(data.path().join("docker")).unwrap();
        fs::rename(data.path().join("away"), data.path().join("docker")).unwrap();
        content.check().unwrap();
        let said = message(directory.claim_content("two", false, true));
        assert!(said.contains("content of another database"), "{said}");
        directory.claim_content("two", true, true).unwrap();
        directory.claim_content("two", false, true).unwrap();
    }

    #[test]
    fn unused_directory_is_removed_and_others_stay() {
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
    fn a_second_server_is_kept_out_and_told_who_is_there() {
        let data = tempfile::tempdir().unwrap();
        let directory = Directory::open(data.path()).unwrap();
        let lock = directory.lock().unwrap();
        let second = Directory::open(data.path()).unwrap();
        assert!(second.try_lock().unwrap().is_none());
        let said = message(second.lock());
        assert!(said.contains(&format!("in use by process {};", std::process::id())), "{said}");
        drop(lock);
        second.lock().unwrap();
    }
}
