//! Uploads as files: one file for each upload until a rename makes it a blob.
//!
//! A writer writes at the offset of its upload, and so overwrites the bytes of a broken attempt. After a
//! broken connection a client comes back with a new request while the server may still process the old one.
//! Two writers must not write at a time, and an overtaken one must not write at all. So each upload has a
//! lock that every step takes, and opening an upload invalidates its earlier writers.
//!
//! Content is synced only at the end of an upload. It outlives the process but not a power failure; the
//! metadata drops the uploads that were saved before the machine started.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use oci::Digester;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::upload_reader::FileReader;
use crate::blobs::UploadReader;
use crate::blocking::blocking;
use crate::{StoreError, durable, permissions};

/// After this many bytes the kernel starts writeback, so that the sync at the end finds little left to do.
const WRITEBACK: u64 = 8 << 20;

type OpenUploads = Arc<Mutex<HashMap<Uuid, Weak<OpenUpload>>>>;
pub(in crate::blobs) type UploadLock = OwnedMutexGuard<()>;

/// The directory of the uploads, and the open ones.
pub(in crate::blobs) struct Uploads {
    directory: PathBuf,
    open: OpenUploads,
    /// Part of the names of files that belong to no upload.
    name: Uuid,
    puts: AtomicU64,
    /// Each open large upload holds a clone; the reference count is their number.
    large: Arc<()>,
    /// Whether the bytes stay on this disk. Otherwise they leave it before the kernel needs to write them.
    stays: bool,
}

/// An open upload: its lock, and its file, which stays open between writes.
pub(in crate::blobs) struct OpenUpload {
    id: Uuid,
    directory: PathBuf,
    path: PathBuf,
    file: OnceLock<File>,
    lock: Arc<tokio::sync::Mutex<()>>,
    overtaken: AtomicBool,
    open: OpenUploads,
    large: OnceLock<Arc<()>>,
    stays: bool,
    /// Held for reading by each transfer of saved bytes to an object store. A new writer waits for those of
    /// the writers before it.
    transfers: Arc<tokio::sync::RwLock<()>>,
}

/// The part of an upload that is in its file.
pub(in crate::blobs) struct Written {
    pub(in crate::blobs) offset: u64,
    /// The offset of the last save.
    pub(in crate::blobs) saved: u64,
    pub(in crate::blobs) digester: Digester,
}

impl Uploads {
    pub(in crate::blobs) fn new(directory: PathBuf) -> Self {
        let (open, name, puts) = (OpenUploads::default(), Uuid::new_v4(), AtomicU64::new(0));
        Self { directory, open, name, puts, large: Arc::default(), stays: true }
    }

    /// The directory of uploads that another store takes over.
    pub(in crate::blobs) fn spool(directory: PathBuf) -> Self {
        Self { stays: false, ..Self::new(directory) }
    }

