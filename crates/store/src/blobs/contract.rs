//! Contract tests of [`BlobStore`], the same for every backend.
//!
//! A backend implements [`Backend`] and calls `contract_tests!`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use oci::{Algorithm, Digest};
use uuid::Uuid;

use super::{Blob, BlobStore, Pressure, Stored, Upload, UploadState};
use crate::StoreError;

/// A place for blobs that exists as long as the value.
pub(crate) trait Backend: Sized {
    /// Creates an empty place.
    fn new() -> Self;
    /// Opens another store on the same place, as after a restart.
    fn store(&self) -> Arc<dyn BlobStore>;
}

/// Returns content without repetitions, so that any mix-up shows.
pub(crate) fn content(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut content = Vec::with_capacity(length + 8);
    while content.len() < length {
        content.extend(next());
    }
    content.truncate(length);
    content.into()
}

pub(crate) fn sha256(content: &[u8]) -> Digest {
    Algorithm::Sha256.digest(content)
}

/// Uploads `content` in pieces of these lengths, over and over.
pub(crate) async fn upload(store: &dyn BlobStore, content: &Bytes, lengths: &[usize]) -> Upload {
    let mut upload = store.begin(Uuid::new_v4(), Algorithm::Sha256).await.unwrap();
    let mut rest = content.clone();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        upload.write(rest.split_to(rest.len().min(*length))).await.unwrap();
        upload.write(Bytes::new()).await.unwrap();
    }
    upload
}

/// Writes and saves; returns the first error.
pub(crate) async fn write(upload: &mut Upload, bytes: Bytes) -> Result<UploadState, StoreError> {
    upload.write(bytes).await?;
    upload.save().await
}

/// Resumes an upload and writes; returns the first error.
async fn resume_and_write(
    store: &dyn BlobStore,
    state: &UploadState,
    bytes: Bytes,
) -> Result<UploadState, StoreError> {
    write(&mut store.resume(state).await?, bytes).await
}

/// Opens the store as after a restart, with the content that the earlier one had journaled.
async fn restarted(backend: &impl Backend, digest: &Digest, stored: Stored) -> Arc<dyn BlobStore> {
    let store = backend.store();
    if let Some(journaled) = stored.journaled {
        store.restore(digest, journaled).await.unwrap();
    }
    store
}

pub(crate) async fn read(blob: Blob, range: std::ops::Range<u64>) -> Vec<u8> {
    let mut pieces = blob.read(range.clone());
    let mut content = Vec::new();
    assert_eq!(pieces.remaining(), range.end - range.start);
    while let Some(piece) = pieces.next().await {
        let piece = piece.unwrap();
        assert!(!piece.is_empty(), "no piece is empty");
        content.extend_from_slice(&piece);
        assert_eq!(pieces.remaining(), range.end - range.start - content.len() as u64);
    }
    content
}

async fn all(store: &dyn BlobStore) -> BTreeMap<Digest, u64> {
    let blobs: Vec<_> = store.list().try_collect().await.unwrap();
    let count = blobs.len();
    let blobs: BTreeMap<_, _> = blobs.into_iter().collect();
    assert_eq!(blobs.len(), count, "no blob is listed twice");
    blobs
}

async fn absent(store: &dyn BlobStore, digest: &Digest) {
    assert_eq!(store.stat(digest).await.unwrap(), None);
    assert!(store.open(digest).await.unwrap().is_none());
    assert!(store.get(digest).await.unwrap().is_none());
    assert!(!all(store).await.contains_key(digest));
}

async fn present(store: &dyn BlobStore, content: &[u8]) {
    let digest = sha256(content);
    let size = content.len() as u64;
    assert_eq!(store.stat(&digest).await.unwrap(), Some(size));
    assert_eq!(store.get(&digest).await.unwrap().unwrap(), content);
    let blob = store.open(&digest).await.unwrap().unwrap();
    assert_eq!(blob.size, size);
    assert!(read(blob, 0..size).await == content);
    assert_eq!(all(store).await.get(&digest), Some(&size));
}

