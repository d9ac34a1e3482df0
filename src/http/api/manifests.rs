//! `/api/v1/repositories/<name>/_manifests/<tag-or-digest>`: a manifest with its tags and pulls.

use oci::{RepositoryName, TagOrDigest};

use super::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

pub(crate) async fn get(
    call: Call<'_>,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Response, Error> {
    let details = call.app.registry.manifest_details(repository, target).await?;
    Ok(response::json(&convert::manifest(details)))
}
