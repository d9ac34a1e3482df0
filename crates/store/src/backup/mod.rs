//! Backup of a registry as one file, and its restoration.
//!
//! The file is a tar archive. Its first entry, `manifest.json`, has the size and the digest of every other
//! entry. The database is a snapshot: one transaction, while the server goes on. It holds the signing keys,
//! and also the content that is in the journal and not yet in files. Other content is not in the archive, but
//! immutable files that can be copied or linked at any time afterwards.

mod archive;
mod blobs;
mod restore;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use archive::{VerifiedArchive, verify, write};
pub use blobs::{CopiedBlobs, copy_blobs};
pub use restore::{Difference, RestoreReport, Restoring, restore};

/// The version of the format of an archive.
const FORMAT: u32 = 1;
/// The name of the first entry.
const MANIFEST: &str = "manifest.json";
/// The name of the snapshot in the archive.
const DATABASE: &str = "metadata.db";
/// The directory of the server's own files in the archive.
const OWN_FILES: &str = "files";
/// The directory of the configuration in the archive.
const CONFIGURATION: &str = "configuration";

/// The contents of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// The version of the program.
    pub version: String,
    /// The version of the database's schema.
    pub schema: u32,
    /// The id of the database.
    pub database: String,
    /// The time of the snapshot, in seconds since 1970.
    pub created_at: u64,
    /// All other entries, in their order.
    pub files: Vec<FileEntry>,
}

/// An entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The path in the archive.
    pub name: String,
    /// The size.
    pub bytes: u64,
    /// The SHA-256 digest: `sha256:…`.
    pub digest: String,
}

/// A configuration file that a backup takes along.
#[derive(Clone, Debug)]
pub struct ConfigurationFile {
    /// Its name in the archive.
    pub name: String,
    /// Its place on the disk.
    pub path: PathBuf,
}
