//! Tests of adoption: sound links are imported, and problems are reported.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use oci::{Algorithm, Digest, Manifest, TagOrDigest};
use serde_json::json;

use super::{Report, Scope, adopt};
use crate::StoreError;
use crate::metadata::Metadata;
use crate::view::tests::{Storage, name, tag};
use accounts::Visible;

fn nothing(_: Manifest) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
    std::future::ready(Ok(None)).boxed()
}

/// Adopts a storage's directory into an empty database.
async fn adopted(storage: &Storage) -> (Metadata, Report) {
    let metadata = Metadata::open(&storage.directory.own().join("new.db")).unwrap();
    let report = adopt_into(storage, &metadata).await;
    (metadata, report)
}

async fn adopt_into(storage: &Storage, metadata: &Metadata) -> Report {
    let Storage { directory, blobs, .. } = storage;
    adopt(directory, &**blobs, metadata, Scope::All, None, &nothing, |_| {}).await.unwrap()
}

/// Adopts the changes of another program, as a start does.
async fn changes(storage: &Storage, scope: Scope) -> Report {
    let Storage { directory, blobs, view, .. } = storage;
    view.adopt(directory, &**blobs, scope, &nothing, |_| {}).await.unwrap()
}

fn changes_of(report: &Report) -> Vec<String> {
    report.changes.iter().map(ToString::to_string).collect()
}

fn remove(storage: &Storage, path: &str) {
    let path = storage.directory.repositories().join(path);
    if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
}

/// Points a tag as registry:2 does: in place.
fn link_tag(storage: &Storage, repository: &str, tag: &str, digest: &Digest) {
    link(storage, &format!("{repository}/_manifests/tags/{tag}/current/link"), &digest.to_string());
}

