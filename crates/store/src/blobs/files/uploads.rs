//! Uploads as files: content on its way in, one file each until it is a blob.
//!
//! What is small at its end never needs one. So an upload has its first bytes in memory, until it is
//! too large for that or must outlive the process.
//!
//! Who has an upload in hand writes to its file at the place where the upload stands, so that what
//! a torn attempt left there is overwritten. For that, no two may write at a time, and one that
//! was overtaken must not write at all: a client whose connection broke comes back with a new
//! request while the server may still be at work on the old one. So each upload has a turn that is
//! taken for every step, and whoever takes up an upload shuts out all who had it before.
//!
//! What an upload took in is synced at its end only. It outlives the process, but not a failure of
//! power: the metadata forgets the uploads that were written down before the machine was started.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use oci::{Digest, Digester};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::check;
use super::layout::{Layout, SMALL};
use crate::blobs::{Stored, Upload};
use crate::{StoreError, permissions};

/// After each stretch of this size the system is told to begin writing it out, so that the sync at
/// the end finds little left to do.
const STRETCH: u64 = 8 << 20;

type OpenUploads = Arc<Mutex<HashMap<Uuid, Weak<OpenUpload>>>>;
type UploadLock = OwnedMutexGuard<()>;

/// The directory of the uploads, and those that are in someone's hands.
pub(super) struct Uploads {
    directory: PathBuf,
    sessions: OpenUploads,
    /// Names the files that are no uploads', together with their number.
    name: Uuid,
    puts: AtomicU64,
    /// Held once more by each large upload that is in someone's hands.
    large: Arc<()>,
}

/// An upload in someone's hands: its file, kept open from one piece to the next.
pub(crate) struct OpenUpload {
    id: Uuid,
    directory: PathBuf,
    path: PathBuf,
    file: OnceLock<File>,
    turn: Arc<tokio::sync::Mutex<()>>,
    overtaken: AtomicBool,
    sessions: OpenUploads,
    large: OnceLock<Arc<()>>,
}

impl Uploads {
    pub(super) fn new(directory: PathBuf) -> Self {
        let (sessions, name, puts) = (OpenUploads::default(), Uuid::new_v4(), AtomicU64::new(0));
        Self { directory, sessions, name, puts, large: Arc::default() }
    }

