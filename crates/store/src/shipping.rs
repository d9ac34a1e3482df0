//! Shipping: an SQLite database in the bucket of the blobs, from which an empty machine goes on.
//!
//! A snapshot is shipped at the start, and again when the changes since then are large. Between two
//! snapshots, the pages that commits have changed are shipped ([`segment`]): at an interval, or before the
//! operations of a commit are answered. So the loss of a machine costs the changes of a bounded time. A
//! snapshot is made while commits go on. The changes since its beginning are applied to it, and all of them
//! are stored before it counts.
//!
//! The lease of the bucket keeps a second server out. A snapshot names the data directory that made it: a
//! directory whose database was continued elsewhere is refused, because both would be the truth.

pub(crate) mod segment;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use oci::{Algorithm, Digest, Digester};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::blobs::{Claim, LogRange, Snapshot, Snapshots};
use crate::blocking::{Priority, blocking, blocking_at};
use crate::metadata::{LogPages, LogSink, RestoredDatabase};
use crate::{BlobStore, Directory, Metadata, StoreError, durable};

/// The files of a snapshot on its way.
const PLAIN: &str = "shipped.db";
const COMPRESSED: &str = "shipped.db.gz";
/// The file with the name of the snapshot from which a restored directory goes on, until it ships itself.
const RESTORED: &str = "shipped.restored";
/// The bytes that are read at a time.
const CHUNK: usize = 256 << 10;
/// The bytes of changed pages in memory. A snapshot replaces more.
const BUFFER: u64 = 32 << 20;
/// The objects with changes after which a snapshot is made, so that a restoration ends soon.
const SEGMENTS: u64 = 2000;
/// The bytes of changed pages after which a snapshot is made, if that is more than the database has.
const LEAST_CHANGES: u64 = 64 << 20;
/// The age of a checked lease before which changes may be stored.
const LEASE_CHECKED: Duration = Duration::from_secs(10);
/// The age of a checked lease up to which no other server can have taken it.
const LEASE_HELD: Duration = Duration::from_secs(25);
/// The time for which a commit waits for the store.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Ships the database of a data directory.
#[derive(Clone)]
pub struct Shipping {
    inner: Arc<Inner>,
}

struct Inner {
    snapshots: Snapshots,
    directory: Directory,
    blobs: Arc<dyn BlobStore>,
    /// Whether commits wait until they are stored.
    waits: bool,
    runtime: Handle,
    session: String,
    changes: Mutex<Changes>,
    /// Held while changes are stored, so that they keep their order.
    turn: tokio::sync::Mutex<Turn>,
    /// Whether there is a snapshot to which changes can be applied.
    has_snapshot: AtomicBool,
}

/// The changes that are not stored yet.
#[derive(Default)]
struct Changes {
    pages: LogPages,
    /// Pages are missing, so that only a snapshot helps.
    is_broken: bool,
    /// That snapshot is on its way.
    is_recovering: bool,
}

struct Turn {
    /// The number of the next changes.
    next: u64,
    /// The number of the first changes after the snapshot.
    first: u64,
    /// The bytes of changed pages since the snapshot.
    bytes: u64,
    /// When the lease was last checked.
    checked: Option<Instant>,
}

