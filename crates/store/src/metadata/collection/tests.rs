//! Tests of the collection in the metadata alone. `crates/registry/tests/collection.rs` tests it with files.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use accounts::Actor;
use oci::{CosignKind, RepositoryName, Tag};

use super::super::fixtures::{child, digest, empty, layer, name, open, put, tag, tagged};
use super::super::writer::Durability;
use super::super::{ChangeRules, Import, Metadata, Quota, QuotaUsage, TagRefusal, ViewStamp};
use super::{Due, Periods, Stage};

const AT_ONCE: Periods =
    Periods { grace: Duration::ZERO, untagged: Some(Duration::ZERO), upload: Duration::ZERO, promised: None };

async fn image(metadata: &Metadata, content: &str, tags: &[&str]) {
    metadata.link_blob(&name("app"), &digest("layer"), 100).await.unwrap();
    let mut image = tagged("app", content, tags);
    image.parts = vec![layer("layer")];
    put(metadata, image).await;
}

/// Removes all manifests and links whose time has come, and returns the digests of the content to delete.
async fn collect(metadata: &Metadata, periods: Periods) -> Vec<oci::Digest> {
    collect_at(metadata, periods, SystemTime::now() + Duration::from_secs(1)).await
}

async fn collect_at(metadata: &Metadata, periods: Periods, now: SystemTime) -> Vec<oci::Digest> {
    metadata.note_changes(Duration::ZERO).await.unwrap();
    while metadata.purge_trash(periods, now, 10).await.unwrap().rows > 0 {}
    for stage in Stage::ALL.into_iter().chain(Stage::ALL) {
        let due: Vec<Due> = metadata.due_candidates(stage, periods, now, None, 100).await.unwrap();
        metadata.collect_candidates(due, periods, now).await.unwrap();
    }
    let due = metadata.due_content(periods, now, None, 100).await.unwrap();
    let marked = metadata.mark_content(due).await.unwrap();
    let mut digests: Vec<_> = marked.iter().map(|(content, _)| content.digest).collect();
    digests.sort();
    digests
}

fn sorted(contents: &[&str]) -> Vec<oci::Digest> {
    let mut digests: Vec<_> = contents.iter().map(|content| digest(content)).collect();
    digests.sort();
    digests
}

#[tokio::test]
async fn links_to_content_of_many_are_collected() {
    let (metadata, _directory) = empty();
    metadata.register_collection().await.unwrap();
    // More manifests than are looked up by the blob.
    for number in 0..80 {
        let app = format!("app{number}");
        metadata.link_blob(&name(&app), &digest("layer"), 100).await.unwrap();
        let mut image = tagged(&app, &format!("m{number}"), &["a"]);
        image.parts = vec![layer("layer")];
        put(&metadata, image).await;
    }
    metadata.link_blob(&name("other"), &digest("layer"), 100).await.unwrap();
    assert!(collect(&metadata, AT_ONCE).await.is_empty());
    let size = async |repository: &str| metadata.blob(&name(repository), &digest("layer")).await.unwrap();
    assert_eq!((size("other").await, size("app3").await), (None, Some(100)));
    metadata.delete_manifest(&name("app3"), &digest("m3")).await.unwrap();
    assert_eq!(collect(&metadata, AT_ONCE).await, sorted(&["m3"]));
    assert_eq!((size("app3").await, size("app4").await), (None, Some(100)));
}

/// Signatures are protected.
struct KeepSignatures;

impl ChangeRules for KeepSignatures {
    fn may_move(&self, _: &RepositoryName, _: &Tag, _: &Actor) -> Result<(), TagRefusal> {
        Ok(())
    }

    fn may_delete(&self, _: &RepositoryName, tag: &Tag, _: &Actor) -> Result<(), TagRefusal> {
        match tag.as_str().ends_with(".sig") {
            true => Err(TagRefusal { is_immutable: false, pattern: "*.sig".to_owned() }),
            false => Ok(()),
        }
    }

    fn has_tag_rules(&self, _: &RepositoryName) -> bool {
        true
    }

    fn quotas(&self, _: &RepositoryName) -> Vec<Quota> {
        Vec::new()
    }

    fn quotas_text(&self) -> String {
        String::new()
    }

    fn quota_is_nearly_reached(&self, _: &QuotaUsage) {}
}

#[tokio::test]
async fn protected_signature_goes_with_its_image() {
    for (content, is_untagged) in [("m", false), ("untagged", true)] {
        let (metadata, _directory) = empty();
        metadata.register_collection().await.unwrap();
        metadata.obey(Arc::new(KeepSignatures)).await.unwrap();
        let signature = CosignKind::ALL[0].tag_of(&digest(content)).unwrap();
        put(&metadata, tagged("app", content, &["a"])).await;
        put(&metadata, tagged("app", &format!("signature of {content}"), &[signature.as_str()])).await;
        if is_untagged {
            metadata.delete_tag(&name("app"), &tag("a")).await.unwrap();
        } else {
            metadata.delete_manifest(&name("app"), &digest(content)).await.unwrap();
        }
        let collected = collect(&metadata, AT_ONCE).await;
        assert_eq!(collected, sorted(&[content, &format!("signature of {content}")]));
    }
}

