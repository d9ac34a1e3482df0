//! Import: many manifests and blobs in one commit, as they are found in a directory.

use oci::{Digest, RepositoryName};

use super::repositories::find_or_make;
use super::writer::Durability;
use super::{Metadata, PutManifest, blobs, manifests};
use crate::StoreError;

/// One thing that was found.
#[derive(Clone, Debug)]
pub enum Import {
    /// A repository holds a blob.
    Blob {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// A repository holds a manifest.
    Manifest(Box<PutManifest>),
}

impl Metadata {
    /// Takes in all of `found` in one commit, or nothing of it. Unlike a push it takes a manifest
    /// whose parts are not there, and leaves no notes for the `repositories/` view, which is where
    /// all this comes from.
    pub async fn import(&self, found: Vec<Import>) -> Result<(), StoreError> {
        self.write(Durability::Bulk, move |sql| {
            // Digests are scattered, so that each manifest changes pages all over the database.
            sql.expect_many_changes()?;
            for found in &found {
                match found {
                    Import::Blob { repository, digest, size } => {
                        let repository = find_or_make(sql, repository)?;
                        blobs::link_in(sql, repository, digest, *size)?;
                    }
                    Import::Manifest(put) => {
                        manifests::store(sql, put)?;
                    }
                }
            }
            Ok(())
        })
        .await
    }
}
