//! What is in a directory is taken in, and what is wrong with it is told.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use oci::{Algorithm, Digest, Manifest, TagOrDigest};
use serde_json::json;

use super::{Report, adopt};
use crate::accounts::Visible;
use crate::metadata::Metadata;
use crate::view::tests::{Storage, name, tag};
use crate::{BlobStore, StoreError};

async fn nothing(_: Manifest) -> Result<Option<String>, StoreError> {
    Ok(None)
}

/// Adopts a storage's directory into an empty database.
async fn adopted(storage: &Storage) -> (Metadata, Report) {
    let metadata = Metadata::open(&storage.directory.own().join("new.db")).unwrap();
    let report = adopt(&storage.directory, &storage.blobs, &metadata, nothing, |_| {}).await.unwrap();
    (metadata, report)
}

fn problems(report: &Report) -> Vec<String> {
    report.problems.iter().map(ToString::to_string).collect()
}

fn link(storage: &Storage, path: &str, content: &str) {
    let link = storage.directory.repositories().join(path);
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    fs::write(link, content).unwrap();
}

fn link_revision(storage: &Storage, repository: &str, digest: &Digest) {
    let path = format!("{repository}/_manifests/revisions/sha256/{}/link", digest.hex());
    link(storage, &path, &digest.to_string());
}

#[tokio::test]
async fn a_lost_database_is_rebuilt_from_the_view() {
    let storage = Storage::new();
    let one = storage.image("official/ubuntu", &["14.04", "latest"], "trusty").await;
    let two = storage.image("official/ubuntu", &["16.04"], "xenial").await;
    storage.image("official/ubuntu/deep/er", &["v1"], "trusty").await;
    storage.image("untagged", &[], "nobody").await;
    let blob = storage.blob("only-a-blob", "content").await;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": oci::media_type::OCI_INDEX,
        "manifests": [
            { "mediaType": oci::media_type::OCI_MANIFEST, "digest": one, "size": 1 },
            { "mediaType": oci::media_type::OCI_MANIFEST, "digest": two, "size": 1 },
        ],
    });
    let index = storage.manifest("official/ubuntu", &["all"], &index).await;
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": oci::media_type::OCI_MANIFEST,
        "artifactType": "application/x.signature",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json",
                    "digest": storage.blob("official/ubuntu", "{}").await, "size": 2 },
        "layers": [],
        "subject": { "mediaType": oci::media_type::OCI_MANIFEST, "digest": one, "size": 1 },
        "annotations": { "by": "me" },
    });
    storage.manifest("official/ubuntu", &[], &signature).await;
    storage.view.drain().await.unwrap();

    let (metadata, report) = adopted(&storage).await;
    assert_eq!(problems(&report), [""; 0]);
    assert_eq!((report.repositories, report.blobs, report.manifests, report.tags), (4, 10, 6, 5));
    for repository in ["official/ubuntu", "official/ubuntu/deep/er", "untagged", "only-a-blob"] {
        let name = name(repository);
        let was = storage.metadata.tag_records(&name, None, 100, true).await.unwrap().unwrap();
        let is = metadata.tag_records(&name, None, 100, true).await.unwrap().unwrap();
        let told = |records: Vec<crate::metadata::TagRecord>| {
            records.into_iter().map(|record| (record.tag, record.manifest)).collect::<Vec<_>>()
        };
        assert_eq!(told(is), told(was), "{repository}");
        let was = storage.metadata.manifests(&name, None, 100).await.unwrap();
        assert_eq!(metadata.manifests(&name, None, 100).await.unwrap(), was, "{repository}");
        for manifest in was {
            let parts = storage.metadata.manifest_parts(&name, &manifest.digest).await.unwrap();
            assert_eq!(metadata.manifest_parts(&name, &manifest.digest).await.unwrap(), parts);
        }
        let was = storage.metadata.repository_blobs(&name, None, 100).await.unwrap();
        assert_eq!(metadata.repository_blobs(&name, None, 100).await.unwrap(), was, "{repository}");
    }
    assert_eq!(metadata.blob(&name("only-a-blob"), &blob).await.unwrap(), Some(7));
    let ubuntu = name("official/ubuntu");
    let found = metadata.manifest(&ubuntu, &TagOrDigest::Tag(tag("all"))).await.unwrap().unwrap();
    assert_eq!(found.digest, index);
    let was = storage.metadata.referrers(&ubuntu, &one, None, None, 10).await.unwrap();
    assert_eq!(was.len(), 1);
    assert_eq!(metadata.referrers(&ubuntu, &one, None, None, 10).await.unwrap(), was);
    assert_eq!(
        metadata.usage(&Visible::Everything).await.unwrap(),
        storage.metadata.usage(&Visible::Everything).await.unwrap()
    );
    assert!(metadata.view_changes(0, 10).await.unwrap().is_empty(), "the view is what it came from");
}

