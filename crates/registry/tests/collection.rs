//! Garbage collection of a registry over a data directory: what is needed stays, and everything else goes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use accounts::Visible;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use oci::{Algorithm, Digest, RepositoryName, TagOrDigest};
use registry::access::AccountSettings;
use registry::collection::{Collected, GarbagePolicy, LinkKind};
use registry::manifests::Push;
use registry::{Error, Policy, Registry};
use tempfile::TempDir;

const IMAGE: &str = oci::media_type::OCI_MANIFEST;
const INDEX: &str = oci::media_type::OCI_INDEX;

/// A registry whose deletions take effect with the next collection.
struct Fixture {
    registry: Registry,
    scratch: TempDir,
    policy: Policy,
}

fn name(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

fn tag(tag: &str) -> TagOrDigest {
    TagOrDigest::Tag(tag.parse().unwrap())
}

fn digest(content: &[u8]) -> Digest {
    Algorithm::Sha256.digest(content)
}

async fn open(scratch: &TempDir, policy: Policy) -> Registry {
    Registry::open(fixture::directory(scratch), policy, AccountSettings::default(), |_| ()).await.unwrap().0
}

impl Fixture {
    async fn new() -> Self {
        Self::with(GarbagePolicy { interval: Duration::ZERO, grace: Duration::ZERO, untagged: None }).await
    }

    async fn with(garbage: GarbagePolicy) -> Self {
        Self::in_directory(TempDir::new().unwrap(), garbage).await
    }

    async fn in_directory(scratch: TempDir, garbage: GarbagePolicy) -> Self {
        let policy = Policy { garbage, ..Policy::default() };
        Self { registry: open(&scratch, policy.clone()).await, scratch, policy }
    }

    async fn reopen(&mut self) {
        self.registry.close().await;
        self.registry = open(&self.scratch, self.policy.clone()).await;
    }

    async fn collect(&self) -> Collected {
        self.registry.collect_garbage(|_| true).await.unwrap()
    }

    async fn blob(&self, repository: &str, content: &[u8]) -> Digest {
        let body = stream::iter([Ok(Bytes::copy_from_slice(content))]);
        self.registry.upload_blob(&name(repository), digest(content), body).await.unwrap();
        digest(content)
    }

    async fn put(&self, repository: &str, target: Option<&str>, content: String) -> Result<Digest, Error> {
        let own = digest(content.as_bytes());
        let push = Push {
            repository: name(repository),
            target: target.map_or(TagOrDigest::Digest(own), tag),
            content_type: None,
            content: content.into(),
            tags: Vec::new(),
        };
        self.registry.put_manifest(push).await.map(|pushed| pushed.digest)
    }

    /// Pushes an image with layers of these contents.
    async fn image(&self, repository: &str, target: Option<&str>, layers: &[&[u8]]) -> Digest {
        for layer in layers {
            self.blob(repository, layer).await;
        }
        self.blob(repository, b"{}").await;
        self.put(repository, target, image(layers, None)).await.unwrap()
    }

    async fn delete(&self, repository: &str, target: &TagOrDigest) {
        self.registry.delete_manifest(&name(repository), target).await.unwrap();
    }

    /// The digests of all files.
    async fn files(&self) -> BTreeSet<Digest> {
        let blobs = fixture::directory(&self.scratch).open_blobs().unwrap();
        // Small content may have no file yet, so the files of a closed registry are listed.
        blobs.list().map(|file| file.unwrap().0).collect().await
    }

    async fn closed_files(&mut self) -> BTreeSet<Digest> {
        self.reopen().await;
        self.files().await
    }

    async fn is_pullable(&self, repository: &str, target: &TagOrDigest) -> bool {
        self.registry.manifest(&name(repository), target).await.is_ok()
    }
}

fn descriptor(media_type: &str, content: &[u8]) -> String {
    let (digest, size) = (digest(content), content.len());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn image(layers: &[&[u8]], subject: Option<&[u8]>) -> String {
    let layers: Vec<String> = layers.iter().map(|layer| descriptor("application/x", layer)).collect();
    let subject = subject.map(|subject| format!(r#","subject":{}"#, descriptor(IMAGE, subject)));
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{},"layers":[{}]{}}}"#,
        descriptor("application/vnd.oci.image.config.v1+json", b"{}"),
        layers.join(","),
        subject.unwrap_or_default()
    )
}

fn index(children: &[&str]) -> String {
    let kind = |child: &str| if child.contains(INDEX) { INDEX } else { IMAGE };
    let children: Vec<String> =
        children.iter().map(|child| descriptor(kind(child), child.as_bytes())).collect();
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, children.join(","))
}