/// Returns the tags of a repository and their targets.
async fn tags(metadata: &Metadata, repository: &str) -> Vec<(String, Digest)> {
    let records = metadata.tag_records(&name(repository), None, 100, true).await.unwrap().unwrap_or_default();
    records.into_iter().map(|record| (record.tag.to_string(), record.manifest.digest)).collect()
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
async fn lost_database_is_rebuilt_from_the_view() {
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
    assert_eq!(was.0.len(), 1);
    assert_eq!(metadata.referrers(&ubuntu, &one, None, None, 10).await.unwrap(), was);
    assert_eq!(
        metadata.usage(&Visible::Everything).await.unwrap(),
        storage.metadata.usage(&Visible::Everything).await.unwrap()
    );
    assert!(metadata.view_changes(0, 10).await.unwrap().is_empty(), "the view needs no write");
}

#[tokio::test]
async fn sound_links_are_adopted_and_problems_reported() {
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
    storage.blobs.flush().await.unwrap();
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
    told(&format!("app/_layers/{layer}"), "blob is missing");
    assert_eq!(
        report.incomplete.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [format!("app/_manifests/revisions/{broken}: the repository lacks its part {layer}")]
    );
    told(&format!("app/_manifests/revisions/{gone}"), "blob is missing");
    told("app/_manifests/tags/gone", "not a manifest of the repository");
    told(&format!("app/_manifests/revisions/{html}"), "invalid manifest");
    told(&format!("app/_manifests/revisions/{torn}"), "does not match its digest");
    told("app/_manifests/tags/stray", "not a manifest of the repository");
    told("app/_manifests/tags/empty", "missing or damaged");
    told("app/_manifests/tags/.odd", "not a valid tag");
    told(&format!("app/_layers/{stray}"), &format!("points to {sound}"));
    told("app/_layers/md5/abc", "not a digest");
    told("Upper", "not a valid repository name");
    told("a-file", "not a directory");
    told("", "outside of a repository");
    assert_eq!(problems.len(), 13, "{problems:#?}");
    assert_eq!(metadata.view_problems().await.unwrap().len(), 13);

    let tags = metadata.tag_records(&name("app"), None, 100, true).await.unwrap().unwrap();
    let tags: Vec<_> = tags.iter().map(|record| (record.tag.as_str(), record.manifest.digest)).collect();
    assert_eq!(tags, [("2", sound), ("broken", broken), ("latest", sound), ("old", old_digest)]);
    assert_eq!(report.tags, 4);
    assert_eq!(report.repositories, 1);
    assert!(!metadata.repository_exists(&name("empty")).await.unwrap());
}

#[tokio::test]
async fn empty_directory_has_nothing_to_adopt() {
    let storage = Storage::new();
    let (metadata, report) = adopted(&storage).await;
    assert_eq!(report, Report::default());
    assert!(metadata.is_empty().await.unwrap());
}

#[tokio::test]
async fn many_repositories_are_adopted_and_counted() {
    let storage = Storage::new();
    let digest = storage.image("first", &["latest"], "content").await;
    storage.view.drain().await.unwrap();
    // As distribution writes them, with one shared blob.
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
    let report = adopt(&storage.directory, &*storage.blobs, &metadata, Scope::All, None, &nothing, |done| {
        progress.lock().unwrap().push(done);
    });
    let report = report.await.unwrap();
    assert_eq!((report.repositories, report.blobs, report.manifests, report.tags), (301, 602, 301, 301));
    assert_eq!(progress.into_inner().unwrap().last(), Some(&301));
    let catalog = metadata.catalog(&Visible::Everything, None, 1000).await.unwrap();
    assert_eq!(catalog.len(), 301);
    let latest = metadata.manifest(&name("group5/name299"), &TagOrDigest::Tag(tag("latest"))).await.unwrap();
    assert_eq!(latest.unwrap().digest, digest);
}

#[tokio::test]
async fn description_is_from_latest_or_the_newest_tag() {
    let storage = Storage::new();
    for (repository, tags) in [("with-latest", ["1", "latest", "3"]), ("without", ["1", "2", "3"])] {
        for tag in tags {
            storage.image(repository, &[tag], tag).await;
            storage.view.drain().await.unwrap();
        }
    }
    let layer_of = |manifest: &Manifest| manifest.layers[0].digest;
    let describe = |manifest: Manifest| {
        let known = ["1", "latest", "3"].into_iter();
        let mut known = known.filter(|tag| Algorithm::Sha256.digest(tag.as_bytes()) == layer_of(&manifest));
        let description = known.next().filter(|tag| *tag != "3").map(str::to_owned);
        std::future::ready(Ok(description)).boxed()
    };
    let metadata = Metadata::open(&storage.directory.own().join("new.db")).unwrap();
    let Storage { directory, blobs, .. } = &storage;
    adopt(directory, &**blobs, &metadata, Scope::All, None, &describe, |_| {}).await.unwrap();
    let description =
        async |repository: &str| metadata.repository(&name(repository)).await.unwrap().unwrap().description;
    assert_eq!(description("with-latest").await, "latest");
    // The last two have no description.
    assert_eq!(description("without").await, "1");
}

#[tokio::test]
async fn adoption_is_idempotent() {
    let storage = Storage::new();
    storage.image("app", &["latest"], "one").await;
    storage.view.drain().await.unwrap();
    let usage = storage.metadata.usage(&Visible::Everything).await.unwrap();
    let report = adopt_into(&storage, &storage.metadata).await;
    assert_eq!((report.manifests, changes_of(&report)), (1, vec![]));
    assert_eq!(storage.metadata.usage(&Visible::Everything).await.unwrap(), usage);
}

#[tokio::test]
async fn incomplete_stored_manifest_is_adopted() {
    let storage = Storage::new();
    storage.image("app", &["latest"], "layer").await;
    let layer = Algorithm::Sha256.digest(b"layer");
    let config = storage.blob("app", "{}").await;
    let mut put = Vec::new();
    for (tag, content) in [
        (
            "no-size",
            format!(
                r#"{{"schemaVersion":2,"config":{{"digest":"{config}"}},"layers":[{{"digest":"{layer}"}}]}}"#
            ),
        ),
        (
            "odd-type",
            format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"referrer.image","digest":"{config}","size":2}},"layers":[]}}"#
            ),
        ),
        ("schema1", format!(r#"{{"schemaVersion":1,"fsLayers":[{{"blobSum":"{layer}"}}],"signatures":[]}}"#)),
    ] {
        let digest = storage.blob("scratch", &content).await;
        put.push((tag, digest));
    }
    storage.view.drain().await.unwrap();
    for (tag, digest) in &put {
        link_revision(&storage, "app", digest);
        link_tag(&storage, "app", tag, digest);
    }
    let (metadata, report) = adopted(&storage).await;
    assert_eq!((problems(&report), report.incomplete), (vec![], vec![]));
    for (tag, digest) in put {
        let found = metadata.manifest(&name("app"), &TagOrDigest::Tag(super::tests::tag(tag))).await.unwrap();
        assert_eq!(found.unwrap().digest, digest, "{tag}");
        for part in metadata.manifest_parts(&name("app"), &digest).await.unwrap() {
            assert_eq!(
                part.size,
                if part.digest == layer { 5 } else { 2 },
                "{tag}: the size of what is there"
            );
            assert!(part.required);
        }
    }
}

