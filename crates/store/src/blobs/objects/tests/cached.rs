//! Tests of the disk cache of a bucket, with a proxy before versitygw that counts the reads of blobs.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use oci::Digest;

use super::super::place::ObjectBlobs;
use super::servers::VERSITYGW;
use super::servers::faults::counting_proxy;
use super::{Place, content, read, sha256};
use crate::StoreError;
use crate::blobs::BlobStore;
use crate::object_settings::ObjectSettings;

/// The size of the cache. Blobs of up to 1 MiB are small, and those of up to 16 MiB are copied.
const CACHE: u64 = 64 << 20;

/// A place whose reads of blobs are counted.
struct Counted {
    place: Place,
    reads: Arc<AtomicUsize>,
}

impl Counted {
    fn new(cache: u64) -> Self {
        let place = Place::on(&VERSITYGW);
        let (address, reads) = counting_proxy(VERSITYGW.address());
        let endpoint = Some(format!("http://{address}"));
        let settings = ObjectSettings { endpoint, cache, ..place.settings.clone() };
        Self { place: Place { settings, ..place }, reads }
    }

    fn copies(&self) -> PathBuf {
        self.place.directory.uploads().with_file_name("cache")
    }

    fn copy_of(&self, digest: &Digest) -> PathBuf {
        self.copies().join(format!("sha256-{}", digest.hex()))
    }

    /// The number of reads since the last call.
    fn reads(&self) -> usize {
        self.reads.swap(0, Ordering::Relaxed)
    }

    fn bytes(&self) -> u64 {
        let copies = fs::read_dir(self.copies()).unwrap();
        copies.map(|copy| copy.unwrap().metadata().unwrap().len()).sum()
    }
}

async fn stored(blobs: &ObjectBlobs, size: usize, seed: u64) -> (Digest, Bytes) {
    let content = content(size, seed);
    let digest = sha256(&content);
    blobs.put(&digest, content.clone()).await.unwrap();
    (digest, content)
}

async fn is_read(blobs: &ObjectBlobs, digest: &Digest, content: &[u8]) {
    let blob = blobs.open_cached(digest).await.unwrap().expect("it is stored");
    assert!(read(blob, 0..content.len() as u64).await == content);
}