#[tokio::test]
async fn deleted_image_is_freed_at_once_without_grace() {
    let mut fixture = Fixture::new().await;
    let large = vec![7; 200_000];
    let kept = fixture.image("app", Some("kept"), &[b"shared"]).await;
    let gone = fixture.image("app", Some("gone"), &[b"shared", b"own", &large]).await;
    fixture.delete("app", &TagOrDigest::Digest(gone)).await;
    let collected = fixture.collect().await;
    assert_eq!((collected.files, collected.links), (3, 2), "manifest and two layers: {collected:?}");
    assert!(collected.bytes > 200_000);
    assert!(fixture.is_pullable("app", &tag("kept")).await);
    let expected = BTreeSet::from([kept, digest(b"shared"), digest(b"{}")]);
    assert_eq!(fixture.closed_files().await, expected);
    assert_eq!(fixture.collect().await, Collected::default());
}

#[tokio::test]
async fn deleted_tag_frees_image_children_and_referrers() {
    let mut fixture = Fixture::new().await;
    let (one, two) = (image(&[b"one"], None), image(&[b"two"], None));
    fixture.image("app", None, &[b"one"]).await;
    fixture.image("app", None, &[b"two"]).await;
    let list = index(&[&one, &two]);
    fixture.put("app", Some("latest"), list.clone()).await.unwrap();
    let outer = index(&[&list]);
    // A nested index keeps everything below it.
    fixture.put("app", Some("nested"), outer.clone()).await.unwrap();
    fixture.blob("app", b"signature").await;
    fixture.put("app", None, image(&[b"signature"], Some(one.as_bytes()))).await.unwrap();
    fixture.blob("app", b"attestation").await;
    let attestation = image(&[b"attestation"], None);
    fixture.put("app", None, attestation.clone()).await.unwrap();
    let fallback = digest(one.as_bytes()).referrers_tag();
    fixture.put("app", Some(&fallback), index(&[&attestation])).await.unwrap();

    fixture.delete("app", &tag("latest")).await;
    assert_eq!(fixture.collect().await.files, 0, "the nested index keeps all of it");
    let explained = fixture.registry.explain_content(&digest(b"signature"), None).await.unwrap();
    let kinds: Vec<_> = explained.chains[0].links.iter().map(|link| link.kind).collect();
    assert_eq!(kinds.first(), Some(&LinkKind::Tag));
    assert_eq!(kinds.last(), Some(&LinkKind::Blob));
    assert!(kinds.contains(&LinkKind::Subject), "{kinds:?}");

    fixture.delete("app", &tag("nested")).await;
    let preview = fixture.registry.preview_garbage().await.unwrap();
    let previewed: BTreeSet<_> =
        preview.removed.iter().filter(|removed| removed.repository.is_none()).map(|r| r.digest).collect();
    let collected = fixture.collect().await;
    assert_eq!(previewed.len() as u64, collected.files, "the preview is right");
    assert_eq!(fixture.closed_files().await, BTreeSet::new());
}

#[tokio::test]
async fn preview_leaves_what_a_push_may_need() {
    let garbage =
        GarbagePolicy { untagged: Some(Duration::ZERO), grace: Duration::ZERO, ..GarbagePolicy::default() };
    let mut fixture = Fixture::with(garbage).await;
    fixture.image("app", None, &[b"child"]).await;
    let preview = fixture.registry.preview_garbage().await.unwrap();
    assert_eq!((preview.removed, preview.leased), (Vec::new(), 1), "its index may follow");
    assert_eq!(fixture.collect().await, Collected { leased: 1, ..Collected::default() });

    // Leases end with the process.
    fixture.reopen().await;
    assert!(!fixture.registry.preview_garbage().await.unwrap().removed.is_empty());
}

#[tokio::test]
async fn moved_tag_keeps_the_old_image() {
    let mut fixture = Fixture::new().await;
    let old = fixture.image("app", Some("latest"), &[b"old"]).await;
    fixture.image("app", Some("latest"), &[b"new"]).await;
    assert_eq!(fixture.collect().await.files, 0);
    assert!(fixture.is_pullable("app", &TagOrDigest::Digest(old)).await);
    let kept = fixture.registry.garbage_status(registry::collection::COUNTED).await.unwrap().kept;
    assert_eq!((kept.untagged.manifests, kept.deleted.manifests), (1, 0));
    assert!(kept.untagged.bytes > 3, "its manifest and its layer, and not the shared config");

    fixture.policy.garbage.untagged = Some(Duration::ZERO);
    fixture.reopen().await;
    assert_eq!(fixture.collect().await.files, 2);
    assert!(!fixture.is_pullable("app", &TagOrDigest::Digest(old)).await);
    assert!(fixture.is_pullable("app", &tag("latest")).await);
}

