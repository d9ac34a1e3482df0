//! Reads a blob: small ones into memory, large ones piece by piece or as a mapped file.
//!
//! By default each piece of a large blob is copied out of the page cache with `pread`. On a plain HTTP/1.1
//! connection only the kernel reads the bytes, so windows of a mapping go to the socket without a copy in
//! this process. 4 clients took 0.087 CPU seconds a GB (`wharfinger-bench --only blob-4`). zot and
//! distribution copy, and took 0.30 to 0.32.
//!
//! A mapping has two dangers:
//!
//! - A page that is not in memory blocks the thread that touches it, and that thread may serve hundreds of
//!   connections. So a window is returned once its pages are in memory. A thread for blocking work loads
//!   missing ones. A page that is evicted in between costs one wait.
//! - A page beyond the end of its file kills the process that touches it (SIGBUS). This process never shrinks
//!   a blob file: it renames complete files, and later unlinks or replaces them. But an operator, another
//!   program or a damaged disk may cut a file short. So no code of this process touches a mapping: the kernel
//!   does, answers `EFAULT`, and the connection ends. The rest of the last page then reads as zeros, hence
//!   the last bytes of a range always come from `pread`, which reports the end of the file. A client never
//!   gets the full length of a truncated blob.

use std::fs::{File, Metadata};
use std::future::Future;
use std::io::{self, IoSliceMut, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use oci::Digest;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

use super::absent;
use super::mappings::{Mapping, Mappings};
use crate::blobs::{Blob, OpenBlob};
use crate::{StoreError, regular_file};

/// Smaller blobs are read into memory as a whole.
const LARGE: u64 = 64 << 10;
/// Bytes to copy at a time.
const PIECE: u64 = 64 << 10;
/// Bytes of a mapping to return at a time.
const WINDOW: usize = 1 << 20;
/// Bytes at the end of a range that are copied although the rest is mapped.
const TAIL: usize = 16 << 10;
/// Readahead in bytes, once a page had to come from the disk.
const AHEAD: usize = 4 << 20;

/// An opened blob.
pub(in crate::blobs) enum OpenFile {
    Small(Bytes),
    Large(Box<LargeFile>),
}

pub(in crate::blobs) struct LargeFile {
    digest: Digest,
    file: Arc<File>,
    path: PathBuf,
    metadata: Metadata,
    mappings: Arc<Mappings>,
    /// The number of deletions before the file was opened; see [`Mappings::deletions`].
    deletions: u64,
}

impl OpenFile {
    /// Opens a blob; `None` if it does not exist. Blocks.
    pub(in crate::blobs) fn open(
        path: &Path,
        digest: &Digest,
        mappings: &Arc<Mappings>,
    ) -> Result<Option<Self>, StoreError> {
        let deletions = mappings.deletions();
        let opened = match regular_file::open(path) {
            Ok(Some(file)) => Self::of_open(file, path, digest, (mappings, deletions)),
            Ok(None) => Ok(None),
            Err(error) => absent(error),
        };
        opened.map_err(|error| StoreError::io("read", path, error))
    }

    /// Takes an open file, and the number of deletions before it was opened. Blocks.
    pub(in crate::blobs) fn of_open(
        file: File,
        path: &Path,
        digest: &Digest,
        deletions: (&Arc<Mappings>, u64),
    ) -> io::Result<Option<Self>> {
        Self::of(file, path, digest, deletions, |file, content| file.read_to_end(content).map(drop))
    }

    /// Opens a blob without blocking, if the kernel has its name and, for a small blob, its content in
    /// memory. Handing such little work to another thread costs several times as much. After `None`,
    /// call [`open`](Self::open).
    pub(in crate::blobs) fn open_from_memory(
        path: &Path,
        digest: &Digest,
        mappings: &Arc<Mappings>,
    ) -> Option<Self> {
        let deletions = mappings.deletions();
        let file = open_cached(path)?;
        let read = |file: &mut File, content: &mut Vec<u8>| {
            let size = content.capacity();
            content.resize(size, 0);
            let read = read_cached(file, content, 0)?;
            // A short read: the rest is not in memory.
            if read + 1 != size {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            content.truncate(read);
            Ok(())
        };
        Self::of(file, path, digest, (mappings, deletions), read).ok()?
    }

    fn of(
        mut file: File,
        path: &Path,
        digest: &Digest,
        (mappings, deletions): (&Arc<Mappings>, u64),
        read: impl FnOnce(&mut File, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<Option<Self>> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        if metadata.len() < LARGE {
            // One byte more, which shows the end of the file.
            let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
            read(&mut file, &mut content)?;
            return Ok(Some(Self::Small(content.into())));
        }
        let (digest, path, mappings) = (*digest, path.to_owned(), mappings.clone());
        Ok(Some(Self::Large(Box::new(LargeFile {
            digest,
            file: Arc::new(file),
            path,
            metadata,
            mappings,
            deletions,
        }))))
    }

    pub(in crate::blobs) fn into_blob(self) -> Blob {
        match self {
            Self::Small(content) => Blob::in_memory(content),
            Self::Large(large) => Blob::new(large.metadata.len(), large),
        }
    }
}

impl OpenBlob for LargeFile {
    fn read(self: Box<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let rest = Rest::File { file: self.file, at: range.start, end: range.end, mapping: None };
        Box::pin(FileStream { rest, loading: None, path: self.path })
    }

    fn read_for_kernel(self: Box<Self>, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        if range.end - range.start <= TAIL as u64 {
            return self.read(range);
        }
        // Without memory for a mapping, copy.
        let Ok(mapping) = self.map() else { return self.read(range) };
        let window = slice(mapping.content(), range.start, range.end);
        let (file, mapping) = (self.file, Some((mapping, self.mappings)));
        let rest = Rest::Mapping { window, file, at: range.start, mapping };
        Box::pin(FileStream { rest, loading: None, path: self.path })
    }
}

impl LargeFile {
    fn map(&self) -> io::Result<Mapping> {
        self.mappings.map(&self.digest, &self.file, &self.metadata, self.deletions)
    }
}

fn slice(content: &Bytes, begin: u64, end: u64) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
    content.slice(at(begin).min(at(end))..at(end))
}

/// Returns the size of a regular file that can be read, if the kernel has its name in memory.
pub(in crate::blobs) fn size_from_memory(path: &Path) -> Option<u64> {
    let metadata = open_cached(path)?.metadata().ok()?;
    metadata.is_file().then_some(metadata.len())
}

/// Opens a file for reading, if the kernel has its name in memory (Linux 5.12). Does not wait for the writer
/// of a FIFO.
fn open_cached(path: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)
        .ok()
        .map(File::from)
}

/// Reads the part that is in memory.
fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    Ok(rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT)?)
}

