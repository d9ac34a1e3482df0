//! Repositories, tags and referrers to list.

use std::sync::Mutex;

use anyhow::Result;
use serde_json::json;

use super::Scale;
use crate::client::connection::{Body, Connection};
use crate::client::origin::Origin;
use crate::client::push::{CONFIG, MANIFEST, mount};
use crate::content::digest_of;
use crate::parallel::parallel;

/// The repository that has many tags.
pub(crate) const TAGS: &str = "lists/tags";
/// The repository that has a manifest with many referrers.
pub(crate) const REFERRERS: &str = "lists/referrers";
/// The tag by which every repository of the listing can be asked for.
pub(crate) const TAG: &str = "t00000";

/// Bytes and their digest.
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: digest_of(&bytes), bytes }
    }

    fn descriptor(&self, media_type: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// The content of one repository.
pub(crate) struct Repository<'a> {
    pub(crate) name: String,
    /// Blobs that are no manifests.
    pub(crate) blobs: &'a [Blob],
    pub(crate) manifests: &'a [Blob],
    /// Tags, each with the digest that it names.
    pub(crate) tags: &'a [(String, String)],
}

pub(crate) struct Listing {
    repositories: usize,
    blobs: Vec<Blob>,
    images: Vec<Blob>,
    one_tag: Vec<(String, String)>,
    tags: Vec<(String, String)>,
    /// The subject, then what refers to it.
    family: Vec<Blob>,
    subject_tag: Vec<(String, String)>,
}

impl Listing {
    /// A listing of that scale.
    pub(crate) fn new(scale: Scale) -> Self {
        let config = Blob::new(
            br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec(),
        );
        let empty = Blob::new(b"{}".to_vec());
        let image = |number: usize| {
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(CONFIG), "layers": [],
                "annotations": {"org.opencontainers.image.revision": number.to_string()},
            });
            Blob::new(manifest.to_string().into_bytes())
        };
        let images: Vec<Blob> = (0..100).map(image).collect();
        let tags = |count: usize| -> Vec<(String, String)> {
            (0..count)
                .map(|number| (format!("t{number:05}"), images[number % images.len()].digest.clone()))
                .collect()
        };
        let subject = image(usize::MAX);
        let referrer = |number: usize| {
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.sbom.v1+json",
                "config": empty.descriptor("application/vnd.oci.empty.v1+json"),
                "layers": [empty.descriptor("application/vnd.oci.empty.v1+json")],
                "subject": subject.descriptor(MANIFEST),
                "annotations": {"org.opencontainers.image.created": number.to_string()},
            });
            Blob::new(manifest.to_string().into_bytes())
        };
        let referrers: Vec<Blob> = (0..scale.pick(1_000, 200)).map(referrer).collect();
        let subject_tag = vec![(TAG.to_owned(), subject.digest.clone())];
        Self {
            repositories: scale.pick(2_000, 500),
            one_tag: tags(1),
            tags: tags(scale.pick(10_000, 2_000)),
            family: std::iter::once(subject).chain(referrers).collect(),
            subject_tag,
            blobs: vec![config, empty],
            images,
        }
    }

    /// Everything, repository after repository.
    pub(crate) fn repositories(&self) -> impl Iterator<Item = Repository<'_>> {
        let plain = (0..self.repositories).map(|number| Repository {
            name: repository(number),
            blobs: &self.blobs,
            manifests: &self.images[..1],
            tags: &self.one_tag,
        });
        let tags = Repository {
            name: TAGS.to_owned(),
            blobs: &self.blobs,
            manifests: &self.images,
            tags: &self.tags,
        };
        let referrers = Repository {
            name: REFERRERS.to_owned(),
            blobs: &self.blobs,
            manifests: &self.family,
            tags: &self.subject_tag,
        };
        plain.chain([tags, referrers])
    }

    /// Every content once, manifests as well.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.blobs.iter().chain(&self.images).chain(&self.family)
    }

    /// How many tags the repository of many tags has.
    pub(crate) fn tag_count(&self) -> usize {
        self.tags.len()
    }

    /// How many manifests refer to the subject.
    pub(crate) fn referrer_count(&self) -> usize {
        self.family.len() - 1
    }

    /// The digest that they refer to.
    pub(crate) fn subject(&self) -> &str {
        &self.family[0].digest
    }

    /// Pushes everything, from 16 connections.
    pub(crate) fn push(&self, origin: &Origin) -> Result<()> {
        let first = repository(0);
        let mut connection = Connection::to(origin);
        for blob in &self.blobs {
            push_blob(&mut connection, &first, blob)?;
        }
        let works: Vec<Repository<'_>> = self.repositories().collect();
        let queue = Mutex::new(works.iter());
        parallel(16, |_| {
            let mut connection = Connection::to(origin);
            while let Some(work) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                for blob in work.blobs.iter().filter(|_| work.name != first) {
                    mount(&mut connection, &work.name, &blob.digest, &first)?;
                }
                if work.tags.len() == 1 {
                    push_manifests(&mut connection, work)?;
                }
            }
            Ok(())
        })?;
        // The tags of one repository are pushed from all connections as well.
        let many = works.iter().find(|work| work.tags.len() > 1);
        if let Some(work) = many {
            let queue = Mutex::new(work.tags.iter());
            parallel(16, |_| {
                let mut connection = Connection::to(origin);
                while let Some((tag, digest)) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                    let manifest = work.manifests.iter().find(|manifest| manifest.digest == *digest);
                    put(&mut connection, &work.name, tag, manifest.map_or(&[][..], |blob| &blob.bytes))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// The name of one of the many repositories.
pub(crate) fn repository(number: usize) -> String {
    format!("lists/repository-{number:05}")
}

fn push_manifests(connection: &mut Connection, work: &Repository<'_>) -> Result<()> {
    for manifest in work.manifests {
        put(connection, &work.name, &manifest.digest, &manifest.bytes)?;
    }
    for (tag, digest) in work.tags {
        let manifest = work.manifests.iter().find(|manifest| manifest.digest == *digest);
        put(connection, &work.name, tag, manifest.map_or(&[][..], |blob| &blob.bytes))?;
    }
    Ok(())
}

fn put(connection: &mut Connection, repository: &str, reference: &str, bytes: &[u8]) -> Result<()> {
    crate::client::push::manifest(connection, repository, reference, bytes)
}

fn push_blob(connection: &mut Connection, repository: &str, blob: &Blob) -> Result<()> {
    let target = format!("/v2/{repository}/blobs/uploads/?digest={}", blob.digest);
    connection.expect(201, "POST", &target, Body::Typed("application/octet-stream", &blob.bytes))?;
    Ok(())
}
