use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use bytes::Bytes;
use oci::{Algorithm, Digest};
use tempfile::TempDir;

use super::*;
use crate::blobs::open_files;
use crate::metadata::NewDelivery;
use crate::{Directory, Metadata, StoreError};

/// A data directory with some blobs of a repository.
struct Source {
    directory: Directory,
    metadata: Metadata,
    data: TempDir,
}

impl Source {
    fn new() -> Self {
        let data = TempDir::new().unwrap();
        let directory = Directory::open(data.path().join("data")).unwrap();
        let metadata = Metadata::open(&directory.metadata()).unwrap();
        Self { directory, metadata, data }
    }

    async fn push(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = Algorithm::Sha256.digest(content);
        let blobs = open_files(&self.directory);
        let stored = blobs.put(&digest, Bytes::copy_from_slice(content)).await.unwrap();
        blobs.flush().await.unwrap();
        let stored = crate::blobs::Stored { journaled: None, ..stored };
        self.metadata.link_blob(&repository.parse().unwrap(), &digest, stored).await.unwrap();
        digest
    }

    async fn back_up(&self) -> (File, Manifest) {
        let file = tempfile::tempfile().unwrap();
        let output = file.try_clone().unwrap();
        let manifest = write(&self.directory, &self.metadata, Vec::new(), output).await.unwrap();
        (file, manifest)
    }
}

fn restore_to(file: &File, data: &Path, replace: bool) -> Result<RestoreReport, StoreError> {
    let archive = verify(file.try_clone().unwrap())?;
    restore(&archive, &Restoring { data: data.to_owned(), replace, blobs: None }, |_| ())
}

async fn holds(data: &Path, digest: &Digest) -> bool {
    let metadata = Metadata::open(&Directory::open(data).unwrap().metadata()).unwrap();
    let found = metadata.blob(&"app".parse().unwrap(), digest).await.unwrap().is_some();
    metadata.close().await;
    found
}

#[tokio::test]
async fn backup_restores_onto_older_and_newer_blobs() {
    let source = Source::new();
    let kept = source.push("app", b"kept").await;
    fs::create_dir(source.directory.own().join("tls")).unwrap();
    fs::write(source.directory.own().join("tls/self-signed.pem"), "a certificate").unwrap();
    let (file, manifest) = source.back_up().await;
    assert_eq!(
        manifest.files.iter().map(|file| &*file.name).collect::<Vec<_>>(),
        ["metadata.db", "files/tls/self-signed.pem"]
    );
    let later = source.push("app", b"pushed later").await;
    source.metadata.close().await;

    let older = TempDir::new().unwrap();
    let report = restore_to(&file, &older.path().join("data"), false).unwrap();
    assert_eq!(
        (report.counts.blobs, report.missing.first.as_slice(), report.extra.number),
        (1, &[kept][..], 0)
    );
    assert!(holds(&older.path().join("data"), &kept).await);
    assert_eq!(fs::read(older.path().join("data/wharfinger/tls/self-signed.pem")).unwrap(), b"a certificate");

    let newer = source.data.path().join("data");
    let refused = restore_to(&file, &newer, false).unwrap_err().to_string();
    assert!(refused.contains("--replace"), "{refused}");
    assert!(holds(&newer, &later).await, "nothing has changed");
    let report = restore_to(&file, &newer, true).unwrap();
    assert_eq!((report.missing.number, report.extra.first.as_slice()), (0, &[later][..]));
    assert!(report.replaced.unwrap().join("metadata.db").exists());
    // The commit mark of the newer database must not refuse the older one.
    assert!(holds(&newer, &kept).await);
    assert!(!holds(&newer, &later).await);
}