#[tokio::test]
async fn what_is_wrong_is_told_and_what_is_sound_is_taken_in() {
    let storage = Storage::new();
    let sound = storage.image("app", &["latest", "2"], "sound").await;
    let broken = storage.image("app", &["broken"], "broken").await;
    let gone = storage.image("app", &["gone"], "gone").await;
    storage.view.drain().await.unwrap();
    let layer = Algorithm::Sha256.digest(b"broken");
    storage.blobs.delete(&layer).await.unwrap();
    storage.blobs.delete(&gone).await.unwrap();

    let old = r#"{"schemaVersion":1,"name":"app","tag":"old","fsLayers":[],"history":[]}"#;
    let old_digest = storage.blob("scratch", old).await;
    link_revision(&storage, "app", &old_digest);
    link(&storage, "app/_manifests/tags/old/current/link", &old_digest.to_string());
    let html = storage.blob("scratch", "<html>").await;
    link_revision(&storage, "app", &html);
    let torn = storage.image("scratch", &[], "torn").await;
    storage.blobs.settle().await.unwrap();
    let torn_path =
        storage.directory.blobs().join("sha256").join(&torn.hex()[..2]).join(torn.hex()).join("data");
    fs::write(torn_path, "{}").unwrap();
    link_revision(&storage, "app", &torn);
    let stray = Algorithm::Sha256.digest(b"stray");
    link(&storage, "app/_manifests/tags/stray/current/link", &stray.to_string());
    link(&storage, "app/_manifests/tags/empty/current/link", "");
    link(&storage, "app/_manifests/tags/.odd/current/link", &sound.to_string());
    link(&storage, &format!("app/_layers/sha256/{}/link", stray.hex()), &sound.to_string());
    link(&storage, "app/_layers/md5/abc/link", "md5:abc");
    link(&storage, "Upper/_layers/sha256/x", "");
    link(&storage, "_layers/sha256/x", "");
    link(&storage, "a-file", "");
    link(&storage, "app/_uploads/123/data", "torn");
    fs::create_dir_all(storage.directory.repositories().join("empty/dir")).unwrap();

    let (metadata, report) = adopted(&storage).await;
    let problems: BTreeSet<String> = problems(&report).into_iter().collect();
    let told = |path: &str, what: &str| {
        assert!(
            problems
                .iter()
                .any(|problem| problem.starts_with(&format!("{path}: ")) && problem.contains(what)),
            "{path}: {what} not in {problems:#?}"
        );
    };
    told(&format!("app/_layers/{layer}"), "no such blob");
    told(
        &format!("app/_manifests/revisions/{broken}"),
        &format!("its part {layer} is not in the repository"),
    );
    told(&format!("app/_manifests/revisions/{gone}"), "no such blob");
    told("app/_manifests/tags/gone", "no manifest of the repository");
    told(&format!("app/_manifests/revisions/{old_digest}"), "schema 1");
    told("app/_manifests/tags/old", "no manifest of the repository");
    told(&format!("app/_manifests/revisions/{html}"), "invalid manifest");
    told(&format!("app/_manifests/revisions/{torn}"), "does not have this digest");
    told("app/_manifests/tags/stray", "no manifest of the repository");
    told("app/_manifests/tags/empty", "points nowhere");
    told("app/_manifests/tags/.odd", "no tag");
    told(&format!("app/_layers/sha256/{}", stray.hex()), &format!("points to {sound}"));
    told("app/_layers/md5/abc", "no digest");
    told("Upper", "no repository can have this name");
    told("a-file", "not a directory");
    told("", "without the name of a repository");
    assert_eq!(problems.len(), 16, "{problems:#?}");

    let tags = metadata.tag_records(&name("app"), None, 100, true).await.unwrap().unwrap();
    let tags: Vec<_> = tags.iter().map(|record| (record.tag.as_str(), record.manifest.digest)).collect();
    assert_eq!(tags, [("2", sound), ("broken", broken), ("latest", sound)]);
    assert_eq!(report.tags, 3);
    assert_eq!(report.repositories, 1);
    assert!(!metadata.repository_exists(&name("empty")).await.unwrap());
}

