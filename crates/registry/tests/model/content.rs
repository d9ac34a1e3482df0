//! The content that the operations store: four blobs, and four images of them.

use std::sync::LazyLock;

use bytes::Bytes;
use oci::{Algorithm, Digest, RepositoryName, Tag, TagOrDigest};

pub(crate) const REPOSITORIES: [&str; 3] = ["team/app", "team/app/debug", "solo"];
pub(crate) const TAGS: [&str; 3] = ["1", "1.0", "latest"];

/// A config, two layers that the blob journal holds, and one that goes to a file at once.
pub(crate) static BLOBS: LazyLock<[Bytes; 4]> = LazyLock::new(|| {
    [
        Bytes::from_static(b"{}"),
        Bytes::from_static(b"a small layer"),
        Bytes::from(vec![1; 20_000]),
        Bytes::from(vec![2; 300_000]),
    ]
});

pub(crate) struct Image {
    pub(crate) content: Bytes,
    pub(crate) digest: Digest,
    pub(crate) blobs: Vec<usize>,
    pub(crate) children: Vec<usize>,
    pub(crate) subject: Option<usize>,
}

/// Two images, an artifact whose subject is the first image, and an index of both images.
pub(crate) static IMAGES: LazyLock<Vec<Image>> = LazyLock::new(|| {
    let mut images = vec![image(&[0, 1], None), image(&[0, 2, 3], None)];
    images.push(image(&[0], Some((0, &images[0]))));
    let children: Vec<_> =
        images[..2].iter().map(|image| descriptor(oci::media_type::OCI_MANIFEST, image)).collect();
    let content = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        oci::media_type::OCI_INDEX,
        children.join(",")
    );
    images.push(Image {
        digest: Algorithm::Sha256.digest(content.as_bytes()),
        content: content.into(),
        blobs: Vec::new(),
        children: vec![0, 1],
        subject: None,
    });
    images
});

fn descriptor(media_type: &str, image: &Image) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{}}}"#, image.digest, image.content.len())
}

fn image(blobs: &[usize], subject: Option<(usize, &Image)>) -> Image {
    let part = |media_type: &str, blob: usize| {
        let size = BLOBS[blob].len();
        format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{size}}}"#, blob_digest(blob))
    };
    let layers: Vec<_> =
        blobs[1..].iter().map(|blob| part("application/vnd.oci.image.layer.v1.tar", *blob)).collect();
    let subject_field = subject
        .map(|(_, image)| format!(r#","subject":{}"#, descriptor(oci::media_type::OCI_MANIFEST, image)))
        .unwrap_or_default();
    let content = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]{subject_field}}}"#,
        oci::media_type::OCI_MANIFEST,
        part(oci::media_type::OCI_CONFIG, blobs[0]),
        layers.join(",")
    );
    Image {
        digest: Algorithm::Sha256.digest(content.as_bytes()),
        content: content.into(),
        blobs: blobs.to_vec(),
        children: Vec::new(),
        subject: subject.map(|(index, _)| index),
    }
}

pub(crate) fn blob_digest(blob: usize) -> Digest {
    Algorithm::Sha256.digest(&BLOBS[blob])
}

pub(crate) fn name(repository: usize) -> RepositoryName {
    REPOSITORIES[repository].parse().unwrap()
}

pub(crate) fn tag(tag: usize) -> Tag {
    TAGS[tag].parse().unwrap()
}

pub(crate) fn by_tag(index: usize) -> TagOrDigest {
    TagOrDigest::Tag(tag(index))
}

pub(crate) fn by_digest(image: usize) -> TagOrDigest {
    TagOrDigest::Digest(IMAGES[image].digest)
}