pub(crate) async fn put_blob_exists_after_restart<B: Backend>() {
    let backend = B::new();
    let small = content(4000, 1);
    let large = content(200_000, 2);
    absent(&*backend.store(), &sha256(&small)).await;
    for content in [small.clone(), Bytes::new(), large.clone()] {
        let digest = sha256(&content);
        let stored = backend.store().put(&digest, content.clone()).await.unwrap();
        let store = restarted(&backend, &digest, stored).await;
        present(&*store, &content).await;
        store.flush().await.unwrap();
    }
    for content in [&small[..], b"", &large[..]] {
        present(&*backend.store(), content).await;
    }
}

pub(crate) async fn uploaded_blob_of_any_size_exists<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let sizes = [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, (1 << 20) + 7, (9 << 20) + 3];
    for (seed, size) in sizes.into_iter().enumerate() {
        let content = content(size, seed as u64);
        let upload = upload(&*store, &content, &[1000, 1, 300_000]).await;
        assert_eq!(upload.offset(), size as u64);
        let stored = upload.commit(&sha256(&content)).await.unwrap();
        assert_eq!(stored.size, size as u64);
        present(&*store, &content).await;
        present(&*restarted(&backend, &sha256(&content), stored).await, &content).await;
    }
    assert_eq!(all(&*store).await.len(), sizes.len());
}

pub(crate) async fn range_read_returns_exactly_the_range<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let window = 1 << 20;
    for size in [1, 5000, 64 << 10, 3 * window + 5] {
        let content = content(size, 3);
        let digest = sha256(&content);
        store.put(&digest, content.clone()).await.unwrap();
        let mut edges =
            vec![0, 1, 4095, 4096, 4097, window - 1, window, window + 1, 2 * window, size - 1, size];
        edges.retain(|edge| *edge <= size);
        for begin in &edges {
            for end in edges.iter().filter(|end| *end >= begin) {
                let blob = store.open(&digest).await.unwrap().unwrap();
                let part = read(blob, *begin as u64..*end as u64).await;
                assert!(part == content[*begin..*end], "{begin}..{end} of {size}");
            }
        }
    }
}

pub(crate) async fn upload_is_invisible_before_commit<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let content = content(100_000, 4);
    let upload = upload(&*store, &content, &[50_000]).await;
    absent(&*store, &sha256(&content)).await;
    absent(&*store, &sha256(&content[..50_000])).await;
    assert!(all(&*store).await.is_empty());
    upload.commit(&sha256(&content)).await.unwrap();
    present(&*store, &content).await;
}

pub(crate) async fn wrong_digest_is_rejected<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let (content, other) = (content(5000, 5), sha256(b"other"));
    let mut upload = upload(&*store, &content, &[5000]).await;
    let state = upload.save().await.unwrap();
    match upload.commit(&other).await.unwrap_err() {
        StoreError::DigestMismatch { expected, actual } => {
            assert_eq!((expected, actual), (other, sha256(&content)));
        }
        error => panic!("{error}"),
    }
    let refused = store.put(&other, content.clone()).await.unwrap_err();
    assert!(matches!(refused, StoreError::DigestMismatch { .. }), "{refused}");
    absent(&*store, &other).await;
    absent(&*store, &sha256(&content)).await;
    // The upload is gone with it.
    resume_and_write(&*store, &state, Bytes::from_static(b"more")).await.unwrap_err();
}

pub(crate) async fn commit_accepts_another_algorithm<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let content = content(300_000, 6);
    let digest = Algorithm::Sha512.digest(&content);
    let wrong = upload(&*store, &content, &[70_000]).await;
    let other = Algorithm::Sha512.digest(b"other");
    assert!(matches!(wrong.commit(&other).await, Err(StoreError::DigestMismatch { .. })));
    let right = upload(&*store, &content, &[70_000]).await;
    assert_eq!(right.commit(&digest).await.unwrap().size, 300_000);
    assert!(read(store.open(&digest).await.unwrap().unwrap(), 0..300_000).await == content);
    absent(&*store, &sha256(&content)).await;
    assert_eq!(all(&*store).await.get(&digest), Some(&300_000));
}

