//! Tests of the file backend beyond the contract of every backend.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use oci::Algorithm;
use proptest::prelude::*;
use uuid::Uuid;

use super::FileBlobs;
use crate::blobs::contract::{Backend, content, contract_tests, read, sha256, upload, write};
use crate::blobs::{Blob, Pressure};
use crate::{BlobStore, Directory, StoreError};

struct Files {
    directory: Directory,
    _data: tempfile::TempDir,
}

impl Backend for Files {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        Self { directory: Directory::open(data.path()).unwrap(), _data: data }
    }

    fn store(&self) -> Arc<dyn BlobStore> {
        Arc::new(FileBlobs::open(&self.directory))
    }
}

contract_tests!(Files);

impl Files {
    fn data(&self, content: &[u8]) -> PathBuf {
        let hex = sha256(content).hex();
        self.directory.blobs().join("sha256").join(&hex[..2]).join(hex).join("data")
    }

    fn uploads(&self) -> usize {
        fs::read_dir(self.directory.uploads()).unwrap().count()
    }

    /// Waits until no upload file is left.
    async fn wait_for_no_uploads(&self) {
        for _ in 0..500 {
            if self.uploads() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} files are left of uploads", self.uploads());
    }
}

#[tokio::test]
async fn blob_has_the_path_of_distribution() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    store.put(&sha256(b"abc"), Bytes::from_static(b"abc")).await.unwrap();
    store.flush().await.unwrap();
    let path = files
        .directory
        .blobs()
        .join("sha256/ba/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad/data");
    assert_eq!(fs::read(path).unwrap(), b"abc");
}

#[tokio::test]
async fn ended_uploads_leave_no_files() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let content = content(100_000, 1);
    for _ in 0..2 {
        let right = upload(&store, &content, &[40_000]).await;
        right.commit(&sha256(&content)).await.unwrap();
        store.put(&sha256(&content), content.clone()).await.unwrap();
        let wrong = upload(&store, &content, &[40_000]).await;
        wrong.commit(&sha256(b"other")).await.unwrap_err();
        let aborted = upload(&store, &content, &[40_000]).await;
        store.abort(aborted.id()).await.unwrap();
    }
    files.wait_for_no_uploads().await;
    assert!(store.delete(&sha256(&content)).await.unwrap());
    assert!(!files.data(&content).parent().unwrap().exists());
}

/// Stores content by put, by upload and by a resumed upload.
async fn store_in_each_way(store: &FileBlobs, content: &Bytes, mut damage: impl AsyncFnMut()) {
    let digest = sha256(content);
    for way in 0..3 {
        damage().await;
        match way {
            0 => _ = store.put(&digest, content.clone()).await.unwrap(),
            1 => {
                let upload = upload(store, content, &[content.len()]).await;
                upload.commit(&digest).await.unwrap();
            }
            _ => {
                let state = upload(store, content, &[content.len()]).await.save().await.unwrap();
                store.resume(&state).await.unwrap().commit(&digest).await.unwrap();
            }
        }
        let blob = store.open(&digest).await.unwrap().unwrap();
        assert!(read(blob, 0..content.len() as u64).await == *content, "way {way}");
        store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn storing_a_blob_replaces_a_damaged_file() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    for (seed, size) in [1_000, 64 << 10, 300_000].into_iter().enumerate() {
        let content = content(size, seed as u64);
        store.put(&sha256(&content), content.clone()).await.unwrap();
        store.flush().await.unwrap();
        let mut damaged = content.to_vec();
        damaged[500..504].copy_from_slice(b"\0\0\0\0");
        for bytes in [&damaged[..], &content[..300], b""] {
            store_in_each_way(&store, &content, async || {
                // Read to its end first, so that its mapping is kept.
                let blob = store.open(&sha256(&content)).await.unwrap().unwrap();
                assert!(read(blob, 0..size as u64).await == content);
                fs::write(files.data(&content), bytes).unwrap();
            })
            .await;
            assert!(fs::read(files.data(&content)).unwrap() == content);
        }
        store_in_each_way(&store, &content, async || {
            fs::remove_dir_all(files.data(&content).parent().unwrap()).unwrap();
        })
        .await;
        assert!(fs::read(files.data(&content)).unwrap() == content);
    }
    files.wait_for_no_uploads().await;
}

#[tokio::test]
async fn large_upload_gives_way_if_there_are_others() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let mut uploads: Vec<_> = (0..2).map(|_| store.uploads.open(Uuid::new_v4())).collect();
    assert!(!store.uploads.is_one_of_several_large(&uploads[0]));
    assert!(!store.uploads.is_one_of_several_large(&uploads[0]), "an upload does not count itself");
    assert!(store.uploads.is_one_of_several_large(&uploads[1]));
    assert!(store.uploads.is_one_of_several_large(&uploads[0]));
    uploads.truncate(1);
    assert!(!store.uploads.is_one_of_several_large(&uploads[0]), "the other has ended");
}