#[tokio::test]
async fn grace_keeps_what_was_deleted() {
    let garbage = GarbagePolicy { interval: Duration::ZERO, ..GarbagePolicy::default() };
    let mut fixture = Fixture::with(garbage).await;
    let by_digest = fixture.image("app", Some("a"), &[b"a"]).await;
    let by_tag = fixture.image("app", Some("b"), &[b"b"]).await;
    fixture.image("team/whole", Some("c"), &[b"c"]).await;
    fixture.delete("app", &TagOrDigest::Digest(by_digest)).await;
    fixture.delete("app", &tag("b")).await;
    fixture.registry.delete_repository(&name("team/whole")).await.unwrap();
    let before = fixture.closed_files().await;
    assert_eq!(fixture.collect().await.files, 0);
    let explained = fixture.registry.explain_content(&digest(b"a"), Some(&name("app"))).await.unwrap();
    assert_eq!(explained.chains[0].setting, Some("gc.grace"));
    assert!(explained.chains[0].until > Some(std::time::SystemTime::now()));
    assert_eq!(fixture.closed_files().await, before);
    let restored = fixture.registry.restore_manifest(&name("app"), &by_digest).await.unwrap();
    assert_eq!(restored.tags.len(), 1);

    fixture.policy.garbage.grace = Duration::ZERO;
    fixture.reopen().await;
    fixture.collect().await;
    assert!(fixture.is_pullable("app", &tag("a")).await);
    assert!(!fixture.is_pullable("app", &TagOrDigest::Digest(by_tag)).await);
    let expected = BTreeSet::from([by_digest, digest(b"a"), digest(b"{}")]);
    assert_eq!(fixture.closed_files().await, expected);
}

#[tokio::test]
async fn blob_of_a_push_in_progress_is_kept() {
    let fixture = Fixture::new().await;
    let (app, other) = (name("app"), name("other"));
    // Uploaded, mounted, and asked for, in this order.
    fixture.blob("app", b"layer").await;
    fixture.registry.mount_blob(&other, &digest(b"layer"), Some(&app), &Visible::Everything).await.unwrap();
    fixture.blob("other", b"{}").await;
    let first = fixture.image("third", Some("1"), &[b"asked"]).await;
    fixture.registry.lease_blob(&name("third"), &digest(b"asked")).await.unwrap();
    fixture.registry.lease_blob(&name("third"), &digest(b"{}")).await.unwrap();
    fixture.delete("third", &TagOrDigest::Digest(first)).await;
    let collected = fixture.collect().await;
    assert_eq!((collected.files, collected.leased), (1, 2), "the manifest alone: {collected:?}");
    fixture.put("third", Some("2"), image(&[b"asked"], None)).await.unwrap();
    fixture.put("other", Some("1"), image(&[b"layer"], None)).await.unwrap();
    assert_eq!(fixture.collect().await.files, 0);
}

#[tokio::test]
async fn erased_content_is_gone_at_once() {
    let garbage = GarbagePolicy { interval: Duration::ZERO, ..GarbagePolicy::default() };
    let mut fixture = Fixture::with(garbage).await;
    let image = fixture.image("app", Some("1"), &[b"secret"]).await;
    fixture.image("copy", Some("1"), &[b"secret"]).await;
    let secret = digest(b"secret");
    assert_eq!(fixture.registry.blob_size(&name("app"), &secret).await.unwrap(), 6);
    let erased = fixture.registry.erase_content(&name("app"), &secret, false).await.unwrap();
    assert!(!erased.is_deleted);
    assert_eq!((erased.repositories, erased.held_by), (vec![name("app")], vec![name("copy")]));
    assert!(matches!(
        fixture.registry.blob_size(&name("app"), &secret).await,
        Err(Error::BlobUnknown { .. })
    ));
    let erased = fixture.registry.erase_content(&name("copy"), &secret, true).await.unwrap();
    assert!(erased.is_deleted && erased.held_by.is_empty());
    assert!(!fixture.closed_files().await.contains(&secret));

    // Also from the trash, and with everything that only it needed.
    fixture.delete("app", &TagOrDigest::Digest(image)).await;
    let erased = fixture.registry.erase_content(&name("app"), &image, true).await.unwrap();
    assert_eq!(erased.repositories, [name("app"), name("copy")]);
    assert_eq!(fixture.closed_files().await, BTreeSet::new());
    let unknown = fixture.registry.erase_content(&name("app"), &image, false).await;
    assert!(matches!(unknown, Err(Error::ContentUnknown { .. })));
}

