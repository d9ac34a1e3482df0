//! What goes into the metadata and comes out of it.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use bytes::Bytes;
use oci::descriptor::Annotations;
use oci::{Digest, MediaType, RepositoryName, Tag};

use crate::blobs::UploadState;

/// A manifest of a repository, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRecord {
    /// Its digest.
    pub digest: Digest,
    /// The media type with which it was pushed.
    pub media_type: MediaType,
    /// Size in bytes.
    pub size: u64,
}

/// A manifest that refers to another, as the list of referrers shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrerRecord {
    /// The referring manifest.
    pub manifest: ManifestRecord,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: Option<Annotations>,
}

/// A manifest that is to be put into a repository.
#[derive(Clone, Debug)]
pub struct PutManifest {
    /// The repository; made if it is not there.
    pub repository: RepositoryName,
    /// The manifest; its bytes are in the blob store already.
    pub manifest: ManifestRecord,
    /// Those bytes, if the blob store left them unsettled.
    pub journaled: Option<Bytes>,
    /// Its artifact type, as referrers list it.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: Option<Annotations>,
    /// The digest of its subject.
    pub subject: Option<Digest>,
    /// Whether it is an index.
    pub is_index: bool,
    /// Everything that it refers to (config, layers, manifests; not the subject).
    pub parts: Vec<Part>,
    /// The sizes of the stored files of its parts, as the blob store tells them. A part is missing if its file has not
    /// the recorded size. `None` compares no sizes.
    pub stored_sizes: Option<HashMap<Digest, u64>>,
    /// Tags that are to point to it, perhaps none.
    pub tags: Vec<Tag>,
    /// The description of the repository that comes with it: `None` leaves the one that is there.
    pub description: Option<String>,
}

/// One thing that a manifest refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, as the manifest claims.
    pub size: u64,
    /// Whether it is a manifest of the repository, or a blob.
    pub is_manifest: bool,
    /// Whether the manifest is refused if it is not there.
    pub required: bool,
}

/// What came of putting a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is there, and the tags point to it.
    Stored,
    /// Required parts are not in the repository, in the manifest's order; nothing was changed.
    Missing(Vec<Digest>),
    /// A part is in the repository with another size than the manifest claims; nothing was changed.
    WrongSize {
        /// The part.
        digest: Digest,
        /// Its size in bytes, as the manifest claims.
        claimed: u64,
        /// Its recorded size in bytes.
        actual: u64,
    },
}

/// A tag and what it points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRecord {
    /// The tag.
    pub tag: Tag,
    /// The manifest that it points to.
    pub manifest: ManifestRecord,
    /// When it was last pointed somewhere.
    pub updated_at: SystemTime,
}

/// A repository, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryRecord {
    /// Its name.
    pub name: RepositoryName,
    /// Its description, perhaps empty.
    pub description: String,
    /// Number of tags, without referrers fallback tags.
    pub tags: u64,
    /// Number of manifests.
    pub manifests: u64,
    /// Bytes of its manifests and of the blobs that they need, each counted once.
    pub bytes: u64,
    /// When something was last pushed to it.
    pub updated_at: SystemTime,
}

/// What was found in a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The repository.
    pub name: RepositoryName,
    /// Its description, perhaps empty.
    pub description: String,
}

/// One page of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPage {
    /// How many repositories match, at most [`SEARCH_WINDOW`].
    pub total: u64,
    /// Those of the page, best first.
    pub hits: Vec<Hit>,
}

/// A search counts and pages through this many matches and no more, so that its cost has a bound.
pub const SEARCH_WINDOW: usize = 1_000;

/// Space used by the whole registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of repositories that hold a manifest.
    pub repositories: u64,
    /// Number of distinct manifests and blobs that images need.
    pub blobs: u64,
    /// Their bytes, each counted once.
    pub bytes: u64,
    /// Bytes of all other content, which no image needs; 0 if not everything was visible.
    pub unreferenced_bytes: u64,
}

/// Space used by one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryUsage {
    /// Its name.
    pub name: RepositoryName,
    /// Bytes of its manifests and of the blobs that they need, each counted once.
    pub bytes: u64,
    /// The part of `bytes` that the images of no other repository need: what its deletion would make free.
    pub own_bytes: u64,
}

/// An upload of a repository, as it was last written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRecord {
    /// The repository to which it belongs.
    pub repository: RepositoryName,
    /// The upload.
    pub state: UploadState,
}

/// Something of the `repositories/` view that may no longer be as the metadata has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewChange {
    /// In which order it was noted; names the note.
    pub id: i64,
    /// The repository.
    pub repository: RepositoryName,
    /// What in it.
    pub item: ViewItem,
}

/// An item of the view. What it should be is asked of the metadata when it is written.
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

/// What an item of the view should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewTarget {
    /// A link to this content.
    Link(Digest),
    /// The directory of a repository that is there.
    Directory,
    /// It should not be there.
    Nothing,
}

/// A deletion of a repository that takes several transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The number of the job, never used again.
    pub id: i64,
    /// The repository to be deleted.
    pub repository: RepositoryName,
    /// The number of rows deleted so far.
    pub progress: u64,
}

/// The state of a job after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStep {
    /// There is more to do.
    Continues,
    /// The job is finished, and durably so.
    Done,
}

/// What a directory below `repositories/` looks like, without reading it. Two that are equal are of
/// a directory to which nothing was added and from which nothing was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewStamp(pub(crate) Vec<u8>);

/// Something below `repositories/` that could not be adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewProblem {
    /// The directory that is read again to see whether it still is so.
    pub directory: String,
    /// Where it was found, relative to `repositories/`; paths need not be text.
    pub path: Vec<u8>,
    /// Why.
    pub problem: String,
}

/// All links that a repository should have in the view.
#[derive(Clone, Debug, Default)]
pub struct RepositoryLinks {
    /// The configs and layers.
    pub layers: HashSet<Digest>,
    /// The manifests.
    pub manifests: HashSet<Digest>,
    /// The tags and what they point to.
    pub tags: HashMap<Tag, Digest>,
    /// The items for which the view is still to be written.
    pub unwritten: HashSet<ViewItem>,
}
