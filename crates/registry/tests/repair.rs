//! Repair by a check: what can be mended is mended, damaged content is moved aside, and nothing is deleted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixture;

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use accounts::Visible;
use bytes::Bytes;
use oci::{Algorithm, Digest, RepositoryName};
use registry::check::{Checked, FaultKind, Options, Repair};
use registry::{Error, Registry};
use tempfile::TempDir;

use fixture::{check, file, in_files, open, push_blob, push_image, reopen};

const SIZE: usize = 300_000;

fn content(byte: u8) -> Bytes {
    vec![byte; SIZE].into()
}

async fn repair(registry: &Registry, read: bool) -> Checked {
    registry.check_with(Options { read, repair: true }, |_, _| true).await.unwrap()
}

/// A registry with images of one layer each, whose contents are in files.
async fn with_images(scratch: &TempDir, layers: u8) -> (Registry, RepositoryName, Vec<Digest>) {
    let registry = open(scratch).await;
    let app: RepositoryName = "team/app".parse().unwrap();
    let mut digests = Vec::new();
    for byte in 0..layers {
        let layer = push_blob(&registry, &app, &content(byte)).await;
        push_image(&registry, &app, &byte.to_string(), &layer, SIZE).await.unwrap();
        digests.push(layer);
    }
    (reopen(registry, scratch).await, app, digests)
}

#[tokio::test]
async fn damaged_content_is_moved_aside_until_pushed_again() {
    let scratch = TempDir::new().unwrap();
    in_files(&scratch, "the path of content that is moved aside");
    let (registry, app, layers) = with_images(&scratch, 2).await;
    let mut altered = content(0).to_vec();
    altered[500] ^= 1;
    let truncated = content(1)[..1000].to_vec();
    fs::write(file(&scratch, &layers[0]), &altered).unwrap();
    fs::write(file(&scratch, &layers[1]), &truncated).unwrap();

    let checked = repair(&registry, true).await;
    assert_eq!(checked.faults.len(), 2);
    for fault in &checked.faults {
        let Some(Repair::MovedAside(place)) = &fault.repair else { panic!("{fault:?}") };
        let bytes = if fault.digest == layers[0] { &altered } else { &truncated };
        assert!(fs::read(place).unwrap() == *bytes, "the bytes are kept");
        assert!(!fault.is_mended());
        assert_eq!(fault.affected.len(), 1);
    }
    for layer in &layers {
        let error = registry.blob_size(&app, layer).await.unwrap_err();
        assert!(matches!(error, Error::BlobDamaged { .. }), "{error}");
    }
    // A second repair finds nothing more to move.
    let again = repair(&registry, true).await;
    assert!(again.faults.iter().all(|fault| fault.what == FaultKind::Missing && fault.repair.is_none()));

    push_blob(&registry, &app, &content(0)).await;
    push_blob(&registry, &app, &content(1)).await;
    assert_eq!(repair(&registry, true).await.faults, []);
    registry.close().await;
}

#[tokio::test]
async fn repair_without_reading_moves_truncated_content() {
    let scratch = TempDir::new().unwrap();
    let (registry, _, layers) = with_images(&scratch, 1).await;
    fs::write(file(&scratch, &layers[0]), b"cut").unwrap();
    assert_eq!(check(&registry, false).await.faults[0].repair, None);
    assert!(file(&scratch, &layers[0]).exists(), "a check alone changes no blob");
    let checked = repair(&registry, false).await;
    assert!(matches!(checked.faults[0].repair, Some(Repair::MovedAside(_))), "{checked:?}");
    registry.close().await;
}

#[tokio::test]
async fn misplaced_content_is_put_in_its_place() {
    let scratch = TempDir::new().unwrap();
    let (registry, app, layers) = with_images(&scratch, 2).await;
    fs::rename(file(&scratch, &layers[0]), file(&scratch, &layers[1])).unwrap();
    let checked = repair(&registry, true).await;
    let mut repairs: Vec<_> =
        checked.faults.iter().map(|fault| (fault.digest == layers[0], fault.repair.clone())).collect();
    repairs.sort_by_key(|(is_first, _)| !is_first);
    assert_eq!(repairs[0], (true, Some(Repair::Found)));
    assert!(matches!(repairs[1], (false, Some(Repair::MovedAside(_)))), "{repairs:?}");
    assert_eq!(registry.blob_size(&app, &layers[0]).await.unwrap(), SIZE as u64);
    let left = repair(&registry, true).await.faults;
    assert_eq!(left.iter().map(|fault| fault.digest).collect::<Vec<_>>(), [layers[1]]);
    registry.close().await;
}

