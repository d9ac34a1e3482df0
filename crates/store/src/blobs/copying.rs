//! Copies of blobs from one store to another, each verified by its digest.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, PoisonError};

use futures_util::{StreamExt as _, TryStreamExt as _};
use oci::Digest;
use uuid::Uuid;

use super::{BlobStore, Pressure};
use crate::StoreError;

/// Blobs that are copied at a time.
const CONCURRENCY: usize = 8;
/// Blobs up to this size are copied with one request.
const SMALL: u64 = 1 << 20;

/// The result of copying blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlobCopy {
    /// Blobs that are in the target: copied, or there before.
    pub present: u64,
    /// Blobs that were copied.
    pub copied: u64,
    /// The size of these.
    pub copied_bytes: u64,
    /// The blobs that the source lacks, or whose bytes do not have their digest.
    pub faulty: Vec<Digest>,
}

/// Copies blobs, and remembers which are in the target.
pub struct BlobCopier<'a> {
    source: &'a dyn BlobStore,
    target: &'a dyn BlobStore,
    /// Keyed hashes of the digests in the target: 8 bytes for each of them instead of 66.
    present: HashSet<u64>,
    hasher: RandomState,
    copied: Mutex<BlobCopy>,
}

impl<'a> BlobCopier<'a> {
    /// Copies from `source` to `target`.
    #[must_use]
    pub fn new(source: &'a dyn BlobStore, target: &'a dyn BlobStore) -> Self {
        let (present, hasher) = (HashSet::new(), RandomState::new());
        Self { source, target, present, hasher, copied: Mutex::default() }
    }

    /// The state so far.
    #[must_use]
    pub fn state(&self) -> BlobCopy {
        self.copied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Copies those of the blobs that the target lacks. A blob with the recorded size is there: a store has
    /// none under a digest that is not its own. Returns the number of blobs that earlier calls had not seen
    /// in the target.
    ///
    /// # Errors
    /// The errors of the stores.
    pub async fn copy(
        &mut self,
        blobs: Vec<(Digest, u64)>,
        progress: &(dyn Fn(&BlobCopy) + Sync),
    ) -> Result<u64, StoreError> {
        let hash = |digest: &Digest| self.hasher.hash_one(digest.hash());
        let new: Vec<_> =
            blobs.into_iter().filter(|(digest, _)| !self.present.contains(&hash(digest))).collect();
        if new.is_empty() {
            return Ok(0);
        }
        let there = self.target.stat_many(new.iter().map(|(digest, _)| *digest).collect()).await?;
        let found: Vec<(Digest, bool)> = futures_util::stream::iter(new)
            .map(|(digest, size)| {
                let is_there = there.get(&digest) == Some(&size);
                let this = &*self;
                async move {
                    let copied = if is_there { Some(0) } else { this.copy_one(&digest, size).await? };
                    let mut state = this.copied.lock().unwrap_or_else(PoisonError::into_inner);
                    match copied {
                        Some(bytes) => {
                            state.present += 1;
                            state.copied += u64::from(!is_there);
                            state.copied_bytes += bytes;
                            state.faulty.retain(|faulty| *faulty != digest);
                        }
                        None if state.faulty.contains(&digest) => {}
                        None => state.faulty.push(digest),
                    }
                    progress(&state);
                    Ok::<_, StoreError>((digest, copied.is_some()))
                }
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        if self.target.pressure() == Pressure::Much {
            self.flush().await?;
        }
        let present = found.iter().filter(|(_, is_present)| *is_present);
        let hashes: Vec<u64> = present.map(|(digest, _)| self.hasher.hash_one(digest.hash())).collect();
        let new = hashes.len() as u64;
        self.present.extend(hashes);
        Ok(new)
    }

    /// Returns the number of copied bytes. `None` if the source lacks the blob, or holds other bytes.
    async fn copy_one(&self, digest: &Digest, size: u64) -> Result<Option<u64>, StoreError> {
        if size <= SMALL {
            let Some(content) = self.source.get(digest).await? else { return Ok(None) };
            let bytes = content.len() as u64;
            return match self.target.put(digest, content).await {
                Ok(_) => Ok(Some(bytes)),
                Err(StoreError::DigestMismatch { .. }) => Ok(None),
                Err(error) => Err(error),
            };
        }
        let Some(blob) = self.source.open(digest).await? else { return Ok(None) };
        let length = blob.size;
        let id = Uuid::new_v4();
        let mut upload = self.target.begin_known(id, digest, false).await?;
        let written = async {
            let mut pieces = blob.read(0..length);
            while let Some(piece) = pieces.try_next().await? {
                upload.write(piece).await?;
            }
            upload.commit(digest).await
        };
        match written.await {
            Ok(_) => Ok(Some(length)),
            Err(StoreError::DigestMismatch { .. }) => Ok(None),
            Err(error) => {
                // The next run begins it anew.
                let _ = self.target.abort(id).await;
                Err(error)
            }
        }
    }

    /// Makes all copies durable.
    ///
    /// # Errors
    /// The errors of the target, also if a file cannot be written.
    pub async fn flush(&self) -> Result<(), StoreError> {
        match self.target.flush().await?.into_iter().next() {
            Some(unwritten) => Err(StoreError::Directory(format!(
                "the file of {} cannot be written: {}",
                unwritten.digest, unwritten.reason
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use oci::Algorithm;

    use super::super::memory::MemoryBlobs;
    use super::super::open_files;
    use super::*;
    use crate::Directory;

    #[tokio::test]
    async fn blobs_are_copied_once_and_faults_are_named() {
        let (source, data) = (MemoryBlobs::default(), tempfile::tempdir().unwrap());
        let directory = Directory::open(data.path()).unwrap();
        let target = open_files(&directory);
        let contents = [vec![1; 10], vec![2; 3 << 20], vec![3; 70_000]];
        let mut blobs = Vec::new();
        for content in &contents {
            let digest = Algorithm::Sha256.digest(content);
            source.put(&digest, Bytes::from(content.clone())).await.unwrap();
            blobs.push((digest, content.len() as u64));
        }
        let lost = Algorithm::Sha256.digest(b"lost");
        let mut copier = BlobCopier::new(&source, &*target);
        let all: Vec<_> = blobs.iter().copied().chain([(lost, 4)]).collect();
        assert_eq!(copier.copy(all.clone(), &|_| {}).await.unwrap(), 3);
        assert_eq!(copier.copy(all.clone(), &|_| {}).await.unwrap(), 0);
        copier.flush().await.unwrap();
        let state = copier.state();
        assert_eq!((state.copied, state.present, &*state.faulty), (3, 3, &[lost][..]));
        // Content that was pushed again meanwhile.
        source.put(&lost, Bytes::from_static(b"lost")).await.unwrap();
        assert_eq!(copier.copy(all.clone(), &|_| {}).await.unwrap(), 1);
        assert_eq!(copier.state().faulty, []);
        copier.flush().await.unwrap();
        // Another process finds everything there.
        let target = open_files(&directory);
        let mut again = BlobCopier::new(&source, &*target);
        again.copy(all, &|_| {}).await.unwrap();
        assert_eq!((again.state().copied, again.state().present), (0, 4));
        assert_eq!(target.get(&lost).await.unwrap().as_deref(), Some(&b"lost"[..]));
    }
}
