//! The identity of the content: which database it belongs to, and whether it is still in its place.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::{fs, io};

use super::access::{Access, access_error};
use super::layout::Directory;
use crate::{StoreError, durable, space};

/// The file with the id of the database that the content belongs to. distribution ignores it.
const CONTENT_IDENTITY: &str = ".wharfinger";

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

impl Directory {
    /// Returns whether the file system of the metadata or of the content is read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let files = [self.own.join("lock"), self.content().join(CONTENT_IDENTITY)];
        files.iter().any(|file| space::is_read_only(file))
    }

    /// Whether the content belongs to a database.
    pub(crate) fn has_identity(&self) -> bool {
        self.content().join(CONTENT_IDENTITY).exists()
    }

    /// Checks that the content belongs to the database with this id. Content without an id gets this one. So
    /// does all content if `is_adopted`, because the database was made from it.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the content belongs to another database, or if `is_expected` and it is
    /// missing.
    pub fn claim_content(
        &self,
        id: &str,
        is_adopted: bool,
        is_expected: bool,
    ) -> Result<Content, StoreError> {
        let v2 = self.content();
        let identity = v2.join(CONTENT_IDENTITY);
        let recorded = match fs::read_to_string(&identity) {
            Ok(recorded) if recorded.trim().is_empty() => {
                let file = identity.display();
                tracing::warn!(%file, "the id of the content is lost, as after a power failure; writing it again");
                None
            }
            Ok(recorded) => Some(recorded.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::io("read", identity, error)),
        };
        match recorded {
            Some(recorded) if recorded == id => {}
            Some(_) if is_expected && !is_adopted => {
                return Err(StoreError::Directory(format!(
                    "{v2} is the content of another database than {database}: mount or restore the right one. If they \
                     belong together, remove {identity}",
                    v2 = v2.display(),
                    database = self.database_name(),
                    identity = identity.display(),
                )));
            }
            None if is_expected && !is_adopted && !self.is_elsewhere() && self.is_without_content()? => {
                return Err(self.content_is_missing(self.content(), "is empty"));
            }
            _ => {
                self.assign_content(id)?;
            }
        }
        Content::of([identity, self.blobs.clone()])
    }

    /// Whether the directory holds neither metadata nor blobs.
    fn is_elsewhere(&self) -> bool {
        self.database().is_some() && self.objects().is_some()
    }

    /// Records that the content belongs to the database with this id.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the content cannot be written.
    pub(crate) fn assign_content(&self, id: &str) -> Result<(), StoreError> {
        let identity = self.content().join(CONTENT_IDENTITY);
        // Durable before the first push is acknowledged.
        durable::replace(&identity, format!("{id}\n").as_bytes())
            .map_err(|error| access_error(&self.root, Access::Write, &identity, &error))
    }
}