#[tokio::test]
async fn unknown_uploads_are_removed_at_start() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let content = content(1000, 2);
    let known = upload(&store, &content, &[1000]).await.save().await.unwrap();
    let unknown = upload(&store, &content, &[1000]).await.save().await.unwrap().id;
    fs::write(files.directory.uploads().join(format!("put-{unknown}")), "torn").unwrap();
    let store = FileBlobs::open(&files.directory);
    assert_eq!(store.remove_stale_uploads(&[known.id, Uuid::new_v4()].into()).await.unwrap(), 2);
    store.resume(&known).await.unwrap().commit(&sha256(&content)).await.unwrap();
    assert_eq!(files.uploads(), 0);
}

#[tokio::test]
async fn push_repairs_an_emptied_blob() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let content = content(10_000, 3);
    for put in [true, false] {
        fs::create_dir_all(files.data(&content).parent().unwrap()).unwrap();
        fs::write(files.data(&content), "").unwrap();
        if put {
            store.put(&sha256(&content), content.clone()).await.unwrap();
        } else {
            let upload = upload(&store, &content, &[6000]).await;
            upload.commit(&sha256(&content)).await.unwrap();
        }
        assert_eq!(store.get(&sha256(&content)).await.unwrap().unwrap(), content);
        store.flush().await.unwrap();
        assert_eq!(fs::read(files.data(&content)).unwrap(), content);
        fs::remove_file(files.data(&content)).unwrap();
    }
}

#[tokio::test]
async fn push_repairs_a_zeroed_small_blob() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let content = content(10_000, 3);
    for put in [true, false] {
        fs::create_dir_all(files.data(&content).parent().unwrap()).unwrap();
        fs::write(files.data(&content), vec![0; content.len()]).unwrap();
        if put {
            store.put(&sha256(&content), content.clone()).await.unwrap();
        } else {
            let upload = upload(&store, &content, &[6000]).await;
            upload.commit(&sha256(&content)).await.unwrap();
        }
        assert!(store.get(&sha256(&content)).await.unwrap().unwrap() == content);
        store.flush().await.unwrap();
        assert!(fs::read(files.data(&content)).unwrap() == content);
        fs::remove_file(files.data(&content)).unwrap();
    }
    assert_eq!(files.uploads(), 0);
}

#[tokio::test]
async fn only_small_content_is_journaled() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    for (size, is_journaled) in [(0, true), (64 << 10, true), ((64 << 10) + 1, false)] {
        let content = content(size, 5);
        let stored = store.put(&sha256(&content), content.clone()).await.unwrap();
        assert_eq!(stored.journaled.is_some(), is_journaled, "{size}");
        store.delete(&sha256(&content)).await.unwrap();
        let upload = upload(&store, &content, &[20_000]).await;
        let stored = upload.commit(&sha256(&content)).await.unwrap();
        assert_eq!(stored.journaled.is_some(), is_journaled, "{size}");
    }
}

#[tokio::test]
async fn small_content_has_no_file_before_flush() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let contents: Vec<Bytes> = (0..20).map(|seed| content(3_000, seed)).collect();
    for (number, content) in contents.iter().enumerate() {
        if number % 2 == 0 {
            store.put(&sha256(content), content.clone()).await.unwrap();
        } else {
            let upload = upload(&store, content, &[1_000]).await;
            upload.commit(&sha256(content)).await.unwrap();
        }
    }
    assert_eq!(files.uploads(), 0);
    assert!(contents.iter().all(|content| !files.data(content).exists()));
    assert_eq!(store.pressure(), Pressure::Some);
    assert!(store.delete(&sha256(&contents[0])).await.unwrap());
    store.flush().await.unwrap();
    assert_eq!(store.pressure(), Pressure::Nothing);
    assert!(!files.data(&contents[0]).exists());
    for content in &contents[1..] {
        assert_eq!(fs::read(files.data(content)).unwrap(), *content);
        assert_eq!(store.get(&sha256(content)).await.unwrap().unwrap(), content);
    }
}

#[tokio::test]
async fn full_journal_writes_small_content_at_once() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let mut contents = Vec::new();
    let beyond = loop {
        let content = content(60_000, contents.len() as u64);
        let stored = store.put(&sha256(&content), content.clone()).await.unwrap();
        assert_eq!(stored.journaled.as_ref(), Some(&content), "it is not synced");
        if files.data(&content).exists() {
            break content;
        }
        contents.push(content);
    };
    assert!(contents.len() > 100, "{}", contents.len());
    assert_eq!(store.pressure(), Pressure::Much);
    // Existing and restored content needs no room.
    store.put(&sha256(&contents[0]), contents[0].clone()).await.unwrap();
    assert!(!files.data(&contents[0]).exists());
    fs::write(files.data(&beyond), "").unwrap();
    store.restore(&sha256(&beyond), beyond.clone()).await.unwrap();
    for content in contents.iter().chain([&beyond]) {
        assert!(store.get(&sha256(content)).await.unwrap().unwrap() == content);
    }
    store.flush().await.unwrap();
    assert_eq!((store.pressure(), files.uploads()), (Pressure::Nothing, 0));
    for content in contents.iter().chain([&beyond]) {
        assert!(fs::read(files.data(content)).unwrap() == *content);
    }
}

