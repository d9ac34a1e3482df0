//! Tests of the blob store in a bucket, against servers of different make: versitygw and moto, and azurite.

mod cached;
#[path = "../../../../../tests/object_servers/mod.rs"]
mod servers;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci::Algorithm;
use tempfile::TempDir;
use uuid::Uuid;

use self::servers::faults::{Fault, proxy};
use self::servers::{AZURITE, MOTO, Prefix, Server, VERSITYGW};
use super::place::{Limits, ObjectBlobs};
use crate::blobs::contract::{Backend, content, contract_tests, read, sha256, upload};
use crate::blobs::{BlobStore, Claim};
use crate::object_settings::{AccessKey, ObjectSettings};
use crate::{Directory, StoreError};

/// The smallest part that Amazon and moto accept.
const PART: u64 = 5 << 20;

fn settings(prefix: Prefix) -> ObjectSettings {
    ObjectSettings {
        endpoint: Some(prefix.endpoint),
        key: Some(AccessKey { id: prefix.id, secret: prefix.secret }.into()),
        ..ObjectSettings::of(prefix.url)
    }
}

/// A prefix of its own in the bucket of a server, and a data directory.
struct Place {
    settings: ObjectSettings,
    directory: Directory,
    _scratch: TempDir,
}

impl Place {
    fn on(server: &Server) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self {
            settings: settings(server.prefix(&Uuid::new_v4().to_string())),
            directory: Directory::open(scratch.path()).unwrap(),
            _scratch: scratch,
        }
    }

    fn blobs(&self) -> ObjectBlobs {
        ObjectBlobs::open(&self.settings, self.directory.uploads(), false).unwrap()
    }

    /// The same prefix, for another data directory.
    fn again(&self) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        Self { settings: self.settings.clone(), directory, _scratch: scratch }
    }

    /// A store with this interval between renewals of its lease.
    fn renewing(&self, renewal: Duration) -> ObjectBlobs {
        let limits = Limits { renewal, ..Limits::default() };
        ObjectBlobs { limits, ..self.blobs() }
    }

    /// A store with small parts.
    fn in_parts(&self) -> ObjectBlobs {
        let limits = Limits { part: PART, copy: 2 * PART, copy_part: PART, ..Limits::default() };
        ObjectBlobs { limits, ..self.blobs() }
    }
}

