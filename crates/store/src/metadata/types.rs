//! Records: the values that the operations of the metadata take and return.

#![allow(missing_docs, reason = "the names of most fields and variants say what they hold")]

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use accounts::AccountName;
use bytes::Bytes;
use oci::descriptor::Annotations;
use oci::{Digest, MediaType, RepositoryName, Tag};

use crate::blobs::UploadState;

/// A manifest of a repository, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRecord {
    pub digest: Digest,
    pub media_type: MediaType,
    /// In bytes.
    pub size: u64,
}

/// A manifest that refers to another, as the list of referrers shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrerRecord {
    pub manifest: ManifestRecord,
    pub artifact_type: Option<String>,
    pub annotations: Option<Annotations>,
}

/// A manifest to be put into a repository.
#[derive(Clone, Debug)]
pub struct PutManifest {
    /// Created if it does not exist.
    pub repository: RepositoryName,
    /// Its bytes are already in the blob store.
    pub manifest: ManifestRecord,
    /// The bytes, if they have to go into the blob journal.
    pub journaled: Option<Bytes>,
    /// As the referrers list shows it.
    pub artifact_type: Option<String>,
    pub annotations: Option<Annotations>,
    pub subject: Option<Digest>,
    pub is_index: bool,
    /// All descriptors (config, layers, manifests) without the subject.
    pub parts: Vec<Part>,
    /// The file sizes of its parts in the blob store. A part whose file does not have the recorded size is
    /// missing. `None` compares no sizes.
    pub stored_sizes: Option<HashMap<Digest, u64>>,
    /// The tags to point to it.
    pub tags: Vec<Tag>,
    /// The new description of the repository; `None` keeps the present one.
    pub description: Option<String>,
    /// Whether it comes from an upstream registry, so that it can be evicted and fetched again.
    pub is_fetched: bool,
}

/// A descriptor in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub digest: Digest,
    /// In bytes, as the manifest claims.
    pub size: u64,
    /// Whether it is a manifest or a blob.
    pub is_manifest: bool,
    /// Whether the manifest is refused without it.
    pub required: bool,
}

/// The result of putting a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    Stored,
    /// Nothing was changed: the repository lacks these required parts, in the manifest's order.
    Missing(Vec<Digest>),
    /// Nothing was changed: a part has another size than the manifest claims.
    WrongSize {
        digest: Digest,
        /// In bytes, as the manifest claims.
        claimed: u64,
        /// The recorded size in bytes.
        actual: u64,
    },
}

/// A tag with its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRecord {
    pub tag: Tag,
    pub manifest: ManifestRecord,
    /// The time of the last push to the tag.
    pub updated_at: SystemTime,
    /// The number of recorded pulls by this tag.
    pub pulls: u64,
    /// The time of the last one.
    pub pulled_at: Option<SystemTime>,
}

/// A manifest with its history in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestDetails {
    pub manifest: ManifestRecord,
    pub pushed_at: SystemTime,
    /// The number of recorded pulls, by any tag and by digest.
    pub pulls: u64,
    /// The time of the last one.
    pub pulled_at: Option<SystemTime>,
    /// The tags that point to it, in the order of their bytes.
    pub tags: Vec<Tag>,
}

/// Returns the record of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryRecord {
    pub name: RepositoryName,
    pub description: String,
    /// Their number, without referrers fallback tags.
    pub tags: u64,
    pub manifests: u64,
    /// The bytes of its manifests and of the blobs that they need, each counted once.
    pub bytes: u64,
    /// The time of the last push.
    pub updated_at: SystemTime,
    /// The number of pulls that are written.
    pub pulls: u64,
}

/// The space of the repositories below a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerUsage {
    /// The first component of the names.
    pub owner: String,
    /// The number of repositories that hold a manifest.
    pub repositories: u64,
    /// The bytes of their manifests and of the blobs that they need, each counted once.
    pub bytes: u64,
}

/// A result of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub name: RepositoryName,
    pub description: String,
}

/// One page of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPage {
    /// The number of matches, at most [`SEARCH_WINDOW`].
    pub total: u64,
    /// The matches of the page, best first.
    pub hits: Vec<Hit>,
}

/// The number of matches that a search counts and pages through at most: a bound on its cost.
pub const SEARCH_WINDOW: usize = 1_000;

/// Space used by the whole registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The number of repositories with a manifest.
    pub repositories: u64,
    /// The number of distinct manifests and blobs that images need.
    pub blobs: u64,
    /// The bytes of these, each counted once.
    pub bytes: u64,
    /// The bytes of content that no image needs; 0 if not everything was visible.
    pub unreferenced_bytes: u64,
}

