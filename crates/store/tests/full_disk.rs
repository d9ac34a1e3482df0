//! Behaviour on a full disk: a small tmpfs, which only root may mount.

mod small_disk;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use oci::{Algorithm, Digest};
use small_disk::SmallDisk;
use store::blobs::{Pressure, open_files};
use store::{BlobStore, Directory, StoreError};
use uuid::Uuid;

fn content(length: usize, seed: u8) -> Bytes {
    (0..=250).cycle().map(|byte: u8| byte ^ seed).take(length).collect::<Vec<_>>().into()
}

fn sha256(content: &[u8]) -> Digest {
    Algorithm::Sha256.digest(content)
}

async fn blobs_in(store: &dyn BlobStore) -> Vec<(Digest, u64)> {
    store.list().try_collect().await.expect("a list of the blobs")
}

fn files_below(directory: &Path) -> usize {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .map(|path| if path.is_dir() { files_below(&path) } else { 1 })
        .sum()
}

#[tokio::test]
async fn upload_beyond_the_disk_leaves_nothing() {
    let disk = SmallDisk::new("size=1m");
    let directory = Directory::open(disk.path()).unwrap();
    let store = open_files(&directory);
    let kept = content(300_000, 1);
    store.put(&sha256(&kept), kept.clone()).await.unwrap();

    let large = content(900_000, 2);
    let mut upload = store.begin(Uuid::new_v4(), Algorithm::Sha256).await.unwrap();
    let id = upload.id();
    upload.write(large.slice(..200_000)).await.unwrap();
    let state = upload.save().await.unwrap();
    upload.write(large.slice(200_000..)).await.unwrap();
    let refused = upload.save().await.unwrap_err();
    assert!(refused.is_full(), "{refused}");
    // Unsaved bytes take no space.
    let taken = fs::metadata(directory.uploads().join(id.to_string())).unwrap().len();
    assert_eq!(taken, 200_000);

    // Pulls go on, and so does an upload that fits.
    let blob = store.open(&sha256(&kept)).await.unwrap().unwrap();
    let pieces: Vec<Bytes> = blob.read(0..300_000).map(Result::unwrap).collect().await;
    assert!(pieces.concat() == kept);
    let small = content(50_000, 3);
    store.put(&sha256(&small), small).await.unwrap();

    // The upload resumes from the saved offset with fewer bytes.
    let mut resumed = store.resume(&state).await.unwrap();
    resumed.write(large.slice(200_000..400_000)).await.unwrap();
    resumed.commit(&sha256(&large[..400_000])).await.unwrap();
    assert_eq!(store.stat(&sha256(&large[..400_000])).await.unwrap(), Some(400_000));
    assert_eq!(blobs_in(&*store).await.len(), 3);
    assert_eq!(files_below(&directory.uploads()), 0);
}

#[tokio::test]
async fn manifest_beyond_the_disk_leaves_nothing() {
    let disk = SmallDisk::new("size=1m");
    let directory = Directory::open(disk.path()).unwrap();
    let store = open_files(&directory);
    let filler = content(700_000, 4);
    store.put(&sha256(&filler), filler.clone()).await.unwrap();
    let manifest = content(500_000, 5);
    let refused = store.put(&sha256(&manifest), manifest.clone()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert_eq!(store.stat(&sha256(&manifest)).await.unwrap(), None);
    assert_eq!(files_below(directory.root()), 1);
    // With free space it is stored.
    store.delete(&sha256(&filler)).await.unwrap();
    store.put(&sha256(&manifest), manifest.clone()).await.unwrap();
    assert_eq!(store.get(&sha256(&manifest)).await.unwrap().unwrap(), manifest);
}

/// Without inodes the content can be written, but not its directory created.
#[tokio::test]
async fn full_inode_table_leaves_nothing_partial() {
    let disk = SmallDisk::new("size=4m,nr_inodes=24");
    let directory = Directory::open(disk.path()).unwrap();
    let store = open_files(&directory);
    let mut stored = 0;
    let refused = loop {
        let content = content(70_000, u8::try_from(stored).unwrap());
        match store.put(&sha256(&content), content.clone()).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(refused.is_full(), "{refused}");
    assert_eq!(blobs_in(&*store).await.len(), stored);
    assert_eq!(files_below(directory.root()), stored);
    assert!(stored > 0);
}

/// Small content needs no file at first. A flush that cannot create files keeps it in memory.
#[tokio::test]
async fn small_content_waits_in_memory_for_space() {
    for disk in [SmallDisk::new("size=1m"), SmallDisk::new("size=4m,nr_inodes=24")] {
        let directory = Directory::open(disk.path()).unwrap();
        let store = open_files(&directory);
        // Use up all bytes and inodes.
        let mut fillers = Vec::new();
        for length in [300_000, 70_000, 4_096] {
            for _ in 0..24 {
                let filler = disk.path().join(format!("filler-{}", fillers.len()));
                let written = fs::write(&filler, content(length, 6));
                fillers.extend(filler.exists().then_some(filler));
                if written.is_err() {
                    break;
                }
            }
        }
        let before = files_below(disk.path());
        let contents: Vec<Bytes> = (0..4).map(|seed| content(9_000, seed)).collect();
        for content in &contents {
            store.put(&sha256(content), content.clone()).await.unwrap();
        }
        for _ in 0..2 {
            let refused = store.flush().await.unwrap_err();
            assert!(refused.is_full(), "{refused}");
            assert_eq!(files_below(disk.path()), before, "nothing partial is left");
            assert_eq!(store.pressure(), Pressure::Some);
            assert_eq!(blobs_in(&*store).await.len(), contents.len());
            for content in &contents {
                assert_eq!(store.get(&sha256(content)).await.unwrap().unwrap(), content);
            }
        }
        for filler in fillers {
            fs::remove_file(filler).unwrap();
        }
        store.flush().await.unwrap();
        assert_eq!((store.pressure(), files_below(directory.root())), (Pressure::Nothing, contents.len()));
        assert_eq!(blobs_in(&*open_files(&directory)).await.len(), contents.len());
    }
}