#[tokio::test]
async fn failed_deletion_spares_a_later_push() {
    let scratch = TempDir::new().unwrap();
    fixture::in_files(&scratch, "a directory in the place of a file");
    let garbage = GarbagePolicy { interval: Duration::ZERO, grace: Duration::ZERO, untagged: None };
    let mut fixture = Fixture::in_directory(scratch, garbage).await;
    let large = vec![7; 200_000];
    let image = fixture.image("app", Some("1"), &[&large]).await;
    fixture.delete("app", &TagOrDigest::Digest(image)).await;
    let file = fixture::file(&fixture.scratch, &digest(&large));
    // A directory cannot be deleted as a file.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    fixture.registry.collect_garbage(|_| true).await.unwrap_err();
    std::fs::remove_dir(&file).unwrap();
    fixture.image("app", Some("1"), &[&large]).await;
    for _ in 0..2 {
        fixture.reopen().await;
        let size = fixture.registry.blob_size(&name("app"), &digest(&large)).await.unwrap();
        assert_eq!(size, 200_000, "the start deletes what it finds marked");
        fixture.collect().await;
    }
}

/// A small generator of numbers (xorshift), so that a seed repeats a run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

const REPOSITORIES: [&str; 3] = ["app", "app/x", "b"];
const TAGS: [&str; 3] = ["latest", "1", "2"];

/// The images that tags must lead to, by repository and tag.
type Model = BTreeMap<(&'static str, &'static str), Vec<Vec<u8>>>;

/// Applies random operations. After each collection all tags of the model are pulled down to their layers,
/// and at the end the files are those that the model needs.
async fn run(seed: u64, operations: usize) {
    let mut random = Random(seed);
    let mut fixture = Fixture::new().await;
    let mut model = Model::new();
    for _ in 0..operations {
        let (repository, target) = (REPOSITORIES[random.below(3)], TAGS[random.below(3)]);
        match random.below(10) {
            0..=3 => {
                let layers: Vec<Vec<u8>> = (0..=random.below(2))
                    .map(|_| format!("layer {}", random.below(6)).into_bytes())
                    .collect();
                let borrowed: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
                fixture.image(repository, Some(target), &borrowed).await;
                model.insert((repository, target), layers);
            }
            4 => {
                let deleted = fixture.registry.delete_manifest(&name(repository), &tag(target)).await.is_ok();
                assert_eq!(deleted, model.remove(&(repository, target)).is_some(), "seed {seed}");
            }
            5 => {
                if let Some(layers) = model.get(&(repository, target)).cloned() {
                    let borrowed: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
                    let own = digest(image(&borrowed, None).as_bytes());
                    fixture.delete(repository, &TagOrDigest::Digest(own)).await;
                    model.retain(|(name, _), kept| *name != repository || *kept != layers);
                }
            }
            6 if random.below(4) == 0 => {
                let _ = fixture.registry.delete_repository(&name(repository)).await;
                model.retain(|(name, _), _| *name != repository);
            }
            7 if random.below(4) == 0 => fixture.reopen().await,
            _ => {
                fixture.collect().await;
                verify(&fixture, &model, seed).await;
            }
        }
    }
    // Images that only lost their tag go as well.
    fixture.policy.garbage.untagged = Some(Duration::ZERO);
    fixture.reopen().await;
    fixture.collect().await;
    verify(&fixture, &model, seed).await;
    let mut needed = BTreeSet::new();
    for layers in model.values() {
        let borrowed: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        needed.extend(layers.iter().map(|layer| digest(layer)));
        needed.extend([digest(b"{}"), digest(image(&borrowed, None).as_bytes())]);
    }
    assert_eq!(fixture.closed_files().await, needed, "seed {seed}");
    fixture.registry.close().await;
}

