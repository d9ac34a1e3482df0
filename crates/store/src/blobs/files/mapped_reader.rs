//! Reading a blob: small ones into memory, large ones piece by piece.
//!
//! A large blob is read in one of two ways. By default each piece is copied out of the page cache with `pread`. For a
//! plain HTTP/1.1 connection, where nothing but the kernel looks at the bytes, windows of a mapping of the file go to the
//! socket without a copy in this process: 4 clients took 0.087 CPU seconds a GB (`wharfinger-bench --only blob-4`), where
//! zot and distribution, which copy, took 0.30 to 0.32.
//!
//! Two things must be minded with a mapping.
//!
//! A page that is not in memory blocks the thread that touches it until the disk has answered, and
//! that thread may serve hundreds of others. So a window is handed out when its pages are in memory: at once if they
//! are, else after a thread for blocking work has brought them in. A page that is dropped again in between costs one
//! wait; no more than that can happen.
//!
//! A page beyond the end of its file kills the process that touches it (SIGBUS). Blob files never shrink by what is done
//! here: a blob is renamed when it is complete, and later unlinked or replaced as a whole, which takes nothing from those
//! who have it mapped. But an operator, another program or a damaged disk may cut a file short while it is served. So no
//! code of this process touches a mapping: the kernel does, and answers `EFAULT`, on which the connection ends. The rest
//! of the last page reads as zeros then, hence the last bytes of a range always come from `pread`, which tells that the
//! file has ended: a client never gets its full length of a blob that was cut short.

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
use oci::Digest;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

use super::absent;
use super::mappings::{Mapping, Mappings};
use crate::StoreError;

/// Below this, a blob is read into memory as a whole.
const LARGE: u64 = 64 << 10;
/// How much is copied at a time.
const PIECE: u64 = 64 << 10;
/// How much of a mapping is handed out at a time.
const WINDOW: usize = 1 << 20;
/// How much of the end of a range is copied although the rest is mapped.
const TAIL: usize = 16 << 10;
/// How far ahead of the window the disk is asked, once it had to be asked at all.
const AHEAD: usize = 4 << 20;

/// The content of a blob that was opened.
pub(crate) struct OpenFile {
    content: Content,
    path: PathBuf,
}

enum Content {
    Small(Bytes),
    Large(Box<LargeFile>),
}

/// A large file, and where its mapping is found and kept.
struct LargeFile {
    digest: Digest,
    file: Arc<File>,
    found: Metadata,
    mappings: Arc<Mappings>,
    /// How often a blob had been deleted before the file was opened.
    deletions: u64,
}

impl OpenFile {
    /// Opens a blob; `None` if there is none. May block.
    pub(super) fn open(
        path: &Path,
        digest: &Digest,
        mappings: &Arc<Mappings>,
    ) -> Result<Option<Self>, StoreError> {
        let read = |file: &mut File, content: &mut Vec<u8>| file.read_to_end(content).map(drop);
        let deletions = mappings.deletions();
        let opened = match File::open(path) {
            Ok(file) => Self::of(file, path, digest, (mappings, deletions), read),
            Err(error) => absent(error),
        };
        opened.map_err(|error| StoreError::io("read", path, error))
    }