/// The bytes of a range of a large blob, in order.
struct FileStream {
    /// The bytes after the piece that `loading` loads.
    rest: Rest,
    loading: Option<Loading>,
    path: PathBuf,
}

/// A mapping, and the cache that keeps it once it was read to its end.
type Cacheable = Option<(Mapping, Arc<Mappings>)>;

enum Rest {
    /// Bytes to copy.
    File { file: Arc<File>, at: u64, end: u64, mapping: Cacheable },
    /// Bytes to return as mapped. `at` is the offset of `window` in the file.
    Mapping { window: Bytes, file: Arc<File>, at: u64, mapping: Cacheable },
}

struct Loading(JoinHandle<io::Result<Bytes>>);

impl Drop for Loading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl FileStream {
    fn is_at_end(&self) -> bool {
        match &self.rest {
            Rest::Mapping { window, .. } => window.is_empty(),
            Rest::File { at, end, .. } => at >= end,
        }
    }

    /// Returns the next piece, or the blocking work that loads it.
    fn next_piece(&mut self) -> Next {
        match &mut self.rest {
            Rest::File { file, at, end, mapping } => {
                let wanted = (*end - *at).min(PIECE);
                let next = match copy_cached(file, *at, wanted) {
                    Ok(copied) => {
                        *at += copied.len() as u64;
                        Next::Now(Ok(copied))
                    }
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Next::Now(Err(error)),
                    Err(_) => {
                        let (file, offset) = (file.clone(), *at);
                        *at += wanted;
                        Next::Load(Box::new(move || copy(&file, offset, wanted)))
                    }
                };
                if at == end
                    && let Some((mapping, mappings)) = mapping.take()
                {
                    mappings.insert(mapping);
                }
                next
            }
            Rest::Mapping { window: rest, file, at, mapping } => {
                let window = rest.split_to((rest.len() - TAIL).min(WINDOW));
                *at += window.len() as u64;
                let ahead = rest.slice(..rest.len().min(AHEAD));
                if rest.len() <= TAIL {
                    let (file, at, mapping) = (file.clone(), *at, mapping.take());
                    self.rest = Rest::File { file, at, end: at + rest.len() as u64, mapping };
                }
                if in_memory(&window) {
                    return Next::Now(Ok(window));
                }
                let load = move || {
                    read_ahead(&ahead);
                    load(&window).map(|()| window)
                };
                Next::Load(Box::new(load))
            }
        }
    }
}

