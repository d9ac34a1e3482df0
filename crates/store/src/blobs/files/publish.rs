//! Gives files their final names: those of complete uploads, and new ones with known content.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use oci::{Digest, Digester};

use super::layout::{Layout, SMALL};
use crate::blobs::local::uploads::{OpenUpload, Uploads, Written};
use crate::blobs::{Stored, check_digest};
use crate::{StoreError, durable};

impl Layout {
    /// Publishes large content as a blob. The caller then syncs its name.
    pub(super) fn put_synced(
        &self,
        uploads: &Uploads,
        digest: &Digest,
        content: &[u8],
    ) -> Result<(), StoreError> {
        self.put(uploads, digest, |mut file| {
            file.write_all(content)?;
            file.sync_data()
        })
    }

    /// Publishes small content as a blob, unless the blob exists.
    pub(super) fn put_unless_held(
        &self,
        uploads: &Uploads,
        digest: &Digest,
        content: &[u8],
    ) -> Result<(), StoreError> {
        // The directory is nearly always new, and then there is no file to compare.
        if !self.create_directory(digest)? && self.holds(digest, content)? {
            return Ok(());
        }
        self.put(uploads, digest, |mut file| file.write_all(content))
            .inspect_err(|_| self.remove_empty(digest))
    }

    /// Publishes small content as a blob and replaces an existing file: the page cache may hold a page as
    /// clean that never reached the disk. On a full disk an intact file stays.
    pub(super) fn put_anew(
        &self,
        uploads: &Uploads,
        digest: &Digest,
        content: &[u8],
    ) -> Result<(), StoreError> {
        match self.put(uploads, digest, |mut file| file.write_all(content)) {
            Err(error) if error.is_full() && self.holds(digest, content)? => Ok(()),
            written => written,
        }
    }

    /// Publishes a new file with the content that `fill` writes.
    fn put(
        &self,
        uploads: &Uploads,
        digest: &Digest,
        fill: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let (path, file) = uploads.create()?;
        let stored = fill(&file)
            .map_err(|error| StoreError::io("write", &path, error))
            .and_then(|()| self.publish(&path, digest));
        if stored.is_err() {
            // The first error is the cause.
            let _ = fs::remove_file(&path);
        }
        stored
    }

    /// Publishes the file of a complete upload as a blob. It replaces an existing file, whose bytes may be
    /// damaged without a sign of it. Small content is journaled; for large content the caller syncs the name.
    /// Blocks.
    pub(super) fn commit(
        &self,
        upload: &OpenUpload,
        written: Written,
        digest: &Digest,
    ) -> Result<Stored, StoreError> {
        let Written { offset: size, digester, .. } = written;
        let (file, path) = (upload.file(size)?, upload.path());
        let actual = if digester.algorithm() == digest.algorithm() {
            digester.finish()
        } else {
            // The only second pass over content: the client began with one algorithm and ends with another.
            hash_again(file, size, Digester::new(digest.algorithm()))
                .map_err(|error| StoreError::io("read", path, error))?
        };
        if let Err(mismatch) = check_digest(digest, actual) {
            durable::remove(path)?;
            return Err(mismatch);
        }
        let journaled = if size <= SMALL {
            Some(read_whole(file, size).map_err(|error| StoreError::io("read", path, error))?)
        } else {
            None
        };
        // A broken attempt may have left bytes beyond the end.
        file.metadata()
            .and_then(|metadata| if metadata.len() == size { Ok(()) } else { file.set_len(size) })
            .and_then(|()| if journaled.is_some() { Ok(()) } else { file.sync_data() })
            .map_err(|error| StoreError::io("sync", path, error))?;
        self.publish(path, digest).map_err(|error| match path.try_exists() {
            Ok(false) => upload.lost(size, 0),
            _ => error,
        })?;
        Ok(Stored { size, journaled })
    }
}

fn read_whole(file: &File, size: u64) -> io::Result<Bytes> {
    let mut content = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut content, 0)?;
    Ok(content.into())
}

fn hash_again(file: &File, size: u64, mut digester: Digester) -> io::Result<Digest> {
    let mut buffer = vec![0; 256 << 10];
    let mut offset = 0;
    while offset < size {
        let wanted = usize::try_from(size - offset).unwrap_or(usize::MAX).min(buffer.len());
        file.read_exact_at(&mut buffer[..wanted], offset)?;
        digester.update(&buffer[..wanted]);
        offset += wanted as u64;
    }
    Ok(digester.finish())
}