#[tokio::test]
async fn restore_overwrites_an_existing_file() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let content = content(10_000, 9);
    store.put(&sha256(&content), content.clone()).await.unwrap();
    store.flush().await.unwrap();
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(files.data(&content)).unwrap());
    let first = inode();
    store.put(&sha256(&content), content.clone()).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(inode(), first, "an intact file is kept");
    store.restore(&sha256(&content), content.clone()).await.unwrap();
    store.flush().await.unwrap();
    assert_ne!(inode(), first, "its pages may never have reached the disk");
}

#[tokio::test]
async fn truncated_upload_file_is_reported_lost() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let content = content(10_000, 4);
    let state = upload(&store, &content.slice(..6000), &[6000]).await.save().await.unwrap();
    let file = files.directory.uploads().join(state.id.to_string());
    fs::File::options().write(true).open(&file).unwrap().set_len(5000).unwrap();
    for _ in 0..2 {
        let mut resumed = store.resume(&state).await.unwrap();
        let refused = write(&mut resumed, content.slice(6000..)).await.unwrap_err();
        assert!(matches!(refused, StoreError::UploadLost { .. }), "{refused}");
        let resumed = store.resume(&state).await.unwrap();
        let refused = resumed.commit(&sha256(&content)).await.unwrap_err();
        assert!(matches!(refused, StoreError::UploadLost { .. }), "{refused}");
        let _ = fs::remove_file(&file);
    }
}

#[tokio::test]
async fn list_ignores_foreign_files() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let content = content(100, 5);
    store.put(&sha256(&content), content.clone()).await.unwrap();
    let blobs = files.directory.blobs();
    let hex = sha256(b"elsewhere").hex();
    fs::create_dir_all(blobs.join("sha256/zz/not-hex")).unwrap();
    fs::create_dir_all(blobs.join("md5/aa/aaaa")).unwrap();
    fs::write(blobs.join("sha256/README"), "").unwrap();
    // A directory without content, and content under a wrong name.
    fs::create_dir_all(blobs.join("sha256").join(&hex[..2]).join(&hex)).unwrap();
    fs::create_dir_all(blobs.join("sha256/zz").join(&hex)).unwrap();
    fs::write(blobs.join("sha256/zz").join(&hex).join("data"), "elsewhere").unwrap();
    let listed: Vec<_> = store.list().try_collect().await.unwrap();
    assert_eq!(listed, [(sha256(&content), 100)]);
    assert_eq!(store.stat(&sha256(b"elsewhere")).await.unwrap(), None);
}

#[tokio::test]
async fn directory_named_data_is_no_blob() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    fs::create_dir_all(files.data(b"x")).unwrap();
    assert_eq!(store.stat(&sha256(b"x")).await.unwrap(), None);
    assert!(store.open(&sha256(b"x")).await.unwrap().is_none());
}

#[tokio::test]
async fn blobs_follow_a_symbolic_link() {
    let (files, linked) = (Files::new(), tempfile::tempdir().unwrap());
    symlink(linked.path(), files.directory.blobs().join("sha256")).unwrap();
    let store = FileBlobs::open(&files.directory);
    store.put(&sha256(b"abc"), Bytes::from_static(b"abc")).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.get(&sha256(b"abc")).await.unwrap().unwrap(), "abc");
    assert_eq!(fs::read_dir(linked.path()).unwrap().count(), 1);
}

async fn read_mapped(blob: Blob, range: Range<u64>) -> Vec<u8> {
    blob.read_for_kernel(range).try_collect::<Vec<_>>().await.unwrap().concat()
}

#[tokio::test]
async fn mapped_range_is_exactly_that_range() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let content = content((2 << 20) + 11, 12);
    let size = content.len() as u64;
    store.put(&sha256(&content), content.clone()).await.unwrap();
    let tail = 16 << 10;
    for range in
        [0..size, 0..1, 0..tail, 0..tail + 1, 5..5 + (1 << 20) + tail, size - tail - 1..size, size..size]
    {
        let blob = store.open(&sha256(&content)).await.unwrap().unwrap();
        let (begin, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        assert!(read_mapped(blob, range).await == content[begin..end], "{begin}..{end}");
    }
}

