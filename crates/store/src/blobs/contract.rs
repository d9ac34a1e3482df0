//! The contract of [`BlobStore`] as tests, the same for every backend.
//!
//! A backend says in [`Backend`] how it is made, and gets all of them with `contract_tests!`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use oci::{Algorithm, Digest};
use uuid::Uuid;

use super::{Blob, BlobStore, Pressure, Stored, Upload};
use crate::StoreError;

/// A place for blobs that lasts as long as the value.
pub(crate) trait Backend: Sized {
    /// An empty one.
    fn new() -> Self;
    /// A store on it; another one on the same place each time, as after a restart.
    fn store(&self) -> Arc<dyn BlobStore>;
}

/// Content that repeats nowhere, so that any mix-up shows.
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

/// Takes in `content` in pieces of these lengths, over and over.
pub(crate) async fn upload(store: &dyn BlobStore, content: &Bytes, lengths: &[usize]) -> Upload {
    let mut upload = store.begin(Uuid::new_v4(), Algorithm::Sha256).await.unwrap();
    let mut rest = content.clone();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let piece = rest.split_to(rest.len().min(*length));
        // As several slices, one of them empty, as they may come from a connection.
        let half = piece.len() / 2;
        let pieces = vec![piece.slice(..half), Bytes::new(), piece.slice(half..)];
        upload = store.append(upload, pieces).await.unwrap();
    }
    upload
}

/// A store on the same place as after a restart, with what the one before had left unsettled.
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
        assert!(!piece.is_empty(), "an empty piece is no use to anyone");
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

pub(crate) async fn what_was_put_is_there_after_a_restart<B: Backend>() {
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

pub(crate) async fn what_was_uploaded_is_there_whatever_its_size_and_pieces<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let sizes = [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, (1 << 20) + 7, (9 << 20) + 3];
    for (seed, size) in sizes.into_iter().enumerate() {
        let content = content(size, seed as u64);
        let upload = upload(&*store, &content, &[1000, 1, 300_000]).await;
        assert_eq!(upload.offset, size as u64);
        let stored = store.commit(upload, &sha256(&content)).await.unwrap();
        assert_eq!(stored.size, size as u64);
        present(&*store, &content).await;
        present(&*restarted(&backend, &sha256(&content), stored).await, &content).await;
    }
    assert_eq!(all(&*store).await.len(), sizes.len());
}

pub(crate) async fn any_range_is_exactly_that_range<B: Backend>() {
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

pub(crate) async fn nothing_is_seen_of_an_upload_before_its_end<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let content = content(100_000, 4);
    let upload = upload(&*store, &content, &[50_000]).await;
    absent(&*store, &sha256(&content)).await;
    absent(&*store, &upload.digester.clone().finish()).await;
    assert!(all(&*store).await.is_empty());
    store.commit(upload, &sha256(&content)).await.unwrap();
    present(&*store, &content).await;
}

pub(crate) async fn content_is_not_stored_under_a_digest_that_is_not_its_own<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let (content, other) = (content(5000, 5), sha256(b"other"));
    let upload = upload(&*store, &content, &[5000]).await;
    let (upload, state) = store.save(upload).await.unwrap();
    match store.commit(upload, &other).await.unwrap_err() {
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
    let resumed = Upload::resume(&state).unwrap();
    store.append(resumed, vec![Bytes::from_static(b"more")]).await.unwrap_err();
}

pub(crate) async fn a_digest_may_have_another_algorithm_than_the_upload<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let content = content(300_000, 6);
    let digest = Algorithm::Sha512.digest(&content);
    let wrong = upload(&*store, &content, &[70_000]).await;
    let other = Algorithm::Sha512.digest(b"other");
    assert!(matches!(store.commit(wrong, &other).await, Err(StoreError::DigestMismatch { .. })));
    let right = upload(&*store, &content, &[70_000]).await;
    assert_eq!(store.commit(right, &digest).await.unwrap().size, 300_000);
    assert!(read(store.open(&digest).await.unwrap().unwrap(), 0..300_000).await == content);
    absent(&*store, &sha256(&content)).await;
    assert_eq!(all(&*store).await.get(&digest), Some(&300_000));
}

pub(crate) async fn an_upload_goes_on_after_a_restart<B: Backend>() {
    let backend = B::new();
    let content = content(700_000, 7);
    for begun in [0, 1, 5_000, 64 << 10, 400_000] {
        let first = backend.store();
        let upload = upload(&*first, &content.slice(..begun), &[150_000]).await;
        let (upload, state) = first.save(upload).await.unwrap();
        drop(upload);
        let store = backend.store();
        let resumed = Upload::resume(&state).unwrap();
        assert_eq!(resumed.offset, begun as u64);
        let resumed = store.append(resumed, vec![content.slice(begun..)]).await.unwrap();
        store.commit(resumed, &sha256(&content)).await.unwrap();
        present(&*store, &content).await;
        store.delete(&sha256(&content)).await.unwrap();
    }
}

pub(crate) async fn what_came_after_the_last_save_is_written_over<B: Backend>() {
    let backend = B::new();
    let content = content(200_000, 8);
    for (lost, rest) in [(900_000, 150_000), (900_000, 5_000), (3_000, 5_000)] {
        let whole = content.slice(..50_000 + rest);
        let store = backend.store();
        let upload = upload(&*store, &whole.slice(..50_000), &[50_000]).await;
        let (saved, state) = store.save(upload).await.unwrap();
        // A connection that broke: this was taken in, but never written down.
        let lost = backend.store().append(saved, vec![self::content(lost, 9)]).await.unwrap();
        drop(lost);
        let store = backend.store();
        let resumed = Upload::resume(&state).unwrap();
        let resumed = store.append(resumed, vec![whole.slice(50_000..)]).await.unwrap();
        assert_eq!(store.commit(resumed, &sha256(&whole)).await.unwrap().size, whole.len() as u64);
        present(&*store, &whole).await;
        store.delete(&sha256(&whole)).await.unwrap();
    }
}

