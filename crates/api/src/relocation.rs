//! The move of a registry to other places of its blobs and metadata.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Secret;

/// The new places. A part without one stays at its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The new place of the blobs.
    #[serde(default)]
    pub blobs: Option<MoveBlobs>,
    /// The new place of the metadata.
    #[serde(default)]
    pub metadata: Option<MoveMetadata>,
}

/// The new place of the blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveBlobs {
    /// `s3://bucket/prefix`, `az://container/prefix`, or `file` for files in the data directory.
    pub url: String,
    /// The URL of a server that is not the provider's.
    #[serde(default)]
    pub endpoint: Option<String>,
    #[serde(default)]
    pub region: Option<String>,
    /// Whether the bucket is in the path of a request, and not in its host name.
    pub path_style: bool,
    /// The id of the access key, or the account of Azure.
    #[serde(default)]
    pub access_key: Option<String>,
    #[serde(default)]
    pub secret_key: Option<Secret>,
}

/// The new place of the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveMetadata {
    /// `postgres://user@host/database`, which may have a password, or `file` for a file in the data
    /// directory.
    pub url: Secret,
    /// The password of the user of the database.
    #[serde(default)]
    pub password: Option<Secret>,
}

/// A line of the response to `POST /api/v1/move`: any number of `progress`, then one of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(clippy::large_enum_variant, reason = "one report ends the lines of a move")]
pub enum MoveLine {
    /// The progress so far.
    Progress(MoveProgress),
    /// The result. The server refuses changes until it is restarted with the new settings.
    Report(MoveReport),
    /// The reason why nothing was moved.
    Failed(String),
}

/// The progress of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MoveProgress {
    /// Whether changes are refused, for the last step.
    pub is_frozen: bool,
    /// Number of blobs in the new place.
    pub blobs: u64,
    /// Number of bytes copied.
    pub bytes: u64,
    /// Number of rows of the metadata copied.
    pub rows: u64,
}

/// The result of a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MoveReport {
    /// The blobs, if they were moved.
    pub blobs: Option<MovedBlobs>,
    /// The tables, if the metadata were moved. Each was read back and compared.
    pub tables: Vec<MovedTable>,
    /// Number of unfinished uploads, which clients begin again.
    pub uploads: u64,
    /// The time for which changes were refused before the move was complete.
    pub frozen_milliseconds: u64,
}

/// The blobs of a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MovedBlobs {
    /// Number of blobs in the new place.
    pub present: u64,
    /// Number of these that this move has copied. An interrupted one has copied the others.
    pub copied: u64,
    pub copied_bytes: u64,
    /// Blobs that were missing or damaged in the old place. They are not in the new one.
    pub faulty: Vec<String>,
}

/// A table of the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MovedTable {
    pub name: String,
    pub rows: u64,
    /// A checksum over all rows, which does not depend on their order.
    pub checksum: String,
}