enum Next {
    Now(io::Result<Bytes>),
    Load(Box<dyn FnOnce() -> io::Result<Bytes> + Send>),
}

/// Copies the part of a range that is in memory; an error if that is nothing.
fn copy_cached(file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    match read_cached(file, &mut buffer, offset)? {
        0 => Err(cut_short()),
        read => {
            buffer.truncate(read);
            Ok(buffer.into())
        }
    }
}

/// Copies a range of a file. Blocks.
fn copy(file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut buffer, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => cut_short(),
        _ => error,
    })?;
    Ok(buffer.into())
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut short while it was read")
}

impl Stream for FileStream {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let piece = if let Some(loading) = &mut this.loading {
            let loaded = ready!(Pin::new(&mut loading.0).poll(cx));
            this.loading = None;
            match loaded {
                Ok(piece) => piece,
                Err(_) => return Poll::Ready(Some(Err(StoreError::Closed))),
            }
        } else if this.is_at_end() {
            return Poll::Ready(None);
        } else {
            match this.next_piece() {
                Next::Now(piece) => piece,
                Next::Load(work) => {
                    this.loading = Some(Loading(tokio::task::spawn_blocking(work)));
                    return self.poll_next(cx);
                }
            }
        };
        Poll::Ready(Some(piece.map_err(|error| StoreError::io("read", &this.path, error))))
    }
}

/// Returns the begin and length of the pages of a part of a mapping, as the system calls want them.
fn pages(part: &[u8]) -> (*mut libc::c_void, usize) {
    let begin = part.as_ptr().addr() & !(rustix::param::page_size() - 1);
    let before = part.as_ptr().addr() - begin;
    (part.as_ptr().wrapping_sub(before).cast_mut().cast(), part.len() + before)
}

/// Returns whether all pages are in memory, also if the kernel cannot tell.
fn in_memory(part: &[u8]) -> bool {
    let (begin, length) = pages(part);
    let mut resident = [0_u8; WINDOW / 4096 + 1];
    // SAFETY: the pages belong to a mapping that outlives the call, since `part` is borrowed from it.
    // `resident` has a byte for each page: a window has at most WINDOW bytes, and a page has at least 4096.
    let failed = unsafe { libc::mincore(begin, length, resident.as_mut_ptr()) };
    let count = length.div_ceil(rustix::param::page_size());
    failed != 0 || resident[..count].iter().all(|page| page & 1 == 1)
}

/// Loads the pages into memory. Blocks.
fn load(part: &[u8]) -> io::Result<()> {
    let (begin, length) = pages(part);
    loop {
        // SAFETY: the pages belong to a mapping that outlives the call, since `part` is borrowed from it.
        // This advice changes no content.
        if unsafe { libc::madvise(begin, length, libc::MADV_POPULATE_READ) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            // Linux before 5.14 lacks this advice. A missing page then blocks the write to the socket once.
            Some(libc::EINVAL) => {
                read_ahead(part);
                return Ok(());
            }
            // Instead of a SIGBUS.
            Some(libc::EFAULT | libc::EHWPOISON) => {
                return Err(io::Error::other("the disk failed to read it, or the file was cut short"));
            }
            _ => return Err(error),
        }
    }
}

/// Starts reading the pages without waiting. `load` reports errors.
fn read_ahead(part: &[u8]) {
    if !part.is_empty() {
        let (begin, length) = pages(part);
        // SAFETY: as in `load`.
        unsafe { libc::madvise(begin, length, libc::MADV_WILLNEED) };
    }
}
