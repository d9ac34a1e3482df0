//! Reading a blob: small ones into memory, large ones as a mapping of the file, whose bytes go to
//! the socket without a copy in this process.
//!
//! Two things must be minded with a mapping.
//!
//! A page that is not in memory blocks the thread that touches it until the disk has answered, and
//! that thread may serve hundreds of others. So the content is handed out in windows, and a window
//! is handed out when its pages are in memory: at once if they are, else after a thread for
//! blocking work has brought them in. A page that is dropped again in between costs one wait; no
//! more than that can happen.
//!
//! A page beyond the end of its file kills the process that touches it (SIGBUS). Blob files never
//! shrink: a blob is written under another name, and renamed when it is complete; after that it is
//! never written again, only unlinked, or replaced as a whole by another file, and neither takes
//! anything from those who have it mapped. Files are found by digest only, so that no other file
//! can be opened in this way. An operator who cuts a blob file short by hand while it is served
//! can still bring the process down. A disk that fails to deliver a page does not: the read-ahead
//! reports it as an error, and the kernel's copy to a socket does so, too.

use std::fs::File;
use std::future::Future;
use std::io::{self, IoSliceMut, Read};
use std::ops::Range;
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

/// Below this, reading costs less than mapping.
const MAPPED_FROM: u64 = 64 << 10;
/// How much is handed out at a time.
const WINDOW: usize = 1 << 20;
/// How far ahead of the window the disk is asked, once it had to be asked at all.
const AHEAD: usize = 4 << 20;

/// The content of a blob that was opened.
pub(crate) struct OpenFile {
    content: Bytes,
    mapped: Option<Mapped>,
    path: PathBuf,
}

/// A mapping, and who keeps it when it was read.
struct Mapped {
    mapping: Mapping,
    mappings: Arc<Mappings>,
}

impl Mapped {
    fn keep(self) {
        self.mappings.keep(self.mapping);
    }
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
        let file = rustix::fs::openat2(
            rustix::fs::CWD,
            path,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::CACHED,
        );
        let read = |file: &mut File, content: &mut Vec<u8>| {
            let size = content.capacity();
            content.resize(size, 0);
            let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(content)], 0, ReadWriteFlags::NOWAIT)?;
            // Less is read where less is in memory.
            if read + 1 != size {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            content.truncate(read);
            Ok(())
        };
        Self::of(file.ok()?.into(), path, digest, (mappings, deletions), read).ok()?
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
        let (content, mapped) = if found.len() >= MAPPED_FROM {
            let mapping = mappings.map(digest, &file, &found, deletions)?;
            (mapping.content().clone(), Some(Mapped { mapping, mappings: mappings.clone() }))
        } else {
            // A byte more, which shows where the end is.
            let mut content = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0) + 1);
            read(&mut file, &mut content)?;
            (content.into(), None)
        };
        Ok(Some(Self { content, mapped, path: path.to_owned() }))
    }

    /// Content that is in memory already; `path` is where its file will be.
    pub(super) fn small(content: Bytes, path: &Path) -> Self {
        Self { content, mapped: None, path: path.to_owned() }
    }

    /// The content, if it was read rather than mapped.
    pub(super) fn into_small(self) -> Option<Bytes> {
        self.mapped.is_none().then_some(self.content)
    }

    pub(super) fn size(&self) -> u64 {
        self.content.len() as u64
    }

    pub(crate) fn read(self, range: Range<u64>) -> Pieces {
        let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.content.len());
        let (begin, end) = (within(range.start), within(range.end));
        Pieces {
            rest: self.content.slice(begin.min(end)..end),
            mapped: self.mapped,
            loading: None,
            path: self.path,
        }
    }
}

/// The bytes of a blob, or of a part of it, in order. Dropping it frees all that it holds.
pub struct Pieces {
    /// What comes after the window that is being loaded, if one is.
    rest: Bytes,
    /// Until the end is reached; then it is kept for the next.
    mapped: Option<Mapped>,
    loading: Option<Loading>,
    path: PathBuf,
}

struct Loading {
    window: Bytes,
    task: JoinHandle<io::Result<()>>,
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pieces {
    /// How many bytes are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        let loading = self.loading.as_ref().map_or(0, |loading| loading.window.len());
        (loading + self.rest.len()) as u64
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(loading) = &mut this.loading {
            let loaded = ready!(Pin::new(&mut loading.task).poll(cx));
            let window = std::mem::take(&mut loading.window);
            this.loading = None;
            return Poll::Ready(Some(match loaded {
                Ok(Ok(())) => Ok(window),
                Ok(Err(error)) => Err(StoreError::io("read", &this.path, error)),
                Err(_) => Err(StoreError::Closed),
            }));
        }
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        if this.mapped.is_none() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut this.rest))));
        }
        let window = this.rest.split_to(this.rest.len().min(WINDOW));
        if this.rest.is_empty()
            && let Some(mapped) = this.mapped.take()
        {
            mapped.keep();
        }
        if in_memory(&window) {
            return Poll::Ready(Some(Ok(window)));
        }
        let (wanted, ahead) = (window.clone(), this.rest.slice(..this.rest.len().min(AHEAD)));
        let task = tokio::task::spawn_blocking(move || {
            ask_for(&ahead);
            load(&wanted)
        });
        this.loading = Some(Loading { window, task });
        self.poll_next(cx)
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
            // Linux before 5.14 does not know it.
            Some(libc::EINVAL) => {
                for page in part.chunks(4096) {
                    std::hint::black_box(page[0]);
                }
                return Ok(());
            }
            // That is how it tells what would have been a SIGBUS.
            Some(libc::EFAULT | libc::EHWPOISON) => {
                return Err(io::Error::other("the disk does not deliver it"));
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