#[tokio::test]
async fn an_empty_directory_has_nothing_to_adopt() {
    let storage = Storage::new();
    let (metadata, report) = adopted(&storage).await;
    assert_eq!(report, Report::default());
    assert!(metadata.is_empty().await.unwrap());
}

#[tokio::test]
async fn many_repositories_are_taken_in_and_counted() {
    let storage = Storage::new();
    let digest = storage.image("first", &["latest"], "content").await;
    storage.view.drain().await.unwrap();
    // As distribution would have written them; one file of content for all.
    let root = storage.directory.repositories();
    let copy = |to: &str| {
        for (path, content) in storage.links() {
            if path.starts_with("first") {
                link(
                    &storage,
                    Path::new(to).join(path.strip_prefix("first").unwrap()).to_str().unwrap(),
                    &content,
                );
            }
        }
    };
    for index in 0..300 {
        copy(&format!("group{}/name{index}", index % 7));
    }
    assert!(root.join("group0/name0").exists());
    let metadata = Metadata::open(&storage.directory.own().join("new.db")).unwrap();
    let progress = Mutex::new(Vec::new());
    let report = adopt(&storage.directory, &storage.blobs, &metadata, nothing, |done| {
        progress.lock().unwrap().push(done);
    });
    let report = report.await.unwrap();
    assert_eq!((report.repositories, report.blobs, report.manifests, report.tags), (301, 602, 301, 301));
    assert_eq!(progress.into_inner().unwrap(), (1..=301).collect::<Vec<_>>());
    let catalog = metadata.catalog(&Visible::Everything, None, 1000).await.unwrap();
    assert_eq!(catalog.len(), 301);
    let latest = metadata.manifest(&name("group5/name299"), &TagOrDigest::Tag(tag("latest"))).await.unwrap();
    assert_eq!(latest.unwrap().digest, digest);
}

#[tokio::test]
async fn a_repository_is_described_by_latest_or_else_by_what_came_last() {
    let storage = Storage::new();
    for (repository, tags) in [("with-latest", ["1", "latest", "3"]), ("without", ["1", "2", "3"])] {
        for tag in tags {
            storage.image(repository, &[tag], tag).await;
            storage.view.drain().await.unwrap();
        }
    }
    let layer_of = |manifest: &Manifest| manifest.layers[0].digest;
    let describe = |manifest: Manifest| async move {
        let known = ["1", "latest", "3"].into_iter();
        let mut known = known.filter(|tag| Algorithm::Sha256.digest(tag.as_bytes()) == layer_of(&manifest));
        Ok(known.next().filter(|tag| *tag != "3").map(str::to_owned))
    };
    let metadata = Metadata::open(&storage.directory.own().join("new.db")).unwrap();
    adopt(&storage.directory, &storage.blobs, &metadata, describe, |_| {}).await.unwrap();
    let description =
        async |repository: &str| metadata.repository(&name(repository)).await.unwrap().unwrap().description;
    assert_eq!(description("with-latest").await, "latest");
    // The last has none, and neither has the one before.
    assert_eq!(description("without").await, "1");
}

#[tokio::test]
async fn adopting_twice_is_adopting_once() {
    let storage = Storage::new();
    storage.image("app", &["latest"], "one").await;
    storage.view.drain().await.unwrap();
    let usage = storage.metadata.usage(&Visible::Everything).await.unwrap();
    let report = adopt(&storage.directory, &storage.blobs, &storage.metadata, nothing, |_| {}).await.unwrap();
    assert_eq!(report.manifests, 1);
    assert_eq!(storage.metadata.usage(&Visible::Everything).await.unwrap(), usage);
}