pub(crate) async fn upload_resumes_after_restart<B: Backend>() {
    let backend = B::new();
    let content = content(700_000, 7);
    for begun in [0, 1, 5_000, 64 << 10, 400_000] {
        let first = backend.store();
        let state = upload(&*first, &content.slice(..begun), &[150_000]).await.save().await.unwrap();
        let store = backend.store();
        let mut resumed = store.resume(&state).await.unwrap();
        assert_eq!(resumed.offset(), begun as u64);
        resumed.write(content.slice(begun..)).await.unwrap();
        resumed.commit(&sha256(&content)).await.unwrap();
        present(&*store, &content).await;
        store.delete(&sha256(&content)).await.unwrap();
    }
}

pub(crate) async fn resume_overwrites_unsaved_bytes<B: Backend>() {
    let backend = B::new();
    let content = content(200_000, 8);
    for (lost, rest) in [(900_000, 150_000), (900_000, 5_000), (3_000, 5_000)] {
        let whole = content.slice(..50_000 + rest);
        let store = backend.store();
        let mut upload = upload(&*store, &whole.slice(..50_000), &[50_000]).await;
        let state = upload.save().await.unwrap();
        // A broken connection: these bytes were received but not saved.
        upload.write(self::content(lost, 9)).await.unwrap();
        drop(upload);
        let store = backend.store();
        let mut resumed = store.resume(&state).await.unwrap();
        resumed.write(whole.slice(50_000..)).await.unwrap();
        assert_eq!(resumed.commit(&sha256(&whole)).await.unwrap().size, whole.len() as u64);
        present(&*store, &whole).await;
        store.delete(&sha256(&whole)).await.unwrap();
    }
}

pub(crate) async fn resume_invalidates_the_earlier_writer<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let content = content(90_000, 10);
    let mut old = upload(&*store, &content.slice(..30_000), &[30_000]).await;
    let state = old.save().await.unwrap();
    let mut new = store.resume(&state).await.unwrap();
    write(&mut new, content.slice(30_000..60_000)).await.unwrap();
    // The old request still writes something else at the same offset.
    write(&mut old, self::content(30_000, 11)).await.unwrap_err();
    new.write(content.slice(60_000..)).await.unwrap();
    new.commit(&sha256(&content)).await.unwrap();
    present(&*store, &content).await;
}

pub(crate) async fn dropped_write_does_no_harm<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    for round in 0..50 {
        let content = content(400_000, 100 + round);
        let mut old = upload(&*store, &content.slice(..100_000), &[100_000]).await;
        let state = old.save().await.unwrap();
        // Dropped as soon as it has begun, or a little later.
        let step = write(&mut old, self::content(300_000, 12));
        let _ = tokio::time::timeout(std::time::Duration::from_micros(round * 10), step).await;
        let mut new = store.resume(&state).await.unwrap();
        new.write(content.slice(100_000..)).await.unwrap();
        new.commit(&sha256(&content)).await.unwrap();
        present(&*store, &content).await;
    }
}

pub(crate) async fn aborted_upload_is_gone<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let content = content(10_000, 13);
    let mut upload = upload(&*store, &content, &[10_000]).await;
    let id = upload.id();
    let state = upload.save().await.unwrap();
    let again = store.resume(&state).await.unwrap();
    let unsaved = self::upload(&*store, &content, &[10_000]).await;
    store.abort(id).await.unwrap();
    store.abort(unsaved.id()).await.unwrap();
    for ended in [unsaved, upload, again] {
        ended.commit(&sha256(&content)).await.unwrap_err();
    }
    absent(&*store, &sha256(&content)).await;
    resume_and_write(&*store, &state, content.clone()).await.unwrap_err();
    store.abort(id).await.unwrap();
    store.abort(Uuid::new_v4()).await.unwrap();
}

