//! Manifests and blobs for pages, from the store of a registry.

use bytes::Bytes;
use oci::{Digest, RepositoryName, TagOrDigest};

use crate::http::app::App;
use crate::http::error::Error;

/// The largest config or preview that a page reads, in bytes.
pub(crate) const MAX_BLOB: u64 = 1 << 20;

/// A manifest with its bytes.
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) content: Bytes,
}

/// Reads a manifest.
pub(crate) async fn manifest(
    app: &App,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Stored, Error> {
    let manifest = app.registry.manifest(repository, target).await?;
    Ok(Stored {
        digest: manifest.record.digest,
        media_type: manifest.record.media_type.to_string(),
        content: manifest.content.clone(),
    })
}

/// Reads a manifest that may be missing, such as one of a sparse index.
pub(crate) async fn manifest_if_present(
    app: &App,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Stored>, Error> {
    match manifest(app, repository, &TagOrDigest::Digest(*digest)).await {
        Ok(stored) => Ok(Some(stored)),
        Err(Error::Registry(error)) if error.is_unknown() || is_damaged(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a blob. Returns `None` for one that is missing, damaged or larger than `limit`.
pub(crate) async fn blob(
    app: &App,
    repository: &RepositoryName,
    digest: &Digest,
    limit: u64,
) -> Result<Option<Bytes>, Error> {
    match app.registry.small_blob(repository, digest, limit).await {
        Ok(content) => Ok(content),
        Err(error) if error.is_unknown() || is_damaged(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_damaged(error: &registry::Error) -> bool {
    matches!(error, registry::Error::BlobDamaged { .. } | registry::Error::ManifestDamaged { .. })
}