#[tokio::test]
async fn damaged_backup_is_refused_before_any_change() {
    let source = Source::new();
    source.push("app", b"content").await;
    let (mut file, _) = source.back_up().await;
    source.metadata.close().await;
    let mut whole = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut whole).unwrap();
    let target = TempDir::new().unwrap();
    let data = target.path().join("data");
    for (what, damaged) in [
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("changed", {
            let mut bytes = whole.clone();
            let at = bytes.len() - 6000;
            bytes[at] ^= 1;
            bytes
        }),
        ("empty", Vec::new()),
        ("other", b"no archive at all, but some other file".repeat(100)),
    ] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&damaged).unwrap();
        let refused = restore_to(&file, &data, false).unwrap_err().to_string();
        assert!(refused.contains("not a complete backup"), "{what}: {refused}");
        assert!(!data.exists(), "{what}");
    }
}

#[tokio::test]
async fn restore_refuses_metadata_in_postgres() {
    let source = Source::new();
    let (file, _) = source.back_up().await;
    let other = TempDir::new().unwrap();
    let own = other.path().join("wharfinger");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("metadata"), "postgres://db.example.com/registry\nid\n").unwrap();
    for replace in [false, true] {
        let refused = restore_to(&file, other.path(), replace).unwrap_err().to_string();
        assert!(refused.contains("postgres://db.example.com/registry"), "{refused}");
        assert!(!own.join("metadata.db").exists());
    }
}

#[tokio::test]
async fn snapshot_under_writes_is_consistent() {
    let source = Source::new();
    let metadata = source.metadata.clone();
    let pushing = tokio::spawn({
        let blobs = open_files(&source.directory);
        async move {
            for n in 0_u32.. {
                let content = format!("blob {n}");
                let digest = Algorithm::Sha256.digest(content.as_bytes());
                let stored = blobs.put(&digest, Bytes::from(content)).await.unwrap();
                if metadata.link_blob(&"app".parse().unwrap(), &digest, stored).await.is_err() {
                    return;
                }
            }
        }
    });
    for _ in 0..5 {
        let (file, _) = source.back_up().await;
        let target = TempDir::new().unwrap();
        restore_to(&file, &target.path().join("data"), false).unwrap();
    }
    pushing.abort();
    let _ = pushing.await;
    let left = fs::read_dir(source.directory.own()).unwrap().flatten();
    assert_eq!(left.filter(|file| file.file_name().to_string_lossy().starts_with("snapshot-")).count(), 0);
}

#[tokio::test]
async fn blobs_are_copied_once() {
    let source = Source::new();
    for content in [&b"one"[..], b"two"] {
        source.push("app", content).await;
    }
    let target = TempDir::new().unwrap();
    let copy = || copy_blobs(source.directory.blobs(), target.path(), |_| ()).unwrap();
    assert_eq!((copy().copied, copy().copied, copy().present), (2, 0, 2));
    let third = source.push("app", b"three").await;
    let expected = CopiedBlobs { copied: 1, copied_bytes: 5, present: 2, ..CopiedBlobs::default() };
    assert_eq!(copy(), expected);
    // A copy that a crash has cut is made again.
    let hex = third.hex();
    let file = target.path().join("sha256").join(&hex[..2]).join(&hex).join("data");
    fs::remove_file(&file).unwrap();
    fs::write(&file, "th").unwrap();
    assert_eq!(copy().copied, 1);
    assert_eq!(fs::read(&file).unwrap(), b"three");
}

#[tokio::test]
async fn restored_pending_deliveries_are_parked() {
    let source = Source::new();
    let delivery = NewDelivery { webhook: "ci".into(), repository: None, event: "{}".into() };
    source.metadata.enqueue_delivery(delivery).await.unwrap();
    let (file, _) = source.back_up().await;
    source.metadata.close().await;

    let restored = TempDir::new().unwrap();
    let data = restored.path().join("data");
    restore_to(&file, &data, false).unwrap();
    let metadata = Metadata::open(&Directory::open(&data).unwrap().metadata()).unwrap();
    assert!(metadata.pending_deliveries("ci", &[], 9).await.unwrap().is_empty());
    assert_eq!(metadata.delivery_counts("ci").await.unwrap().parked, 1);
    assert_eq!(metadata.replay_deliveries("ci", None).await.unwrap(), 1);
    metadata.close().await;
}
