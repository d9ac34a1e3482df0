//! Quarantine: damaged content that a repair moved out of the way. Nothing here is ever deleted by the
//! server.
//!
//! A file is named by the digest that it should have and by the first characters of the digest that it has:
//! `sha256-<expected>.<actual>`. So a blob that lay under the name of another one is found again.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use oci::Digest;

use super::layout::{Layout, sync_directory};
use crate::blobs::Stamp;
use crate::blobs::local::{absent, hash};
use crate::{StoreError, permissions, regular_file};

/// The characters of the actual digest in a name.
const SHORT: usize = 16;

pub(super) struct Quarantine {
    directory: PathBuf,
}

impl Quarantine {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Moves the file of a blob aside, unless its bytes have the digest. Blocks while it reads them.
    pub(super) fn take(&self, layout: &Layout, digest: &Digest) -> Result<Option<String>, StoreError> {
        let path = layout.path(digest);
        let read = |error| StoreError::io("read", &path, error);
        let Some(file) = regular_file::open(&path).or_else(absent).map_err(read)? else { return Ok(None) };
        let actual = hash(&file, digest).map_err(read)?;
        if actual == *digest {
            return Ok(None);
        }
        let opened = file.metadata().map_err(read)?;
        permissions::create_dir_all(&self.directory)
            .map_err(|error| StoreError::io("create", &self.directory, error))?;
        let to = self.unused_name(digest, &actual);
        fs::rename(&path, &to).map_err(|error| StoreError::io("rename to", &to, error))?;
        let moved = fs::metadata(&to).map_err(|error| StoreError::io("look at", &to, error))?;
        if !is_same(&opened, &moved) {
            // A push has replaced the file in between.
            layout.publish(&to, digest)?;
            return Ok(None);
        }
        sync_directory(&self.directory)?;
        Ok(Some(to.display().to_string()))
    }

    /// Publishes a file of the quarantine whose bytes have this digest. The caller syncs the name.
    pub(super) fn put_back(&self, layout: &Layout, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let failed = |error| StoreError::io("read", &self.directory, error);
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) => return absent(error).map_err(failed),
        };
        let marker = format!(".{}", &digest.hex()[..SHORT]);
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if !entry.file_name().to_str().is_some_and(|name| name.contains(&marker)) {
                continue;
            }
            let path = entry.path();
            let Some(file) = regular_file::open(&path).map_err(failed)? else { continue };
            if hash(&file, digest).map_err(failed)? == *digest {
                let size = file.metadata().map_err(failed)?.len();
                file.sync_data().map_err(failed)?;
                layout.publish(&path, digest)?;
                return Ok(Some(size));
            }
        }
        Ok(None)
    }

    fn unused_name(&self, expected: &Digest, actual: &Digest) -> PathBuf {
        let name = format!("{}-{}.{}", expected.algorithm(), expected.hex(), &actual.hex()[..SHORT]);
        let first = self.directory.join(&name);
        let more = (2..).map(|number| self.directory.join(format!("{name}.{number}")));
        std::iter::once(first).chain(more).find(|path| !path.exists()).unwrap_or_default()
    }
}

/// Returns the stamp of a blob's file; `None` if it does not exist. Blocks.
pub(super) fn stamp(path: &Path) -> Result<Option<Stamp>, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => {
            let nanoseconds = metadata.mtime_nsec().cast_unsigned();
            Ok(Some(Stamp([metadata.ino(), metadata.len(), metadata.mtime().cast_unsigned(), nanoseconds])))
        }
        Err(error) => absent(error).map_err(|error| StoreError::io("look at", path, error)),
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use oci::Algorithm;

    use super::super::FileBlobs;
    use crate::Directory;
    use crate::blobs::BlobStore as _;

    #[tokio::test]
    async fn damaged_content_is_moved_aside_and_misplaced_found() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        let store = FileBlobs::open(&directory);
        let contents: Vec<Bytes> = (1..=2).map(|byte| Bytes::from(vec![byte; 100_000])).collect();
        let [one, other] = [0, 1].map(|at| Algorithm::Sha256.digest(&contents[at]));
        store.put(&one, contents[0].clone()).await.unwrap();
        store.put(&other, contents[1].clone()).await.unwrap();
        assert_eq!(store.quarantine(&one).await.unwrap(), None, "it is intact");
        let stamp = store.stamp(&one).await.unwrap().unwrap();
        std::fs::rename(store.path(&other), store.path(&one)).unwrap();
        assert_ne!(store.stamp(&one).await.unwrap(), Some(stamp));

        let place = store.quarantine(&one).await.unwrap().unwrap();
        assert!(std::fs::read(&place).unwrap() == contents[1]);
        assert_eq!(store.stat(&one).await.unwrap(), None);
        assert_eq!(store.recover(&one).await.unwrap(), None);
        assert_eq!(store.recover(&other).await.unwrap(), Some(100_000));
        assert!(store.get(&other).await.unwrap().unwrap() == contents[1]);
        assert_eq!(store.recover(&other).await.unwrap(), None);
    }
}