/// Waits for the end of a copy, whose last bytes its readers have.
async fn is_copied(counted: &Counted, digest: &Digest) {
    while !counted.copy_of(digest).exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_at_a_time_share_one_request() {
    let counted = Counted::new(CACHE);
    let blobs = counted.place.blobs();
    for (seed, size) in [70_000, 5_000_000].into_iter().enumerate() {
        let (digest, content) = stored(&blobs, size, seed as u64).await;
        join_all((0..20).map(|_| is_read(&blobs, &digest, &content))).await;
        assert_eq!(counted.reads(), 1, "{size}");
        is_copied(&counted, &digest).await;
        is_read(&blobs, &digest, &content).await;
        let blob = blobs.open_cached(&digest).await.unwrap().unwrap();
        assert!(read(blob, 1000..60_000).await == content[1000..60_000]);
        assert_eq!(blobs.get_cached(&digest).await.unwrap().unwrap(), content);
        assert_eq!(counted.reads(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_blob_is_copied_once_it_is_read_again() {
    let counted = Counted::new(CACHE);
    let blobs = counted.place.blobs();
    let (digest, content) = stored(&blobs, 3_000_000, 1).await;
    is_read(&blobs, &digest, &content).await;
    assert_eq!((counted.reads(), counted.bytes()), (1, 0));
    is_read(&blobs, &digest, &content).await;
    is_copied(&counted, &digest).await;
    assert_eq!(counted.reads(), 1);
    is_read(&blobs, &digest, &content).await;
    assert_eq!(counted.reads(), 0);
    // A quarter of the cache is the most that one copy takes.
    let (digest, content) = stored(&blobs, (16 << 20) + 1, 2).await;
    for _ in 0..3 {
        is_read(&blobs, &digest, &content).await;
    }
    assert!(!counted.copy_of(&digest).exists());
    // Empty and small ones.
    for size in [0, 1, 65_536] {
        let (digest, content) = stored(&blobs, size, 3).await;
        is_read(&blobs, &digest, &content).await;
        assert!(counted.copy_of(&digest).exists());
        is_read(&blobs, &digest, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_copy_is_not_served() {
    let counted = Counted::new(CACHE);
    let mut blobs = counted.place.blobs();
    for size in [1_000, 500_000] {
        let (digest, content) = stored(&blobs, size, 4).await;
        is_read(&blobs, &digest, &content).await;
        is_copied(&counted, &digest).await;
        let file = || fs::File::options().write(true).open(counted.copy_of(&digest)).unwrap();
        for change in 0..3 {
            counted.reads();
            match change {
                0 => file().set_len(size as u64 / 2).unwrap(),
                1 => {
                    // The clock of files may tick each 4 ms only.
                    let changed = || fs::metadata(counted.copy_of(&digest)).unwrap().modified().unwrap();
                    let before = changed();
                    while changed() == before {
                        file().write_all_at(b"altered", 100).unwrap();
                    }
                }
                _ => {
                    // While no server runs, with the times of before.
                    drop(blobs);
                    let times = fs::metadata(counted.copy_of(&digest)).unwrap().modified().unwrap();
                    file().write_all_at(b"altered", 100).unwrap();
                    file().set_modified(times).unwrap();
                    blobs = counted.place.blobs();
                }
            }
            is_read(&blobs, &digest, &content).await;
            assert_eq!(counted.reads(), 1, "change {change}");
            is_copied(&counted, &digest).await;
            is_read(&blobs, &digest, &content).await;
            assert_eq!(counted.reads(), 0, "change {change}");
        }
        // An unchanged copy serves the next process as well.
        drop(blobs);
        blobs = counted.place.blobs();
        is_read(&blobs, &digest, &content).await;
        assert_eq!(counted.reads(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_of_a_deleted_blob_is_removed_at_once() {
    let counted = Counted::new(CACHE);
    let blobs = counted.place.blobs();
    let (digest, content) = stored(&blobs, 600_000, 5).await;
    is_read(&blobs, &digest, &content).await;
    is_copied(&counted, &digest).await;
    blobs.delete(&digest).await.unwrap();
    assert_eq!(counted.bytes(), 0);
    assert!(blobs.open_cached(&digest).await.unwrap().is_none());

    // While it is copied.
    blobs.put(&digest, content.clone()).await.unwrap();
    let blob = blobs.open_cached(&digest).await.unwrap().unwrap();
    let mut pieces = blob.read(0..content.len() as u64);
    let first = pieces.try_next().await.unwrap().unwrap();
    blobs.delete(&digest).await.unwrap();
    let rest: Vec<Bytes> = pieces.try_collect().await.unwrap();
    assert!([&first[..], &rest.concat()[..]].concat() == content);
    while fs::read_dir(counted.copies()).unwrap().count() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(blobs.open_cached(&digest).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_that_nobody_reads_give_way() {
    let counted = Counted::new(4 << 20);
    let blobs = counted.place.blobs();
    let mut all = Vec::new();
    for seed in 0..80 {
        all.push(stored(&blobs, 60_000, seed).await);
        let (digest, content) = all.last().unwrap();
        is_read(&blobs, digest, content).await;
        // The first one is used all the time.
        is_read(&blobs, &all[0].0, &all[0].1).await;
    }
    assert!(counted.bytes() <= 4 << 20 && counted.bytes() > 3 << 20, "{}", counted.bytes());
    assert!(counted.copy_of(&all[0].0).exists() && !counted.copy_of(&all[1].0).exists());
    drop(blobs);

    // A smaller cache, and what a killed process leaves.
    let unfinished = counted.copies().join(uuid::Uuid::new_v4().to_string());
    fs::write(&unfinished, "unfinished").unwrap();
    let settings = ObjectSettings { cache: 1 << 20, ..counted.place.settings.clone() };
    let blobs = ObjectBlobs::open(&settings, counted.place.directory.uploads(), false).unwrap();
    assert!(!unfinished.exists());
    assert!(counted.bytes() <= 1 << 20 && counted.bytes() > 0, "{}", counted.bytes());
    let (digest, content) = &all[79];
    counted.reads();
    is_read(&blobs, digest, content).await;
    assert_eq!(counted.reads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bucket_is_read_if_the_disk_fails() {
    let counted = Counted::new(CACHE);
    let blobs = counted.place.blobs();
    let (digest, content) = stored(&blobs, 900_000, 6).await;
    let (small, text) = stored(&blobs, 100, 7).await;
    fs::remove_dir(counted.copies()).unwrap();
    fs::write(counted.copies(), "not a directory").unwrap();
    for _ in 0..2 {
        join_all((0..5).map(|_| is_read(&blobs, &digest, &content))).await;
        is_read(&blobs, &small, &text).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_object_is_not_cached_and_its_read_fails() {
    let counted = Counted::new(CACHE);
    let blobs = counted.place.blobs();
    let (digest, content) = stored(&blobs, 800_000, 8).await;
    let mut damaged = content.to_vec();
    damaged[400_000] ^= 1;
    blobs.bucket.put(&blobs.keys.blob(&digest), vec![damaged.into()]).await.unwrap();
    let blob = blobs.open_cached(&digest).await.unwrap().unwrap();
    let read: Result<Vec<Bytes>, _> = blob.read(0..800_000).try_collect().await;
    assert!(matches!(read, Err(StoreError::Damaged(_))));
    while fs::read_dir(counted.copies()).unwrap().count() > 0 {
        tokio::task::yield_now().await;
    }
}