#[tokio::test]
async fn truncated_blob_is_adopted_as_damaged() {
    let storage = Storage::new();
    storage.image("app", &["cut", "1"], "a layer that is cut").await;
    storage.image("app", &["whole"], "another layer").await;
    storage.view.drain().await.unwrap();
    let [cut, whole] =
        ["a layer that is cut", "another layer"].map(|layer| Algorithm::Sha256.digest(layer.as_bytes()));
    let hex = cut.hex();
    fs::write(storage.directory.blobs().join("sha256").join(&hex[..2]).join(hex).join("data"), "a lay")
        .unwrap();
    let (metadata, report) = adopted(&storage).await;
    let told: Vec<_> = report.incomplete.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&format!("part {cut} do not match")), "{told:?}");
    assert_eq!(tags(&metadata, "app").await.len(), 3, "nothing is left out");
    for (digest, is_damaged) in [(cut, true), (whole, false)] {
        assert_eq!(metadata.content_record(&digest).await.unwrap().unwrap().is_damaged, is_damaged);
    }
}

#[tokio::test]
async fn adopted_images_have_the_dates_of_their_links() {
    let storage = Storage::new();
    let digest = storage.image("app", &["latest"], "one").await;
    storage.view.drain().await.unwrap();
    let at = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_000);
    let root = storage.directory.repositories().join("app");
    for path in storage.links().into_keys() {
        let file = fs::File::options().write(true).open(storage.directory.repositories().join(path)).unwrap();
        file.set_modified(at).unwrap();
    }
    assert!(root.join(format!("_manifests/revisions/sha256/{}/link", digest.hex())).exists());
    let (metadata, _) = adopted(&storage).await;
    let records = metadata.tag_records(&name("app"), None, 9, true).await.unwrap().unwrap();
    assert_eq!(records[0].updated_at, at);
    assert_eq!(metadata.repository(&name("app")).await.unwrap().unwrap().updated_at, at);
}

#[tokio::test]
async fn manifest_deleted_by_registry2_is_no_problem() {
    let storage = Storage::new();
    let kept = storage.image("app", &["kept"], "kept").await;
    let deleted = storage.image("app", &["deleted"], "deleted").await;
    storage.view.drain().await.unwrap();
    remove(&storage, &format!("app/_manifests/revisions/sha256/{}/link", deleted.hex()));
    let (metadata, report) = adopted(&storage).await;
    assert_eq!((problems(&report), report.deleted), (vec![], 1));
    assert_eq!(tags(&metadata, "app").await, [("kept".to_owned(), kept)]);
}

#[tokio::test]
async fn start_adopts_changes_of_another_program() {
    let storage = Storage::new();
    let one = storage.image("app", &["moved", "kept", "untagged", "deleted-too"], "one").await;
    let two = storage.image("app", &["two"], "two").await;
    let gone = storage.image("app", &["gone"], "gone").await;
    let new = storage.image("scratch", &["x"], "new").await;
    storage.view.drain().await.unwrap();
    assert_eq!(changes_of(&changes(&storage, Scope::All).await), [""; 0]);
    assert_eq!(changes(&storage, Scope::Changed).await, Report::default(), "nothing is read");

    // registry:2 pushed a manifest with a new tag, moved a tag, and deleted a manifest with its tag.
    link_revision(&storage, "app", &new);
    link_tag(&storage, "app", "new", &new);
    link_tag(&storage, "app", "moved", &two);
    remove(&storage, "app/_manifests/tags/untagged");
    remove(&storage, &format!("app/_manifests/revisions/sha256/{}/link", gone.hex()));
    remove(&storage, "app/_manifests/tags/gone");
    let report = changes(&storage, Scope::Changed).await;
    let mut lines = changes_of(&report);
    lines.sort();
    assert_eq!(
        lines,
        [
            format!("app: manifest {gone} was deleted"),
            "app: tag gone was removed".to_owned(),
            format!("app: tag moved was moved from {one} to {two}"),
            format!("app: tag new was added, {new}"),
            "app: tag untagged was removed".to_owned(),
        ]
    );
    let expected = [("deleted-too", one), ("kept", one), ("moved", two), ("new", new), ("two", two)];
    let expected: Vec<_> = expected.map(|(tag, digest)| (tag.to_owned(), digest)).into();
    assert_eq!(tags(&storage.metadata, "app").await, expected);
    // The view does not revert them later.
    storage.view.drain().await.unwrap();
    storage.view.repair(|_| {}).await.unwrap();
    assert_eq!(changes_of(&changes(&storage, Scope::All).await), [""; 0]);
    assert_eq!(tags(&storage.metadata, "app").await, expected);
}

