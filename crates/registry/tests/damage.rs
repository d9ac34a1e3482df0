//! Damaged content: a check that reads it sets a mark, and the content is absent to pushes until it is pushed
//! again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixture;

use std::fs;

use accounts::Visible;
use bytes::Bytes;
use oci::{Algorithm, RepositoryName, TagOrDigest};
use registry::Error;
use registry::check::FaultKind;
use tempfile::TempDir;

use fixture::{check, file, image, in_files, open, push_blob, push_image, put, reopen};

#[tokio::test]
async fn check_marks_damage_until_the_next_push() {
    let scratch = TempDir::new().unwrap();
    in_files(&scratch, "a manifest is known to be intact without a request");
    let mut registry = open(&scratch).await;
    let [app, other]: [RepositoryName; 2] = ["team/app", "team/other"].map(|name| name.parse().unwrap());
    for size in [1_000, 300_000] {
        let content = Bytes::from(vec![u8::try_from(size % 251).unwrap(); size]);
        let layer = push_blob(&registry, &app, &content).await;
        push_image(&registry, &app, "1", &layer, size).await.unwrap();
        registry = reopen(registry, &scratch).await;
        let mut damaged = content.to_vec();
        damaged[500] ^= 1;
        fs::write(file(&scratch, &layer), &damaged).unwrap();
        // Both are cached before the damage is known.
        assert_eq!(registry.blob_size(&app, &layer).await.unwrap(), size as u64);
        let tag = TagOrDigest::Tag("1".parse().unwrap());
        let manifest = registry.intact_manifest(&app, &tag).await.unwrap();
        assert!(registry.is_known_intact(&app, &tag, &manifest));

        let faults = check(&registry, true).await.faults;
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].what, FaultKind::Digest { actual: Algorithm::Sha256.digest(&damaged) });
        assert_eq!(faults[0].affected, [(app.clone(), Some("1".parse().unwrap()))]);
        for restarted in [false, true] {
            if restarted {
                registry = reopen(registry, &scratch).await;
                assert_eq!(
                    check(&registry, false).await.faults,
                    faults,
                    "a check without reading reports the mark"
                );
            }
            let error = registry.blob_size(&app, &layer).await.unwrap_err();
            assert!(matches!(error, Error::BlobDamaged { .. }), "{error}");
            assert!(registry.open_blob(&app, &layer).await.is_err(), "{layer} is damaged");
            let error = registry.intact_manifest(&app, &tag).await.unwrap_err();
            assert!(matches!(error, Error::ManifestDamaged { .. }), "{error}");
            let mounted =
                registry.mount_blob(&other, &layer, Some(&app), &Visible::Everything).await.unwrap();
            assert_eq!(mounted, None);
            let refused = push_image(&registry, &app, "2", &layer, size).await.unwrap_err();
            assert!(matches!(refused, Error::PartsMissing { .. }), "{refused}");
        }

        push_blob(&registry, &other, &content).await;
        assert_eq!(registry.blob_size(&app, &layer).await.unwrap(), size as u64);
        registry.intact_manifest(&app, &tag).await.unwrap();
        push_image(&registry, &app, "2", &layer, size).await.unwrap();
        registry = reopen(registry, &scratch).await;
        assert_eq!(check(&registry, true).await.faults, []);
        assert!(fs::read(file(&scratch, &layer)).unwrap() == content);
    }
    registry.close().await;
}

/// A pusher must not make each HEAD request read 10,000 manifests with as many layers.
#[tokio::test]
async fn verification_of_an_index_is_bounded() {
    let scratch = TempDir::new().unwrap();
    let registry = open(&scratch).await;
    let app: RepositoryName = "team/app".parse().unwrap();
    let config = push_blob(&registry, &app, &Bytes::from_static(b"{}")).await;
    let layer = push_blob(&registry, &app, &Bytes::from(vec![1; 300_000])).await;
    let lost = push_blob(&registry, &app, &Bytes::from(vec![2; 300_000])).await;
    let put = async |content: String| {
        let target = TagOrDigest::Digest(Algorithm::Sha256.digest(content.as_bytes()));
        put(&registry, &app, target, content).await.unwrap()
    };
    let index = |images: &[&String]| {
        let images = images.iter().map(|content| {
            let digest = Algorithm::Sha256.digest(content.as_bytes());
            let media_type = oci::media_type::OCI_MANIFEST;
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, content.len())
        });
        let images: Vec<String> = images.collect();
        let media_type = oci::media_type::OCI_INDEX;
        format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{}]}}"#, images.join(","))
    };
    let [small, one, other] = [1, 9_999, 9_998].map(|times| image(&config, &layer, 300_000, times));
    let damaged = image(&config, &lost, 300_000, 1);
    for image in [&small, &one, &other, &damaged] {
        put(image.clone()).await;
    }
    let few = put(index(&[&small, &damaged])).await;
    let many = put(index(&[&one, &other, &damaged])).await;
    fs::write(file(&scratch, &lost), vec![3; 300_000]).unwrap();
    assert_eq!(check(&registry, true).await.faults.len(), 1);
    let error = registry.intact_manifest(&app, &TagOrDigest::Digest(few)).await.unwrap_err();
    assert!(matches!(error, Error::ManifestDamaged { .. }), "{error}");
    registry.intact_manifest(&app, &TagOrDigest::Digest(many)).await.unwrap();
    registry.close().await;
}

