//! Pushes as a client does: a session for each blob, then the manifest.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::connection::{Body, Connection};
use crate::content::{Content, Source};

/// The media type of image manifests.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of their configuration.
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image: a configuration, layers, and the manifest that names them.
pub(crate) struct Image {
    /// The first is the configuration.
    pub(crate) blobs: Vec<Content>,
    /// The manifest's exact bytes.
    pub(crate) manifest: Vec<u8>,
}

impl Image {
    /// An image with layers of these lengths.
    pub(crate) fn new(source: &Source, layers: &[u64]) -> Self {
        let config = source.content(1_500);
        let layers: Vec<Content> = layers.iter().map(|&length| source.content(length)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": layers.iter().map(|layer| descriptor(LAYER, layer)).collect::<Vec<_>>(),
        });
        let blobs = std::iter::once(config).chain(layers).collect();
        Self { blobs, manifest: manifest.to_string().into_bytes() }
    }
}

fn descriptor(media_type: &str, content: &Content) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": content.digest(), "size": content.length()})
}

/// Pushes a blob: POST for a session, PUT with the whole content.
pub(crate) fn blob(connection: &mut Connection, repository: &str, content: &Content) -> Result<()> {
    let session = connection.expect(202, "POST", &format!("/v2/{repository}/blobs/uploads/"), Body::Empty)?;
    let location = session.head.location.context("an upload session without Location")?;
    let separator = if location.contains('?') { '&' } else { '?' };
    let target = format!("{location}{separator}digest={}", content.digest());
    connection.expect(201, "PUT", &target, Body::Blob(content))?;
    Ok(())
}

/// Pushes a manifest under a tag or its digest.
pub(crate) fn manifest(
    connection: &mut Connection,
    repository: &str,
    reference: &str,
    bytes: &[u8],
) -> Result<()> {
    let target = format!("/v2/{repository}/manifests/{reference}");
    connection.expect(201, "PUT", &target, Body::Typed(MANIFEST, bytes))?;
    Ok(())
}

/// Pushes an image under a tag.
pub(crate) fn image(connection: &mut Connection, repository: &str, tag: &str, image: &Image) -> Result<()> {
    for content in &image.blobs {
        blob(connection, repository, content)?;
    }
    manifest(connection, repository, tag, &image.manifest)
}

/// Makes a blob of another repository one of this repository too.
pub(crate) fn mount(connection: &mut Connection, repository: &str, digest: &str, from: &str) -> Result<()> {
    let target = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
    connection.expect(201, "POST", &target, Body::Empty)?;
    Ok(())
}