#[tokio::test]
async fn start_finds_new_repositories_by_their_parents() {
    let storage = Storage::new();
    storage.image("team/app", &["latest"], "one").await;
    let digest = storage.image("scratch", &["x"], "new").await;
    storage.view.drain().await.unwrap();
    changes(&storage, Scope::All).await;
    for repository in ["team/deep/er/app", "top"] {
        link_revision(&storage, repository, &digest);
        link_tag(&storage, repository, "1", &digest);
    }
    assert_eq!(changes(&storage, Scope::Changed).await.changes.len(), 2);
    assert_eq!(tags(&storage.metadata, "team/deep/er/app").await.len(), 1);
    assert_eq!(changes(&storage, Scope::Changed).await, Report::default());
}

#[tokio::test]
async fn tag_moved_in_place_is_found_by_reading_all() {
    let storage = Storage::new();
    storage.image("app", &["latest"], "one").await;
    let two = storage.image("app", &["2"], "two").await;
    storage.view.drain().await.unwrap();
    changes(&storage, Scope::All).await;
    link_tag(&storage, "app", "latest", &two);
    assert_eq!(changes(&storage, Scope::Background).await.changes.len(), 1);
    assert_eq!(tags(&storage.metadata, "app").await[1], ("latest".to_owned(), two));
}

#[tokio::test]
async fn own_changes_are_not_adopted() {
    let storage = Storage::new();
    storage.image("app", &["latest", "gone"], "one").await;
    storage.view.drain().await.unwrap();
    // Committed, but the view is not written yet.
    let two = storage.image("app", &["latest"], "two").await;
    storage.metadata.delete_tag(&name("app"), &tag("gone")).await.unwrap();
    assert_eq!(changes_of(&changes(&storage, Scope::All).await), [""; 0]);
    assert_eq!(tags(&storage.metadata, "app").await, [("latest".to_owned(), two)]);
    storage.metadata.delete_repository(&name("app")).await.unwrap();
    assert_eq!(changes_of(&changes(&storage, Scope::All).await), [""; 0]);
    assert!(!storage.metadata.repository_exists(&name("app")).await.unwrap());
}

#[tokio::test]
async fn missing_links_delete_nothing() {
    let storage = Storage::new();
    let one = storage.image("app", &["a", "b"], "one").await;
    storage.image("other", &["a"], "two").await;
    storage.view.drain().await.unwrap();
    let links = storage.links();
    changes(&storage, Scope::All).await;
    remove(&storage, &format!("app/_manifests/revisions/sha256/{}", one.hex()));
    remove(&storage, "app/_manifests/tags/a/current");
    remove(&storage, "other");
    let report = changes(&storage, Scope::Changed).await;
    assert_eq!((changes_of(&report), report.without_links), (vec![], vec!["other".to_owned()]));
    assert_eq!(tags(&storage.metadata, "app").await.len(), 2);
    assert_eq!(tags(&storage.metadata, "other").await.len(), 1);
    // The same for all links.
    remove(&storage, "");
    fs::create_dir_all(storage.directory.repositories()).unwrap();
    assert_eq!(changes_of(&changes(&storage, Scope::All).await), [""; 0]);
    storage.view.repair(|_| {}).await.unwrap();
    assert_eq!(storage.links(), links);
}

