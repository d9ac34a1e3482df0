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

#[cfg(test)]
mod tests {
    use super::super::fixtures::{by_tag, digest, empty, layer, name, notes, tagged};
    use super::Import;
    use crate::accounts::Visible;

    #[tokio::test]
    async fn what_is_found_is_taken_in_whatever_is_missing_and_in_whatever_order() {
        let (metadata, _directory) = empty();
        let mut image = tagged("app", "m", &["latest"]);
        image.parts = vec![layer("layer"), layer("lost")];
        image.description = Some("An image of penguins".into());
        let found = vec![
            Import::Manifest(Box::new(image)),
            Import::Blob { repository: name("app"), digest: digest("layer"), size: 100 },
        ];
        metadata.import(found.clone()).await.unwrap();
        metadata.import(found).await.unwrap();
        assert!(metadata.manifest(&name("app"), &by_tag("latest")).await.unwrap().is_some());
        assert_eq!(metadata.blob(&name("app"), &digest("layer")).await.unwrap(), Some(100));
        assert_eq!(metadata.blob(&name("app"), &digest("lost")).await.unwrap(), None);
        assert_eq!(metadata.search(&Visible::Everything, "penguin", 0, 10).await.unwrap().total, 1);
        assert_eq!(notes(&metadata).await, []);
    }
}
