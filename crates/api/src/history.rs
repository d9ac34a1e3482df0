//! The history of tags, and undo.

use oci::{Digest, MediaType, Tag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Page;
use crate::page::page;

/// A page of changes, the latest first: `GET /api/v1/repositories/<name>/_history?tag=&n=&last=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    pub entries: Vec<HistoryEntry>,
    /// Whether more entries follow.
    pub more: bool,
}

impl Page for History {
    type Entry = HistoryEntry;

    fn split(self) -> (Vec<HistoryEntry>, bool) {
        (self.entries, self.more)
    }

    fn key(entry: &HistoryEntry) -> String {
        entry.id.to_string()
    }
}

/// A change of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEntry {
    /// Ascends with later changes.
    pub id: i64,
    #[schemars(with = "String")]
    pub tag: Tag,
    /// The time of the change, in seconds since 1970.
    pub at: u64,
    /// The manifest before; `null` if the change created the tag.
    #[schemars(with = "Option<String>")]
    pub from: Option<Digest>,
    /// The manifest after; `null` if the change deleted the tag.
    #[schemars(with = "Option<String>")]
    pub to: Option<Digest>,
    /// The account; `null` for anonymous clients. Names in parentheses are the operator and tasks of the
    /// server.
    pub account: Option<String>,
    /// The id of the request in the logs.
    pub request_id: Option<String>,
    /// The reason, such as a retention rule.
    pub reason: Option<String>,
    /// The run of the retention, for `wharfinger undo --run`.
    pub run: Option<String>,
}

page! {
    /// A page of deleted manifests that can be restored: `GET /api/v1/repositories/<name>/_trash?n=&last=`.
    /// If more follow, the response has a `Link`.
    Trash {
        /// The last deleted first.
        manifests: DeletedManifest
    } by |entry| entry.id.to_string()
}

/// A deleted manifest, until its grace period ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeletedManifest {
    /// Ascends with later deletions.
    pub id: i64,
    #[schemars(with = "String")]
    pub digest: Digest,
    #[schemars(with = "String")]
    pub media_type: MediaType,
    /// The size of the manifest alone, in bytes.
    pub size: u64,
    /// The tags that were deleted with it.
    #[schemars(with = "Vec<String>")]
    pub tags: Vec<Tag>,
    /// The time of the deletion, in seconds since 1970.
    pub deleted_at: u64,
    /// The account that deleted it; `null` for anonymous clients.
    pub account: Option<String>,
    /// The cause.
    pub reason: String,
    /// The run of the retention, for `wharfinger undo --run`.
    pub run: Option<String>,
}

/// Restores a deleted manifest: `POST /api/v1/repositories/<name>/_trash`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    #[schemars(with = "String")]
    pub digest: Digest,
}

/// The result of a restoration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestoredManifests {
    /// The manifest, its children, and the referrers that were deleted with it.
    #[schemars(with = "Vec<String>")]
    pub manifests: Vec<Digest>,
    /// The tags that point to them again. A tag that exists stays as it is.
    #[schemars(with = "Vec<String>")]
    pub tags: Vec<Tag>,
    /// Whether content of the manifest is missing or damaged, so that a pull of it fails.
    #[serde(default)]
    pub incomplete: bool,
}

/// Requests an undo of the changes of a tag: `POST /api/v1/repositories/<name>/_undo`. Without `to_digest`
/// and `to_time`, it takes back the last change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    #[schemars(with = "String")]
    pub tag: Tag,
    /// The manifest that the tag gets.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub to_digest: Option<Digest>,
    /// The time whose state the tag gets, in seconds since 1970.
    #[serde(default)]
    pub to_time: Option<u64>,
}

/// The result of an undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undone {
    #[schemars(with = "String")]
    pub tag: Tag,
    /// The manifest before the undo; `null` if the tag did not exist.
    #[schemars(with = "Option<String>")]
    pub from: Option<Digest>,
    /// The manifest after it.
    #[schemars(with = "String")]
    pub to: Digest,
    /// Other tags of this manifest that came back from the trash with it.
    #[schemars(with = "Vec<String>")]
    pub restored: Vec<Tag>,
    /// Whether content of the manifest is missing or damaged, so that a pull of the tag fails.
    #[serde(default)]
    pub incomplete: bool,
}