#[tokio::test]
async fn lost_link_files_delete_nothing() {
    let storage = Storage::new();
    let one = storage.image("app", &["a"], "one").await;
    storage.view.drain().await.unwrap();
    let links = storage.links();
    changes(&storage, Scope::All).await;
    // The directories stay, as after a file system lost the files.
    remove(&storage, &format!("app/_manifests/revisions/sha256/{}/link", one.hex()));
    assert_eq!(changes_of(&changes(&storage, Scope::Changed).await), [""; 0]);
    remove(&storage, "app/_manifests/tags/a/current/link");
    let layers = storage.directory.repositories().join("app/_layers/sha256");
    for layer in fs::read_dir(layers).unwrap() {
        fs::remove_file(layer.unwrap().path().join("link")).unwrap();
    }
    assert_eq!(changes_of(&changes(&storage, Scope::All).await), [""; 0]);
    assert_eq!(tags(&storage.metadata, "app").await, [("a".to_owned(), one)]);
    storage.view.repair(|_| {}).await.unwrap();
    assert_eq!(storage.links(), links);
}

#[tokio::test]
async fn garbage_collected_manifest_is_deleted() {
    let storage = Storage::new();
    let one = storage.image("app", &["latest"], "one").await;
    let two = storage.image("app", &[], "two").await;
    storage.blobs.flush().await.unwrap();
    storage.view.drain().await.unwrap();
    changes(&storage, Scope::All).await;
    remove(&storage, &format!("app/_manifests/revisions/sha256/{}", two.hex()));
    storage.blobs.delete(&two).await.unwrap();
    let report = changes(&storage, Scope::Changed).await;
    assert_eq!(changes_of(&report), [format!("app: manifest {two} was deleted")]);
    assert_eq!(tags(&storage.metadata, "app").await, [("latest".to_owned(), one)]);
}

#[tokio::test]
async fn problem_is_retried_until_it_is_gone() {
    let storage = Storage::new();
    let digest = storage.image("app", &["latest"], "one").await;
    storage.blobs.flush().await.unwrap();
    storage.view.drain().await.unwrap();
    let content = storage.blobs.get(&digest).await.unwrap().unwrap();
    storage.blobs.delete(&digest).await.unwrap();
    let (metadata, report) = adopted(&storage).await;
    assert_eq!(report.problems.len(), 2);
    let Storage { directory, blobs, .. } = &storage;
    let again = adopt(directory, &**blobs, &metadata, Scope::Changed, None, &nothing, |_| {}).await.unwrap();
    assert_eq!((again.problems.len(), again.known_problems), (0, 2), "told once, and still counted");
    storage.blobs.put(&digest, content).await.unwrap();
    let healed = adopt(directory, &**blobs, &metadata, Scope::Changed, None, &nothing, |_| {}).await.unwrap();
    assert_eq!((healed.problems.len(), healed.known_problems, healed.changes.len()), (0, 0, 1));
    assert_eq!(metadata.view_problems().await.unwrap(), []);
    assert_eq!(tags(&metadata, "app").await, [("latest".to_owned(), digest)]);
}

#[tokio::test]
async fn tag_moved_after_a_kill_is_adopted() {
    let storage = Storage::new();
    let old = storage.image("app", &["v1", "v2"], "old").await;
    let other = storage.image("app", &[], "other").await;
    storage.view.drain().await.unwrap();
    // The process is killed before the view is written.
    let own = storage.image("app", &["v1", "v2"], "own").await;
    // registry:2 moves one of the tags, in a later tick of the clock of files.
    let pushed = SystemTime::now() + Duration::from_millis(1);
    let link = storage.directory.repositories().join("app/_manifests/tags/v1/current/link");
    while fs::metadata(&link).unwrap().modified().unwrap() <= pushed {
        link_tag(&storage, "app", "v1", &other);
    }
    let report = changes(&storage, Scope::Changed).await;
    assert_eq!(changes_of(&report), [format!("app: tag v1 was moved from {own} to {other}")]);
    storage.view.drain().await.unwrap();
    let expected = [("v1".to_owned(), other), ("v2".to_owned(), own)];
    assert_eq!(tags(&storage.metadata, "app").await, expected);
    assert_eq!(changes_of(&changes(&storage, Scope::All).await), [""; 0]);

    // A link with an earlier target of the tag is our own, whatever its time.
    storage.image("app", &["v2"], "newest").await;
    link_tag(&storage, "app", "v2", &own);
    assert_eq!(changes_of(&changes(&storage, Scope::Changed).await), [""; 0]);
    assert_ne!(old, own);
}

