//! Tests of the view: it follows the metadata, also after crashes and failures.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci::media_type::{OCI_CONFIG, OCI_MANIFEST};
use oci::{Algorithm, Digest, Manifest, RepositoryName, Tag};
use serde_json::json;

use super::View;
use crate::blob_journal::BlobJournal;
use crate::blobs::open_files;
use crate::metadata::{ManifestRecord, Part, PutManifest, PutOutcome};
use crate::{BlobStore, Directory, Metadata};

pub(crate) struct Storage {
    pub(crate) directory: Directory,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) metadata: Metadata,
    pub(crate) view: View,
    _data: Arc<tempfile::TempDir>,
}

pub(crate) fn name(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

pub(crate) fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

impl Storage {
    pub(crate) fn new() -> Self {
        let data = Arc::new(tempfile::tempdir().unwrap());
        let directory = Directory::open(data.path()).unwrap();
        let metadata = Metadata::open(&directory.metadata()).unwrap();
        let blobs = open_files(&directory);
        let blob_journal = BlobJournal::new(blobs.clone(), metadata.clone());
        Self {
            blobs,
            view: View::new(&directory, metadata.clone(), blob_journal).unwrap(),
            metadata,
            directory,
            _data: data,
        }
    }

    pub(crate) async fn blob(&self, repository: &str, content: &str) -> Digest {
        let digest = Algorithm::Sha256.digest(content.as_bytes());
        self.blobs.put(&digest, Bytes::from(content.to_owned())).await.unwrap();
        self.metadata.link_blob(&name(repository), &digest, content.len() as u64).await.unwrap();
        digest
    }

    /// Pushes an image of one layer.
    pub(crate) async fn image(&self, repository: &str, tags: &[&str], layer: &str) -> Digest {
        let config = self.blob(repository, &format!("{{\"layer\":\"{layer}\"}}")).await;
        let layer_digest = self.blob(repository, layer).await;
        let descriptor = |media_type: &str, digest: Digest, size: usize| json!({ "mediaType": media_type, "digest": digest, "size": size });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, config, layer.len() + 12),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer_digest, layer.len())],
        });
        self.manifest(repository, tags, &manifest).await
    }

    pub(crate) async fn manifest(
        &self,
        repository: &str,
        tags: &[&str],
        manifest: &serde_json::Value,
    ) -> Digest {
        let content = Bytes::from(manifest.to_string());
        let digest = Algorithm::Sha256.digest(&content);
        self.blobs.put(&digest, content.clone()).await.unwrap();
        let parsed = Manifest::parse(&content, None).unwrap();
        let parts = parsed.parts().map(|(part, is_manifest)| Part {
            digest: part.digest,
            size: part.size,
            is_manifest,
            required: true,
        });
        let put = PutManifest {
            repository: name(repository),
            manifest: ManifestRecord {
                digest,
                media_type: parsed.media_type.clone(),
                size: content.len() as u64,
            },
            journaled: None,
            artifact_type: parsed.artifact_type.clone(),
            annotations: parsed.annotations.clone(),
            subject: parsed.subject.as_ref().map(|subject| subject.digest),
            is_index: parsed.kind == oci::manifest::Kind::Index,
            parts: parts.collect(),
            stored_sizes: None,
            tags: tags.iter().map(|name| tag(name)).collect(),
            description: None,
            is_fetched: false,
        };
        assert_eq!(self.metadata.put_manifest(put).await.unwrap(), PutOutcome::Stored);
        digest
    }

    /// Returns the content of all links by path.
    pub(crate) fn links(&self) -> BTreeMap<PathBuf, String> {
        let mut links = BTreeMap::new();
        collect(self.directory.repositories(), self.directory.repositories(), &mut links);
        links
    }
}

fn collect(root: &Path, directory: &Path, links: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, links);
        } else {
            links.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read_to_string(path).unwrap());
        }
    }
}