async fn verify(fixture: &Fixture, model: &Model, seed: u64) {
    for ((repository, target), layers) in model {
        let pulled = fixture.registry.manifest(&name(repository), &tag(target)).await;
        assert!(pulled.is_ok(), "seed {seed}: {repository}:{target} {:?}", pulled.err());
        for layer in layers.iter().map(Vec::as_slice).chain([b"{}".as_slice()]) {
            let blob = fixture.registry.open_blob(&name(repository), &digest(layer)).await;
            let blob = blob.unwrap_or_else(|error| panic!("seed {seed}: {repository}:{target}: {error}"));
            let bytes: Vec<u8> = blob.read(0..u64::MAX).map(|chunk| chunk.unwrap().to_vec()).concat().await;
            assert_eq!(bytes, layer, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn random_operations_lose_nothing() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in seed.map_or(1..=4, |seed| seed..=seed) {
        run(seed, 150).await;
    }
}

/// Pushers, deleters and a collector at the same time. Each pusher owns a tag, and pulls it after each push.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_pushes_survive_collections() {
    let fixture = std::sync::Arc::new(Fixture::new().await);
    let pushers = (0..4).map(|number: usize| {
        let fixture = fixture.clone();
        tokio::spawn(async move {
            let mut random = Random(number as u64 + 1);
            let target = format!("t{number}");
            for round in 0..40 {
                let shared = format!("shared {}", random.below(3)).into_bytes();
                let own = format!("own {number} {round}").into_bytes();
                let layers: [&[u8]; 2] = [&shared, &own];
                // As clients do: a blob that is there is not sent.
                for layer in layers.into_iter().chain([b"{}".as_slice()]) {
                    if fixture.registry.lease_blob(&name("app"), &digest(layer)).await.is_err() {
                        fixture.blob("app", layer).await;
                    }
                }
                let pushed = fixture.put("app", Some(&target), image(&layers, None)).await;
                let pushed = pushed.unwrap_or_else(|error| panic!("pusher {number}, round {round}: {error}"));
                for layer in layers {
                    fixture.registry.blob_size(&name("app"), &digest(layer)).await.unwrap();
                }
                if round % 2 == 0 {
                    fixture.delete("app", &TagOrDigest::Digest(pushed)).await;
                }
            }
        })
    });
    let pushers: Vec<_> = pushers.collect();
    let collector = {
        let fixture = fixture.clone();
        tokio::spawn(async move {
            let mut files = 0;
            loop {
                files += fixture.collect().await.files;
                tokio::task::yield_now().await;
                if std::sync::Arc::strong_count(&fixture) <= 2 {
                    return files;
                }
            }
        })
    };
    for pusher in pushers {
        pusher.await.unwrap();
    }
    assert!(collector.await.unwrap() > 0, "something was collected meanwhile");
    for number in 0..4 {
        assert!(fixture.is_pullable("app", &tag(&format!("t{number}"))).await);
    }
}

#[tokio::test]
async fn interrupted_collection_resumes_by_itself() {
    let scratch = TempDir::new().unwrap();
    open(&scratch, Policy::default()).await.close().await;
    // An earlier process has ended in the midst of the files.
    let metadata = fixture::directory(&scratch).open_metadata().unwrap();
    let begun = metadata.begin_collection().await.unwrap();
    metadata.save_collection(5, 7, serde_json::json!({ "files": 7, "bytes": 700 })).await.unwrap();
    metadata.close().await;

    let policy = Policy {
        garbage: GarbagePolicy { interval: Duration::ZERO, ..GarbagePolicy::default() },
        ..Policy::default()
    };
    let opened = Registry::open(fixture::directory(&scratch), policy, AccountSettings::default(), |_| ())
        .await
        .unwrap();
    let registry = opened.0;
    let status = registry.garbage_status(registry::collection::COUNTED).await.unwrap();
    let running = status.running.unwrap();
    assert_eq!((running.started_at, running.collected.files), (begun.started_at, 7));
    let last = loop {
        let status = registry.garbage_status(registry::collection::COUNTED).await.unwrap();
        if let (None, Some((_, last))) = (status.running, status.last) {
            break last;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((last.files, last.bytes), (7, 700), "the progress of both processes");
    registry.close().await;
}

#[tokio::test]
async fn deleted_blob_without_an_image_needs_no_grace() {
    let fixture = Fixture::with(GarbagePolicy::default()).await;
    let app = name("team/app");
    let file = |digest: &Digest| fixture::file(&fixture.scratch, digest);
    let lone = fixture.blob("team/app", &[7; 100_000]).await;
    let (config, layer) =
        (fixture.blob("team/app", b"{}").await, fixture.blob("team/app", &[8; 100_000]).await);
    let image = format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{{"mediaType":"{}","digest":"{config}","size":2}},
        "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":100000}}]}}"#,
        oci::media_type::OCI_CONFIG
    );
    fixture.put("team/app", Some("1"), image).await.unwrap();
    for blob in [&lone, &layer] {
        assert!(file(blob).exists());
        fixture.registry.delete_blob(&app, blob).await.unwrap();
    }
    fixture.collect().await;
    assert!(!file(&lone).exists(), "there is nothing to undo");
    assert!(file(&layer).exists(), "an image needs it, and a push of the image restores it");
}
