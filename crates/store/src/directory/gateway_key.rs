//! The key of a gateway's uploads. Its file marks the directory as a gateway's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use super::layout::Directory;
use crate::StoreError;

/// The file that marks a directory as a gateway's.
const GATEWAY_KEY: &str = "gateway.key";

impl Directory {
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
}