#[tokio::test]
async fn image_has_the_links_of_distribution() {
    let storage = Storage::new();
    let manifest = storage.image("official/ubuntu", &["14.04"], "trusty").await;
    storage.view.drain().await.unwrap();
    let links = storage.links();
    let layer = Algorithm::Sha256.digest(b"trusty");
    let (hex, layer_hex) = (manifest.hex(), layer.hex());
    for (path, target) in [
        (format!("official/ubuntu/_layers/sha256/{layer_hex}/link"), layer),
        (format!("official/ubuntu/_manifests/revisions/sha256/{hex}/link"), manifest),
        ("official/ubuntu/_manifests/tags/14.04/current/link".to_owned(), manifest),
        (format!("official/ubuntu/_manifests/tags/14.04/index/sha256/{hex}/link"), manifest),
    ] {
        assert_eq!(links.get(Path::new(&path)), Some(&target.to_string()), "{path}");
    }
    // The fifth is the config.
    assert_eq!(links.len(), 5);
    assert_eq!(storage.view.drain().await.unwrap(), 0);
}

#[tokio::test]
async fn moved_and_deleted_tags_change_the_view() {
    let storage = Storage::new();
    storage.image("app", &["latest", "1"], "one").await;
    let two = storage.image("app", &["latest"], "two").await;
    storage.view.drain().await.unwrap();
    let latest = Path::new("app/_manifests/tags/latest/current/link");
    assert_eq!(storage.links()[latest], two.to_string());
    storage.metadata.delete_tag(&name("app"), &tag("latest")).await.unwrap();
    storage.view.drain().await.unwrap();
    let tags = storage.directory.repositories().join("app/_manifests/tags");
    assert!(!tags.join("latest").exists());
    assert!(tags.join("1").exists());
    let revision = PathBuf::from(format!("app/_manifests/revisions/sha256/{}/link", two.hex()));
    assert!(storage.links().contains_key(&revision), "only the tag is deleted");
    storage.metadata.delete_manifest(&name("app"), &two).await.unwrap();
    storage.view.drain().await.unwrap();
    assert!(!storage.links().contains_key(&revision));
}

#[tokio::test]
async fn deleted_repository_leaves_others_below_it() {
    let storage = Storage::new();
    for repository in ["a", "a/b", "a/b/c", "a-b", "x/y"] {
        storage.image(repository, &["t"], repository).await;
    }
    storage.view.drain().await.unwrap();
    let root = storage.directory.repositories();
    storage.metadata.delete_repository(&name("a/b")).await.unwrap();
    storage.metadata.delete_repository(&name("x/y")).await.unwrap();
    storage.view.drain().await.unwrap();
    assert!(!root.join("a/b/_layers").exists());
    assert!(!root.join("a/b/_manifests").exists());
    assert!(!root.join("x").exists());
    for repository in ["a", "a/b/c", "a-b"] {
        assert!(root.join(repository).join("_manifests/tags/t/current/link").exists(), "{repository}");
    }
}

#[tokio::test]
async fn recreated_repository_has_no_old_links() {
    let storage = Storage::new();
    storage.image("app", &["old"], "old").await;
    storage.view.drain().await.unwrap();
    storage.metadata.delete_repository(&name("app")).await.unwrap();
    storage.image("app", &["new"], "new").await;
    storage.view.drain().await.unwrap();
    let links = storage.links();
    assert_eq!(links.len(), 5, "{links:?}");
    assert!(links.contains_key(Path::new("app/_manifests/tags/new/current/link")));
}

#[tokio::test]
async fn index_alone_is_in_the_catalog() {
    let storage = Storage::new();
    let index = json!({ "schemaVersion": 2, "mediaType": oci::media_type::OCI_INDEX, "manifests": [] });
    storage.manifest("index", &["latest"], &index).await;
    storage.view.drain().await.unwrap();
    assert!(storage.directory.repositories().join("index/_layers").is_dir());
}

