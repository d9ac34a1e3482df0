//! Images of a registry, as commands name and fetch them.

use bytes::Bytes;
use oci::reference::Reference;
use oci::{Digest, MediaType, Tag, TagOrDigest};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::connection::Connection;
use super::output::Failure;

/// The media types of manifests. Behind a gateway, distribution 2 converts a manifest of a type that is not named here to
/// schema 1, which has another digest.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, */*";

/// A manifest that was fetched.
pub(super) struct Fetched {
    pub(super) digest: Digest,
    pub(super) media_type: MediaType,
    pub(super) content: Bytes,
}

/// The manifest that a reference names; the tag `latest` where it names none. `None` if there is no such.
pub(super) async fn find(registry: &Connection, image: &Reference) -> Result<Option<Fetched>, Failure> {
    let target = image.target.clone().unwrap_or_else(|| TagOrDigest::Tag(Tag::latest()));
    let request = registry.request(Method::GET, &format!("/v2/{}/manifests/{target}", image.repository));
    let Some(answer) = registry.find(request.header(ACCEPT, ACCEPTED)).await? else { return Ok(None) };
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let not_a_registry = || Failure::new(format!("the server's answer for {image} is not a manifest"));
    let media_type =
        MediaType::from_content_type(header(CONTENT_TYPE.as_str())).map_err(|_| not_a_registry())?;
    let said: Option<Digest> = header("docker-content-digest").parse().ok();
    let content = answer.bytes().await.map_err(|error| not_a_registry().because(&error))?;
    // The digest decides what is tagged or removed next, so it is computed and not believed.
    let algorithm = match (&target, said) {
        (TagOrDigest::Digest(digest), _) => digest.algorithm(),
        (_, Some(digest)) => digest.algorithm(),
        _ => oci::Algorithm::Sha256,
    };
    let digest = algorithm.digest(&content);
    if said.is_some_and(|said| said != digest)
        || matches!(target, TagOrDigest::Digest(asked) if asked != digest)
    {
        return Err(Failure::new(format!("the manifest of {image} is damaged"))
            .help(format!("its digest is {digest}")));
    }
    Ok(Some(Fetched { digest, media_type, content }))
}

/// The manifest that a reference names, which must be there.
pub(super) async fn fetch(registry: &Connection, image: &Reference) -> Result<Fetched, Failure> {
    find(registry, image).await?.ok_or_else(|| not_found(registry, image))
}

/// There is no such image.
pub(super) fn not_found(registry: &Connection, image: &Reference) -> Failure {
    let failure = match &image.target {
        None => Failure::new(format!("there is no image {image}:latest")),
        Some(_) => Failure::new(format!("there is no image {image}")),
    };
    failure.help(format!("{} lists its tags", registry.command(&format!("ls {}", image.repository))))
}