#[tokio::test]
async fn truncated_blob_is_never_read_to_its_end() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let content = content(3 << 20, 13);
    let size = content.len() as u64;
    for left in [0, 1 << 20, size - 10] {
        for mapped in [false, true] {
            store.put(&sha256(&content), content.clone()).await.unwrap();
            let blob = store.open(&sha256(&content)).await.unwrap().unwrap();
            let mut pieces = if mapped { blob.read_for_kernel(0..size) } else { blob.read(0..size) };
            pieces.next().await.unwrap().unwrap();
            fs::File::options().write(true).open(files.data(&content)).unwrap().set_len(left).unwrap();
            let rest: Result<Vec<Bytes>, StoreError> = pieces.try_collect().await;
            assert!(rest.is_err(), "{left} bytes were left");
        }
    }
}

#[tokio::test]
async fn evicted_pages_are_loaded() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let content = content((5 << 20) + 11, 6);
    let digest = sha256(&content);
    store.put(&digest, content.clone()).await.unwrap();
    for range in [0..content.len() as u64, (1 << 20) + 5000..(4 << 20) + 1] {
        let file = fs::File::open(files.data(&content)).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let (begin, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        let blob = store.open(&digest).await.unwrap().unwrap();
        assert!(read_mapped(blob, range.clone()).await == content[begin..end]);
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let blob = store.open(&digest).await.unwrap().unwrap();
        assert!(read(blob, range).await == content[begin..end]);
    }
}

#[tokio::test]
async fn dropped_reader_unmaps_the_file() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let content = content(5 << 20, 7);
    store.put(&sha256(&content), content.clone()).await.unwrap();
    let path = files.data(&content).canonicalize().unwrap();
    let mapped = || fs::read_to_string("/proc/self/maps").unwrap().contains(path.to_str().unwrap());
    let blob = store.open(&sha256(&content)).await.unwrap().unwrap();
    let mut pieces = blob.read_for_kernel(0..5 << 20);
    assert!(mapped());
    let piece = pieces.next().await.unwrap().unwrap();
    drop(pieces);
    assert!(mapped(), "a held piece keeps the mapping");
    drop(piece);
    assert!(!mapped());
}

#[tokio::test]
async fn fully_read_blob_stays_mapped_until_delete() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let content = content((2 << 20) + 5, 8);
    let digest = sha256(&content);
    let path = files.directory.blobs().canonicalize().unwrap();
    let mapped = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains(path.to_str().unwrap())).count()
    };
    for _ in 0..2 {
        store.put(&digest, content.clone()).await.unwrap();
        for _ in 0..3 {
            let blob = store.open(&digest).await.unwrap().unwrap();
            assert!(read_mapped(blob, 0..content.len() as u64).await == content);
            assert_eq!(mapped(), 1, "the next reader uses the cached mapping");
        }
        assert!(store.delete(&digest).await.unwrap());
        assert_eq!(mapped(), 0, "a mapping would keep the disk space");
        assert!(store.open(&digest).await.unwrap().is_none());
    }
    // A reader that began before the deletion reads on, but its mapping is not cached.
    store.put(&digest, content.clone()).await.unwrap();
    let blob = store.open(&digest).await.unwrap().unwrap();
    assert!(store.delete(&digest).await.unwrap());
    assert!(read_mapped(blob, 0..content.len() as u64).await == content);
    assert_eq!(mapped(), 0);
}

#[tokio::test]
async fn mapping_cache_is_bounded() {
    let files = Files::new();
    let store = FileBlobs::open(&files.directory);
    let path = files.directory.blobs().canonicalize().unwrap();
    for number in 0..40 {
        let content = content(70_000, number);
        store.put(&sha256(&content), content.clone()).await.unwrap();
        let blob = store.open(&sha256(&content)).await.unwrap().unwrap();
        assert!(read_mapped(blob, 0..70_000).await == content);
    }
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert_eq!(maps.lines().filter(|line| line.contains(path.to_str().unwrap())).count(), 32);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Neither the pieces nor the offset of a resume change the blob.
    #[test]
    fn any_split_of_content_gives_the_same_blob(
        size in 0_usize..200_000,
        lengths in proptest::collection::vec(1_usize..70_000, 1..6),
        cut in 0_usize..200_000,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let files = Files::new();
            let store = files.store();
            let content = content(size, 8);
            let cut = cut.min(size);
            let state = upload(&*store, &content.slice(..cut), &lengths).await.save().await.unwrap();
            let mut second = store.resume(&state).await.unwrap();
            for piece in content[cut..].chunks(lengths[0]) {
                second.write(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            second.commit(&Algorithm::Sha256.digest(&content)).await.unwrap();
            assert_eq!(store.get(&sha256(&content)).await.unwrap().unwrap(), content);
        });
    }
}