    /// Opens a blob without blocking, if the system has all that takes in memory: its name, and if
    /// it is small, its content. Most of what is asked for was asked for before, and handing such
    /// little work to another thread costs several times what it takes. `None` if it cannot be
    /// done in this way; then [`open`](Self::open) tells more.
    pub(super) fn open_from_memory(path: &Path, digest: &Digest, mappings: &Arc<Mappings>) -> Option<Self> {
        let deletions = mappings.deletions();
        let file = open_cached(path, OFlags::RDONLY)?;
        let read = |file: &mut File, content: &mut Vec<u8>| {
            let size = content.capacity();
            content.resize(size, 0);
            let read = read_cached(file, content, 0)?;
            // Less is read where less is in memory.
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
        let found = file.metadata()?;
        if !found.is_file() {
            return Ok(None);
        }
        let content = if found.len() >= LARGE {
            let (digest, mappings) = (*digest, mappings.clone());
            Content::Large(Box::new(LargeFile { digest, file: Arc::new(file), found, mappings, deletions }))
        } else {
            // A byte more, which shows where the end is.
            let mut content = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0) + 1);
            read(&mut file, &mut content)?;
            Content::Small(content.into())
        };
        Ok(Some(Self { content, path: path.to_owned() }))
    }

    /// Content that is in memory already; `path` is where its file will be.
    pub(super) fn small(content: Bytes, path: &Path) -> Self {
        Self { content: Content::Small(content), path: path.to_owned() }
    }

    /// The content, if it is small.
    pub(super) fn into_small(self) -> Option<Bytes> {
        match self.content {
            Content::Small(content) => Some(content),
            Content::Large(_) => None,
        }
    }

    pub(super) fn size(&self) -> u64 {
        match &self.content {
            Content::Small(content) => content.len() as u64,
            Content::Large(large) => large.found.len(),
        }
    }

    pub(crate) fn read(self, range: Range<u64>) -> BlobStream {
        let (begin, end) = (range.start.min(self.size()), range.end.min(self.size()));
        let rest = match self.content {
            Content::Small(content) => Rest::Memory(within(&content, begin, end)),
            Content::Large(large) => {
                Rest::File { file: large.file, at: begin, end: end.max(begin), mapping: None }
            }
        };
        BlobStream { rest, loading: None, path: self.path }
    }

    pub(crate) fn read_for_kernel(self, range: Range<u64>) -> BlobStream {
        let (begin, end) = (range.start.min(self.size()), range.end.min(self.size()));
        match self.content {
            Content::Large(large) if end.saturating_sub(begin) > TAIL as u64 => match large.map() {
                Ok(mapping) => {
                    let window = within(mapping.content(), begin, end);
                    let (file, mapping) = (large.file, Some((mapping, large.mappings)));
                    BlobStream {
                        rest: Rest::Mapping { window, file, at: begin, mapping },
                        loading: None,
                        path: self.path,
                    }
                }
                // Without room for a mapping, reading does as well.
                Err(_) => Self { content: Content::Large(large), path: self.path }.read(range),
            },
            content => Self { content, path: self.path }.read(range),
        }
    }
}

impl LargeFile {
    fn map(&self) -> io::Result<Mapping> {
        self.mappings.map(&self.digest, &self.file, &self.found, self.deletions)
    }
}

fn within(content: &Bytes, begin: u64, end: u64) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
    content.slice(at(begin).min(at(end))..at(end))
}

/// The size of a regular file, if the system has its name in memory.
pub(super) fn size_from_memory(path: &Path) -> Option<u64> {
    let found = open_cached(path, OFlags::PATH)?.metadata().ok()?;
    found.is_file().then_some(found.len())
}

/// Opens a file, if the system has its name in memory (Linux 5.12).
fn open_cached(path: &Path, flags: OFlags) -> Option<File> {
    let flags = flags | OFlags::CLOEXEC;
    rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)
        .ok()
        .map(File::from)
}

/// Reads as much as is in memory.
fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    Ok(rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT)?)
}

/// The bytes of a blob, or of a part of it, in order. Dropping it frees all that it holds.
pub struct BlobStream {
    /// What comes after the piece that is being loaded, if one is.
    rest: Rest,
    loading: Option<Loading>,
    path: PathBuf,
}

/// A mapping, and where it is kept for the next reader once it was read to its end.
type Kept = Option<(Mapping, Arc<Mappings>)>;

enum Rest {
    Memory(Bytes),
    /// Bytes to be copied.
    File {
        file: Arc<File>,
        at: u64,
        end: u64,
        mapping: Kept,
    },
    /// Bytes to be handed out as they are mapped. `at` is where `window` begins in the file.
    Mapping {
        window: Bytes,
        file: Arc<File>,
        at: u64,
        mapping: Kept,
    },
}