#[tokio::test]
async fn repeated_outbox_items_do_no_harm() {
    let storage = Storage::new();
    storage.image("app", &["latest"], "one").await;
    let notes = storage.metadata.view_changes(0, 100).await.unwrap();
    storage.view.drain().await.unwrap();
    let before = storage.links();
    // As after a crash before the outbox was emptied, and in the middle of a link.
    let notes = notes.into_iter().map(|change| (change.repository, change.item)).collect();
    let steps = storage.view.steps_for(notes).await.unwrap().into_iter().flat_map(|(_, steps)| steps);
    let steps: Vec<_> = steps.collect();
    assert!(!storage.view.inner.links.apply(&steps).unwrap(), "nothing was left to do");
    let link = storage.directory.repositories().join("app/_manifests/tags/latest/current/link");
    fs::write(link.with_extension("unfinished"), "sha2").unwrap();
    fs::remove_file(&link).unwrap();
    assert!(storage.view.inner.links.apply(&steps).unwrap());
    assert_eq!(storage.links(), before);
}

#[tokio::test]
async fn links_are_written_again_after_a_failed_sync() {
    let storage = Storage::new();
    storage.image("app", &["latest"], "one").await;
    let notes = storage.metadata.view_changes(0, 100).await.unwrap();
    storage.view.drain().await.unwrap();
    let notes = notes.into_iter().map(|change| (change.repository, change.item)).collect();
    let steps = storage.view.steps_for(notes).await.unwrap().into_iter().flat_map(|(_, steps)| steps);
    let (root, away) = (storage.directory.repositories(), storage.directory.own().join("away"));
    let (steps, links) = (steps.collect::<Vec<_>>(), super::Links::new(root.to_owned()));
    assert!(!links.apply(&steps).unwrap());
    fs::rename(root, &away).unwrap();
    links.sync().unwrap_err();
    fs::rename(&away, root).unwrap();
    assert!(links.apply(&steps).unwrap(), "the disk may lack links that read right");
    links.sync().unwrap();
    assert!(!links.apply(&steps).unwrap());
}

#[tokio::test]
async fn task_writes_on_wake_and_at_the_end() {
    let storage = Storage::new();
    storage.image("before", &["latest"], "before").await;
    let (close, closing) = tokio::sync::oneshot::channel::<()>();
    let view = storage.view.clone();
    let task = tokio::spawn(async move { view.run(async { _ = closing.await }).await });
    let appears = async |repository: &str| {
        let link =
            storage.directory.repositories().join(repository).join("_manifests/tags/latest/current/link");
        for _ in 0..500 {
            if link.exists() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} did not appear", link.display());
    };
    appears("before").await;
    storage.image("during", &["latest"], "during").await;
    appears("during").await;
    storage.image("last", &["latest"], "last").await;
    close.send(()).unwrap();
    task.await.unwrap();
    assert!(storage.directory.repositories().join("last/_manifests/tags/latest/current/link").exists());
}

