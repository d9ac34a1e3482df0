//! Cache of manifests, tags, blob links and tag lists. It never returns an outdated answer.
//!
//! A reader that misses reads the store and then inserts the answer. Each commit of the metadata invalidates
//! the entries that its changes concern, before the change is answered. Alone, that would let a slow reader
//! insert an old answer after the invalidation. Therefore each shard of repositories counts its changes. The
//! reader takes a [`Ticket`] before it reads, and its insert is dropped if the counter has moved; comparison
//! and insert share one lock.
//!
//! quick_cache rather than moka: a removal is complete when the call returns, and it can remove by predicate.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use oci::{Digest, RepositoryName, Tag};
use quick_cache::sync::Cache as QuickCache;
use quick_cache::{Equivalent, Weighter};
use store::metadata::{Change, ChangeKind, ManifestRecord};

use crate::pulls::{PullCounter, Pulled};
use crate::tag_list::TagList;

/// A manifest with its bytes.
#[derive(Debug)]
pub struct CachedManifest {
    /// Digest, media type and size.
    pub record: ManifestRecord,
    /// The exact bytes that were pushed.
    pub content: Bytes,
    /// All content that a pull of the manifest needs, with its sizes. Set when a HEAD request has found it
    /// intact.
    pub(crate) intact: OnceLock<Box<[(Digest, u64)]>>,
    /// Counts the pulls by digest.
    pub(crate) pulls: OnceLock<Arc<PullCounter>>,
}

#[derive(Debug)]
pub(crate) struct CachedTag {
    pub(crate) digest: Digest,
    /// Counts the pulls by this tag.
    pub(crate) pulls: Arc<PullCounter>,
}

impl CachedManifest {
    pub(crate) fn new(record: ManifestRecord, content: Bytes) -> Self {
        Self { record, content, intact: OnceLock::new(), pulls: OnceLock::new() }
    }
}

/// The capacity of the tag lists in bytes.
const TAG_LISTS: u64 = 4 << 20;
/// The capacity of tags, and of blob links, in entries.
const LINKS: usize = 8192;
/// The number of change counters. A repository uses one by its hash.
const SHARDS: usize = 64;

pub(crate) struct Cache {
    tags: QuickCache<(RepositoryName, Tag), Arc<CachedTag>>,
    manifests: QuickCache<(RepositoryName, Digest), Arc<CachedManifest>, ByContent>,
    blobs: QuickCache<(RepositoryName, Digest), u64>,
    tag_lists: QuickCache<RepositoryName, TagList, ByTags>,
    changes: [Mutex<u64>; SHARDS],
    hasher: RandomState,
}

/// The change counter of a repository before a read of the store.
#[derive(Clone, Copy)]
pub(crate) struct Ticket(u64);

#[derive(Clone)]
struct ByContent;

impl Weighter<(RepositoryName, Digest), Arc<CachedManifest>> for ByContent {
    fn weight(&self, _: &(RepositoryName, Digest), manifest: &Arc<CachedManifest>) -> u64 {
        // Adds the approximate size of the entry, which bounds many tiny manifests.
        manifest.content.len() as u64 + 400
    }
}

#[derive(Clone)]
struct ByTags;

impl Weighter<RepositoryName, TagList> for ByTags {
    fn weight(&self, _: &RepositoryName, list: &TagList) -> u64 {
        let tags: &[Tag] = match list {
            TagList::Whole(tags) => tags,
            TagList::TooLong => &[],
        };
        // A tag is a pointer to a counted allocation.
        tags.iter().map(|tag| tag.as_str().len() as u64 + 48).sum::<u64>() + 200
    }
}

/// A borrowed key, so that a lookup clones nothing.
#[derive(Hash)]
struct Key<'a, T>(&'a RepositoryName, &'a T);

impl<T: Eq + Hash> Equivalent<(RepositoryName, T)> for Key<'_, T> {
    fn equivalent(&self, key: &(RepositoryName, T)) -> bool {
        *self.0 == key.0 && *self.1 == key.1
    }
}