macro_rules! backend {
    ($module:ident, $server:ident) => {
        mod $module {
            use super::*;

            pub(super) struct Bucket(Place);

            impl Backend for Bucket {
                fn new() -> Self {
                    Self(Place::on(&$server))
                }

                fn store(&self) -> Arc<dyn BlobStore> {
                    Arc::new(self.0.blobs())
                }
            }

            contract_tests!(Bucket);

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn upload_in_parts_becomes_a_blob() {
                super::upload_in_parts_becomes_a_blob(&Place::on(&$server)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn second_server_is_refused() {
                super::second_server_is_refused(&Place::on(&$server)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn released_lease_is_taken_without_a_wait() {
                super::released_lease_is_taken_without_a_wait(&Place::on(&$server)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn upload_in_parts_resumes_after_restart() {
                super::upload_in_parts_resumes_after_restart(&Place::on(&$server)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn upload_goes_on_at_another_server() {
                super::upload_goes_on_at_another_server(&Place::on(&$server)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn overtaken_writer_damages_no_part() {
                super::overtaken_writer_damages_no_part(&Place::on(&$server)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn ended_upload_leaves_no_parts() {
                super::ended_upload_leaves_no_parts(&Place::on(&$server)).await;
            }

            #[tokio::test]
            async fn second_search_removes_leftovers() {
                super::second_search_removes_leftovers(&Place::on(&$server)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn damaged_object_is_moved_aside() {
                super::damaged_object_is_moved_aside(&Place::on(&$server)).await;
            }
        }
    };
}

backend!(versitygw, VERSITYGW);
backend!(moto, MOTO);
backend!(azurite, AZURITE);

async fn is(store: &dyn BlobStore, digest: &oci::Digest, content: &[u8]) {
    let blob = store.open(digest).await.unwrap().expect("it is stored");
    assert!(read(blob, 0..content.len() as u64).await == content);
    let middle = content.len() as u64 / 2..content.len() as u64 - 1;
    let blob = store.open(digest).await.unwrap().unwrap();
    let part = &content[content.len() / 2..content.len() - 1];
    assert!(read(blob, middle).await == part);
}

async fn leaves_nothing(blobs: &ObjectBlobs, place: &Place) {
    assert_eq!(blobs.bucket.unfinished(blobs.bucket.prefix()).await.unwrap(), []);
    use futures_util::TryStreamExt as _;
    for prefix in [blobs.keys.uploads(), blobs.keys.tails()] {
        let keys: Vec<_> = blobs.bucket.list(prefix).try_collect().await.unwrap();
        assert_eq!(keys, []);
    }
    assert_eq!(std::fs::read_dir(place.directory.uploads()).unwrap().count(), 0);
}

async fn second_server_is_refused(place: &Place) {
    let first = place.renewing(Duration::ZERO);
    first.claim("one", Claim::New).await.unwrap();
    let other = place.again();
    // Each check of the first server renews its lease.
    let renewed = {
        let first = first.clone();
        tokio::spawn(async move {
            loop {
                first.ready().await.unwrap();
            }
        })
    };
    let second = other.renewing(Duration::from_millis(300));
    let refused = second.claim("one", Claim::Existing).await.unwrap_err().to_string();
    assert!(refused.contains("is in use by another server"), "{refused}");
    renewed.abort();
    let _ = renewed.await;

    // A server that stopped does not renew its lease.
    second.claim("one", Claim::Existing).await.unwrap();
    second.ready().await.unwrap();
    assert!(matches!(first.ready().await, Err(StoreError::ContentGone(_))));

    // The directory of a lease takes it over at once, and renews it after it was removed.
    let again = other.renewing(Duration::from_secs(3600));
    again.claim("one", Claim::Existing).await.unwrap();
    again.bucket.delete(&again.keys.lease()).await.unwrap();
    again.ready().await.unwrap();
    again.bucket.delete(&again.keys.lease()).await.unwrap();
    again.bucket.delete(&again.keys.identity()).await.unwrap();
    assert!(matches!(again.ready().await, Err(StoreError::ContentGone(_))));
}

async fn released_lease_is_taken_without_a_wait(place: &Place) {
    let first = place.renewing(Duration::ZERO);
    first.claim("one", Claim::New).await.unwrap();
    first.release().await.unwrap();
    // A late check of the first server renews nothing.
    first.ready().await.unwrap();
    // Without the release, it waits for three of these.
    let other = place.again();
    let second = other.renewing(Duration::from_secs(24 * 3600));
    second.claim("one", Claim::Existing).await.unwrap();
    second.ready().await.unwrap();
    assert!(matches!(first.ready().await, Err(StoreError::ContentGone(_))));
    // A server that has lost the lease does not release it.
    first.release().await.unwrap();
    second.ready().await.unwrap();
    second.release().await.unwrap();
    place.renewing(Duration::from_secs(24 * 3600)).claim("one", Claim::Existing).await.unwrap();
}

async fn upload_in_parts_becomes_a_blob(place: &Place) {
    let blobs = place.in_parts();
    // One part, exactly two, and a copy in parts.
    for (seed, size) in [PART, 2 * PART, 2 * PART + 1, 3 * PART + 77].into_iter().enumerate() {
        let content = content(usize::try_from(size).unwrap(), seed as u64);
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = algorithm.digest(&content);
            let written = upload(&blobs, &content, &[1_000_000]).await;
            assert_eq!(written.commit(&digest).await.unwrap().size, size);
            is(&blobs, &digest, &content).await;
        }
        let digest = sha256(&content);
        let mut known = blobs.begin_known(Uuid::new_v4(), &digest, seed % 2 == 0).await.unwrap();
        known.write(content.clone()).await.unwrap();
        assert_eq!(known.commit(&digest).await.unwrap().size, size);
        is(&blobs, &digest, &content).await;
        leaves_nothing(&blobs, place).await;
    }
}

async fn upload_in_parts_resumes_after_restart(place: &Place) {
    let content = content(usize::try_from(3 * PART + 99).unwrap(), 5);
    let mut state =
        place.in_parts().begin(Uuid::new_v4(), Algorithm::Sha256).await.unwrap().save().await.unwrap();
    // Each state is used twice: the first attempt to continue is lost.
    for chunk in [1, 4 << 20, 6 << 20, 1000, 4 << 20, 100] {
        let offset = usize::try_from(state.offset).unwrap();
        let mut lost = place.in_parts().resume(&state).await.unwrap();
        lost.write(self::content(7 << 20, 6)).await.unwrap();
        drop(lost);
        let mut resumed = place.in_parts().resume(&state).await.unwrap();
        resumed.write(content.slice(offset..offset + chunk)).await.unwrap();
        state = resumed.save().await.unwrap();
    }
    let blobs = place.in_parts();
    let mut resumed = blobs.resume(&state).await.unwrap();
    resumed.write(content.slice(usize::try_from(state.offset).unwrap()..)).await.unwrap();
    resumed.commit(&sha256(&content)).await.unwrap();
    is(&blobs, &sha256(&content), &content).await;
    assert!(blobs.remove_stale_uploads(&[].into()).await.unwrap() <= 7, "those of lost attempts");
    leaves_nothing(&blobs, place).await;
}

async fn upload_goes_on_at_another_server(place: &Place) {
    let others = [place.again(), place.again()];
    let shared = |place: &Place| ObjectBlobs { is_shared: true, ..place.in_parts() };
    let content = content(usize::try_from(2 * PART + 999_999).unwrap(), 11);
    let begun = shared(place).begin(Uuid::new_v4(), Algorithm::Sha256).await.unwrap().save().await.unwrap();
    let mut state = begun;
    // The last bytes before the end of a part, that end, and one byte after it among them.
    let chunks = [1, 1000, 700_000, 5_000, PART - 706_001, 1, PART - 2, 2, 900_000, 3];
    for (index, chunk) in chunks.into_iter().enumerate() {
        let server = shared(&others[index % 2]);
        assert!(server.is_resumable(&state).await.unwrap());
        let offset = usize::try_from(state.offset).unwrap();
        let mut lost = shared(place).resume(&state).await.unwrap();
        lost.write(self::content(700_000, 12)).await.unwrap();
        lost.save_for_others().await.unwrap();
        let mut resumed = server.resume(&state).await.unwrap();
        let end = offset + usize::try_from(chunk).unwrap();
        resumed.write(content.slice(offset..end)).await.unwrap();
        state = resumed.save_for_others().await.unwrap();
        assert!(state.is_shared);
    }
    // One writer deletes what it has replaced.
    let server = shared(&others[0]);
    let mut resumed = server.resume(&state).await.unwrap();
    for _ in 0..20 {
        let offset = usize::try_from(resumed.offset()).unwrap();
        resumed.write(content.slice(offset..offset + 2_000)).await.unwrap();
        state = resumed.save_for_others().await.unwrap();
    }
    use futures_util::TryStreamExt as _;
    let pieces: Vec<_> = server.bucket.list(server.keys.tail(state.id)).try_collect().await.unwrap();
    assert!(pieces.len() < 2 * chunks.len() + 15, "{pieces:?}");

    let last = shared(&others[1]);
    let mut resumed = last.resume(&state).await.unwrap();
    resumed.write(content.slice(usize::try_from(state.offset).unwrap()..)).await.unwrap();
    resumed.commit(&sha256(&content)).await.unwrap();
    is(&last, &sha256(&content), &content).await;
    for place in others.iter().chain([place]) {
        shared(place).remove_stale_uploads(&[].into()).await.unwrap();
        leaves_nothing(&last, place).await;
    }

    // Bytes that were saved without the others' sake are in one directory.
    let mut own = upload(&server, &content.slice(..5_000), &[1_000]).await;
    let state = own.save().await.unwrap();
    assert!(!state.is_shared && !last.is_resumable(&state).await.unwrap());
    let mut lost = last.resume(&state).await.unwrap();
    lost.write(Bytes::from_static(b"more")).await.unwrap();
    assert!(matches!(lost.save().await, Err(StoreError::UploadLost { .. })));
    assert!(server.is_resumable(&state).await.unwrap());
    let mut resumed = server.resume(&state).await.unwrap();
    resumed.write(content.slice(5_000..6_000)).await.unwrap();
    resumed.commit(&sha256(&content[..6_000])).await.unwrap();
    is(&server, &sha256(&content[..6_000]), &content[..6_000]).await;
    let ended = upload(&server, &content.slice(..5_000), &[1_000]).await.save_for_others().await.unwrap();
    last.abort(ended.id).await.unwrap();
    server.abort(ended.id).await.unwrap();
    leaves_nothing(&server, &others[0]).await;
}

async fn overtaken_writer_damages_no_part(place: &Place) {
    let blobs = place.in_parts();
    let content = content(usize::try_from(4 * PART).unwrap(), 7);
    let begun = usize::try_from(PART + 100).unwrap();
    let mut old = upload(&blobs, &content.slice(..begun), &[1 << 20]).await;
    let state = old.save().await.unwrap();
    // Its parts are on their way when the client comes back.
    old.write(self::content(begun * 2, 8)).await.unwrap();
    let mut new = blobs.resume(&state).await.unwrap();
    new.write(content.slice(begun..)).await.unwrap();
    old.write(self::content(begun, 9)).await.unwrap_err();
    new.commit(&sha256(&content)).await.unwrap();
    is(&blobs, &sha256(&content), &content).await;
}

async fn second_search_removes_leftovers(place: &Place) {
    let blobs = place.in_parts();
    let content = content(usize::try_from(3 * PART).unwrap(), 12);
    let mut saved = upload(&place.in_parts(), &content, &[1 << 20]).await;
    let state = saved.save().await.unwrap();
    let open = upload(&blobs, &content, &[1 << 20]).await;
    // A process that could not abort these.
    let lost = upload(&place.in_parts(), &content, &[1 << 20]).await;
    let mut named = place.in_parts().begin_known(Uuid::new_v4(), &sha256(b"other"), false).await.unwrap();
    named.write(content.clone()).await.unwrap();
    let (lost_id, named_id) = (lost.id(), named.id());
    drop((saved, lost, named));
    let copied = blobs.keys.upload(Uuid::new_v4());
    blobs.bucket.put(&copied, vec![content.clone()]).await.unwrap();

    let known = [state.id].into();
    assert_eq!(blobs.remove_leftovers(&known).await.unwrap(), 0, "they may belong to requests");
    let listed = blobs.bucket.unfinished(blobs.bucket.prefix()).await.unwrap();
    let removed = blobs.remove_leftovers(&known).await.unwrap();
    let left = blobs.bucket.unfinished(blobs.bucket.prefix()).await.unwrap();
    // Azure lists no blocks.
    assert_eq!(removed, 1 + listed.len() - left.len());
    assert_eq!(left.len(), if listed.is_empty() { 0 } else { 2 }, "of {listed:?}");
    assert_eq!(blobs.bucket.stat(&copied).await.unwrap().map(|object| object.size), None);
    assert_eq!(blobs.remove_leftovers(&known).await.unwrap(), 0);
    let resumed = blobs.resume(&state).await.unwrap();
    resumed.commit(&sha256(&content)).await.unwrap();
    open.commit(&sha256(&content)).await.unwrap();
    is(&blobs, &sha256(&content), &content).await;
    for id in [lost_id, named_id] {
        blobs.abort(id).await.unwrap();
    }
    leaves_nothing(&blobs, place).await;
}

async fn ended_upload_leaves_no_parts(place: &Place) {
    let blobs = place.in_parts();
    let content = content(usize::try_from(3 * PART).unwrap(), 10);
    let wrong = upload(&blobs, &content, &[1 << 20]).await;
    let refused = wrong.commit(&sha256(b"other")).await.unwrap_err();
    assert!(matches!(refused, StoreError::DigestMismatch { .. }), "{refused}");
    leaves_nothing(&blobs, place).await;

    let aborted = upload(&blobs, &content, &[1 << 20]).await;
    blobs.abort(aborted.id()).await.unwrap();
    leaves_nothing(&blobs, place).await;

    // After a restart, uploads of the metadata stay.
    let (mut kept, mut lost) =
        (upload(&blobs, &content, &[1 << 20]).await, upload(&blobs, &content, &[1 << 20]).await);
    let (state, _) = (kept.save().await.unwrap(), lost.save().await.unwrap());
    let mut known = blobs.begin_known(Uuid::new_v4(), &sha256(&content), false).await.unwrap();
    known.write(content.clone()).await.unwrap();
    let lost_id = lost.id();
    drop((kept, lost, known));
    let restarted = place.in_parts();
    restarted.remove_stale_uploads(&[state.id].into()).await.unwrap();
    let mut resumed = restarted.resume(&state).await.unwrap();
    resumed.write(Bytes::from_static(b"more")).await.unwrap();
    let whole = [&content[..], b"more"].concat();
    resumed.commit(&sha256(&whole)).await.unwrap();
    is(&restarted, &sha256(&whole), &whole).await;
    restarted.abort(lost_id).await.unwrap();
    leaves_nothing(&restarted, place).await;
}

async fn damaged_object_is_moved_aside(place: &Place) {
    let blobs = place.in_parts();
    let contents: Vec<Bytes> = (1..=2).map(|byte| Bytes::from(vec![byte; 100_000])).collect();
    let [one, other] = [0, 1].map(|at| sha256(&contents[at]));
    blobs.put(&one, contents[0].clone()).await.unwrap();
    assert_eq!(blobs.quarantine(&one).await.unwrap(), None, "it is intact");
    let stamp = blobs.stamp(&one).await.unwrap().unwrap();
    blobs.bucket.put(&blobs.keys.blob(&one), vec![contents[1].clone()]).await.unwrap();
    assert_ne!(blobs.stamp(&one).await.unwrap(), Some(stamp));
    assert!(blobs.quarantine(&one).await.unwrap().unwrap().starts_with(&place.settings.url));
    assert_eq!(blobs.stat(&one).await.unwrap(), None);
    assert_eq!(blobs.recover(&one).await.unwrap(), None);
    assert_eq!(blobs.recover(&other).await.unwrap(), Some(100_000));
    is(&blobs, &other, &contents[1]).await;
    assert_eq!(blobs.recover(&other).await.unwrap(), None);
}

#[tokio::test]
async fn bucket_belongs_to_one_database() {
    let place = Place::on(&VERSITYGW);
    let blobs = place.blobs();
    assert!(matches!(blobs.ready().await, Err(StoreError::ContentGone(_))));
    let refused = async |id: &str, claim| blobs.claim(id, claim).await.unwrap_err().to_string();
    assert!(refused("one", Claim::Existing).await.contains("not the bucket of this database"));
    blobs.put(&sha256(b"foreign"), Bytes::from_static(b"foreign")).await.unwrap();
    assert!(refused("one", Claim::New).await.contains("no repositories that can be adopted"));
    blobs.delete(&sha256(b"foreign")).await.unwrap();
    for claim in [Claim::New, Claim::New, Claim::Existing] {
        blobs.claim("one", claim).await.unwrap();
    }
    blobs.ready().await.unwrap();
    for claim in [Claim::New, Claim::Existing] {
        assert!(refused("other", claim).await.contains("another database"));
    }
    blobs.claim("other", Claim::Rebuilt).await.unwrap();
    blobs.claim("other", Claim::Existing).await.unwrap();
}

/// A place on versitygw behind a proxy with a fault.
fn place_with(fault: Fault) -> Place {
    let place = Place::on(&VERSITYGW);
    let endpoint = Some(format!("http://{}", proxy(VERSITYGW.address(), fault)));
    Place { settings: ObjectSettings { endpoint, ..place.settings.clone() }, ..place }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_requests_are_repeated() {
    for fault in [Fault::SlowDown, Fault::Cut] {
        let place = place_with(fault);
        let blobs = place.in_parts();
        let content = content(usize::try_from(3 * PART + 5).unwrap(), 20);
        let digest = sha256(&content);
        let written = upload(&blobs, &content, &[1 << 20]).await;
        written.commit(&digest).await.unwrap();
        is(&blobs, &digest, &content).await;
        assert_eq!(blobs.stat(&digest).await.unwrap(), Some(content.len() as u64));
        assert!(blobs.delete(&digest).await.unwrap());
        // A repeated request may have begun a second multipart upload.
        blobs.remove_stale_uploads(&[].into()).await.unwrap();
        leaves_nothing(&blobs, &place).await;
    }
}

#[tokio::test]
async fn short_listing_is_continued() {
    let blobs = place_with(Fault::ShortListing).blobs();
    for number in 0..35_u8 {
        blobs.put(&sha256(&[number]), Bytes::from(vec![number])).await.unwrap();
    }
    use futures_util::TryStreamExt as _;
    let listed: Vec<_> = blobs.list().try_collect().await.unwrap();
    assert_eq!(listed.len(), 35);
}

#[tokio::test]
async fn endless_listing_is_refused() {
    use futures_util::TryStreamExt as _;
    for (fault, expected) in [
        (Fault::RepeatedToken, "repeats the continuation token"),
        (Fault::EmptyPages, "does not end a listing"),
    ] {
        let listed: Result<Vec<_>, _> = place_with(fault).blobs().list().try_collect().await;
        let refused = listed.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let blobs = place_with(Fault::Redirect(address)).blobs();
    let content = Bytes::from_static(b"content");
    let expected = format!("redirects to http://{address}/, which is not followed");
    let refused = blobs.put(&sha256(&content), content.clone()).await.unwrap_err().to_string();
    assert!(refused.contains(&expected), "{refused}");
    let refused = blobs.stat(&sha256(&content)).await.unwrap_err().to_string();
    assert!(refused.contains(&expected), "{refused}");
    let refused = blobs.bucket.unfinished("").await.unwrap_err().to_string();
    assert!(refused.contains(&expected), "{refused}");
    other.set_nonblocking(true).unwrap();
    assert_eq!(other.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn store_without_etags_is_refused() {
    let refused = place_with(Fault::NoEtag).blobs().claim("one", Claim::New).await.unwrap_err();
    assert!(refused.to_string().to_lowercase().contains("etag"), "{refused}");
}

#[tokio::test]
async fn absent_server_is_an_error_of_the_object_store() {
    let place = Place::on(&VERSITYGW);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings = ObjectSettings { endpoint: Some(endpoint), ..place.settings.clone() };
    let blobs = ObjectBlobs::open(&settings, place.directory.uploads(), false).unwrap();
    let error = blobs.get(&sha256(b"content")).await.unwrap_err();
    assert!(matches!(error, StoreError::ObjectStore { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("{} does not answer", settings.endpoint.clone().unwrap())), "{text}");
    let wrong = ObjectSettings { url: "s3://no-such-bucket".to_owned(), ..place.settings.clone() };
    let blobs = ObjectBlobs::open(&wrong, place.directory.uploads(), false).unwrap();
    let error = blobs.open(&sha256(b"content")).await.err().expect("the bucket is missing");
    let text = error.to_string();
    assert!(text.contains("there is no bucket no-such-bucket at http") && !text.contains('<'), "{text}");
    let mut refused = place.settings.clone();
    let key = refused.key.expect("a key").get();
    refused.key = Some(AccessKey { secret: "other".to_owned(), ..key }.into());
    let blobs = ObjectBlobs::open(&refused, place.directory.uploads(), false).unwrap();
    let error = blobs.put(&sha256(b"content"), Bytes::from_static(b"content")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("refuses the access key") && text.contains("blobs.secret_key_file"), "{text}");
}