struct Loading {
    length: u64,
    task: JoinHandle<io::Result<Bytes>>,
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl BlobStream {
    /// How many bytes are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        let rest = match &self.rest {
            Rest::Memory(bytes) | Rest::Mapping { window: bytes, .. } => bytes.len() as u64,
            Rest::File { at, end, .. } => end - at,
        };
        self.loading.as_ref().map_or(0, |loading| loading.length) + rest
    }

    /// The next piece, or what is to be done for it on a thread that may block.
    fn next_piece(&mut self) -> Next {
        match &mut self.rest {
            Rest::Memory(bytes) => Next::Now(Ok(std::mem::take(bytes))),
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
                        Next::Load(wanted, Box::new(move || copy(&file, offset, wanted)))
                    }
                };
                if at == end
                    && let Some((mapping, mappings)) = mapping.take()
                {
                    mappings.keep(mapping);
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
                let length = window.len() as u64;
                let load = move || {
                    ask_for(&ahead);
                    load(&window).map(|()| window)
                };
                Next::Load(length, Box::new(load))
            }
        }
    }
}

enum Next {
    Now(io::Result<Bytes>),
    Load(u64, Box<dyn FnOnce() -> io::Result<Bytes> + Send>),
}

/// Copies a part of a file, as far as it is in memory; an error if nothing of it is.
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

/// Copies a part of a file. May block.
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

impl Stream for BlobStream {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let piece = if let Some(loading) = &mut this.loading {
            let loaded = ready!(Pin::new(&mut loading.task).poll(cx));
            this.loading = None;
            match loaded {
                Ok(piece) => piece,
                Err(_) => return Poll::Ready(Some(Err(StoreError::Closed))),
            }
        } else if this.remaining() == 0 {
            return Poll::Ready(None);
        } else {
            match this.next_piece() {
                Next::Now(piece) => piece,
                Next::Load(length, work) => {
                    this.loading = Some(Loading { length, task: tokio::task::spawn_blocking(work) });
                    return self.poll_next(cx);
                }
            }
        };
        Poll::Ready(Some(piece.map_err(|error| StoreError::io("read", &this.path, error))))
    }
}

/// The pages of a part of a mapping, as the system calls want them: begin and length.
fn pages(part: &[u8]) -> (*mut libc::c_void, usize) {
    let begin = part.as_ptr().addr() & !(rustix::param::page_size() - 1);
    let before = part.as_ptr().addr() - begin;
    (part.as_ptr().wrapping_sub(before).cast_mut().cast(), part.len() + before)
}

/// Whether all pages are in memory. Where that cannot be told, it is taken to be so.
fn in_memory(part: &[u8]) -> bool {
    let (begin, length) = pages(part);
    let mut resident = [0_u8; WINDOW / 4096 + 1];
    // SAFETY: the pages belong to a mapping that outlives the call, since `part` is borrowed from
    // it; there is a byte in `resident` for each of the pages, as a window has at most WINDOW
    // bytes, and no system has pages of less than 4096.
    let told = unsafe { libc::mincore(begin, length, resident.as_mut_ptr()) };
    let count = length.div_ceil(rustix::param::page_size());
    told != 0 || resident[..count].iter().all(|page| page & 1 == 1)
}

/// Brings the pages into memory, and waits for that.
fn load(part: &[u8]) -> io::Result<()> {
    let (begin, length) = pages(part);
    loop {
        // SAFETY: the pages belong to a mapping that outlives the call, since `part` is borrowed
        // from it. This advice changes no content.
        if unsafe { libc::madvise(begin, length, libc::MADV_POPULATE_READ) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            // Linux before 5.14 does not know it. A page that is missing then costs the kernel's write one wait.
            Some(libc::EINVAL) => {
                ask_for(part);
                return Ok(());
            }
            // That is how it tells what would have been a SIGBUS.
            Some(libc::EFAULT | libc::EHWPOISON) => {
                return Err(io::Error::other("the disk does not deliver it, or the file was cut short"));
            }
            _ => return Err(error),
        }
    }
}

/// Has the system begin to read the pages, without waiting. A hint: errors show when it is loaded.
fn ask_for(part: &[u8]) {
    if !part.is_empty() {
        let (begin, length) = pages(part);
        // SAFETY: as in `load`.
        unsafe { libc::madvise(begin, length, libc::MADV_WILLNEED) };
    }
}