#[tokio::test]
async fn check_clears_the_mark_of_a_restored_file() {
    let scratch = TempDir::new().unwrap();
    let registry = open(&scratch).await;
    let app: RepositoryName = "app".parse().unwrap();
    let content = Bytes::from(vec![7; 300_000]);
    let layer = push_blob(&registry, &app, &content).await;
    push_image(&registry, &app, "1", &layer, content.len()).await.unwrap();
    fs::write(file(&scratch, &layer), vec![8; content.len()]).unwrap();
    assert_eq!(check(&registry, true).await.faults.len(), 1);
    fs::write(file(&scratch, &layer), &content).unwrap();
    assert_eq!(check(&registry, false).await.faults, []);
    assert_eq!(registry.blob_size(&app, &layer).await.unwrap(), 300_000);
    registry.close().await;
}

#[tokio::test]
async fn adopted_content_is_compared_by_its_bytes() {
    let scratch = TempDir::new().unwrap();
    in_files(&scratch, "the database of a directory is lost");
    let registry = open(&scratch).await;
    let app: RepositoryName = "app".parse().unwrap();
    let content = Bytes::from(vec![7; 300_000]);
    let layer = push_blob(&registry, &app, &content).await;
    push_image(&registry, &app, "1", &layer, content.len()).await.unwrap();
    registry.close().await;
    drop(registry);
    // Another registry left it cut short, and the database is lost: what is recorded is the size of the file.
    fs::write(file(&scratch, &layer), &content[..300]).unwrap();
    for name in ["metadata.db", "metadata.db-wal", "metadata.db-shm"] {
        let _ = fs::remove_file(scratch.path().join("wharfinger").join(name));
    }
    let registry = open(&scratch).await;
    let refused = push_image(&registry, &app, "2", &layer, content.len()).await.unwrap_err();
    assert!(matches!(refused, Error::PartsMissing { .. }), "{refused}");
    assert!(registry.blob_size(&app, &layer).await.is_err(), "a push sends it again");
    push_blob(&registry, &app, &content).await;
    push_image(&registry, &app, "2", &layer, content.len()).await.unwrap();
    let wrong = push_image(&registry, &app, "3", &layer, 300).await.unwrap_err();
    assert!(matches!(wrong, Error::PartSize { claimed: 300, actual: 300_000, .. }), "{wrong}");
    assert_eq!(check(&registry, true).await.faults, []);
    registry.close().await;
}

#[tokio::test]
async fn check_blames_the_manifest_for_a_wrong_size() {
    let scratch = TempDir::new().unwrap();
    in_files(&scratch, "the database of a directory is lost");
    let registry = open(&scratch).await;
    let app: RepositoryName = "app".parse().unwrap();
    let content = Bytes::from(vec![7; 1_000]);
    let layer = push_blob(&registry, &app, &content).await;
    let image = push_image(&registry, &app, "1", &layer, content.len()).await.unwrap();
    registry.close().await;
    drop(registry);
    // Another registry takes a manifest that claims a wrong size; the database is lost.
    let right = fs::read_to_string(file(&scratch, &image)).unwrap();
    let wrong = right.replace("\"size\":1000", "\"size\":1001");
    let digest = Algorithm::Sha256.digest(wrong.as_bytes());
    fs::create_dir_all(file(&scratch, &digest).parent().unwrap()).unwrap();
    fs::write(file(&scratch, &digest), wrong).unwrap();
    let manifests = scratch.path().join("docker/registry/v2/repositories/app/_manifests");
    let revision = manifests.join("revisions/sha256").join(digest.hex());
    fs::create_dir_all(&revision).unwrap();
    fs::write(revision.join("link"), digest.to_string()).unwrap();
    fs::write(manifests.join("tags/1/current/link"), digest.to_string()).unwrap();
    for name in ["metadata.db", "metadata.db-wal", "metadata.db-shm"] {
        let _ = fs::remove_file(scratch.path().join("wharfinger").join(name));
    }
    let registry = open(&scratch).await;
    let faults = check(&registry, false).await.faults;
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].digest, digest);
    assert_eq!(faults[0].what, FaultKind::PartSize { part: layer, claimed: 1001, actual: 1000 });
    assert_eq!(registry.blob_size(&app, &layer).await.unwrap(), 1000, "the blob is sound");
    registry.close().await;
}

#[tokio::test]
async fn check_reports_parts_that_cannot_be_pulled() {
    let scratch = TempDir::new().unwrap();
    in_files(&scratch, "a file that cannot be opened");
    let mut registry = open(&scratch).await;
    let app: RepositoryName = "team/app".parse().unwrap();
    let unreadable = push_blob(&registry, &app, &Bytes::from(vec![1; 300_000])).await;
    let deleted = push_blob(&registry, &app, &Bytes::from(vec![2; 300_000])).await;
    for (tag, layer) in [("1", &unreadable), ("2", &deleted), ("3", &deleted)] {
        push_image(&registry, &app, tag, layer, 300_000).await.unwrap();
    }
    assert_eq!(check(&registry, false).await.faults, []);
    registry.delete_blob(&app, &deleted).await.unwrap();
    registry = reopen(registry, &scratch).await;
    // A loop of links cannot be opened, not even by root.
    let path = file(&scratch, &unreadable);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let found = check(&registry, false).await;
    let mut faults: Vec<_> = found.faults.iter().map(|fault| (fault.digest, fault.what)).collect();
    faults.sort_by_key(|(digest, _)| *digest != unreadable);
    assert_eq!(faults, [(unreadable, FaultKind::Unreadable), (deleted, FaultKind::NotLinked)]);
    registry.close().await;
}
