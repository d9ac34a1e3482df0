//! The paths of a data directory, and its creation.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::access::{Access, access_error, is_full, is_mount, not_a_directory};
use super::socket::Socket;
use crate::database_url::DatabaseUrl;
use crate::metadata_place::METADATA_PLACE;
use crate::object_settings::ObjectSettings;
use crate::{Metadata, StoreError, accounts_mark, permissions};

/// A complete, writable data directory.
#[derive(Clone, Debug)]
pub struct Directory {
    pub(super) root: PathBuf,
    pub(super) blobs: PathBuf,
    pub(super) repositories: PathBuf,
    pub(super) own: PathBuf,
    /// The bucket of the blobs, instead of `blobs`.
    objects: Option<Arc<ObjectSettings>>,
    /// The database in PostgreSQL, instead of `metadata.db`.
    database: Option<Arc<DatabaseUrl>>,
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

    /// Opens an existing data directory. For commands, where creating an empty one would hide a mistyped
    /// path.
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
        if directory.is_foreign() {
            return Err(not_a_data_directory(given));
        }
        for part in [&directory.blobs, &directory.own] {
            match fs::metadata(part) {
                Ok(metadata) if metadata.is_dir() => return Self::open(given),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(access_error(given, Access::Read, part, &error));
                }
                _ => {}
            }
        }
        Err(not_a_data_directory(given))
    }

    /// Whether the directory has `blobs/` at its top, and neither `repositories/` nor `wharfinger/` nor
    /// distribution's layout below `blobs/`: that of an image layout or of another program.
    fn is_foreign(&self) -> bool {
        let is_top = self.blobs.parent() == Some(&self.root);
        if !is_top || self.own.is_dir() || self.repositories.is_dir() {
            return false;
        }
        // distribution's paths are <algorithm>/<two hex digits>/<hex digits>/data.
        let has_two_digits = |name: OsString| {
            name.len() == 2 && name.to_str().is_some_and(|name| u8::from_str_radix(name, 16).is_ok())
        };
        let is_distributions = |algorithm: &str| {
            let entries = fs::read_dir(self.blobs.join(algorithm));
            // An unreadable directory is for the checks that follow.
            entries.map_or_else(
                |error| error.kind() == io::ErrorKind::PermissionDenied,
                |entries| entries.flatten().any(|entry| has_two_digits(entry.file_name())),
            )
        };
        !["sha256", "sha512"].iter().any(|algorithm| is_distributions(algorithm))
    }

    /// Returns the data directory at `path`, if it is one. Changes nothing.
    #[must_use]
    pub fn find(path: impl AsRef<Path>) -> Option<Self> {
        Self::at(path.as_ref()).ok().filter(|directory| directory.own.is_dir())
    }

    /// Removes a data directory that a server created and could not serve. A directory with content or
    /// accounts stays.
    pub fn remove_unused(path: impl AsRef<Path>) {
        let Some(directory) = Self::find(path) else { return };
        if directory.is_without_content().unwrap_or(false) && !directory.is_marked().unwrap_or(true) {
            // A leftover directory is harmless.
            let _ = fs::remove_dir_all(&directory.root);
        }
    }

    /// Refuses a directory whose content was moved away, before an empty one is created in its place.
    fn must_have_its_content(&self) -> Result<(), StoreError> {
        if self.blobs.exists() || !Metadata::holds_content_at(&self.metadata()).unwrap_or(false) {
            return Ok(());
        }
        Err(self.content_is_missing(&self.blobs, "is missing"))
    }

    pub(super) fn content_is_missing(&self, path: &Path, how: &str) -> StoreError {
        StoreError::Directory(format!(
            "{path} {how}, but {database} lists images in it: was it moved away, or is its volume not mounted? Put it back. \
             To start with an empty registry instead, stop the server and move {own} away as well",
            path = path.display(),
            database = self.database_name(),
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
            let has_database = ["metadata.db", METADATA_PLACE]
                .iter()
                .any(|file| root.join("wharfinger").join(file).exists());
            if is_mount(&v2) && !has_database {
                return Ok(Self {
                    blobs: v2.join("blobs"),
                    repositories: v2.join("repositories"),
                    own: v2.join("wharfinger"),
                    root: v2,
                    objects: None,
                    database: None,
                });
            }
            v2
        };
        Ok(Self {
            blobs: v2.join("blobs"),
            repositories: v2.join("repositories"),
            own: root.join("wharfinger"),
            root,
            objects: None,
            database: None,
        })
    }

    /// The same directory, with the blobs in a bucket.
    #[must_use]
    pub fn with_objects(self, settings: Option<ObjectSettings>) -> Self {
        Self { objects: settings.map(Arc::new), ..self }
    }

    /// The bucket of the blobs. `None` if they are files.
    #[must_use]
    pub fn objects(&self) -> Option<&ObjectSettings> {
        self.objects.as_deref()
    }

    /// The same directory, with the metadata in PostgreSQL.
    #[must_use]
    pub fn with_database(self, url: Option<DatabaseUrl>) -> Self {
        Self { database: url.map(Arc::new), ..self }
    }

    /// The database in PostgreSQL. `None` if it is a file.
    #[must_use]
    pub fn database(&self) -> Option<&DatabaseUrl> {
        self.database.as_deref()
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

    /// Returns whether the data directory at `path` has had accounts, even if its database is lost. Creates
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if `path` is a file, or may not be read.
    pub fn has_had_accounts(path: impl AsRef<Path>) -> Result<bool, StoreError> {
        let given = path.as_ref();
        match fs::metadata(given) {
            Ok(metadata) if !metadata.is_dir() => Err(not_a_directory(given)),
            Ok(_) => Self::at(given)?.is_marked(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(access_error(given, Access::Read, given, &error)),
        }
    }

    fn is_marked(&self) -> Result<bool, StoreError> {
        let marked = accounts_mark::exists(&self.own, self.content());
        marked.map_err(|error| access_error(&self.root, Access::Read, &self.root, &error))
    }

    /// The path of the metadata database, if it is a file.
    #[must_use]
    pub fn metadata(&self) -> PathBuf {
        self.own.join("metadata.db")
    }

    /// The database as messages name it.
    pub(super) fn database_name(&self) -> String {
        self.database().map_or_else(|| self.metadata().display().to_string(), DatabaseUrl::place)
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

    /// The directory of the database, the lock and the uploads.
    #[must_use]
    pub fn own(&self) -> &Path {
        &self.own
    }

    /// Returns the space of the file system that holds the content.
    ///
    /// # Errors
    /// The errors of statvfs.
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

    /// Renames a file from the uploads to the blobs, as each push does. Equal device numbers would prove
    /// nothing: a rename between two mounts of one file system fails as well.
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

/// Creates a directory and its parents, unless it exists.
fn create(root: &Path, path: &Path) -> Result<(), StoreError> {
    permissions::create_dir_all(path).map_err(|error| {
        // Name the part of the path that is a file.
        let file = path.ancestors().find(|part| part.exists()).filter(|part| !part.is_dir());
        file.map_or_else(|| access_error(root, Access::Write, path, &error), not_a_directory)
    })
}

fn not_a_data_directory(given: &Path) -> StoreError {
    StoreError::Directory(format!(
        "{} is not a data directory: it holds neither wharfinger nor the blobs and repositories of a registry",
        given.display()
    ))
}