#[tokio::test]
async fn repair_writes_missing_links_only() {
    let storage = Storage::new();
    let manifest = storage.image("team/app", &["latest", "1"], "one").await;
    storage.image("other", &["latest"], "two").await;
    storage.view.drain().await.unwrap();
    let before = storage.links();
    let seen = std::sync::atomic::AtomicU64::new(0);
    let progress = |done: u64| seen.store(done, std::sync::atomic::Ordering::Relaxed);
    let sound = storage.view.repair(progress).await.unwrap();
    assert_eq!((sound.repositories, sound.written), (2, 0));
    assert_eq!(seen.into_inner(), 2);

    let root = storage.directory.repositories();
    let team = root.join("team/app");
    fs::remove_dir_all(root.join("other")).unwrap();
    fs::write(team.join("_manifests/tags/latest/current/link"), "sha256:00").unwrap();
    fs::remove_dir_all(team.join("_manifests/revisions/sha256").join(manifest.hex())).unwrap();
    let mut foreign = BTreeMap::new();
    for path in
        ["team/app/_layers/sha256", "team/app/_manifests/revisions/sha256", "foreign/app/_layers/sha256"]
    {
        let stray = Algorithm::Sha256.digest(path.as_bytes());
        let link = Path::new(path).join(stray.hex()).join("link");
        fs::create_dir_all(root.join(&link).parent().unwrap()).unwrap();
        fs::write(root.join(&link), stray.to_string()).unwrap();
        foreign.insert(link, stray.to_string());
    }

    let repaired = storage.view.repair(|_| {}).await.unwrap();
    assert_eq!(repaired.repositories, 2);
    assert!(repaired.written >= 7, "{repaired:?}");
    let mut expected = before.clone();
    expected.extend(foreign.clone());
    assert_eq!(storage.links(), expected);
    assert_eq!(storage.view.repair(|_| {}).await.unwrap().written, 0);

    // Deleting the repository keeps the links of another program.
    storage.metadata.delete_repository(&name("team/app")).await.unwrap();
    storage.metadata.delete_repository(&name("other")).await.unwrap();
    storage.view.drain().await.unwrap();
    assert_eq!(storage.links(), foreign);
}

#[tokio::test]
async fn blocked_repository_blocks_no_other() {
    let storage = Storage::new();
    let root = storage.directory.repositories();
    // A file in place of a directory, because root may write anywhere.
    fs::create_dir_all(root.join("blocked")).unwrap();
    fs::write(root.join("blocked/_manifests"), "").unwrap();
    storage.image("blocked", &["latest"], "one").await;
    storage.image("free", &["latest"], "two").await;
    storage.view.drain().await.unwrap();
    assert!(root.join("free/_manifests/tags/latest/current/link").exists());
    let blocked = storage.view.blocked();
    assert_eq!(blocked.len(), 1);
    assert_eq!(blocked[0].0, name("blocked"));
    let repaired = storage.view.repair(|_| {}).await.unwrap();
    assert_eq!(repaired.blocked.len(), 1);

    fs::remove_file(root.join("blocked/_manifests")).unwrap();
    storage.view.drain().await.unwrap();
    assert!(root.join("blocked/_manifests/tags/latest/current/link").exists());
    assert_eq!(storage.view.blocked(), []);
    assert_eq!(storage.metadata.view_changes(0, 10).await.unwrap(), []);
}

#[tokio::test]
async fn repair_reads_all_pages() {
    let storage = Storage::new();
    for index in 0..20 {
        storage.image("many", &[&format!("t{index}")], &format!("layer {index}")).await;
        storage.image(&format!("many/{index}"), &["t"], "the same").await;
    }
    let tags: Vec<String> = (0..40).map(|index| format!("x{index}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    storage.image("many", &tags, "tagged often").await;
    storage.view.drain().await.unwrap();
    let before = storage.links();
    assert_eq!(before.len(), 21 * 3 + (40 + 20) * 2 + 20 * 5);
    fs::remove_dir_all(storage.directory.repositories().join("many")).unwrap();
    storage.view.repair(|_| {}).await.unwrap();
    assert_eq!(storage.links(), before);
}

#[tokio::test]
async fn shutdown_leaves_the_rest_to_the_next_start() {
    let storage = Storage::new();
    let tags: Vec<String> = (0..super::BATCH + 10).map(|n| format!("t{n}")).collect();
    storage.image("app", &tags.iter().map(String::as_str).collect::<Vec<_>>(), "layer").await;
    let notes = super::BATCH as u64 + 13;
    let at_once = Some(tokio::time::Instant::now());
    assert_eq!(storage.view.drain_until(at_once).await.unwrap(), super::BATCH as u64, "a batch at least");
    assert_eq!(storage.view.drain().await.unwrap(), notes - super::BATCH as u64);
}