#[tokio::test]
async fn unlinked_part_is_linked_again() {
    let scratch = TempDir::new().unwrap();
    let (registry, app, layers) = with_images(&scratch, 1).await;
    registry.delete_blob(&app, &layers[0]).await.unwrap();
    assert_eq!(check(&registry, false).await.faults[0].what, FaultKind::NotLinked);
    let checked = repair(&registry, false).await;
    assert_eq!(checked.faults[0].repair, Some(Repair::Linked));
    assert!(checked.faults[0].is_mended());
    assert_eq!(registry.blob_size(&app, &layers[0]).await.unwrap(), SIZE as u64);
    assert_eq!(check(&registry, true).await.faults, []);
    registry.close().await;
}

#[tokio::test]
async fn erased_blob_is_not_linked_again() {
    let scratch = TempDir::new().unwrap();
    let (registry, app, layers) = with_images(&scratch, 1).await;
    let layer = layers[0];
    // Another repository keeps the content.
    let copy: RepositoryName = "team/copy".parse().unwrap();
    push_blob(&registry, &copy, &content(0)).await;
    push_image(&registry, &copy, "0", &layer, SIZE).await.unwrap();
    registry.erase_content(&app, &layer, false).await.unwrap();
    for read in [false, true] {
        let faults = repair(&registry, read).await.faults;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!((faults[0].what, faults[0].repair.clone()), (FaultKind::Erased, None));
        assert!(faults[0].erasure.is_some());
        assert_eq!(faults[0].affected, [(app.clone(), Some("0".parse().unwrap()))]);
    }
    assert!(matches!(registry.blob_size(&app, &layer).await, Err(Error::BlobUnknown { .. })));

    // A push brings it back, and ends the mark.
    push_blob(&registry, &app, &content(0)).await;
    assert_eq!(check(&registry, true).await.faults, []);
    registry.delete_blob(&app, &layer).await.unwrap();
    assert_eq!(check(&registry, false).await.faults[0].what, FaultKind::NotLinked);
    registry.close().await;
}

#[tokio::test]
async fn orphaned_files_are_counted_and_recorded() {
    let scratch = TempDir::new().unwrap();
    let (registry, ..) = with_images(&scratch, 1).await;
    let orphan = Algorithm::Sha256.digest(b"orphan");
    fs::create_dir_all(file(&scratch, &orphan).parent().unwrap()).unwrap();
    fs::write(file(&scratch, &orphan), b"orphan").unwrap();
    for _ in 0..2 {
        let orphans = check(&registry, false).await.orphans;
        assert_eq!((orphans.files, orphans.bytes), (1, 6));
    }
    assert_eq!(repair(&registry, false).await.orphans.files, 1);
    assert_eq!(check(&registry, false).await.orphans.files, 0);
    assert_eq!(registry.usage(&Visible::Everything).await.unwrap().unreferenced_bytes, 6);
    assert!(file(&scratch, &orphan).exists(), "a repair deletes nothing");
    registry.close().await;
}

#[tokio::test]
async fn damaged_blob_without_an_image_is_counted() {
    let scratch = TempDir::new().unwrap();
    let (registry, app, layers) = with_images(&scratch, 1).await;
    let unused = push_blob(&registry, &app, &content(7)).await;
    for digest in [unused, layers[0]] {
        let mut altered = fs::read(file(&scratch, &digest)).unwrap();
        altered[500] ^= 1;
        fs::write(file(&scratch, &digest), altered).unwrap();
    }
    let checked = check(&registry, true).await;
    assert_eq!(checked.faults.iter().map(|fault| fault.digest).collect::<Vec<_>>(), layers);
    assert_eq!((checked.replaceable.files, checked.replaceable.bytes), (1, SIZE as u64));
    push_blob(&registry, &app, &content(7)).await;
    assert_eq!(check(&registry, true).await.replaceable.files, 0);
    registry.close().await;
}

