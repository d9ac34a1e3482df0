//! Uploads: blobs on their way in.
//!
//! An upload belongs to one repository and one account, or to nobody in particular; for everybody
//! else it does not exist. Between requests it is written down in the metadata (how
//! far it came, and the state of its hash), so that it goes on after a restart; the copy in memory
//! only saves looking it up. While a request writes to it, others wait for their turn.
//!
//! Receiving, and hashing and writing, overlap: while one piece is written on another thread, the
//! next is received. A thread is held only while there is something to write.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use oci::{Algorithm, Digest, RepositoryName};
use store::accounts::AccountName;
use store::{StoreError, Upload};
use tokio::sync::{Mutex as TurnMutex, OwnedMutexGuard};
use uuid::Uuid;

use crate::gathering::Gathering;
use crate::{Error, ReceiveError, Registry};

/// How long a request waits for another that writes to the same upload, which is most often the
/// rest of a torn connection.
const TURN: Duration = Duration::from_secs(5);
/// Uploads kept in memory between requests. Those beyond are read from the metadata.
const LIVE: usize = 1024;

/// How far an upload came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadStatus {
    /// Names the upload.
    pub id: Uuid,
    /// How many bytes were taken in.
    pub offset: u64,
}

/// Where a chunk belongs, as a Content-Range says: both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte; not less than `first`.
    pub last: u64,
}

/// The body of a request, piece by piece.
pub trait Body: Stream<Item = Result<Bytes, ReceiveError>> + Send + Unpin + 'static {}
impl<S: Stream<Item = Result<Bytes, ReceiveError>> + Send + Unpin + 'static> Body for S {}

/// The uploads that are in memory.
#[derive(Default)]
pub(crate) struct Sessions {
    live: Mutex<HashMap<Uuid, Arc<Session>>>,
}

struct Session {
    repository: RepositoryName,
    account: Option<AccountName>,
    /// The upload, while nobody has it; `None` if it must be read from the metadata.
    upload: Arc<TurnMutex<Option<Upload>>>,
}

/// The right to write to an upload.
struct Turn {
    upload: Upload,
    slot: OwnedMutexGuard<Option<Upload>>,
}

impl Sessions {
    fn live(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Session>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of an upload, made if it is not in memory.
    fn enter(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
        upload: Option<Upload>,
    ) -> Arc<Session> {
        let mut live = self.live();
        if live.len() >= LIVE {
            // Those that somebody has are held by more than this map.
            live.retain(|_, session| {
                Arc::strong_count(session) > 1 || Arc::strong_count(&session.upload) > 1
            });
        }
        let session = || Session {
            repository: repository.clone(),
            account: account.cloned(),
            upload: Arc::new(TurnMutex::new(upload)),
        };
        live.entry(id).or_insert_with(|| Arc::new(session())).clone()
    }

    fn leave(&self, id: Uuid) {
        self.live().remove(&id);
    }
}

impl Registry {
    /// Begins an upload, which belongs to the account, or to nobody in particular.
    ///
    /// # Errors
    /// [`Error::Full`], or those of the store.
    pub async fn begin_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        algorithm: Algorithm,
    ) -> Result<UploadStatus, Error> {
        let upload = self.inner.blobs.begin(algorithm).await?;
        let status = UploadStatus { id: upload.id, offset: 0 };
        self.inner.metadata.create_upload(repository, account, &upload.save()).await?;
        self.inner.sessions.enter(repository, account, status.id, Some(upload));
        Ok(status)
    }

    /// How far an upload came.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], also for an upload of another repository or account.
    pub async fn upload_status(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<UploadStatus, Error> {
        let record =
            self.inner.metadata.upload(repository, account, id).await?.ok_or(Error::UploadUnknown(id))?;
        Ok(UploadStatus { id, offset: record.state.offset })
    }

    /// Takes in a chunk, or with no range whatever comes. What arrived before a connection broke is kept.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] if the range does not begin where the upload ends,
    /// [`Error::ChunkLength`] if the chunk is not as long as its range, [`Error::BlobTooLarge`],
    /// [`Error::Receive`], [`Error::UploadUnknown`], [`Error::Full`].
    pub async fn append_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
        range: Option<ChunkRange>,
        body: impl Body,
    ) -> Result<UploadStatus, Error> {
        let (registry, repository, account) = (self.clone(), repository.clone(), account.cloned());
        apart(async move {
            let turn = registry.take_turn(&repository, account.as_ref(), id).await?;
            let (turn, received) = registry.receive(turn, range, body).await?;
            registry.inner.metadata.save_upload(&repository, account.as_ref(), &turn.upload.save()).await?;
            let status = UploadStatus { id, offset: turn.upload.offset };
            turn.pass_on();
            received.map(|()| status)
        })
        .await
    }

