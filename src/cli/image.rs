//! Fetches the manifests of images for commands.

use bytes::Bytes;
use oci::reference::Reference;
use oci::{Digest, MediaType, Tag, TagOrDigest};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::connection::Connection;
use super::output::Failure;

/// The accepted media types of manifests. Behind a gateway, distribution 2 converts a manifest of another
/// type to schema 1, which has another digest.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, */*";

pub(super) struct Fetched {
    pub(super) digest: Digest,
    pub(super) media_type: MediaType,
    pub(super) content: Bytes,
}

/// Fetches the manifest of a reference, by default of the tag `latest`; `None` if it does not exist.
pub(super) async fn find(registry: &Connection, image: &Reference) -> Result<Option<Fetched>, Failure> {
    let target = image.target.clone().unwrap_or_else(|| TagOrDigest::Tag(Tag::latest()));
    let request = registry.request(Method::GET, &format!("/v2/{}/manifests/{target}", image.repository));
    let Some(answer) = registry.find_intact(request.header(ACCEPT, ACCEPTED)).await? else { return Ok(None) };
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let not_a_registry = || Failure::new(format!("the server's answer for {image} is not a manifest"));
    let media_type =
        MediaType::from_content_type(header(CONTENT_TYPE.as_str())).map_err(|_| not_a_registry())?;
    let claimed: Option<Digest> = header("docker-content-digest").parse().ok();
    let content = answer.bytes().await.map_err(|error| not_a_registry().because(&error))?;
    // The digest is computed instead of trusted, because it decides which image is tagged or removed.
    let algorithm = match (&target, claimed) {
        (TagOrDigest::Digest(digest), _) => digest.algorithm(),
        (_, Some(digest)) => digest.algorithm(),
        _ => oci::Algorithm::Sha256,
    };
    let digest = algorithm.digest(&content);
    if claimed.is_some_and(|claimed| claimed != digest)
        || matches!(target, TagOrDigest::Digest(requested) if requested != digest)
    {
        return Err(Failure::new(format!("the manifest of {image} is damaged"))
            .help(format!("its digest is {digest}")));
    }
    Ok(Some(Fetched { digest, media_type, content }))
}

/// Fetches the manifest of a reference; an error if it does not exist.
pub(super) async fn fetch(registry: &Connection, image: &Reference) -> Result<Fetched, Failure> {
    find(registry, image).await?.ok_or_else(|| not_found(registry, image))
}

/// The error for a missing image.
pub(super) fn not_found(registry: &Connection, image: &Reference) -> Failure {
    let failure = match &image.target {
        None => Failure::new(format!("there is no image {image}:latest")),
        Some(_) => Failure::new(format!("there is no image {image}")),
    };
    failure.help(format!("{} lists its tags", registry.command(&format!("ls {}", image.repository))))
}

/// Whether a text begins like a digest. Without this, `sha256:6c3c…` is a tag of a repository `sha256`.
pub(super) fn is_meant_as_digest(text: &str) -> bool {
    ["sha256:", "sha512:"].iter().any(|algorithm| text.starts_with(algorithm))
}
