//! `wharfinger inspect`: the parts of an image.

use api::ManifestEntry;
use clap::Args;
use oci::reference::Reference;
use oci::{
    CosignKind, Descriptor, Digest, ImageConfig, Kind, Manifest, MediaType, Platform, Tag, TagOrDigest,
};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::image;
use super::ls::age;
use super::output::{self, Failure, Format, harmless, human_size};
use super::target::Target;

/// Show an image: platforms, layers, labels, and its referrers such as signatures
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Inspect {
    /// The image: repository, repository:tag or repository@digest
    #[arg(value_name = "IMAGE")]
    image: Reference,

    /// Print the manifest, byte by byte
    #[arg(long, conflicts_with = "json")]
    raw: bool,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
Examples:
  wharfinger inspect team/app:1.4
  wharfinger inspect team/app --json
  wharfinger inspect team/app@sha256:6c3c… --raw

Exit codes: 0 success; 1 failure; 2 invalid command line.";

/// The output; also the JSON output.
#[derive(Serialize)]
struct Image {
    name: String,
    digest: Digest,
    media_type: MediaType,
    artifact_type: Option<String>,
    /// The tags, pushes and pulls of the manifest; `null` behind a gateway.
    #[serde(flatten)]
    usage: Option<Usage>,
    /// Bytes of manifest, config and layers; for an index, of its own manifest only.
    bytes: u64,
    created: Option<String>,
    platform: Option<String>,
    annotations: oci::descriptor::Annotations,
    labels: oci::descriptor::Annotations,
    layers: Vec<Descriptor>,
    manifests: Vec<Child>,
    subject: Option<Digest>,
    referrers: Vec<Descriptor>,
    /// Manifests that cosign keeps below tags of its own.
    cosign: Vec<CosignTag>,
}

/// A manifest that cosign ties to an image by the name of a tag.
#[derive(Serialize)]
struct CosignTag {
    kind: &'static str,
    tag: Tag,
    digest: Digest,
}

/// The use of a manifest.
#[derive(Serialize)]
struct Usage {
    tags: Vec<Tag>,
    /// In seconds since 1970.
    pushed_at: u64,
    /// The pulls by any tag and by digest.
    pulls: u64,
    /// In seconds since 1970.
    pulled_at: Option<u64>,
}

/// A manifest of an index.
#[derive(Serialize)]
struct Child {
    digest: Digest,
    platform: Option<String>,
    bytes: u64,
}

/// The entries of an index with their platforms, which `oci::Descriptor` does not parse.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<IndexEntry>,
}

#[derive(Deserialize)]
struct IndexEntry {
    digest: Digest,
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
}

/// The largest config that is fetched, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

