//! Uploads without HTTP: torn bodies, chunks in the wrong place, restarts, two at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixture;

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use oci::{Algorithm, Digest, RepositoryName};
use registry::uploads::ChunkRange;
use registry::{Error, ReceiveError};
use tempfile::TempDir;

use fixture::open;

type Piece = Result<Bytes, ReceiveError>;

fn name(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

fn body(pieces: &[&'static [u8]]) -> stream::Iter<std::vec::IntoIter<Piece>> {
    stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect::<Vec<_>>())
}

fn torn(pieces: &[&'static [u8]]) -> stream::Iter<std::vec::IntoIter<Piece>> {
    let mut pieces: Vec<Piece> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
    pieces.push(Err(ReceiveError::Torn("connection reset".to_owned())));
    stream::iter(pieces)
}

fn digest(content: &[u8]) -> Digest {
    Algorithm::Sha256.digest(content)
}

/// More than is kept in memory.
static LARGE: [u8; 300_000] = [7; 300_000];

#[tokio::test]
async fn blob_upload_resumes_although_the_blob_exists() {
    let scratch = TempDir::new().unwrap();
    let registry = open(&scratch).await;
    let (app, other) = (name("team/app"), name("team/other"));
    let whole = digest(&LARGE);
    registry.upload_blob(&app, whole, body(&[&LARGE])).await.unwrap();

    let id = registry.begin_upload(&other, None, Algorithm::Sha256).await.unwrap().id;
    let first = torn(&[&LARGE[..200_000]]);
    let error = registry.finish_upload(&other, None, id, None, whole, first).await.unwrap_err();
    assert!(matches!(error, Error::Receive(ReceiveError::Torn(_))), "{error}");
    assert_eq!(registry.upload_status(&other, None, id).await.unwrap().offset, 200_000);
    registry.blob_size(&other, &whole).await.unwrap_err();
    let rest = body(&[&LARGE[200_000..]]);
    let size = registry.finish_upload(&other, None, id, None, whole, rest).await.unwrap();
    assert_eq!(size, 300_000);
    assert_eq!(registry.blob_size(&other, &whole).await.unwrap(), 300_000);

    // Knowing the digest alone does not give the blob.
    let third = name("team/third");
    let error = registry.upload_blob(&third, whole, body(&[&[8; 300_000]])).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    registry.blob_size(&third, &whole).await.unwrap_err();
    registry.close().await;
}

#[tokio::test]
async fn upload_keeps_bytes_of_a_broken_connection() {
    let scratch = TempDir::new().unwrap();
    let registry = open(&scratch).await;
    let app = name("team/app");
    let id = registry.begin_upload(&app, None, Algorithm::Sha256).await.unwrap().id;
    let error = registry.append_upload(&app, None, id, None, torn(&[b"con"])).await.unwrap_err();
    assert!(matches!(error, Error::Receive(ReceiveError::Torn(_))), "{error}");
    assert_eq!(registry.upload_status(&app, None, id).await.unwrap().offset, 3);
    let range = ChunkRange { first: 3, last: 6 };
    let size = registry
        .finish_upload(&app, None, id, Some(range), digest(b"content"), body(&[b"tent"]))
        .await
        .unwrap();
    assert_eq!(size, 7);
    assert_eq!(registry.blob_size(&app, &digest(b"content")).await.unwrap(), 7);
    registry.close().await;
}

#[tokio::test]
async fn upload_keeps_bytes_of_an_abandoned_request() {
    let scratch = TempDir::new().unwrap();
    let registry = open(&scratch).await;
    let app = name("team/app");
    let id = registry.begin_upload(&app, None, Algorithm::Sha256).await.unwrap().id;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Piece>();
    let slow = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    sender.send(Ok(Bytes::from_static(b"con"))).unwrap();
    // As HTTP/2 does when a client resets the stream: nobody waits for the outcome any more, and then the
    // body ends.
    let request = registry.append_upload(&app, None, id, None, Box::pin(slow));
    tokio::time::timeout(Duration::from_millis(50), request).await.unwrap_err();
    sender.send(Err(ReceiveError::Torn("stream reset".to_owned()))).unwrap();
    let range = ChunkRange { first: 3, last: 6 };
    let last = body(&[b"tent"]);
    assert_eq!(
        registry.finish_upload(&app, None, id, Some(range), digest(b"content"), last).await.unwrap(),
        7
    );
    registry.close().await;
}

#[tokio::test]
async fn upload_goes_on_after_a_restart() {
    let scratch = TempDir::new().unwrap();
    let app = name("team/app");
    let registry = open(&scratch).await;
    let id = registry.begin_upload(&app, None, Algorithm::Sha256).await.unwrap().id;
    registry.append_upload(&app, None, id, None, body(&[b"con", b"te"])).await.unwrap();
    registry.close().await;
    drop(registry);

    let registry = open(&scratch).await;
    assert_eq!(registry.upload_status(&app, None, id).await.unwrap().offset, 5);
    registry.finish_upload(&app, None, id, None, digest(b"content"), body(&[b"nt"])).await.unwrap();
    registry.close().await;
}

/// Nothing of it is written down: the id says it all.
#[tokio::test]
async fn empty_upload_survives_restart_for_its_owner() {
    let scratch = TempDir::new().unwrap();
    let (app, other, ann) = (name("team/app"), name("team/app-x"), "ann".parse().unwrap());
    let registry = open(&scratch).await;
    let nobodys = registry.begin_upload(&app, None, Algorithm::Sha256).await.unwrap().id;
    let anns = registry.begin_upload(&app, Some(&ann), Algorithm::Sha512).await.unwrap().id;
    registry.close().await;
    let metadata = store::Metadata::open(&registry.directory().metadata()).unwrap();
    assert!(metadata.unfinished_uploads().await.unwrap().is_empty());
    metadata.close().await;
    drop(registry);

    let registry = open(&scratch).await;
    for (repository, account, id) in [
        (&other, None, nobodys),
        (&app, Some(&ann), nobodys),
        (&app, None, anns),
        (&other, Some(&ann), anns),
        (&app, None, uuid::Uuid::new_v4()),
    ] {
        let status = registry.upload_status(repository, account, id).await.unwrap_err();
        let append = registry.append_upload(repository, account, id, None, body(&[b"x"])).await.unwrap_err();
        for error in [status, append] {
            assert!(matches!(error, Error::UploadUnknown(unknown) if unknown == id), "{error}");
        }
    }
    assert_eq!(registry.upload_status(&app, None, nobodys).await.unwrap().offset, 0);
    registry.append_upload(&app, None, nobodys, None, body(&[b"con"])).await.unwrap();
    registry.finish_upload(&app, None, nobodys, None, digest(b"content"), body(&[b"tent"])).await.unwrap();
    let claim = Algorithm::Sha512.digest(b"other");
    registry.finish_upload(&app, Some(&ann), anns, None, claim, body(&[b"other"])).await.unwrap();
    for (account, id) in [(None, nobodys), (Some(&ann), anns)] {
        let ended = registry.upload_status(&app, account, id).await.unwrap_err();
        assert!(matches!(ended, Error::UploadUnknown(_)), "{ended}");
    }
    registry.close().await;
}

#[tokio::test]
async fn ended_empty_upload_is_unknown() {
    let scratch = TempDir::new().unwrap();
    let registry = open(&scratch).await;
    let app = name("team/app");
    let begin = async || registry.begin_upload(&app, None, Algorithm::Sha256).await.unwrap().id;
    let (ended, mismatched, cancelled) = (begin().await, begin().await, begin().await);
    registry.finish_upload(&app, None, ended, None, digest(b"x"), body(&[b"x"])).await.unwrap();
    registry.finish_upload(&app, None, mismatched, None, digest(b"x"), body(&[b"y"])).await.unwrap_err();
    registry.cancel_upload(&app, None, cancelled).await.unwrap();
    for id in [ended, mismatched, cancelled] {
        let status = registry.upload_status(&app, None, id).await.unwrap_err();
        let cancel = registry.cancel_upload(&app, None, id).await.unwrap_err();
        let append = registry.append_upload(&app, None, id, None, body(&[b"x"])).await.unwrap_err();
        for error in [status, cancel, append] {
            assert!(matches!(error, Error::UploadUnknown(unknown) if unknown == id), "{error}");
        }
    }
    registry.close().await;
}

#[tokio::test]
async fn any_number_of_uploads_may_have_begun() {
    let scratch = TempDir::new().unwrap();
    let registry = open(&scratch).await;
    let app = name("team/app");
    let mut begun = Vec::new();
    for _ in 0..1_500 {
        begun.push(registry.begin_upload(&app, None, Algorithm::Sha256).await.unwrap().id);
    }
    for id in &begun {
        assert_eq!(registry.upload_status(&app, None, *id).await.unwrap().offset, 0);
    }
    for id in begun {
        registry.append_upload(&app, None, id, None, body(&[b"con"])).await.unwrap();
        registry.finish_upload(&app, None, id, None, digest(b"content"), body(&[b"tent"])).await.unwrap();
    }
    registry.close().await;
}

#[tokio::test]
async fn chunk_that_does_not_fit_changes_nothing() {
    let scratch = TempDir::new().unwrap();
    let registry = open(&scratch).await;
    let app = name("team/app");
    let id = registry.begin_upload(&app, None, Algorithm::Sha256).await.unwrap().id;
    registry
        .append_upload(&app, None, id, Some(ChunkRange { first: 0, last: 2 }), body(&[b"con"]))
        .await
        .unwrap();
    for first in [0, 2, 4, 1000] {
        let range = Some(ChunkRange { first, last: first + 3 });
        let error = registry.append_upload(&app, None, id, range, body(&[b"tent"])).await.unwrap_err();
        assert!(matches!(error, Error::OutOfOrder { offset: 3, .. }), "{error}");
    }
    let range = Some(ChunkRange { first: 3, last: 4 });
    let error = registry.append_upload(&app, None, id, range, body(&[b"tent"])).await.unwrap_err();
    assert!(matches!(error, Error::ChunkLength { expected: 2, .. }), "{error}");
    assert_eq!(registry.upload_status(&app, None, id).await.unwrap().offset, 3);
    registry.finish_upload(&app, None, id, None, digest(b"content"), body(&[b"tent"])).await.unwrap();
    registry.close().await;
}

#[tokio::test]
async fn upload_belongs_to_its_repository() {
    let scratch = TempDir::new().unwrap();
    let registry = open(&scratch).await;
    let (app, other) = (name("team/app"), name("team/app-x"));
    let id = registry.begin_upload(&app, None, Algorithm::Sha256).await.unwrap().id;
    let append = registry.append_upload(&other, None, id, None, body(&[b"x"])).await.unwrap_err();
    let finish =
        registry.finish_upload(&other, None, id, None, digest(b"x"), body(&[b"x"])).await.unwrap_err();
    let status = registry.upload_status(&other, None, id).await.unwrap_err();
    let cancel = registry.cancel_upload(&other, None, id).await.unwrap_err();
    for error in [append, finish, status, cancel] {
        assert!(matches!(error, Error::UploadUnknown(unknown) if unknown == id), "{error}");
    }
    registry.close().await;
}

#[tokio::test]
async fn wrong_digest_ends_the_upload_and_stores_nothing() {
    let scratch = TempDir::new().unwrap();
    let registry = open(&scratch).await;
    let app = name("team/app");
    let id = registry.begin_upload(&app, None, Algorithm::Sha256).await.unwrap().id;
    let claim = digest(b"content");
    let error = registry.finish_upload(&app, None, id, None, claim, body(&[b"other"])).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { expected, .. } if expected == claim), "{error}");
    assert!(matches!(registry.blob_size(&app, &claim).await, Err(Error::BlobUnknown { .. })));
    assert!(matches!(registry.upload_status(&app, None, id).await, Err(Error::UploadUnknown(_))));
    let whole = registry.upload_blob(&app, claim, body(&[b"other"])).await.unwrap_err();
    assert!(matches!(whole, Error::DigestMismatch { .. }), "{whole}");
    let left = std::fs::read_dir(registry.directory().uploads()).unwrap().count();
    assert_eq!(left, 0, "files are left behind");
    registry.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_of_one_blob_at_once_all_succeed() {
    let scratch = TempDir::new().unwrap();
    let registry = open(&scratch).await;
    let content: &'static [u8] = vec![7; 1 << 20].leak();
    let uploads = (0..16).map(|number| {
        let registry = registry.clone();
        tokio::spawn(async move {
            let app = name(&format!("team/app-{}", number % 4));
            registry.upload_blob(&app, digest(content), body(&[content])).await
        })
    });
    for upload in uploads.collect::<Vec<_>>() {
        assert_eq!(upload.await.unwrap().unwrap(), 1 << 20);
    }
    registry.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_requests_to_one_upload_take_turns() {
    let scratch = TempDir::new().unwrap();
    let registry = open(&scratch).await;
    let app = name("team/app");
    let id = registry.begin_upload(&app, None, Algorithm::Sha256).await.unwrap().id;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Piece>();
    let (taken, is_taken) = tokio::sync::oneshot::channel();
    let slow = stream::unfold((receiver, Some(taken), 0), |(mut receiver, mut taken, polls)| async move {
        // The second piece is asked for once the first one was received under the lock.
        if polls == 1
            && let Some(taken) = taken.take()
        {
            let _ = taken.send(());
        }
        Some((receiver.recv().await?, (receiver, taken, polls + 1)))
    });
    let first = tokio::spawn({
        let (registry, app) = (registry.clone(), app.clone());
        async move { registry.append_upload(&app, None, id, None, Box::pin(slow)).await }
    });
    sender.send(Ok(Bytes::from_static(b"con"))).unwrap();
    is_taken.await.unwrap();
    let mut second =
        Box::pin(registry.finish_upload(&app, None, id, None, digest(b"content"), body(&[b"tent"])));
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(sender);
    assert_eq!(first.await.unwrap().unwrap().offset, 3);
    assert_eq!(second.await.unwrap(), 7);
    registry.close().await;
}
