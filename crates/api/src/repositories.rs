//! Repositories, their tags, and the space they use.

use oci::{Digest, MediaType, RepositoryName, Tag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Page;
use crate::page::page;

page! {
    /// A page of repositories: `GET /api/v1/repositories?n=&last=&sort=&namespace=`. If more follow, the
    /// response has a `Link`.
    Repositories {
        /// Sorted as requested; by default by name.
        repositories: Repository
    } by |entry| entry.name.to_string()
}

/// A repository: `GET /api/v1/repositories/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repository {
    #[schemars(with = "String")]
    pub name: RepositoryName,
    /// The description in the labels of its images; may be empty.
    pub description: String,
    /// Number of tags. A gateway keeps no images, and returns `null` here and in the fields below.
    pub tags: Option<u64>,
    /// Number of manifests.
    pub manifests: Option<u64>,
    /// Bytes of its manifests and of the blobs that they need, each counted once.
    pub bytes: Option<u64>,
    /// Time of the last push, in seconds since 1970.
    pub updated_at: Option<u64>,
    /// Number of pulls. It follows a pull up to a minute later.
    #[serde(default)]
    pub pulls: Option<u64>,
}

page! {
    /// A page of the first components of names with several: `GET /api/v1/namespaces?n=&last=`. If more
    /// follow, the response has a `Link`.
    Namespaces {
        /// Sorted by name.
        namespaces: String
    } by |entry| entry.clone()
}

/// A page of the matches of a search: `GET /api/v1/search?q=&n=&last=`. If more follow, the response has a
/// `Link`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchResults {
    /// The best match first.
    pub repositories: Vec<SearchResult>,
    /// The number of all matches; a search ends at 10,000.
    pub total: u64,
    /// Whether more entries follow.
    pub more: bool,
}

/// A match of a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchResult {
    #[schemars(with = "String")]
    pub name: RepositoryName,
    /// The description in the labels of its images; may be empty.
    pub description: String,
}

/// A page of tags: `GET /api/v1/repositories/<name>/_tags?n=&last=&all=true`. If more follow, the response
/// has a `Link`. Fallback tags of clients without the referrers API are included only with `all`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tags {
    /// The name of the repository.
    #[schemars(with = "String")]
    pub name: RepositoryName,
    /// Sorted by byte value.
    pub tags: Vec<TagEntry>,
    /// Whether more entries follow.
    pub more: bool,
}

/// Deletes tags in one step: `POST /api/v1/repositories/<name>/_delete`. Their manifests stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteTags {
    /// At least one, and at most 1,000.
    #[schemars(with = "Vec<String>")]
    pub tags: Vec<Tag>,
}

/// The result of a deletion of tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeletedTags {
    /// The deleted tags. `_undo` with `to_digest` brings one back.
    pub deleted: Vec<DeletedTag>,
    /// The tags that were not there.
    #[schemars(with = "Vec<String>")]
    pub absent: Vec<Tag>,
    /// The tags that a rule keeps.
    pub kept: Vec<KeptTag>,
}

/// A deleted tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeletedTag {
    #[schemars(with = "String")]
    pub tag: Tag,
    /// The manifest that it pointed to.
    #[schemars(with = "String")]
    pub digest: Digest,
}

/// A tag that a rule keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptTag {
    #[schemars(with = "String")]
    pub tag: Tag,
    /// The pattern of the rule.
    pub rule: String,
    /// Whether the tag is immutable. Otherwise it is protected, and administrators may delete it.
    pub immutable: bool,
}

impl Page for Tags {
    type Entry = TagEntry;

    fn split(self) -> (Vec<TagEntry>, bool) {
        (self.tags, self.more)
    }

    fn key(entry: &TagEntry) -> String {
        entry.tag.to_string()
    }
}

/// A tag and its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagEntry {
    #[schemars(with = "String")]
    pub tag: Tag,
    /// The digest of the manifest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The media type of the manifest.
    #[schemars(with = "String")]
    pub media_type: MediaType,
    /// The size of the manifest alone, in bytes.
    pub size: u64,
    /// When the tag was last created or moved, in seconds since 1970.
    pub updated_at: u64,
    /// The number of pulls by this tag.
    #[serde(default)]
    pub pulls: u64,
    /// The time of the last pull by this tag, in seconds since 1970.
    #[serde(default)]
    pub pulled_at: Option<u64>,
}

/// A manifest of a repository: `GET /api/v1/repositories/<name>/_manifests/<tag-or-digest>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestEntry {
    #[schemars(with = "String")]
    pub digest: Digest,
    #[schemars(with = "String")]
    pub media_type: MediaType,
    /// The size of the manifest alone, in bytes.
    pub size: u64,
    /// The tags that point to it, sorted by byte value.
    #[schemars(with = "Vec<String>")]
    pub tags: Vec<Tag>,
    /// The time of the last push, in seconds since 1970.
    pub pushed_at: u64,
    /// The number of pulls, by any tag and by digest. A pull of an index counts for the index alone.
    pub pulls: u64,
    /// The time of the last pull, in seconds since 1970.
    pub pulled_at: Option<u64>,
}

/// Space used by the whole registry: `GET /api/v1/usage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Number of repositories that hold a manifest.
    pub repositories: u64,
    /// Number of distinct manifests and blobs that images need.
    pub blobs: u64,
    /// Bytes of these manifests and blobs, each counted once.
    pub bytes: u64,
    /// Bytes of all other content, which no image needs; 0 for a caller who may not see everything.
    pub unreferenced_bytes: u64,
}

page! {
    /// A page of the space used by repositories: `GET /api/v1/usage/repositories?n=&last=`. If more follow,
    /// the response has a `Link`.
    RepositoryUsages {
        /// Sorted by name.
        repositories: RepositoryUsage
    } by |entry| entry.name.to_string()
}

/// Space used by one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryUsage {
    #[schemars(with = "String")]
    pub name: RepositoryName,
    /// Bytes of its manifests and of the blobs that they need, each counted once.
    pub bytes: u64,
    /// The part of `bytes` that the images of no other repository need.
    pub own_bytes: u64,
}

page! {
    /// A page of the space used by owners: `GET /api/v1/usage/owners?n=&last=`. If more follow, the response
    /// has a `Link`.
    OwnerUsages {
        /// Sorted by name.
        owners: OwnerUsage
    } by |entry| entry.owner.clone()
}

/// Space used by the repositories below one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnerUsage {
    /// The first component of the names: a user, an organisation or an upstream.
    pub owner: String,
    /// Number of repositories that hold a manifest.
    pub repositories: u64,
    /// Bytes of their manifests and of the blobs that they need, each counted once.
    pub bytes: u64,
}