#[tokio::test]
async fn stopped_reading_goes_on_after_a_restart() {
    let scratch = TempDir::new().unwrap();
    let (registry, _, layers) = with_images(&scratch, 4).await;
    let seen = AtomicU64::new(0);
    let half = 2 * SIZE as u64;
    let stopped = registry
        .check_with(Options { read: true, repair: false }, |_, bytes| {
            seen.store(bytes, Ordering::Relaxed);
            bytes <= half
        })
        .await
        .unwrap();
    assert!(stopped.reading.unwrap().is_stopped);
    let first = stopped.reading.unwrap().bytes;
    assert!(first > 0 && first <= half, "{first}");

    let registry = reopen(registry, &scratch).await;
    let mut altered = content(3).to_vec();
    altered[0] ^= 1;
    fs::write(file(&scratch, &layers[3]), altered).unwrap();
    let checked = check(&registry, true).await;
    let reading = checked.reading.unwrap();
    assert_eq!((reading.resumed, reading.is_stopped), (first, false));
    assert!(reading.bytes >= half, "{reading:?}");
    assert_eq!(checked.faults.len(), 1);
    assert_eq!(check(&registry, true).await.reading.unwrap().resumed, 0, "the next one begins anew");
    registry.close().await;
}

#[tokio::test]
async fn content_restored_by_hand_is_served_without_a_check() {
    let scratch = TempDir::new().unwrap();
    let (registry, app, layers) = with_images(&scratch, 1).await;
    let mut altered = content(0).to_vec();
    altered[500] ^= 1;
    fs::write(file(&scratch, &layers[0]), altered).unwrap();
    assert_eq!(check(&registry, true).await.faults.len(), 1);
    for _ in 0..2 {
        registry.blob_size(&app, &layers[0]).await.unwrap_err();
    }
    let restored = file(&scratch, &layers[0]).with_extension("new");
    fs::write(&restored, content(0)).unwrap();
    fs::rename(restored, file(&scratch, &layers[0])).unwrap();
    assert_eq!(registry.blob_size(&app, &layers[0]).await.unwrap(), SIZE as u64);
    assert_eq!(check(&registry, false).await.faults, []);
    registry.close().await;
}

/// Puts something else than a readable file in the place of a blob.
fn replacements() -> [fn(&std::path::Path); 3] {
    [
        // A loop of links cannot be opened, not even by root.
        |path| std::os::unix::fs::symlink(path, path).unwrap(),
        |path| fs::create_dir(path).unwrap(),
        |path| {
            let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        },
    ]
}

#[tokio::test]
async fn unreadable_file_counts_as_missing_until_pushed() {
    for replace in replacements() {
        let scratch = TempDir::new().unwrap();
        in_files(&scratch, "something else in the place of a file");
        let (registry, app, layers) = with_images(&scratch, 1).await;
        let (layer, other): (_, RepositoryName) = (layers[0], "other".parse().unwrap());
        let path = file(&scratch, &layer);
        fs::remove_file(&path).unwrap();
        replace(&path);
        let error = registry.blob_size(&app, &layer).await.unwrap_err();
        assert!(matches!(error, Error::BlobDamaged { .. }), "{error}");
        let error = registry.open_blob(&app, &layer).await.err().unwrap();
        assert!(matches!(error, Error::BlobDamaged { .. }), "{error}");
        let mounted = registry.mount_blob(&other, &layer, Some(&app), &Visible::Everything).await.unwrap();
        assert_eq!(mounted, None);
        let refused = push_image(&registry, &app, "new", &layer, SIZE).await.unwrap_err();
        assert!(matches!(refused, Error::PartsMissing { .. }), "{refused}");
        assert_eq!(check(&registry, true).await.faults.len(), 1);

        push_blob(&registry, &app, &content(0)).await;
        assert_eq!(registry.blob_size(&app, &layer).await.unwrap(), SIZE as u64);
        push_image(&registry, &app, "new", &layer, SIZE).await.unwrap();
        assert_eq!(check(&registry, true).await.faults, []);
        registry.close().await;
    }
}