#[tokio::test]
async fn restored_manifest_without_a_tag_is_untagged() {
    let (metadata, _directory) = empty();
    metadata.register_collection().await.unwrap();
    put(&metadata, tagged("app", "first", &["a"])).await;
    metadata.delete_manifest(&name("app"), &digest("first")).await.unwrap();
    put(&metadata, tagged("app", "second", &["a"])).await;
    let later = Periods { grace: Duration::from_secs(60), untagged: None, ..AT_ONCE };
    assert!(collect(&metadata, later).await.is_empty());
    metadata.restore_manifest(&name("app"), &digest("first")).await.unwrap().unwrap();
    assert_eq!(collect(&metadata, AT_ONCE).await, sorted(&["first"]));
}

#[tokio::test]
async fn marked_content_is_listed_after_restart() {
    let (metadata, directory) = empty();
    metadata.register_collection().await.unwrap();
    image(&metadata, "m", &["a"]).await;
    metadata.delete_manifest(&name("app"), &digest("m")).await.unwrap();
    assert_eq!(collect(&metadata, AT_ONCE).await, sorted(&["layer", "m"]));
    metadata.close().await;
    let metadata = open(&directory);
    let marked = metadata.marked_content(10).await.unwrap();
    assert_eq!(marked.len(), 2, "their files may still be there");
    metadata.delete_content(marked).await.unwrap();
    assert!(metadata.marked_content(10).await.unwrap().is_empty());
    assert_eq!(metadata.content_record(&digest("layer")).await.unwrap(), None);
    image(&metadata, "m", &["a"]).await;
    assert_eq!(metadata.blob(&name("app"), &digest("layer")).await.unwrap(), Some(100));
}

#[tokio::test]
async fn lease_without_link_becomes_garbage() {
    let (metadata, _directory) = empty();
    metadata.register_collection().await.unwrap();
    metadata.lease_blob(&digest("lost")).await.unwrap();
    metadata.lease_blob(&digest("layer")).await.unwrap();
    image(&metadata, "m", &["a"]).await;
    assert_eq!(metadata.abandon_all_leases().await.unwrap(), 1, "the link has ended the other one");
    assert_eq!(collect(&metadata, AT_ONCE).await, sorted(&["lost"]));
}

#[tokio::test]
async fn tag_that_returns_keeps_its_manifest() {
    let (metadata, _directory) = empty();
    metadata.register_collection().await.unwrap();
    image(&metadata, "m", &["a"]).await;
    metadata.delete_tag(&name("app"), &tag("a")).await.unwrap();
    metadata.note_changes(Duration::ZERO).await.unwrap();
    assert!(metadata.put_tag(&name("app"), &digest("m"), &tag("b")).await.unwrap());
    image(&metadata, "other", &["b"]).await;
    // It was tagged after the deletion, and then merely lost its tag.
    assert!(collect(&metadata, Periods { untagged: None, ..AT_ONCE }).await.is_empty());
    assert_eq!(collect(&metadata, AT_ONCE).await, sorted(&["m"]));
}

#[tokio::test]
async fn change_from_before_the_clock_was_set_back_is_noted() {
    let (metadata, _directory) = empty();
    metadata.register_collection().await.unwrap();
    image(&metadata, "m", &["a"]).await;
    metadata.note_changes(Duration::ZERO).await.unwrap();
    metadata.delete_tag(&name("app"), &tag("a")).await.unwrap();
    metadata
        .write(Durability::Disk, |sql| sql.run("UPDATE changes SET at = at + 3600000", &[]).map(drop))
        .await
        .unwrap();
    image(&metadata, "other", &["b"]).await;
    metadata.note_changes(Duration::ZERO).await.unwrap();
    let later = SystemTime::now() + Duration::from_secs(7200);
    assert_eq!(collect_at(&metadata, Periods { untagged: None, ..AT_ONCE }, later).await, sorted(&["m"]));
}

#[tokio::test]
async fn repository_with_problems_keeps_its_links() {
    let (metadata, _directory) = empty();
    metadata.register_collection().await.unwrap();
    metadata.link_blob(&name("app"), &digest("layer"), 100).await.unwrap();
    let problems = |problems| Import::Directory {
        path: "app/_manifests/revisions/sha256".into(),
        stamp: ViewStamp::default(),
        tags_directory: None,
        problems,
    };
    metadata.import(vec![problems(vec![(b"link".to_vec(), "not a manifest".into())])], false).await.unwrap();
    assert!(collect(&metadata, AT_ONCE).await.is_empty());
    metadata.import(vec![problems(vec![])], false).await.unwrap();
    assert_eq!(collect(&metadata, AT_ONCE).await, sorted(&["layer"]));
}

#[tokio::test]
async fn recount_finds_what_no_change_recorded() {
    let (metadata, _directory) = empty();
    image(&metadata, "untagged", &[]).await;
    let mut index = tagged("app", "index", &["a"]);
    index.parts = vec![child("listed")];
    image(&metadata, "listed", &[]).await;
    put(&metadata, index).await;
    metadata.link_blob(&name("other"), &digest("unused"), 7).await.unwrap();
    metadata.register_collection().await.unwrap();
    assert!(collect(&metadata, AT_ONCE).await.is_empty(), "the consumer has seen nothing");
    metadata.request_recount().await.unwrap();
    assert!(metadata.recount_is_due().await.unwrap());
    while metadata.recount_step().await.unwrap() {}
    assert!(!metadata.recount_is_due().await.unwrap());
    metadata.record_orphans(vec![(digest("orphan"), 5), (digest("layer"), 100)]).await.unwrap();
    assert_eq!(collect(&metadata, AT_ONCE).await, sorted(&["untagged", "unused", "orphan"]));
}