    pub(in crate::blobs) fn remove_stale(&self, known: &HashSet<Uuid>) -> Result<usize, StoreError> {
        let mut removed = 0;
        for name in file_names(&self.directory)? {
            let id = name.to_str().and_then(|name| name.parse::<Uuid>().ok());
            if !id.is_some_and(|id| known.contains(&id)) {
                durable::remove(&self.directory.join(name))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Marks the upload as a large one, and returns whether there are others.
    pub(in crate::blobs) fn is_one_of_several_large(&self, upload: &OpenUpload) -> bool {
        upload.large.get_or_init(|| self.large.clone());
        Arc::strong_count(&self.large) > 2
    }

    /// Invalidates all writers of an upload, and waits for the step and the transfers in progress.
    pub(in crate::blobs) async fn lock_last(&self, id: Uuid) -> UploadLock {
        let upload = self.open(id);
        let lock = upload.lock.clone().lock_owned().await;
        upload.settle_transfers().await;
        lock
    }

    /// Opens an upload and invalidates its earlier writers.
    pub(in crate::blobs) fn open(&self, id: Uuid) -> Arc<OpenUpload> {
        let mut open = lock(&self.open);
        let before = open.get(&id).and_then(Weak::upgrade);
        if let Some(before) = &before {
            before.overtaken.store(true, Ordering::Release);
        }
        let upload = Arc::new(OpenUpload {
            id,
            directory: self.directory.clone(),
            path: self.path(id),
            file: OnceLock::new(),
            lock: before.as_ref().map(|before| before.lock.clone()).unwrap_or_default(),
            overtaken: AtomicBool::new(false),
            open: self.open.clone(),
            large: OnceLock::new(),
            stays: self.stays,
            transfers: before.as_ref().map(|before| before.transfers.clone()).unwrap_or_default(),
        });
        open.insert(id, Arc::downgrade(&upload));
        // Before `before` is dropped, which takes the lock.
        drop(open);
        upload
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.directory.join(id.as_hyphenated().to_string())
    }

    /// Opens the saved bytes of an upload for reading beside its writer.
    pub(in crate::blobs) async fn read(&self, id: Uuid) -> Result<Option<Box<dyn UploadReader>>, StoreError> {
        let path = self.path(id);
        blocking(move || Ok(FileReader::open(path)?.map(|reader| Box::new(reader) as Box<dyn UploadReader>)))
            .await
    }

    pub(in crate::blobs) fn remove(&self, id: Uuid) -> Result<(), StoreError> {
        durable::remove(&self.path(id))
    }

    /// Creates a file that belongs to no upload, so that no client can resume it.
    pub(in crate::blobs) fn create(&self) -> Result<(PathBuf, File), StoreError> {
        let number = self.puts.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("put-{}-{number}", self.name));
        let file = in_directory(&self.directory, || permissions::create_new(&path))?;
        Ok((path, file))
    }
}

impl OpenUpload {
    pub(in crate::blobs) fn id(&self) -> Uuid {
        self.id
    }

    pub(in crate::blobs) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the step in progress, and keeps others out until the lock is dropped.
    pub(in crate::blobs) async fn lock(&self) -> Result<UploadLock, StoreError> {
        let lock = self.lock.clone().lock_owned().await;
        if self.overtaken.load(Ordering::Acquire) {
            let source = io::Error::new(io::ErrorKind::ResourceBusy, "another request continues this upload");
            return Err(StoreError::io("write", &self.path, source));
        }
        Ok(lock)
    }

    /// The error of a write after a failed one.
    pub(in crate::blobs) fn has_failed(&self) -> StoreError {
        StoreError::io("write", &self.path, io::Error::other("an earlier write failed"))
    }

    /// Writes and hashes the next bytes. Blocks.
    pub(in crate::blobs) fn append(
        &self,
        mut written: Written,
        pieces: &[Bytes],
    ) -> Result<Written, StoreError> {
        let Written { offset, saved, .. } = written;
        let end = offset + pieces.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        if end == offset {
            return Ok(written);
        }
        let file = self.file(offset)?;
        write_at(file, pieces, offset).map_err(|error| {
            // Free the space of unsaved bytes on a full disk.
            let _ = file.set_len(saved);
            StoreError::io("write", &self.path, error)
        })?;
        let (first, last) = (offset / WRITEBACK * WRITEBACK, end / WRITEBACK * WRITEBACK);
        if last > first && self.stays {
            start_writeback(file, first, last - first);
        }
        for bytes in pieces {
            written.digester.update(bytes);
        }
        written.offset = end;
        Ok(written)
    }

    /// Waits for the transfers of earlier writers. The caller holds the lock.
    pub(in crate::blobs) async fn settle_transfers(&self) {
        drop(self.transfers.write().await);
    }

    /// Registers a transfer. The caller holds the lock.
    pub(in crate::blobs) async fn begin_transfer(&self) -> tokio::sync::OwnedRwLockReadGuard<()> {
        self.transfers.clone().read_owned().await
    }

    /// Reads written bytes. Blocks.
    pub(in crate::blobs) fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        let failed = |error| StoreError::io("read", &self.path, error);
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other).map_err(failed)?;
        let mut content = vec![0; length];
        self.file(range.end)?.read_exact_at(&mut content, range.start).map_err(failed)?;
        Ok(content.into())
    }