    /// Takes in the last bytes, if any, and makes the blob: durable and part of the repository.
    /// Returns its size in bytes.
    ///
    /// # Errors
    /// Those of [`Registry::append_upload`], and [`Error::DigestMismatch`], which ends the upload.
    pub async fn finish_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
        range: Option<ChunkRange>,
        digest: Digest,
        body: impl Body,
    ) -> Result<u64, Error> {
        let (registry, repository, account) = (self.clone(), repository.clone(), account.cloned());
        apart(async move {
            let turn = registry.take_turn(&repository, account.as_ref(), id).await?;
            let (turn, received) = registry.receive(turn, range, body).await?;
            if let Err(error) = received {
                registry
                    .inner
                    .metadata
                    .save_upload(&repository, account.as_ref(), &turn.upload.save())
                    .await?;
                turn.pass_on();
                return Err(error);
            }
            let Turn { upload, slot } = turn;
            let inner = &registry.inner;
            let committed = inner.blobs.commit(upload, &digest).await;
            let stored = match committed {
                Ok(stored) => stored,
                Err(mismatch @ StoreError::DigestMismatch { .. }) => {
                    inner.metadata.delete_upload(&repository, account.as_ref(), id).await?;
                    inner.sessions.leave(id);
                    return Err(mismatch.into());
                }
                Err(error) => return Err(error.into()),
            };
            let size = stored.size;
            inner.metadata.link_uploaded_blob(&repository, &digest, stored, account.as_ref(), id).await?;
            inner.sessions.leave(id);
            drop(slot);
            inner.tasks.wake_view();
            Ok(size)
        })
        .await
    }

    /// Takes in a whole blob in one request. Returns its size in bytes.
    ///
    /// # Errors
    /// Those of [`Registry::finish_upload`].
    pub async fn upload_blob(
        &self,
        repository: &RepositoryName,
        digest: Digest,
        body: impl Body,
    ) -> Result<u64, Error> {
        let (registry, repository) = (self.clone(), repository.clone());
        apart(async move {
            let inner = &registry.inner;
            // Nobody else knows this upload, so it is not written down: if the process dies, its
            // file is swept away at the next start.
            let upload = inner.blobs.begin(digest.algorithm()).await?;
            let id = upload.id;
            let slot = Arc::new(TurnMutex::new(None)).lock_owned().await;
            let stored = async {
                let (turn, received) = registry.receive(Turn { upload, slot }, None, body).await?;
                received?;
                Ok(inner.blobs.commit(turn.upload, &digest).await?)
            };
            match stored.await {
                Ok(stored) => {
                    let size = stored.size;
                    inner.metadata.link_blob(&repository, &digest, stored).await?;
                    inner.tasks.wake_view();
                    Ok(size)
                }
                Err(error) => {
                    inner.blobs.abort(id).await?;
                    Err(error)
                }
            }
        })
        .await
    }

    /// Forgets an upload and what it took in.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], [`Error::UploadBusy`].
    pub async fn cancel_upload(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<(), Error> {
        let turn = self.take_turn(repository, account, id).await?;
        self.inner.metadata.delete_upload(repository, account, id).await?;
        self.inner.sessions.leave(id);
        drop(turn);
        Ok(self.inner.blobs.abort(id).await?)
    }

    /// Forgets the uploads that took in nothing for the time that the policy allows. Returns how many.
    pub(crate) async fn expire_uploads(&self) -> Result<usize, Error> {
        let Some(limit) = std::time::SystemTime::now().checked_sub(self.inner.policy.upload_expiry) else {
            return Ok(0);
        };
        let mut expired = 0;
        loop {
            let batch = self.inner.metadata.expired_uploads(limit, 100).await?;
            let mut gone = 0;
            for record in &batch {
                gone += usize::from(self.expire_upload(&record.repository, record.state.id).await?);
            }
            expired += gone;
            if gone == 0 {
                return Ok(expired);
            }
        }
    }

    /// Forgets an upload, whosever it is, unless somebody is writing to it.
    async fn expire_upload(&self, repository: &RepositoryName, id: Uuid) -> Result<bool, Error> {
        let inner = &self.inner;
        let session = inner.sessions.enter(repository, None, id, None);
        let Ok(mut slot) = session.upload.clone().try_lock_owned() else { return Ok(false) };
        // Who waits for a turn finds nothing any more.
        slot.take();
        let was_there = inner.metadata.expire_upload(id).await;
        inner.sessions.leave(id);
        drop(slot);
        let was_there = was_there?;
        inner.blobs.abort(id).await?;
        Ok(was_there)
    }

    async fn take_turn(
        &self,
        repository: &RepositoryName,
        account: Option<&AccountName>,
        id: Uuid,
    ) -> Result<Turn, Error> {
        let session = self.inner.sessions.live().get(&id).cloned();
        let session = match session {
            Some(session) if session.repository == *repository && session.account.as_ref() == account => {
                session
            }
            Some(_) => return Err(Error::UploadUnknown(id)),
            None => {
                // Asked before a session is made, so that made-up ids leave nothing behind.
                self.upload_status(repository, account, id).await?;
                self.inner.sessions.enter(repository, account, id, None)
            }
        };
        let slot = tokio::time::timeout(TURN, session.upload.clone().lock_owned());
        let mut slot = slot.await.map_err(|_| Error::UploadBusy(id))?;
        let upload = match slot.take() {
            Some(upload) => upload,
            None => {
                // Also where somebody ended the upload while this request waited for its turn.
                let record = self.inner.metadata.upload(repository, account, id).await?;
                let Some(record) = record else {
                    self.inner.sessions.leave(id);
                    return Err(Error::UploadUnknown(id));
                };
                Upload::resume(&record.state)?
            }
        };
        Ok(Turn { upload, slot })
    }

    /// Receives a body into an upload. Comes back with the upload as far as it came, and what went
    /// wrong with the body; an outer error means that the store failed, and the upload is as it
    /// was last written down.
    async fn receive(
        &self,
        turn: Turn,
        range: Option<ChunkRange>,
        mut body: impl Body,
    ) -> Result<(Turn, Result<(), Error>), Error> {
        type Writing<'a> = Pin<Box<dyn Future<Output = Result<Upload, StoreError>> + Send + 'a>>;
        let Turn { upload, slot } = turn;
        let start = upload.offset;
        if let Some(range) = range
            && range.first != start
        {
            let error = Error::OutOfOrder { id: upload.id, offset: start };
            return Ok((Turn { upload, slot }, Err(error)));
        }
        let expected = range.map(|range| range.last - range.first + 1);
        let blobs = &*self.inner.blobs;
        let mut gathered = Gathering::default();
        let mut received: u64 = 0;
        let mut ended: Option<Result<(), Error>> = None;
        let mut idle = Some(upload);
        let mut writing: Option<Writing<'_>> = None;
        loop {
            if let Some(upload) = idle.take() {
                if gathered.is_full() || (ended.is_some() && !gathered.is_empty()) {
                    let piece = gathered.take(&self.inner.lanes, start + received);
                    writing = Some(blobs.append(upload, piece));
                } else if let Some(outcome) = ended.take() {
                    return Ok((Turn { upload, slot }, outcome));
                } else {
                    idle = Some(upload);
                }
            }
            tokio::select! {
                written = async { match &mut writing { Some(writing) => writing.await, None => std::future::pending().await } } => {
                    writing = None;
                    idle = Some(written?);
                }
                piece = body.next(), if ended.is_none() && !gathered.is_full() => match piece {
                    None => ended = Some(match expected {
                        Some(expected) if expected != received => {
                            Err(Error::ChunkLength { expected, actual: received })
                        }
                        _ => Ok(()),
                    }),
                    Some(Err(error)) => ended = Some(Err(error.into())),
                    Some(Ok(piece)) => {
                        received += piece.len() as u64;
                        if let Some(limit) = self.inner.policy.blob_bytes
                            && start + received > limit
                        {
                            ended = Some(Err(Error::BlobTooLarge { limit }));
                        } else if let Some(expected) = expected
                            && received > expected
                        {
                            ended = Some(Err(Error::ChunkLength { expected, actual: received }));
                        } else {
                            gathered.add(piece);
                        }
                    }
                },
            }
        }
    }
}