pub(crate) async fn stale_uploads_are_removed<B: Backend>() {
    let backend = B::new();
    let content = content(10_000, 18);
    let mut states = Vec::new();
    for _ in 0..2 {
        states.push(upload(&*backend.store(), &content, &[10_000]).await.save().await.unwrap());
    }
    let store = backend.store();
    assert_eq!(store.remove_stale_uploads(&[states[0].id].into()).await.unwrap(), 1);
    assert_eq!(store.remove_stale_uploads(&[states[0].id].into()).await.unwrap(), 0);
    resume_and_write(&*store, &states[1], content.clone()).await.unwrap_err();
    store.resume(&states[0]).await.unwrap().commit(&sha256(&content)).await.unwrap();
    present(&*store, &content).await;
}

pub(crate) async fn storing_a_blob_again_keeps_one_blob<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let content = content(100_000, 14);
    store.put(&sha256(&content), content.clone()).await.unwrap();
    store.put(&sha256(&content), content.clone()).await.unwrap();
    let again = upload(&*store, &content, &[30_000]).await;
    let id = again.id();
    assert_eq!(again.commit(&sha256(&content)).await.unwrap().size, 100_000);
    present(&*store, &content).await;
    assert_eq!(all(&*store).await.len(), 1);
    store.abort(id).await.unwrap();
    present(&*store, &content).await;
}

pub(crate) async fn concurrent_writers_of_one_blob_succeed<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let content = content(200_000, 15);
    let digest = sha256(&content);
    let tasks: Vec<_> = (0..24)
        .map(|index| {
            let (store, content) = (store.clone(), content.clone());
            tokio::spawn(async move {
                if index % 2 == 0 {
                    store.put(&digest, content.clone()).await.unwrap();
                } else {
                    let upload = upload(&*store, &content, &[10_000 + index * 1000]).await;
                    assert_eq!(upload.commit(&digest).await.unwrap().size, 200_000);
                }
                // It exists once it is acknowledged.
                assert_eq!(store.stat(&digest).await.unwrap(), Some(200_000));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    present(&*store, &content).await;
    assert_eq!(all(&*store).await.len(), 1);
}

pub(crate) async fn deleted_blob_stays_readable_for_its_readers<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    for size in [1000, 3 << 20] {
        let content = content(size, 16);
        let digest = sha256(&content);
        assert!(!store.delete(&digest).await.unwrap());
        store.put(&digest, content.clone()).await.unwrap();
        let blob = store.open(&digest).await.unwrap().unwrap();
        assert!(store.delete(&digest).await.unwrap());
        absent(&*store, &digest).await;
        assert!(read(blob, 0..size as u64).await == content);
        assert!(!store.delete(&digest).await.unwrap());
        store.put(&digest, content.clone()).await.unwrap();
        present(&*store, &content).await;
    }
}

pub(crate) async fn blobs_are_deleted_at_once_if_present<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let [small, large, kept, missing] = [500, 3 << 20, 1000, 700].map(|size| content(size, 18));
    for content in [&small, &large, &kept] {
        store.put(&sha256(content), content.clone()).await.unwrap();
    }
    store.delete_all([&small, &missing, &large].map(|content| sha256(content)).to_vec()).await.unwrap();
    absent(&*store, &sha256(&small)).await;
    absent(&*store, &sha256(&large)).await;
    present(&*store, &kept).await;
    assert_eq!(all(&*store).await.len(), 1);
}

pub(crate) async fn concurrent_delete_and_put_leave_a_valid_blob<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let content = content(2000, 17);
    let digest = sha256(&content);
    let deleter = tokio::spawn({
        let store = store.clone();
        async move {
            for _ in 0..200 {
                store.delete(&digest).await.unwrap();
            }
        }
    });
    for _ in 0..50 {
        store.put(&digest, content.clone()).await.unwrap();
    }
    deleter.await.unwrap();
    store.put(&digest, content.clone()).await.unwrap();
    present(&*store, &content).await;
}