/// Space used by one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryUsage {
    pub name: RepositoryName,
    /// The bytes of its manifests and of the blobs that they need, each counted once.
    pub bytes: u64,
    /// The part of `bytes` that no other repository needs: its deletion would free them.
    pub own_bytes: u64,
}

/// An upload in progress, as it was last saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRecord {
    pub repository: RepositoryName,
    pub state: UploadState,
}

/// The owner and the progress of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedUpload {
    pub id: uuid::Uuid,
    pub repository: RepositoryName,
    /// `None` for an anonymous client.
    pub account: Option<AccountName>,
    /// In bytes.
    pub received: u64,
}

/// A change in the outbox that the `repositories/` view has not written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewChange {
    /// Its position in the outbox.
    pub id: i64,
    pub repository: RepositoryName,
    pub item: ViewItem,
}

/// An item of the view. The view reads its target from the metadata when it writes the item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ViewItem {
    /// The link of a blob below `_layers/`.
    Layer(Digest),
    /// The link of a manifest below `_manifests/revisions/`.
    Revision(Digest),
    /// The links of a tag below `_manifests/tags/`.
    Tag(Tag),
    /// The repository's directory as a whole.
    Repository,
}

/// The state that an item of the view should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewTarget {
    Link(Digest),
    /// The directory of an existing repository.
    Directory,
    /// Neither link nor directory.
    Nothing,
}

/// A deletion of a repository that takes several transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Never reused.
    pub id: i64,
    pub repository: RepositoryName,
    /// The number of rows deleted so far.
    pub progress: u64,
    /// When the deletion was requested.
    pub started_at: SystemTime,
}

/// The state of a job after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStep {
    Continues {
        /// The number of rows deleted so far.
        progress: u64,
    },
    /// The job is finished and synced.
    Done,
}

/// A stamp of a directory below `repositories/`, taken without reading it. Equal stamps mean that no entry
/// was added or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewStamp(pub(crate) Vec<u8>);

/// The identity of a repository's directory of tags: another one for a directory that was made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagsDirectory(pub(crate) Vec<u8>);

/// Something below `repositories/` that could not be adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewProblem {
    /// The directory to scan again to see whether the problem remains.
    pub directory: String,
    /// Relative to `repositories/`; paths need not be text.
    pub path: Vec<u8>,
    pub problem: String,
}

/// All links that a repository should have in the view.
#[derive(Clone, Debug, Default)]
pub struct RepositoryLinks {
    pub layers: HashSet<Digest>,
    pub manifests: HashSet<Digest>,
    pub tags: HashMap<Tag, Digest>,
    /// The items that the view has not written yet.
    pub unwritten: HashSet<ViewItem>,
    /// The unwritten ones of the tags.
    pub unwritten_tags: HashMap<Tag, UnwrittenTag>,
    /// The identity of the tags directory when it last held all tags.
    pub tags_directory: Option<TagsDirectory>,
}

impl RepositoryLinks {
    /// Returns whether a tags directory with these names lacks no tag that the view has written.
    pub(crate) fn has_all_tags(&self, names: &HashSet<Tag>) -> bool {
        self.tags
            .keys()
            .all(|tag| names.contains(tag) || self.unwritten.contains(&ViewItem::Tag(tag.clone())))
    }
}

/// The changes of a tag that the view has not written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnwrittenTag {
    /// The time of the last one.
    pub at: SystemTime,
    /// The manifests that the tag had before and after each.
    pub targets: HashSet<Digest>,
}

/// Numbers of stored things, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredCounts {
    /// Repositories with content.
    pub repositories: u64,
    /// Manifests, counted in each repository.
    pub manifests: u64,
    /// Tags.
    pub tags: u64,
    /// Blobs, manifests included, each counted once.
    pub blobs: u64,
    /// The size of these blobs.
    pub blob_bytes: u64,
}

/// Work that waits, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingCounts {
    /// Small content whose file is not synced yet.
    pub journaled: u64,
    /// The size of that content.
    pub journaled_bytes: u64,
    /// Changes that the `repositories/` view lacks.
    pub view_changes: u64,
    /// Unfinished uploads, except for empty ones.
    pub uploads: u64,
    /// Events that wait for a receiver.
    pub pending_deliveries: u64,
    /// Events that a receiver did not take.
    pub parked_deliveries: u64,
}