impl Shipping {
    /// Prepares to ship. Each commit waits for the store if the interval is zero. Sends no request. Called on
    /// a runtime.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the blobs are not in a bucket, or the metadata are in PostgreSQL.
    pub fn open(
        directory: &Directory,
        blobs: Arc<dyn BlobStore>,
        interval: Duration,
    ) -> Result<Self, StoreError> {
        let (Some(settings), None) = (directory.objects(), directory.database()) else {
            return Err(StoreError::Directory(
                "blobs.ship_metadata needs blobs.url, and metadata in a file: remove it, or metadata.url"
                    .to_owned(),
            ));
        };
        let turn = Turn { next: 0, first: 0, bytes: 0, checked: None };
        let inner = Inner {
            snapshots: Snapshots::open(settings)?,
            directory: directory.clone(),
            blobs,
            waits: interval.is_zero(),
            runtime: Handle::current(),
            session: Uuid::new_v4().to_string(),
            changes: Mutex::default(),
            turn: tokio::sync::Mutex::new(turn),
            has_snapshot: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Ships a snapshot, and from then on changes. The caller has the lease of the bucket.
    ///
    /// # Errors
    /// The errors of the bucket and of the disk.
    pub async fn begin(&self, metadata: &Metadata) -> Result<(), StoreError> {
        metadata.capture_log(self.inner.clone());
        self.snapshot(metadata).await
    }

    /// Ships the changes since the last call, or a snapshot if they are many.
    ///
    /// # Errors
    /// The errors of the bucket and of the disk. The shipped state is then still complete.
    pub async fn ship(&self, metadata: &Metadata) -> Result<(), StoreError> {
        let needs_snapshot = {
            let turn = self.inner.turn.lock().await;
            let size = fs::metadata(self.inner.directory.metadata()).map_or(0, |file| file.len());
            turn.next - turn.first > SEGMENTS || turn.bytes > size.max(LEAST_CHANGES)
        };
        if needs_snapshot || self.inner.changes().is_broken {
            return self.snapshot(metadata).await;
        }
        self.inner.store_changes().await
    }

    async fn snapshot(&self, metadata: &Metadata) -> Result<(), StoreError> {
        let inner = &self.inner;
        let (first, bytes) = {
            let mut turn = inner.turn.lock().await;
            let mut changes = inner.changes();
            if std::mem::take(&mut changes.is_broken) {
                // The gap ends a restoration from the older snapshot. Commits from here on belong to the new
                // one.
                turn.next += 1;
                changes.is_recovering = true;
            }
            (turn.next, turn.bytes)
        };
        let shipped = self.snapshot_from(metadata, first).await;
        let mut turn = inner.turn.lock().await;
        let mut changes = inner.changes();
        let is_recovering = std::mem::take(&mut changes.is_recovering);
        match &shipped {
            Ok(()) => {
                turn.first = first;
                turn.bytes -= bytes;
                inner.has_snapshot.store(true, Ordering::Release);
            }
            // Otherwise the older snapshot has all of its changes.
            Err(_) => changes.is_broken |= is_recovering,
        }
        shipped
    }

    async fn snapshot_from(&self, metadata: &Metadata, first: u64) -> Result<(), StoreError> {
        let inner = &self.inner;
        let own = inner.directory.own();
        let (plain, compressed) = (own.join(PLAIN), own.join(COMPRESSED));
        durable::remove(&plain)?;
        metadata.snapshot(&plain).await?;
        // Commits that the snapshot has are captured from here on.
        metadata.await_capture().await;
        let target = compressed.clone();
        let (digest, bytes) = blocking_at(Priority::Low, move || {
            let written = compress(&plain, &target);
            durable::remove(&plain)?;
            written
        })
        .await?;
        let name = format!("{}.db.gz", Uuid::new_v4());
        let directory = own_id(&inner.directory)?
            .ok_or_else(|| StoreError::Damaged("the data directory has no id".to_owned()))?;
        inner.snapshots.put(&name, compressed.clone()).await?;
        // The snapshot may have a part of changes that are not stored yet.
        inner.store_changes().await?;
        let turn = inner.turn.lock().await;
        if inner.changes().is_broken {
            return Err(StoreError::Damaged("the database changes faster than it can be shipped".to_owned()));
        }
        let snapshot = Snapshot {
            name,
            database: metadata.id().to_owned(),
            directory,
            digest,
            bytes,
            made_at: seconds(),
            log: Some(LogRange { session: inner.session.clone(), first, needed: turn.next }),
        };
        // A server that lost the bucket in the meantime must not publish.
        inner.blobs.ready().await?;
        inner.snapshots.publish(&snapshot).await?;
        drop(turn);
        if let Err(error) = inner.snapshots.remove_except(Some(&snapshot)).await {
            tracing::warn!(%error, "cannot remove older snapshots of the metadata; the next one removes them");
        }
        durable::remove(&compressed)?;
        durable::remove(&own.join(RESTORED))
    }
}

impl Inner {
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the changes that wait.
    async fn store_changes(&self) -> Result<(), StoreError> {
        let mut turn = self.turn.lock().await;
        let pages = {
            let mut changes = self.changes();
            if changes.is_broken || changes.pages.pages.is_empty() {
                return Ok(());
            }
            std::mem::take(&mut changes.pages)
        };
        let bytes = pages.bytes();
        // Also if this future is dropped, the pages go back.
        let mut taken = Taken { inner: self, pages: Some(pages) };
        let stored = self.store(&mut turn, taken.pages.clone().unwrap_or_default()).await;
        if stored.is_ok() {
            taken.pages = None;
            turn.next += 1;
            turn.bytes += bytes;
        }
        stored
    }

    async fn store(&self, turn: &mut Turn, pages: LogPages) -> Result<(), StoreError> {
        let number = turn.next;
        let content = blocking(move || segment::write(number, seconds(), &pages)).await?;
        let is_older = |turn: &Turn, age| turn.checked.is_none_or(|checked| checked.elapsed() > age);
        if is_older(turn, LEASE_CHECKED) {
            self.check_lease(turn).await?;
        }
        self.snapshots.put_log(&self.session, number, content.into()).await?;
        // Another server may have taken the lease and read the changes before.
        if is_older(turn, LEASE_HELD) {
            self.check_lease(turn).await?;
        }
        Ok(())
    }

    async fn check_lease(&self, turn: &mut Turn) -> Result<(), StoreError> {
        let begun = Instant::now();
        self.blobs.ready().await?;
        turn.checked = Some(begun);
        Ok(())
    }
}

/// Pages that are being stored. They wait again if that fails.
struct Taken<'a> {
    inner: &'a Inner,
    pages: Option<LogPages>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Some(mut pages) = self.pages.take() else { return };
        let mut changes = self.inner.changes();
        if !changes.pages.pages.is_empty() {
            pages.append(std::mem::take(&mut changes.pages));
        }
        changes.pages = pages;
    }
}