impl Cache {
    pub(crate) fn new(bytes: u64) -> Self {
        let expected = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).clamp(64, 65_536);
        Self {
            tags: QuickCache::new(LINKS),
            manifests: QuickCache::with_weighter(expected, bytes, ByContent),
            blobs: QuickCache::new(LINKS),
            tag_lists: QuickCache::with_weighter(64, TAG_LISTS, ByTags),
            changes: std::array::from_fn(|_| Mutex::new(0)),
            hasher: RandomState::new(),
        }
    }

    /// Changes the capacity of the manifests in bytes. Entries beyond it are evicted.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.manifests.set_capacity(bytes);
    }

    pub(crate) fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Option<Arc<CachedTag>> {
        self.tags.get(&Key(repository, tag))
    }

    pub(crate) fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Option<Arc<CachedManifest>> {
        self.manifests.get(&Key(repository, digest))
    }

    pub(crate) fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Option<u64> {
        self.blobs.get(&Key(repository, digest))
    }

    pub(crate) fn tag_list(&self, repository: &RepositoryName) -> Option<TagList> {
        self.tag_lists.get(repository)
    }

    /// Must be taken before the store is read.
    pub(crate) fn ticket(&self, repository: &RepositoryName) -> Ticket {
        Ticket(*self.changes(repository))
    }

    pub(crate) fn insert_tag(&self, ticket: Ticket, repository: &RepositoryName, tag: &Tag, digest: Digest) {
        let changes = self.changes(repository);
        if *changes == ticket.0 {
            let pulled = Pulled { repository: repository.clone(), tag: Some(tag.clone()), digest };
            let cached = Arc::new(CachedTag { digest, pulls: PullCounter::new(pulled) });
            self.tags.insert((repository.clone(), tag.clone()), cached);
        }
    }

    pub(crate) fn insert_manifest(
        &self,
        ticket: Ticket,
        repository: &RepositoryName,
        manifest: &Arc<CachedManifest>,
    ) {
        let changes = self.changes(repository);
        if *changes == ticket.0 {
            self.manifests.insert((repository.clone(), manifest.record.digest), manifest.clone());
        }
    }

    pub(crate) fn insert_blob(&self, ticket: Ticket, repository: &RepositoryName, digest: Digest, size: u64) {
        let changes = self.changes(repository);
        if *changes == ticket.0 {
            self.blobs.insert((repository.clone(), digest), size);
        }
    }

    /// Caches a list. A list above a quarter of the capacity is cached as too long.
    pub(crate) fn insert_tag_list(&self, ticket: Ticket, repository: &RepositoryName, list: TagList) {
        let fits = ByTags.weight(repository, &list) <= TAG_LISTS / 4;
        let changes = self.changes(repository);
        if *changes == ticket.0 {
            self.tag_lists.insert(repository.clone(), if fits { list } else { TagList::TooLong });
        }
    }

    /// Invalidates the entries that changes of the metadata concern.
    pub(crate) fn invalidate(&self, changes: &[Change]) {
        for change in changes {
            match (&change.repository, &change.digest) {
                (Some(repository), _) => self.invalidate_in(repository, change),
                (None, Some(digest)) => self.content_changed(digest),
                (None, None) => {}
            }
        }
    }

    fn invalidate_in(&self, repository: &RepositoryName, change: &Change) {
        if !change.kind.is_content() {
            return;
        }
        let mut changes = self.changes(repository);
        *changes += 1;
        match (change.kind, &change.tag, &change.digest) {
            (ChangeKind::RepositoryDeleted, ..) => self.remove_all(repository),
            (_, Some(tag), _) => {
                self.tags.remove(&Key(repository, tag));
                self.tag_lists.remove(repository);
            }
            (_, None, Some(digest)) => {
                self.manifests.remove(&Key(repository, digest));
                self.blobs.remove(&Key(repository, digest));
            }
            (_, None, None) => {}
        }
    }

    /// Invalidates content in all repositories after its damage mark has changed.
    pub(crate) fn content_changed(&self, digest: &Digest) {
        for changes in &self.changes {
            *changes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
        self.blobs.retain(|(_, cached), _| cached != digest);
        // A HEAD request that reads the old state right now fills an evicted entry.
        self.manifests.retain(|(_, cached), manifest| {
            let is_unaffected = |intact: &[(Digest, u64)]| intact.iter().all(|(part, _)| part != digest);
            cached != digest && manifest.intact.get().is_some_and(|intact| is_unaffected(intact))
        });
    }

    /// Invalidates everything.
    pub(crate) fn clear(&self) {
        for changes in &self.changes {
            *changes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
        self.tags.clear();
        self.manifests.clear();
        self.blobs.clear();
        self.tag_lists.clear();
    }

    fn remove_all(&self, repository: &RepositoryName) {
        self.tags.retain(|(name, _), _| name != repository);
        self.manifests.retain(|(name, _), _| name != repository);
        self.blobs.retain(|(name, _), _| name != repository);
        self.tag_lists.remove(repository);
    }

    fn changes(&self, repository: &RepositoryName) -> MutexGuard<'_, u64> {
        let hash = self.hasher.hash_one(repository);
        let shard = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        // A panic cannot leave a counter inconsistent.
        self.changes[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(content: &'static [u8]) -> Arc<CachedManifest> {
        let digest = oci::Algorithm::Sha256.digest(content);
        let media_type = oci::media_type::OCI_MANIFEST.parse().unwrap();
        let record = ManifestRecord { digest, media_type, size: content.len() as u64 };
        Arc::new(CachedManifest::new(record, Bytes::from_static(content)))
    }

    #[test]
    fn cleared_cache_takes_no_answer_read_before() {
        let cache = Cache::new(1 << 20);
        let (name, tag): (RepositoryName, Tag) = ("app".parse().unwrap(), "latest".parse().unwrap());
        let (old, manifest) = (cache.ticket(&name), manifest(b"one"));
        let digest = manifest.record.digest;
        cache.insert_tag(old, &name, &tag, digest);
        cache.insert_manifest(old, &name, &manifest);
        cache.insert_blob(old, &name, digest, 3);
        cache.insert_tag_list(old, &name, TagList::Whole(Arc::from([tag.clone()])));
        cache.clear();
        cache.insert_tag(old, &name, &tag, digest);
        assert_eq!(digest_of(&cache, &name, &tag), None);
        assert!(cache.manifest(&name, &digest).is_none() && cache.blob(&name, &digest).is_none());
        assert!(cache.tag_list(&name).is_none());
        cache.insert_tag(cache.ticket(&name), &name, &tag, digest);
        assert_eq!(digest_of(&cache, &name, &tag), Some(digest));
    }

    fn digest_of(cache: &Cache, repository: &RepositoryName, tag: &Tag) -> Option<Digest> {
        cache.tag(repository, tag).map(|cached| cached.digest)
    }

    fn change(
        kind: ChangeKind,
        repository: &RepositoryName,
        tag: Option<&Tag>,
        manifest: Option<&Arc<CachedManifest>>,
    ) -> Change {
        Change {
            repository: Some(repository.clone()),
            tag: tag.cloned(),
            digest: manifest.map(|manifest| manifest.record.digest),
            id: 1,
            at: std::time::SystemTime::UNIX_EPOCH,
            kind,
            previous: None,
            account: None,
            request_id: None,
            address: None,
            detail: None,
        }
    }

    fn fixture() -> (Cache, RepositoryName, Tag, Arc<CachedManifest>) {
        (Cache::new(1 << 20), "team/app".parse().unwrap(), Tag::latest(), manifest(b"one"))
    }

    #[test]
    fn entry_is_cached_until_a_change() {
        let (cache, name, tag, one) = fixture();
        let ticket = cache.ticket(&name);
        cache.insert_manifest(ticket, &name, &one);
        cache.insert_tag(ticket, &name, &tag, one.record.digest);
        assert_eq!(digest_of(&cache, &name, &tag), Some(one.record.digest));
        assert!(cache.manifest(&name, &one.record.digest).is_some());
        assert!(cache.manifest(&"team".parse().unwrap(), &one.record.digest).is_none());

        cache.invalidate(&[change(ChangeKind::TagMoved, &name, Some(&tag), Some(&manifest(b"two")))]);
        assert_eq!(digest_of(&cache, &name, &tag), None);
        assert!(cache.manifest(&name, &one.record.digest).is_some());
    }

    #[test]
    fn answer_older_than_a_change_is_not_cached() {
        let (cache, name, tag, one) = fixture();
        let before = cache.ticket(&name);
        // While the reader waits for the store, the tag is deleted.
        cache.invalidate(&[change(ChangeKind::TagDeleted, &name, Some(&tag), None)]);
        cache.insert_tag(before, &name, &tag, one.record.digest);
        cache.insert_manifest(before, &name, &one);
        cache.insert_blob(before, &name, one.record.digest, 3);
        assert_eq!(digest_of(&cache, &name, &tag), None);
        assert!(cache.manifest(&name, &one.record.digest).is_none());
        assert_eq!(cache.blob(&name, &one.record.digest), None);
    }

    #[test]
    fn deleted_manifest_invalidates_only_its_tags() {
        let (cache, name, tag, one) = fixture();
        let two = manifest(b"two");
        let other: Tag = "other".parse().unwrap();
        let ticket = cache.ticket(&name);
        cache.insert_tag(ticket, &name, &tag, one.record.digest);
        cache.insert_tag(ticket, &name, &other, two.record.digest);
        cache.invalidate(&[
            change(ChangeKind::TagDeleted, &name, Some(&tag), None),
            change(ChangeKind::ManifestDeleted, &name, None, Some(&one)),
        ]);
        assert!(cache.manifest(&name, &one.record.digest).is_none());
        assert_eq!(digest_of(&cache, &name, &tag), None);
        assert_eq!(digest_of(&cache, &name, &other), Some(two.record.digest));
    }

    #[test]
    fn deleted_repository_invalidates_only_itself() {
        let (cache, name, tag, one) = fixture();
        let neighbour: RepositoryName = "team/app-x".parse().unwrap();
        for name in [&name, &neighbour] {
            let ticket = cache.ticket(name);
            cache.insert_tag(ticket, name, &tag, one.record.digest);
            cache.insert_manifest(ticket, name, &one);
            cache.insert_blob(ticket, name, one.record.digest, 3);
        }
        cache.invalidate(&[change(ChangeKind::RepositoryDeleted, &name, None, None)]);
        assert_eq!(digest_of(&cache, &name, &tag), None);
        assert!(cache.manifest(&name, &one.record.digest).is_none());
        assert_eq!(cache.blob(&name, &one.record.digest), None);
        assert!(cache.tag(&neighbour, &tag).is_some());
        assert!(cache.manifest(&neighbour, &one.record.digest).is_some());
        assert_eq!(cache.blob(&neighbour, &one.record.digest), Some(3));
    }

    #[test]
    fn changed_content_is_evicted_in_all_repositories() {
        let (cache, name, _, one) = fixture();
        let other: RepositoryName = "team/other".parse().unwrap();
        let before = cache.ticket(&other);
        cache.insert_blob(cache.ticket(&name), &name, one.record.digest, 3);
        cache.insert_manifest(cache.ticket(&name), &name, &one);
        cache.content_changed(&one.record.digest);
        assert_eq!(cache.blob(&name, &one.record.digest), None);
        assert!(cache.manifest(&name, &one.record.digest).is_none());
        cache.insert_blob(before, &other, one.record.digest, 3);
        assert_eq!(cache.blob(&other, &one.record.digest), None, "the read precedes the change");
    }

    #[test]
    fn tag_list_is_cached_until_its_tags_may_change() {
        let (cache, name, tag, one) = fixture();
        let list: Arc<[Tag]> = [tag.clone()].into();
        let keep = || {
            cache.insert_tag_list(cache.ticket(&name), &name, TagList::Whole(list.clone()));
            assert!(cache.tag_list(&name).is_some());
        };
        for change in [
            change(ChangeKind::TagMoved, &name, Some(&tag), Some(&one)),
            change(ChangeKind::TagDeleted, &name, Some(&tag), None),
            change(ChangeKind::RepositoryDeleted, &name, None, None),
        ] {
            keep();
            cache.invalidate(&[change]);
            assert!(cache.tag_list(&name).is_none());
        }
        keep();
        cache.invalidate(&[
            change(ChangeKind::ManifestPut, &name, None, Some(&one)),
            change(ChangeKind::BlobUnlinked, &name, None, Some(&one)),
            change(ChangeKind::TagDeleted, &"team".parse().unwrap(), Some(&tag), None),
            change(ChangeKind::Pull, &name, Some(&tag), Some(&one)),
        ]);
        assert!(cache.tag_list(&name).is_some(), "its tags have not changed");
        let before = cache.ticket(&name);
        cache.invalidate(&[change(ChangeKind::TagDeleted, &name, Some(&tag), None)]);
        cache.insert_tag_list(before, &name, TagList::Whole(list));
        assert!(cache.tag_list(&name).is_none(), "the list precedes a change");
    }

    #[test]
    fn large_tag_list_is_cached_as_too_long() {
        let (cache, name, ..) = fixture();
        for (count, whole) in [(5000, true), (8000, false)] {
            let tags = (0..count).map(|number| format!("{number:0128}").parse().unwrap());
            cache.insert_tag_list(cache.ticket(&name), &name, TagList::Whole(tags.collect()));
            match cache.tag_list(&name) {
                Some(TagList::Whole(list)) => assert!(whole && list.len() == count),
                kept => assert!(!whole && matches!(kept, Some(TagList::TooLong)), "{count}"),
            }
        }
    }
}