impl Turn {
    /// Leaves the upload for the next request.
    fn pass_on(mut self) {
        *self.slot = Some(self.upload);
    }
}

/// Runs the steps so that a client that hangs up cannot leave them half done: the body then ends in
/// an error, and the steps come to their end, on a task of their own.
///
/// As long as the client is there they run where they are asked for, on the task of the connection:
/// what came from it is taken in while the processor still has it at hand, and the memory that it
/// was received in is free for what comes next.
fn apart<T, S>(steps: S) -> Apart<S>
where
    T: Send + 'static,
    S: Future<Output = Result<T, Error>> + Send + 'static,
{
    Apart(Some(Box::pin(steps)))
}

/// Steps that go on if nobody waits for them any longer.
struct Apart<S: Future<Output: Send> + Send + 'static>(Option<Pin<Box<S>>>);

impl<T: Send, S: Future<Output = Result<T, Error>> + Send + 'static> Future for Apart<S> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Out of place meanwhile, so that steps that panic are not taken up again.
        let Some(mut steps) = self.0.take() else {
            return Poll::Ready(Err(Error::Store(StoreError::Closed)));
        };
        let outcome = steps.as_mut().poll(cx);
        if outcome.is_pending() {
            self.0 = Some(steps);
        }
        outcome
    }
}

impl<S: Future<Output: Send> + Send + 'static> Drop for Apart<S> {
    fn drop(&mut self) {
        if let Some(steps) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(steps);
        }
    }
}