    /// Frees the space of bytes that are no longer needed. The length of the file stays. Blocks.
    pub(in crate::blobs) fn free(&self, range: Range<u64>) {
        if let (Some(file), false) = (self.file.get(), range.is_empty()) {
            let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            // Without holes, the space is free when the upload ends.
            let _ = rustix::fs::fallocate(file, flags, range.start, range.end - range.start);
        }
    }

    /// Makes the file anew, with `offset` bytes of which these are known. Blocks.
    pub(in crate::blobs) fn refill(&self, offset: u64, contents: &[(u64, Bytes)]) -> Result<(), StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(permissions::FILE);
        let file = in_directory(&self.directory, || options.open(&self.path))?;
        let written = file.set_len(offset).and_then(|()| {
            contents.iter().try_for_each(|(begin, content)| file.write_all_at(content, *begin))
        });
        if let Err(error) = written {
            let _ = durable::remove(&self.path);
            return Err(StoreError::io("write", &self.path, error));
        }
        // The caller has opened no file before.
        let _ = self.file.set(file);
        Ok(())
    }

    /// Whether the file has `offset` bytes. Blocks.
    pub(in crate::blobs) fn has(&self, offset: u64) -> bool {
        self.file(offset).is_ok()
    }

    /// Removes the file. Blocks.
    pub(in crate::blobs) fn remove(&self) -> Result<(), StoreError> {
        durable::remove(&self.path)
    }

    /// Returns the file of an upload of `offset` bytes.
    pub(in crate::blobs) fn file(&self, offset: u64) -> Result<&File, StoreError> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(offset == 0).mode(permissions::FILE);
        let file = if offset == 0 {
            in_directory(&self.directory, || options.open(&self.path))?
        } else {
            options.open(&self.path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => self.lost(offset, 0),
                _ => StoreError::io("open", &self.path, error),
            })?
        };
        let length = file.metadata().map_err(|error| StoreError::io("look at", &self.path, error))?.len();
        // Writing to a shorter file would leave a hole.
        if length < offset {
            return Err(self.lost(offset, length));
        }
        Ok(self.file.get_or_init(|| file))
    }

    pub(in crate::blobs) fn lost(&self, offset: u64, left: u64) -> StoreError {
        StoreError::UploadLost { id: self.id, offset, left }
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if open.get(&self.id).is_some_and(|current| std::ptr::eq(current.as_ptr(), self)) {
            open.remove(&self.id);
        }
    }
}

/// Creates a file in the uploads directory, and the directory if it was removed. Its entries need no sync: an
/// upload becomes durable as a blob.
fn in_directory(directory: &Path, make: impl Fn() -> io::Result<File>) -> Result<File, StoreError> {
    match make() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // If the directory above is missing too, the volume may not be mounted.
            match permissions::create_dir(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(StoreError::io("create", directory, error));
                }
                _ => {}
            }
            tracing::warn!(directory = %directory.display(), "created the uploads directory again: it had been removed");
            make()
        }
        made => made,
    }
    .map_err(|error| StoreError::io("create a file in", directory, error))
}

fn write_at(file: &File, pieces: &[Bytes], mut offset: u64) -> io::Result<()> {
    // The kernel takes at most 1024 slices (IOV_MAX).
    for chunk in pieces.chunks(1024) {
        let mut slices: Vec<IoSlice<'_>> = chunk.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match rustix::io::pwritev(file, rest, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Starts writeback of a range of the file without waiting for it. The sync at the end reports errors.
fn start_writeback(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else { return };
    // SAFETY: the descriptor is open, and the other arguments are numbers.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}

fn file_names(directory: &Path) -> Result<Vec<std::ffi::OsString>, StoreError> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .map_err(|error| StoreError::io("list", directory, error))
}

fn lock(open: &OpenUploads) -> MutexGuard<'_, HashMap<Uuid, Weak<OpenUpload>>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}