impl Inspect {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let registry = self.target.connect().await?;
        let inspected = self.inspect(&registry).await;
        registry.close().await;
        let (image, raw) = inspected?;
        if self.raw {
            return output::print(String::from_utf8_lossy(&raw));
        }
        if self.format.json { output::print_json(&image) } else { output::print(image.describe()) }
    }

    async fn inspect(&self, registry: &Connection) -> Result<(Image, bytes::Bytes), Failure> {
        let fetched = image::fetch(registry, &self.image).await?;
        let damaged = |error: &dyn std::error::Error| {
            Failure::new(format!("the manifest of {} is damaged", self.image)).because(error)
        };
        let manifest =
            Manifest::parse(&fetched.content, Some(&fetched.media_type)).map_err(|error| damaged(&error))?;
        let repository = &self.image.repository;
        let config = match &manifest.config {
            Some(config) if config.size <= MAX_CONFIG && config.media_type.as_str().ends_with("json") => {
                let blob =
                    registry.request(Method::GET, &format!("/v2/{repository}/blobs/{}", config.digest));
                match registry.find(blob).await? {
                    // The config of an artifact may be any JSON.
                    Some(response) => response
                        .bytes()
                        .await
                        .ok()
                        .and_then(|content| ImageConfig::parse(&content))
                        .unwrap_or_default(),
                    None => ImageConfig::default(),
                }
            }
            _ => ImageConfig::default(),
        };
        let manifests = if manifest.kind == Kind::Index {
            let index: Index = serde_json::from_slice(&fetched.content).map_err(|error| damaged(&error))?;
            let child = |entry: IndexEntry| Child {
                digest: entry.digest,
                platform: entry.platform.map(|platform| platform.to_string()),
                bytes: entry.size,
            };
            index.manifests.into_iter().map(child).collect()
        } else {
            Vec::new()
        };
        let parts: u64 = manifest.config.iter().chain(&manifest.layers).map(|part| part.size).sum();
        let image = Image {
            name: self.image.to_string(),
            digest: fetched.digest,
            media_type: fetched.media_type,
            artifact_type: manifest.artifact_type,
            usage: self.usage(registry, &fetched.digest).await?,
            bytes: fetched.content.len() as u64 + parts,
            created: config.created,
            platform: config.platform.map(|platform| platform.to_string()),
            annotations: manifest.annotations.unwrap_or_default(),
            labels: config.container.labels,
            layers: manifest.layers,
            manifests,
            subject: manifest.subject.map(|subject| subject.digest),
            referrers: self.referrers(registry, &fetched.digest).await?,
            cosign: self.cosign(registry, &fetched.digest).await?,
        };
        Ok((image, fetched.content))
    }

    async fn usage(&self, registry: &Connection, digest: &Digest) -> Result<Option<Usage>, Failure> {
        let path = format!("/api/v1/repositories/{}/_manifests/{digest}", self.image.repository);
        let request = registry.request(Method::GET, &path);
        let Some(entry) = registry.supported::<ManifestEntry>(request).await? else { return Ok(None) };
        let ManifestEntry { tags, pushed_at, pulls, pulled_at, .. } = entry;
        Ok(Some(Usage { tags, pushed_at, pulls, pulled_at }))
    }

    async fn referrers(&self, registry: &Connection, digest: &Digest) -> Result<Vec<Descriptor>, Failure> {
        #[derive(Deserialize)]
        struct Referrers {
            #[serde(default)]
            manifests: Vec<Descriptor>,
        }
        let unreadable = |error: &dyn std::error::Error| {
            Failure::new(format!("cannot read the list of referrers of {digest}")).because(error)
        };
        let path = format!("/v2/{}/referrers/{digest}", self.image.repository);
        let content = match registry.find(registry.request(Method::GET, &path)).await? {
            Some(answer) => answer.bytes().await.map_err(|error| unreadable(&error))?,
            // Behind a gateway, distribution 2 has no such endpoint, and clients keep the list under a tag
            // (distribution-spec, "Referrers Tag Schema").
            None => match image::find(registry, &self.fallback(digest)?).await? {
                Some(list) => list.content,
                None => return Ok(Vec::new()),
            },
        };
        let referrers: Referrers = serde_json::from_slice(&content).map_err(|error| unreadable(&error))?;
        Ok(referrers.manifests)
    }

    async fn cosign(&self, registry: &Connection, digest: &Digest) -> Result<Vec<CosignTag>, Failure> {
        let mut found = Vec::new();
        for cosign in CosignKind::ALL {
            let Some(tag) = cosign.tag_of(digest) else { continue };
            let kind = match cosign {
                CosignKind::Signature => "signature",
                CosignKind::Attestation => "attestation",
                CosignKind::Sbom => "sbom",
            };
            let target = Some(TagOrDigest::Tag(tag.clone()));
            let reference = Reference { repository: self.image.repository.clone(), target };
            if let Some(fetched) = image::find(registry, &reference).await? {
                found.push(CosignTag { kind, tag, digest: fetched.digest });
            }
        }
        Ok(found)
    }

    /// The tag that lists the referrers of a digest in a registry without the referrers API.
    fn fallback(&self, digest: &Digest) -> Result<Reference, Failure> {
        let tag = digest.referrers_tag().parse::<Tag>();
        let tag = tag.map_err(|error| Failure::new(format!("{digest} makes no tag")).because(&error))?;
        Ok(Reference { repository: self.image.repository.clone(), target: Some(TagOrDigest::Tag(tag)) })
    }
}

impl Image {
    /// Renders the image for people.
    fn describe(&self) -> String {
        let mut text = format!("{}\n", self.name);
        let mut line =
            |name: &str, value: &str| text.push_str(&format!("  {name:<10} {}\n", harmless(value)));
        line("digest", &self.digest.to_string());
        line("type", self.media_type.as_str());
        // The media type of an image config adds nothing to that of the manifest.
        if let Some(artifact) = self.artifact_type.as_deref().filter(|artifact| !artifact.contains(".image."))
        {
            line("artifact", artifact);
        }
        if let Some(subject) = &self.subject {
            line("subject", &subject.to_string());
        }
        if let Some(platform) = &self.platform {
            line("platform", platform);
        }
        if let Some(created) = &self.created {
            let is_known = !oci::image_config::is_zero_time(created);
            line("created", if is_known { created } else { "unknown" });
        }
        line("size", &human_size(self.bytes));
        if let Some(usage) = &self.usage {
            let times = |pulls| format!(", {pulls} {}", if pulls == 1 { "time" } else { "times" });
            line("pushed", &age(usage.pushed_at));
            let pulled = usage.pulled_at.map_or_else(|| "never".to_owned(), age);
            line("pulled", &(pulled + &if usage.pulls > 0 { times(usage.pulls) } else { String::new() }));
            if !usage.tags.is_empty() {
                let tags: Vec<&str> = usage.tags.iter().map(Tag::as_str).collect();
                line("tags", &tags.join(" "));
            }
        }
        for (name, value) in &self.annotations {
            line("annotation", &format!("{name}={value}"));
        }
        for (name, value) in &self.labels {
            line("label", &format!("{name}={value}"));
        }
        for child in &self.manifests {
            line("manifest", &format!("{}  {}", child.digest, child.platform.as_deref().unwrap_or("")));
        }
        for layer in &self.layers {
            line("layer", &format!("{}  {}  {}", layer.digest, human_size(layer.size), layer.media_type));
        }
        for referrer in &self.referrers {
            let kind = referrer.artifact_type.as_deref().unwrap_or(referrer.media_type.as_str());
            line("referrer", &format!("{}  {kind}", referrer.digest));
        }
        for CosignTag { kind, tag, digest } in &self.cosign {
            line(kind, &format!("{digest}  {tag}"));
        }
        text
    }
}