#[tokio::test]
async fn blocked_tag_keeps_its_newest_state() {
    let storage = Storage::new();
    let one = storage.image("app", &["v"], "one").await;
    storage.view.drain().await.unwrap();
    // A file in place of a directory keeps the link from being written.
    remove(&storage, "app/_manifests/tags/v/index");
    link(&storage, "app/_manifests/tags/v/index", "");
    storage.image("app", &["v"], "two").await;
    storage.view.drain().await.unwrap();
    assert_eq!(storage.view.blocked().len(), 1);
    let three = storage.image("app", &["v"], "three").await;
    // The clock was set back before the last push, so the link has a later time.
    let current = storage.directory.repositories().join("app/_manifests/tags/v/current/link");
    assert_eq!(fs::read_to_string(&current).unwrap(), one.to_string());
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    fs::File::options().write(true).open(&current).unwrap().set_modified(later).unwrap();
    assert_eq!(changes_of(&changes(&storage, Scope::Changed).await), [""; 0]);
    assert_eq!(tags(&storage.metadata, "app").await, [("v".to_owned(), three)]);

    remove(&storage, "app/_manifests/tags/v/index");
    storage.view.drain().await.unwrap();
    assert_eq!(fs::read_to_string(&current).unwrap(), three.to_string());
}

/// Returns a storage with six tags whose links are written, the digest of the tag `shared`, and its links.
async fn six_tags() -> (Storage, Digest, std::collections::BTreeMap<std::path::PathBuf, String>) {
    let storage = Storage::new();
    for tag in ["a", "b", "c", "d", "e"] {
        storage.image("app", &[tag], tag).await;
    }
    let shared = storage.image("app", &["shared"], "shared").await;
    storage.view.drain().await.unwrap();
    let links = storage.links();
    (storage, shared, links)
}

/// Adopts, and expects that all seven tags are served, and that a repair writes their links.
async fn expect_all_tags(storage: &Storage, links: &std::collections::BTreeMap<std::path::PathBuf, String>) {
    for scope in [Scope::Changed, Scope::All] {
        let report = changes(storage, scope).await;
        assert_eq!(changes_of(&report), [""; 0]);
    }
    assert_eq!(tags(&storage.metadata, "app").await.len(), 7);
    storage.view.repair(|_| {}).await.unwrap();
    let repaired = storage.links();
    assert!(links.iter().all(|(path, content)| repaired.get(path) == Some(content)));
    // Now the directory is whole: a tag that is removed alone counts again.
    remove(storage, "app/_manifests/tags/a");
    assert_eq!(changes_of(&changes(storage, Scope::Changed).await), ["app: tag a was removed"]);
}

#[tokio::test]
async fn removed_repository_keeps_tags_after_a_push() {
    for removed in ["app", "app/_manifests", "app/_manifests/tags", ""] {
        for adopts_between in [false, true] {
            let (storage, _, links) = six_tags().await;
            remove(&storage, removed);
            fs::create_dir_all(storage.directory.repositories()).unwrap();
            if adopts_between {
                assert_eq!(changes_of(&changes(&storage, Scope::Changed).await), [""; 0]);
            }
            // The new tag has the manifest of an old one, whose revision the view writes again.
            storage.image("app", &["new"], "shared").await;
            storage.view.drain().await.unwrap();
            expect_all_tags(&storage, &links).await;
        }
    }
}

#[tokio::test]
async fn emptied_tags_directory_keeps_its_tags() {
    let (storage, _, links) = six_tags().await;
    storage.image("app", &["new"], "new").await;
    storage.view.drain().await.unwrap();
    changes(&storage, Scope::All).await;
    let directory = storage.directory.repositories().join("app/_manifests/tags");
    for tag in fs::read_dir(&directory).unwrap() {
        fs::remove_dir_all(tag.unwrap().path()).unwrap();
    }
    let report = changes(&storage, Scope::Changed).await;
    assert_eq!((changes_of(&report), report.tags_without_link), (vec![], vec![(name("app"), 7)]));
    expect_all_tags(&storage, &links).await;
}

#[tokio::test]
async fn deleted_images_of_all_tags_are_deleted() {
    let (storage, _, _) = six_tags().await;
    changes(&storage, Scope::All).await;
    // As registry:2 deletes each image through its API.
    let app = storage.directory.repositories().join("app/_manifests");
    for tag in fs::read_dir(app.join("tags")).unwrap() {
        fs::remove_dir_all(tag.unwrap().path()).unwrap();
    }
    for revision in fs::read_dir(app.join("revisions/sha256")).unwrap() {
        fs::remove_file(revision.unwrap().path().join("link")).unwrap();
    }
    assert_eq!(changes(&storage, Scope::Changed).await.changes.len(), 12);
    assert_eq!(tags(&storage.metadata, "app").await, []);
}