pub(crate) async fn an_upload_that_was_taken_up_again_shuts_out_the_one_before<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let content = content(90_000, 10);
    let old = upload(&*store, &content.slice(..30_000), &[30_000]).await;
    let (old, state) = store.save(old).await.unwrap();
    let new = Upload::resume(&state).unwrap();
    let new = store.append(new, vec![content.slice(30_000..60_000)]).await.unwrap();
    // The old request is still at it, with something else to write at the same place.
    store.append(old, vec![self::content(30_000, 11)]).await.unwrap_err();
    let new = store.append(new, vec![content.slice(60_000..)]).await.unwrap();
    store.commit(new, &sha256(&content)).await.unwrap();
    present(&*store, &content).await;
}

pub(crate) async fn a_step_that_nobody_waits_for_does_no_harm<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    for round in 0..50 {
        let content = content(400_000, 100 + round);
        let old = upload(&*store, &content.slice(..100_000), &[100_000]).await;
        let (old, state) = store.save(old).await.unwrap();
        // Dropped as soon as it has begun, or a little later.
        let step = store.append(old, vec![self::content(300_000, 12)]);
        let _ = tokio::time::timeout(std::time::Duration::from_micros(round * 10), step).await;
        let new = Upload::resume(&state).unwrap();
        let new = store.append(new, vec![content.slice(100_000..)]).await.unwrap();
        store.commit(new, &sha256(&content)).await.unwrap();
        present(&*store, &content).await;
    }
}

pub(crate) async fn an_aborted_upload_is_gone<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let content = content(10_000, 13);
    let upload = upload(&*store, &content, &[10_000]).await;
    let id = upload.id;
    let (upload, state) = store.save(upload).await.unwrap();
    let again = Upload::resume(&state).unwrap();
    let unsaved = self::upload(&*store, &content, &[10_000]).await;
    store.abort(id).await.unwrap();
    store.abort(unsaved.id).await.unwrap();
    store.commit(unsaved, &sha256(&content)).await.unwrap_err();
    store.commit(upload, &sha256(&content)).await.unwrap_err();
    store.commit(again, &sha256(&content)).await.unwrap_err();
    absent(&*store, &sha256(&content)).await;
    store.abort(id).await.unwrap();
    store.abort(Uuid::new_v4()).await.unwrap();
}

pub(crate) async fn storing_a_blob_again_keeps_one_blob<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    let content = content(100_000, 14);
    store.put(&sha256(&content), content.clone()).await.unwrap();
    store.put(&sha256(&content), content.clone()).await.unwrap();
    let again = upload(&*store, &content, &[30_000]).await;
    let id = again.id;
    assert_eq!(store.commit(again, &sha256(&content)).await.unwrap().size, 100_000);
    present(&*store, &content).await;
    assert_eq!(all(&*store).await.len(), 1);
    store.abort(id).await.unwrap();
    present(&*store, &content).await;
}

pub(crate) async fn many_store_the_same_content_at_once<B: Backend>() {
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
                    assert_eq!(store.commit(upload, &digest).await.unwrap().size, 200_000);
                }
                // Acknowledged, it is there.
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

pub(crate) async fn what_is_deleted_is_gone_but_not_for_those_who_read_it<B: Backend>() {
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

pub(crate) async fn deleting_and_storing_at_once_ends_in_one_of_both<B: Backend>() {
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

pub(crate) async fn all_blobs_are_listed<B: Backend>() {
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
    // One who listens no more stops it.
    assert!(store.list().next().await.is_some());
}

pub(crate) async fn what_is_unsettled_is_whole_and_can_be_stored_anew<B: Backend>() {
    let backend = B::new();
    let store = backend.store();
    for (seed, size) in [0, 1, 5000, 64 << 10, 200_000].into_iter().enumerate() {
        let content = content(size, 40 + seed as u64);
        let digest = sha256(&content);
        for put in [true, false, true] {
            let stored = if put {
                store.put(&digest, content.clone()).await.unwrap()
            } else {
                store.commit(upload(&*store, &content, &[1000, 77]).await, &digest).await.unwrap()
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

/// All tests of the contract, for one backend.
macro_rules! contract_tests {
    ($backend:ty) => {
        $crate::blobs::contract::contract_tests! { $backend:
            what_was_put_is_there_after_a_restart,
            what_was_uploaded_is_there_whatever_its_size_and_pieces,
            any_range_is_exactly_that_range,
            nothing_is_seen_of_an_upload_before_its_end,
            content_is_not_stored_under_a_digest_that_is_not_its_own,
            a_digest_may_have_another_algorithm_than_the_upload,
            an_upload_goes_on_after_a_restart,
            what_came_after_the_last_save_is_written_over,
            an_upload_that_was_taken_up_again_shuts_out_the_one_before,
            a_step_that_nobody_waits_for_does_no_harm,
            an_aborted_upload_is_gone,
            storing_a_blob_again_keeps_one_blob,
            many_store_the_same_content_at_once,
            what_is_deleted_is_gone_but_not_for_those_who_read_it,
            deleting_and_storing_at_once_ends_in_one_of_both,
            all_blobs_are_listed,
            what_is_unsettled_is_whole_and_can_be_stored_anew,
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
