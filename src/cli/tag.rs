//! `wharfinger tag`: adds a tag to an image of the registry, without a pull.

use std::collections::BTreeSet;

use clap::Args;
use oci::reference::Reference;
use oci::{Digest, Kind, Manifest, MediaType, RepositoryName, Tag, TagOrDigest};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde::Serialize;

use super::connection::Connection;
use super::image;
use super::output::{self, Failure, Format};
use super::target::Target;

/// Add a tag to an image of the registry, in the same repository or in another
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct TagImage {
    /// The image: repository:tag or repository@digest
    #[arg(value_name = "IMAGE")]
    source: Reference,

    /// The new name: repository:tag
    #[arg(value_name = "NEW")]
    new: Reference,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
No data is copied: both repositories share the blobs. An existing tag is moved.

Examples:
  wharfinger tag team/app:1.4.2 team/app:stable
  wharfinger tag team/app@sha256:6c3c… released/app:1.4

Exit codes: 0 success; 1 failure; 2 invalid command line.";

#[derive(Serialize)]
struct Tagged {
    image: String,
    digest: Digest,
}

impl TagImage {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Some(TagOrDigest::Tag(tag)) = &self.new.target else {
            return Err(Failure::usage(format!("`{}` has no tag", self.new))
                .help(format!("write it as in {}:stable", self.new.repository)));
        };
        let registry = self.target.connect().await?;
        let tagged = self.tag(&registry, tag).await;
        registry.close().await;
        let digest = tagged?;
        let image = self.new.to_string();
        if self.format.json {
            return output::print_json(&Tagged { image, digest });
        }
        output::print(format_args!("{image} is {digest}\n"))
    }

    async fn tag(&self, registry: &Connection, tag: &Tag) -> Result<Digest, Failure> {
        let source = image::fetch(registry, &self.source).await?;
        let (from, to) = (&self.source.repository, &self.new.repository);
        if from != to {
            copy_parts(registry, &source.content, &source.media_type, from, to).await?;
        }
        put(registry, to, tag.as_str(), &source).await?;
        Ok(source.digest)
    }
}

/// Copies the parts of a manifest into another repository: mounts blobs, and puts the manifests of an index,
/// children first.
async fn copy_parts(
    registry: &Connection,
    content: &[u8],
    media_type: &MediaType,
    from: &RepositoryName,
    to: &RepositoryName,
) -> Result<(), Failure> {
    let unreadable =
        |error: oci::ManifestError| Failure::new("a manifest of the image is invalid").because(&error);
    // A stack instead of recursion, because indexes can be nested.
    let mut open = vec![Step::Read(content.to_vec(), media_type.clone())];
    let mut seen = BTreeSet::new();
    while let Some(step) = open.pop() {
        let (content, media_type) = match step {
            Step::Read(content, media_type) => (content, media_type),
            Step::Put(image) => {
                put(registry, to, &image.digest.to_string(), &image).await?;
                continue;
            }
        };
        let manifest = Manifest::parse(&content, Some(&media_type)).map_err(unreadable)?;
        for (part, is_manifest) in manifest.parts() {
            if !seen.insert(part.digest) {
                continue;
            }
            if !is_manifest {
                mount(registry, &part.digest, from, to).await?;
                continue;
            }
            let child =
                Reference { repository: from.clone(), target: Some(TagOrDigest::Digest(part.digest)) };
            let child = match image::find(registry, &child).await? {
                Some(child) => child,
                // A sparse index lacks manifests; the server decides whether it accepts that.
                None if manifest.kind == Kind::Index => continue,
                None => return Err(image::not_found(registry, &child)),
            };
            let read = Step::Read(child.content.to_vec(), child.media_type.clone());
            // The last step runs first: the parts of the child before the child.
            open.push(Step::Put(child));
            open.push(read);
        }
    }
    Ok(())
}

enum Step {
    /// Reads the parts of a manifest.
    Read(Vec<u8>, MediaType),
    /// Puts a manifest whose parts are copied.
    Put(image::Fetched),
}

async fn mount(
    registry: &Connection,
    blob: &Digest,
    from: &RepositoryName,
    to: &RepositoryName,
) -> Result<(), Failure> {
    let path = format!("/v2/{to}/blobs/uploads/?mount={blob}&from={from}");
    let answer = registry.send(registry.request(Method::POST, &path)).await?;
    if answer.status() == StatusCode::CREATED {
        return Ok(());
    }
    // The server began an upload instead, which is canceled.
    if let Some(upload) = answer.headers().get("location").and_then(|location| location.to_str().ok()) {
        registry.send(registry.request(Method::DELETE, upload)).await?;
    }
    Err(Failure::new(format!("{from} has no blob {blob}")).help("the image is incomplete; push it again"))
}

async fn put(
    registry: &Connection,
    repository: &RepositoryName,
    target: &str,
    image: &image::Fetched,
) -> Result<(), Failure> {
    let request = registry.request(Method::PUT, &format!("/v2/{repository}/manifests/{target}"));
    let request = request.header(CONTENT_TYPE, image.media_type.as_str()).body(image.content.clone());
    registry.send(request).await.map(drop)
}