#[tokio::test]
async fn repository_replaced_by_a_link_keeps_its_tags() {
    let (storage, _, links) = six_tags().await;
    let other = tempfile::tempdir().unwrap();
    let app = storage.directory.repositories().join("app");
    fs::rename(&app, storage.directory.own().join("away")).unwrap();
    std::os::unix::fs::symlink(other.path(), &app).unwrap();
    storage.image("app", &["new"], "new").await;
    storage.view.drain().await.unwrap();
    expect_all_tags(&storage, &links).await;
}

#[tokio::test]
async fn older_copy_of_repositories_keeps_newer_tags() {
    let (storage, _, _) = six_tags().await;
    let root = storage.directory.repositories().to_owned();
    let copy = storage.directory.own().join("copy");
    let cp = |from: &Path, to: &Path| {
        let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(status.success());
    };
    cp(&root, &copy);
    storage.image("app", &["new"], "new").await;
    storage.view.drain().await.unwrap();
    let links = storage.links();
    fs::remove_dir_all(&root).unwrap();
    cp(&copy, &root);
    expect_all_tags(&storage, &links).await;
}

#[tokio::test]
async fn tag_removed_with_its_manifests_link_is_kept() {
    let (storage, _, _) = six_tags().await;
    let new = storage.image("app", &["new"], "new").await;
    storage.view.drain().await.unwrap();
    let links = storage.links();
    // As `rsync --delete` from an older copy does, in the same directories.
    remove(&storage, "app/_manifests/tags/new");
    remove(&storage, &format!("app/_manifests/revisions/sha256/{}", new.hex()));
    expect_all_tags(&storage, &links).await;
}

#[tokio::test]
async fn lost_content_of_a_new_directory_is_not_deleted() {
    let (storage, shared, _) = six_tags().await;
    storage.blobs.flush().await.unwrap();
    remove(&storage, "app");
    storage.blobs.delete(&shared).await.unwrap();
    storage.image("app", &["new"], "new").await;
    storage.view.drain().await.unwrap();
    assert_eq!(changes_of(&changes(&storage, Scope::All).await), [""; 0]);
    assert_eq!(tags(&storage.metadata, "app").await.len(), 7);
}

#[tokio::test]
async fn repository_made_anew_here_follows_removals() {
    let (storage, _, _) = six_tags().await;
    storage.metadata.delete_repository(&name("app")).await.unwrap();
    storage.view.drain().await.unwrap();
    storage.image("app", &["a", "b"], "new").await;
    storage.view.drain().await.unwrap();
    remove(&storage, "app/_manifests/tags/a");
    assert_eq!(changes_of(&changes(&storage, Scope::Changed).await), ["app: tag a was removed"]);
}

#[tokio::test]
async fn older_link_of_erased_content_is_not_adopted() {
    let storage = Storage::new();
    storage.image("app", &["a"], "secret").await;
    storage.image("copy", &["a"], "secret").await;
    storage.view.drain().await.unwrap();
    let (app, secret) = (name("app"), Algorithm::Sha256.digest(b"secret"));
    storage.metadata.erase(&app, &secret, false).await.unwrap();
    storage.view.drain().await.unwrap();
    let path = format!("app/_layers/sha256/{}/link", secret.hex());
    assert!(!storage.directory.repositories().join(&path).exists());
    let hour = std::time::Duration::from_secs(3600);
    let now = std::time::SystemTime::now();
    // A restored link, and then that of a push to another program.
    for (at, is_adopted) in [(now - hour, false), (now + hour, true)] {
        link(&storage, &path, &secret.to_string());
        let file =
            fs::File::options().write(true).open(storage.directory.repositories().join(&path)).unwrap();
        file.set_modified(at).unwrap();
        changes(&storage, Scope::All).await;
        assert_eq!(storage.metadata.blob(&app, &secret).await.unwrap().is_some(), is_adopted);
        assert_eq!(storage.metadata.erasure(&app, &secret).await.unwrap().is_none(), is_adopted);
    }
}