impl LogSink for Inner {
    fn committed(&self, pages: LogPages, is_synced: bool) -> Result<(), StoreError> {
        {
            let mut changes = self.changes();
            if changes.is_broken {
                changes.pages = LogPages::default();
            } else {
                changes.pages.append(pages);
                if !self.waits && changes.pages.bytes() > BUFFER {
                    changes.pages = LogPages::default();
                    changes.is_broken = true;
                }
            }
            if (changes.is_broken || changes.is_recovering) && self.waits && is_synced {
                let reason = "the changes before this one are not in the bucket yet".to_owned();
                let what = self.snapshots.place();
                return Err(StoreError::ObjectStore { action: "ship the metadata to", what, reason });
            }
        }
        // Before the first snapshot, the server takes no requests.
        if !self.waits || !is_synced || !self.has_snapshot.load(Ordering::Acquire) {
            return Ok(());
        }
        self.runtime.block_on(async {
            tokio::time::timeout(COMMIT_TIMEOUT, self.store_changes()).await.unwrap_or_else(|_| {
                let (what, reason) = (self.snapshots.place(), "it takes too long".to_owned());
                Err(StoreError::ObjectStore { action: "ship the metadata to", what, reason })
            })
        })
    }

    fn missed(&self, error: &StoreError) {
        tracing::error!(%error, "cannot read the log of the metadata, to ship it; a snapshot follows");
        self.changes().is_broken = true;
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Refuses a database that was continued in another data directory, before the bucket is claimed.
///
/// # Errors
/// [`StoreError::Directory`] with the reason, and errors of the bucket.
pub async fn check(directory: &Directory, id: &str) -> Result<(), StoreError> {
    let Some(settings) = directory.objects() else { return Ok(()) };
    let snapshots = Snapshots::open(settings)?;
    let Some(newest) = snapshots.newest().await? else { return Ok(()) };
    if newest.database != id || own_id(directory)? == Some(newest.directory) {
        return Ok(());
    }
    if fs::read_to_string(directory.own().join(RESTORED)).is_ok_and(|name| name == newest.name) {
        return Ok(());
    }
    Err(StoreError::Directory(format!(
        "the metadata of {root} were continued in another data directory, whose snapshot is in {place}: start with an \
         empty data directory to go on from that. To go on from this one, without the later changes, remove {place}newest",
        root = directory.root().display(),
        place = snapshots.place()
    )))
}

/// Removes the snapshots of this database, which is no longer shipped, because they get old. The caller has
/// the lease of the bucket.
///
/// # Errors
/// The errors of the bucket.
pub async fn forget(directory: &Directory, id: &str) -> Result<(), StoreError> {
    let Some(settings) = directory.objects() else { return Ok(()) };
    let snapshots = Snapshots::open(settings)?;
    match snapshots.newest().await? {
        Some(newest) if newest.database == id => snapshots.remove().await,
        _ => Ok(()),
    }
}

/// Restores the newest snapshot and the changes after it into an empty data directory. Returns the time of
/// the last change in seconds since 1970; `None` if the directory is not empty, or there is no snapshot.
/// Takes the lease of the bucket before, so that the server which ships has ended.
///
/// # Errors
/// [`StoreError::Directory`] if another server uses the bucket, and with the next steps if a snapshot is
/// damaged.
pub async fn restore_if_empty(
    directory: &Directory,
    blobs: &dyn BlobStore,
) -> Result<Option<u64>, StoreError> {
    let (Some(settings), None) = (directory.objects(), directory.database()) else { return Ok(None) };
    if directory.metadata().exists() || !directory.is_without_content()? {
        return Ok(None);
    }
    let snapshots = Snapshots::open(settings)?;
    let restored = restore_newest(directory, blobs, &snapshots).await;
    if restored.is_err()
        && let Err(error) = blobs.release().await
    {
        tracing::warn!(%error, "cannot release the lease of the bucket; the next server waits for its end");
    }
    restored.map_err(|error| advise(error, directory, &snapshots))
}

/// Adds the next steps to the error of a damaged snapshot.
fn advise(error: StoreError, directory: &Directory, snapshots: &Snapshots) -> StoreError {
    let cause = match error {
        StoreError::Damaged(cause) => cause,
        error if error.is_corrupt() => format!("the snapshot is damaged: {error}"),
        error => return error,
    };
    let (root, place) = (directory.root().display(), snapshots.place());
    StoreError::Directory(format!(
        "cannot go on from the metadata in {place}: {cause}. Nothing has changed. Bring the object back, from a version or \
         a copy of the bucket, and start again. Or restore a backup (wharfinger restore FILE --data {root}), remove \
         {place}newest, and start: then changes since the backup are lost"
    ))
}

async fn restore_newest(
    directory: &Directory,
    blobs: &dyn BlobStore,
    snapshots: &Snapshots,
) -> Result<Option<u64>, StoreError> {
    let Some(found) = snapshots.newest().await? else { return Ok(None) };
    blobs.claim(&found.database, Claim::Existing).await?;
    // The last server has shipped again before it ended.
    let newest = snapshots.newest().await?.unwrap_or(found);
    let own = directory.own().to_owned();
    let (plain, compressed) = (own.join(PLAIN), own.join(COMPRESSED));
    snapshots.fetch(&newest, &compressed).await?;
    {
        let plain = plain.clone();
        blocking_at(Priority::Ordinary, move || {
            decompress(&compressed, &plain)?;
            durable::remove(&compressed)
        })
        .await?;
    }
    let made_at = apply_log(snapshots, &newest, &plain).await?;
    let (target, id, name) = (directory.clone(), newest.database.clone(), newest.name.clone());
    blocking_at(Priority::Ordinary, move || {
        let restored = RestoredDatabase::open(&plain)?;
        if restored.id()? != id {
            return Err(StoreError::Damaged("the snapshot is of another database".to_owned()));
        }
        restored.prepare()?;
        restored.close()?;
        let mark = target.own().join(RESTORED);
        fs::write(&mark, &name)
            .and_then(|()| File::open(&mark)?.sync_all())
            .map_err(|error| StoreError::io("write", mark, error))?;
        target.assign_content(&id)?;
        target.record_blob_place()?;
        let path = target.metadata();
        Metadata::accept_older(&path)?;
        fs::rename(&plain, &path)
            .and_then(|()| File::open(target.own())?.sync_all())
            .map_err(|error| StoreError::io("write", path, error))
    })
    .await?;
    Ok(Some(made_at))
}

/// Applies the changes after a snapshot to it. Returns the time of the last one.
async fn apply_log(snapshots: &Snapshots, snapshot: &Snapshot, database: &Path) -> Result<u64, StoreError> {
    let Some(LogRange { session, first, needed }) = &snapshot.log else { return Ok(snapshot.made_at) };
    let end = snapshots.log_end(session).await?.max(*needed);
    let mut made_at = snapshot.made_at;
    for number in *first..end {
        let Some(content) = snapshots.get_log(session, number).await? else {
            let object = snapshots.log_name(session, number);
            if number < *needed {
                return Err(StoreError::Damaged(format!("{object} is missing")));
            }
            tracing::error!(object, end, "changes of the metadata are missing; later ones are lost");
            break;
        };
        let database = database.to_owned();
        let applied = blocking(move || segment::apply(&content, number, &database)).await;
        made_at = applied.map_err(|error| match error {
            StoreError::Damaged(cause) if number >= *needed => {
                let object = snapshots.log_name(session, number);
                StoreError::Damaged(format!(
                    "{object}: {cause} (remove it to go on without these and later changes)"
                ))
            }
            StoreError::Damaged(cause) => {
                StoreError::Damaged(format!("{}: {cause}", snapshots.log_name(session, number)))
            }
            error => error,
        })?;
    }
    let failed = |error| StoreError::io("sync", database, error);
    File::open(database).and_then(|file| file.sync_all()).map_err(failed)?;
    Ok(made_at)
}

/// The id of the data directory. The lease of the bucket makes it.
fn own_id(directory: &Directory) -> Result<Option<String>, StoreError> {
    let path = directory.own().join("instance");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|id| !id.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path, error)),
    }
}

