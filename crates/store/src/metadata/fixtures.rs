//! Test fixtures of the metadata.

#[path = "../../../../tests/postgres/mod.rs"]
pub(super) mod postgres;

use oci::{Algorithm, Digest, RepositoryName, Tag, TagOrDigest};
use tempfile::TempDir;

use crate::database_url::DatabaseUrl;

use super::sql::Value;
use super::{ManifestRecord, Metadata, Part, PutManifest, PutOutcome};

/// An empty database: a file in a temporary directory, or a schema of the chosen PostgreSQL.
pub(super) fn empty() -> (Metadata, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (open(&directory), directory)
}

/// Opens the database of a directory, which may exist.
pub(super) fn open(directory: &TempDir) -> Metadata {
    match postgres::chosen(directory.path()) {
        Some(url) => Metadata::connect(&DatabaseUrl::parse(&url).unwrap(), directory.path()).unwrap(),
        None => Metadata::open(&directory.path().join("metadata.db")).unwrap(),
    }
}

/// An empty database in a file, for tests of the file.
pub(super) fn in_file() -> (Metadata, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Metadata::open(&directory.path().join("metadata.db")).unwrap(), directory)
}

pub(super) fn name(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

pub(super) fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

pub(super) fn by_tag(name: &str) -> TagOrDigest {
    TagOrDigest::Tag(tag(name))
}

pub(super) fn digest(content: &str) -> Digest {
    Algorithm::Sha256.digest(content.as_bytes())
}

pub(super) fn layer(content: &str) -> Part {
    Part { digest: digest(content), size: 100, is_manifest: false, required: true }
}

pub(super) fn child(content: &str) -> Part {
    Part { digest: digest(content), size: 10, is_manifest: true, required: true }
}

pub(super) fn manifest(repository: &str, content: &str) -> PutManifest {
    PutManifest {
        repository: name(repository),
        manifest: ManifestRecord {
            digest: digest(content),
            media_type: oci::media_type::OCI_MANIFEST.parse().unwrap(),
            size: 10,
        },
        journaled: None,
        artifact_type: None,
        annotations: None,
        subject: None,
        is_index: false,
        parts: Vec::new(),
        stored_sizes: None,
        tags: Vec::new(),
        description: None,
        is_fetched: false,
    }
}

pub(super) fn tagged(repository: &str, content: &str, tags: &[&str]) -> PutManifest {
    PutManifest { tags: tags.iter().map(|name| tag(name)).collect(), ..manifest(repository, content) }
}

/// Puts a manifest whose parts are complete.
pub(super) async fn put(metadata: &Metadata, manifest: PutManifest) {
    assert_eq!(metadata.put_manifest(manifest).await.unwrap(), PutOutcome::Stored);
}

/// Acknowledges all changes for the view and returns their items in order.
pub(super) async fn acknowledged_items(metadata: &Metadata) -> Vec<super::ViewItem> {
    let changes = metadata.view_changes(0, 1_000).await.unwrap();
    metadata.view_written(metadata.changes().newest(), &[], &[], vec![]).await.unwrap();
    changes.into_iter().map(|change| change.item).collect()
}

/// The query plan of a statement with this number of parameters.
pub(super) async fn plan(statement: &str, parameters: usize) -> Vec<String> {
    let (metadata, _directory) = in_file();
    let explain = format!("EXPLAIN QUERY PLAN {statement}");
    let nothing = vec![Value::Null; parameters];
    metadata.read(move |sql| sql.all(&explain, &nothing, |row| row.get(3))).await.unwrap()
}