    pub(super) fn remove_stale(&self, known: &HashSet<Uuid>) -> Result<usize, StoreError> {
        let mut removed = 0;
        for name in names(&self.directory)? {
            let id = name.to_str().and_then(|name| name.parse::<Uuid>().ok());
            if !id.is_some_and(|id| known.contains(&id)) {
                remove(&self.directory.join(name))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Waits until whoever is at work on the upload has ended its step, and keeps others out until
    /// the turn is dropped.
    pub(super) async fn turn(&self, mut upload: Upload) -> Result<(Upload, UploadLock), StoreError> {
        let session = upload.session.get_or_insert_with(|| self.take_up(upload.id));
        let turn = session.turn.clone().lock_owned().await;
        if session.overtaken.load(Ordering::Acquire) {
            let source =
                io::Error::new(io::ErrorKind::ResourceBusy, "another request goes on with this upload");
            return Err(StoreError::io("write", &session.path, source));
        }
        Ok((upload, turn))
    }

    /// Takes down that the upload is a large one, and says whether there are others.
    pub(super) fn is_one_of_several_large(&self, upload: &Upload) -> bool {
        let Some(session) = &upload.session else { return false };
        session.large.get_or_init(|| self.large.clone());
        Arc::strong_count(&self.large) > 2
    }

    /// A turn after which nobody who has the upload in hand gets another.
    pub(super) async fn last_turn(&self, id: Uuid) -> UploadLock {
        self.take_up(id).turn.clone().lock_owned().await
    }

    fn take_up(&self, id: Uuid) -> Arc<OpenUpload> {
        let mut sessions = lock(&self.sessions);
        let before = sessions.get(&id).and_then(Weak::upgrade);
        if let Some(before) = &before {
            before.overtaken.store(true, Ordering::Release);
        }
        let session = Arc::new(OpenUpload {
            id,
            directory: self.directory.clone(),
            path: self.path(id),
            file: OnceLock::new(),
            turn: before.as_ref().map(|before| before.turn.clone()).unwrap_or_default(),
            overtaken: AtomicBool::new(false),
            sessions: self.sessions.clone(),
            large: OnceLock::new(),
        });
        sessions.insert(id, Arc::downgrade(&session));
        // Ahead of `before`: if that is the last of its kind, dropping it takes the lock.
        drop(sessions);
        session
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.directory.join(id.as_hyphenated().to_string())
    }

    pub(super) fn abort(&self, id: Uuid) -> Result<(), StoreError> {
        remove(&self.path(id))
    }

    /// Puts the file of an upload in its place as a blob, and replaces a file that is there: that one may be
    /// damaged without showing it. Small content stays unsettled; else the name is still to be synced.
    pub(super) fn commit(
        &self,
        upload: Upload,
        installer: &Layout,
        digest: &Digest,
    ) -> Result<Stored, StoreError> {
        let Upload { offset: size, digester, session, .. } = upload;
        let session = session.ok_or(StoreError::Closed)?;
        let file = session.file(size)?;
        let path = &session.path;
        let actual = if digester.algorithm() == digest.algorithm() {
            digester.finish()
        } else {
            // The only second pass over content: the client began with one algorithm and names a
            // digest of another.
            hash_again(file, size, Digester::new(digest.algorithm()))
                .map_err(|error| StoreError::io("read", path, error))?
        };
        if let Err(mismatch) = check(digest, actual) {
            remove(path)?;
            return Err(mismatch);
        }
        let journaled = if size <= SMALL {
            Some(read_whole(file, size).map_err(|error| StoreError::io("read", path, error))?)
        } else {
            None
        };
        // Beyond the end may be what a torn attempt left.
        file.metadata()
            .and_then(|found| if found.len() == size { Ok(()) } else { file.set_len(size) })
            .and_then(|()| if journaled.is_some() { Ok(()) } else { file.sync_data() })
            .map_err(|error| StoreError::io("sync", path, error))?;
        installer.install(path, digest).map_err(|error| match path.try_exists() {
            Ok(false) => session.lost(size, 0),
            _ => error,
        })?;
        Ok(Stored { size, journaled })
    }

    /// Puts large content in its place as a blob; its name is still to be synced.
    pub(super) fn put_synced(
        &self,
        installer: &Layout,
        digest: &Digest,
        content: &[u8],
    ) -> Result<(), StoreError> {
        self.write(installer, digest, |mut file| {
            file.write_all(content)?;
            file.sync_data()
        })
    }

    /// Puts small content in its place, unless it is there.
    pub(super) fn put_unless_held(
        &self,
        installer: &Layout,
        digest: &Digest,
        content: &[u8],
    ) -> Result<(), StoreError> {
        // The directory first, which is nearly always new, and then there is nothing to look at.
        if !installer.make(digest)? && installer.holds(digest, content)? {
            return Ok(());
        }
        self.write(installer, digest, |mut file| file.write_all(content))
            .inspect_err(|_| installer.leave_nothing(digest))
    }

    /// Puts small content in its place anew, whatever is there: the system may hold that for clean
    /// which the disk never took. Without room for it, what is there may do.
    pub(super) fn put_anew(
        &self,
        installer: &Layout,
        digest: &Digest,
        content: &[u8],
    ) -> Result<(), StoreError> {
        match self.write(installer, digest, |mut file| file.write_all(content)) {
            Err(error) if error.is_full() && installer.holds(digest, content)? => Ok(()),
            written => written,
        }
    }

    /// Puts the file that `fill` fills in its place as a blob.
    fn write(
        &self,
        installer: &Layout,
        digest: &Digest,
        fill: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        // A name that is no upload's, so that nobody can go on with it.
        let number = self.puts.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("put-{}-{number}", self.name));
        let stored = in_directory(&self.directory, || permissions::create_new(&path))?;
        let stored = fill(&stored)
            .map_err(|error| StoreError::io("write", &path, error))
            .and_then(|()| installer.install(&path, digest));
        if stored.is_err() {
            // The first error is the one that tells.
            let _ = fs::remove_file(&path);
        }
        stored
    }
}

impl OpenUpload {
    /// The file of an upload that stands at `offset`.
    fn file(&self, offset: u64) -> Result<&File, StoreError> {
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
        // A file that is too short would get a hole where content should be.
        if length < offset {
            return Err(self.lost(offset, length));
        }
        Ok(self.file.get_or_init(|| file))
    }

    /// Writes the bytes that follow on the first `offset` ones.
    fn write(&self, file: &File, piece: &[Bytes], offset: u64) -> Result<(), StoreError> {
        write_at(file, piece, offset).map_err(|error| {
            // On a full disk, what does not count should not take up room.
            let _ = file.set_len(offset);
            StoreError::io("write", &self.path, error)
        })
    }

    fn lost(&self, offset: u64, left: u64) -> StoreError {
        StoreError::UploadLost { id: self.id, offset, left }
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        let mut sessions = lock(&self.sessions);
        if sessions.get(&self.id).is_some_and(|current| std::ptr::eq(current.as_ptr(), self)) {
            sessions.remove(&self.id);
        }
    }
}

impl std::fmt::Debug for OpenUpload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Upload {
    /// Takes the next bytes into memory, and hashes them, if it is small with them; else gives them
    /// back, to be written.
    pub(super) fn take_in(&mut self, piece: Vec<Bytes>) -> Option<Vec<Bytes>> {
        let end = self.offset + length_of(&piece);
        match &mut self.unwritten {
            Some(unwritten) if end <= SMALL => {
                piece.iter().for_each(|bytes| self.digester.update(bytes));
                unwritten.extend(piece);
                self.offset = end;
                None
            }
            _ => Some(piece),
        }
    }
}

fn length_of(piece: &[Bytes]) -> u64 {
    piece.iter().map(|bytes| bytes.len() as u64).sum()
}

/// Writes what of an upload is in memory alone.
pub(super) fn write_out(mut upload: Upload) -> Result<Upload, StoreError> {
    let Some(session) = upload.session.clone() else { return Err(StoreError::Closed) };
    if let Some(unwritten) = upload.unwritten.take()
        && !unwritten.is_empty()
    {
        session.write(session.file(0)?, &unwritten, 0)?;
    }
    Ok(upload)
}

/// Takes in the next bytes of an upload: writes and hashes them.
pub(super) fn append(upload: Upload, piece: &[Bytes]) -> Result<Upload, StoreError> {
    let mut upload = write_out(upload)?;
    let end = upload.offset + length_of(piece);
    let Some(session) = &upload.session else { return Err(StoreError::Closed) };
    let file = session.file(upload.offset)?;
    session.write(file, piece, upload.offset)?;
    let (first, last) = (upload.offset / STRETCH * STRETCH, end / STRETCH * STRETCH);
    if last > first {
        begin_to_sync(file, first, last - first);
    }
    for bytes in piece {
        upload.digester.update(bytes);
    }
    upload.offset = end;
    Ok(upload)
}

/// Makes a file in the directory of the uploads, and that directory again if somebody has removed it. Its entries need
/// no sync: an upload is durable when it has become a blob.
fn in_directory(directory: &Path, make: impl Fn() -> io::Result<File>) -> Result<File, StoreError> {
    match make() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Only this directory: without the one above it, the volume may not be mounted.
            match permissions::create_dir(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(StoreError::io("make again", directory, error));
                }
                _ => {}
            }
            tracing::warn!(directory = %directory.display(), "the directory of the uploads was gone; made it again");
            make()
        }
        made => made,
    }
    .map_err(|error| StoreError::io("make a file in", directory, error))
}

fn write_at(file: &File, piece: &[Bytes], mut offset: u64) -> io::Result<()> {
    // The system takes 1024 at once at most.
    for some in piece.chunks(1024) {
        let mut slices: Vec<IoSlice<'_>> = some.iter().map(|bytes| IoSlice::new(bytes)).collect();
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

/// Has the system begin to write that part of the file, without waiting. A hint: errors show at
/// the sync.
fn begin_to_sync(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else { return };
    // SAFETY: the call takes a descriptor, which is open, and numbers.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
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

fn names(directory: &Path) -> Result<Vec<std::ffi::OsString>, StoreError> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .map_err(|error| StoreError::io("list", directory, error))
}

/// Removes a file of the uploads, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
        _ => Ok(()),
    }
}

fn lock(sessions: &OpenUploads) -> MutexGuard<'_, HashMap<Uuid, Weak<OpenUpload>>> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}
