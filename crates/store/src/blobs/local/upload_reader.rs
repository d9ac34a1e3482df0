//! Reads an upload while it is written. The open file stays readable after it became a blob or was removed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::StoreError;
use crate::blobs::UploadReader;
use crate::blocking::blocking;

/// The open file of an upload.
pub(super) struct FileReader {
    file: Arc<File>,
    path: PathBuf,
}

impl FileReader {
    /// Opens the file of an upload. Blocks.
    pub(super) fn open(path: PathBuf) -> Result<Option<Self>, StoreError> {
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { file: Arc::new(file), path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("open", path, error)),
        }
    }
}

#[async_trait]
impl UploadReader for FileReader {
    async fn read_at(&self, offset: u64, limit: usize) -> Result<Bytes, StoreError> {
        let (file, path) = (self.file.clone(), self.path.clone());
        blocking(move || {
            let mut content = vec![0; limit];
            let mut filled = 0;
            while filled < limit {
                match file.read_at(&mut content[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(StoreError::io("read", path, error)),
                }
            }
            content.truncate(filled);
            Ok(content.into())
        })
        .await
    }
}
