//! `/v2/<name>/referrers/<digest>`: the manifests that refer to a digest, as an index in pages
//! (distribution-spec, "Listing Referrers").

use hyper::header::HeaderValue;
use oci::descriptor::Annotations;
use oci::media_type::OCI_INDEX;
use oci::{Digest, MediaType, RepositoryName};
use registry::records::ReferrerRecord;
use serde::Serialize;

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, OCI_FILTERS_APPLIED, Response};

const INDEX: HeaderValue = HeaderValue::from_static(OCI_INDEX);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Referrer>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    media_type: MediaType,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
}

impl From<ReferrerRecord> for Referrer {
    fn from(record: ReferrerRecord) -> Self {
        Self {
            media_type: record.manifest.media_type,
            digest: record.manifest.digest,
            size: record.manifest.size,
            artifact_type: record.artifact_type,
            annotations: record.annotations,
        }
    }
}

pub(crate) async fn get(
    call: Call<'_>,
    repository: &RepositoryName,
    subject: &Digest,
) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let query = call.query();
    let page = call.page()?;
    let after = match &page.last {
        Some(last) => Some(last.parse().map_err(|error| Error::BadDigest { parameter: "last", error })?),
        None => None,
    };
    // A client that does not encode `+` sends a space, which no media type has.
    let artifact_type = query.get_filled("artifactType").map(|wanted| wanted.replace(' ', "+"));
    let artifact_type = artifact_type.as_deref();
    let found =
        app.registry.referrers(repository, subject, artifact_type, after.as_ref(), page.limit).await?;
    let last = found.items.last().filter(|_| found.more).map(|record| record.manifest.digest.to_string());
    let manifests = found.items.into_iter().map(Referrer::from).collect();
    let mut response =
        response::json_as(INDEX, &Index { schema_version: 2, media_type: OCI_INDEX, manifests });
    let filter = artifact_type.map(|wanted| ("artifactType", wanted));
    if filter.is_some() {
        response.headers_mut().insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    let path = format!("/v2/{repository}/referrers/{subject}");
    page.link_next(&mut response, &caller.links(), &path, filter.as_slice(), last.as_deref());
    Ok(response)
}