/// Returns the digest and the size of the compressed file.
fn compress(from: &Path, to: &Path) -> Result<(Digest, u64), StoreError> {
    let failed = |error| StoreError::io("compress", from, error);
    let mut source = File::open(from).map_err(failed)?;
    let mut encoder = GzEncoder::new(create_private(to).map_err(failed)?, Compression::fast());
    io::copy(&mut source, &mut encoder).map_err(failed)?;
    encoder.finish().and_then(|mut file| file.flush()).map_err(failed)?;
    let (mut file, mut digester, mut bytes) =
        (File::open(to).map_err(failed)?, Digester::new(Algorithm::Sha256), 0);
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = file.read(&mut buffer).map_err(failed)?;
        if length == 0 {
            return Ok((digester.finish(), bytes));
        }
        digester.update(&buffer[..length]);
        bytes += length as u64;
    }
}

fn decompress(from: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("decompress", from, error);
    durable::remove(to)?;
    let mut decoder = GzDecoder::new(File::open(from).map_err(failed)?);
    let mut file = create_private(to).map_err(failed)?;
    io::copy(&mut decoder, &mut file).and_then(|_| file.sync_all()).map_err(failed)
}

/// It holds password hashes and signing keys, as the database does.
fn create_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    durable::remove(path).map_err(io::Error::other)?;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}