pub(crate) async fn list_returns_all_blobs<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    assert!(all(&*store).await.is_empty());
    let mut expected = BTreeMap::new();
    for seed in 0..300 {
        let content = content(100 + usize::try_from(seed).unwrap(), seed);
        let algorithm = if seed % 2 == 0 { Algorithm::Sha256 } else { Algorithm::Sha512 };
        let digest = algorithm.digest(&content);
        expected.insert(digest, content.len() as u64);
        store.put(&digest, content).await.unwrap();
    }
    assert_eq!(all(&*store).await, expected);
    // A dropped list stops.
    assert!(store.list().next().await.is_some());
}

pub(crate) async fn journaled_content_is_complete_and_restorable<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    for (seed, size) in [0, 1, 5000, 64 << 10, 200_000].into_iter().enumerate() {
        let content = content(size, 40 + seed as u64);
        let digest = sha256(&content);
        for put in [true, false, true] {
            let stored = if put {
                store.put(&digest, content.clone()).await.unwrap()
            } else {
                upload(&*store, &content, &[1000, 77]).await.commit(&digest).await.unwrap()
            };
            assert_eq!(stored.size, size as u64);
            let Some(journaled) = stored.journaled else { continue };
            assert_eq!(journaled, content);
            present(&*store, &content).await;
            store.restore(&digest, journaled.clone()).await.unwrap();
            present(&*store, &content).await;
            store.delete(&digest).await.unwrap();
            let again = backend.store();
            again.restore(&digest, journaled).await.unwrap();
            present(&*again, &content).await;
            again.flush().await.unwrap();
            present(&*store, &content).await;
        }
        store.flush().await.unwrap();
        present(&*store, &content).await;
        assert_eq!(store.pressure(), Pressure::Nothing);
        present(&*backend.store(), &content).await;
    }
}

pub(crate) async fn saved_bytes_are_readable_beside_the_writer<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let id = Uuid::new_v4();
    assert!(store.read_upload(id).await.unwrap().is_none());
    let content = content(300_000, 7);
    let mut upload = store.begin_known(id, &sha256(&content), true).await.unwrap();
    upload.write(content.slice(..100_000)).await.unwrap();
    upload.save().await.unwrap();
    let reader = store.read_upload(id).await.unwrap().expect("bytes are saved");
    assert_eq!(reader.read_at(0, 100_000).await.unwrap(), content.slice(..100_000));
    upload.write(content.slice(100_000..)).await.unwrap();
    upload.save().await.unwrap();
    assert_eq!(reader.read_at(99_999, 1_000).await.unwrap(), content.slice(99_999..100_999));
    upload.commit(&sha256(&content)).await.unwrap();
    assert_eq!(reader.read_at(299_000, 5_000).await.unwrap(), content.slice(299_000..));
}

/// All tests of the contract, for one backend.
macro_rules! contract_tests {
    ($backend:ty) => {
        $crate::blobs::contract::contract_tests! { $backend:
            put_blob_exists_after_restart,
            uploaded_blob_of_any_size_exists,
            range_read_returns_exactly_the_range,
            upload_is_invisible_before_commit,
            wrong_digest_is_rejected,
            commit_accepts_another_algorithm,
            upload_resumes_after_restart,
            resume_overwrites_unsaved_bytes,
            resume_invalidates_the_earlier_writer,
            dropped_write_does_no_harm,
            saved_bytes_are_readable_beside_the_writer,
            aborted_upload_is_gone,
            stale_uploads_are_removed,
            storing_a_blob_again_keeps_one_blob,
            concurrent_writers_of_one_blob_succeed,
            deleted_blob_stays_readable_for_its_readers,
            blobs_are_deleted_at_once_if_present,
            concurrent_delete_and_put_leave_a_valid_blob,
            list_returns_all_blobs,
            journaled_content_is_complete_and_restorable,
        }
    };
    ($backend:ty: $($test:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::blobs::contract::$test::<$backend>().await;
            }
        )*
    };
}
pub(crate) use contract_tests;
