//! The checks of the fuzz targets. Each panics if a promise of a parser is broken.
//!
//! `targets/` calls them with inputs of libFuzzer, and `tests/fuzz_seeds.rs` of the workspace with the seeds.

use oci::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST};
use oci::{
    Algorithm, Descriptor, Digest, Digester, Kind, Manifest, ManifestError, MediaType, Reference,
    RepositoryName, Tag, TagOrDigest,
};
use serde_json::Value;
use wharfinger::fuzzing;

/// Feeds one input to a parser, and panics where a property does not hold.
pub type Check = fn(&[u8]);

/// Every target with its check.
pub const TARGETS: &[(&str, Check)] = &[
    ("bearer", bearer),
    ("configuration", configuration),
    ("digest", digest),
    ("digester", digester),
    ("forwarded", forwarded),
    ("htpasswd", htpasswd),
    ("manifest", manifest),
    ("media_type", media_type),
    ("name", name),
    ("path", path),
    ("query", query),
    ("range", range),
    ("reference", reference),
    ("tag", tag),
];

/// Calls a check if the input is text.
fn with_text(input: &[u8], check: fn(&str)) {
    if let Ok(text) = std::str::from_utf8(input) {
        check(text);
    }
}

/// No text is a valid bearer token.
pub fn bearer(input: &[u8]) {
    with_text(input, fuzzing::bearer);
}

/// The mistakes of a configuration file name existing lines.
pub fn configuration(input: &[u8]) {
    with_text(input, fuzzing::configuration);
}

/// Forwarding headers count from trusted peers alone.
pub fn forwarded(input: &[u8]) {
    with_text(input, fuzzing::forwarded);
}

/// Each line of an htpasswd file is one user at most.
pub fn htpasswd(input: &[u8]) {
    with_text(input, fuzzing::htpasswd);
}

/// A path is the same endpoint in every percent-encoding.
pub fn path(input: &[u8]) {
    with_text(input, fuzzing::path);
}

/// Reading a query ends in a value or an error.
pub fn query(input: &[u8]) {
    with_text(input, fuzzing::query);
}

/// A range lies within the content.
pub fn range(input: &[u8]) {
    with_text(input, fuzzing::range);
}

/// A digest has one spelling. Its hash, tag and JSON agree.
pub fn digest(input: &[u8]) {
    with_text(input, |text| {
        let Ok(digest) = text.parse::<Digest>() else { return };
        assert_eq!(digest.to_string(), text);
        assert_eq!(format!("{}:{}", digest.algorithm(), digest.hex()), text);
        assert_eq!(digest.hash().len(), digest.algorithm().hash_len());
        assert_eq!(Digest::from_hash(digest.algorithm(), digest.hash()), Some(digest));
        let tag: Tag = digest.referrers_tag().parse().expect("a tag");
        assert!(tag.is_referrers_tag());
        let json = serde_json::to_string(&digest).expect("JSON");
        assert_eq!(serde_json::from_str::<Digest>(&json).expect("a digest"), digest);
    });
}

/// A hash that resumes from any bytes is refused, or goes on to one digest however the content is divided.
pub fn digester(input: &[u8]) {
    // The lengths of the two states: other lengths are refused at once.
    const STATES: [(Algorithm, usize); 2] = [(Algorithm::Sha256, 104), (Algorithm::Sha512, 208)];
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let _ = Digester::resume(algorithm, input);
    }
    for (algorithm, len) in STATES {
        let Some((state, content)) = input.split_at_checked(len) else { continue };
        let Some(mut digester) = Digester::resume(algorithm, state) else { continue };
        assert_eq!(digester.save(), state);
        assert_eq!(digester.algorithm(), algorithm);
        let mut in_two = digester.clone();
        digester.update(content);
        let (first, second) = content.split_at(content.len() / 2);
        in_two.update(first);
        // The next block may exceed the largest length that can be resumed.
        let Some(mut in_two) = Digester::resume(algorithm, &in_two.save()) else { continue };
        in_two.update(second);
        assert_eq!(in_two.finish(), digester.finish());
    }
}

/// A media type has one spelling, and can be sent in a header.
pub fn media_type(input: &[u8]) {
    with_text(input, |text| {
        if let Ok(media_type) = text.parse::<MediaType>() {
            assert_eq!(media_type.to_string(), text);
            assert!(text.len() <= oci::media_type::MAX_LEN);
            assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            MediaType::from_content_type(text).expect("a content type");
        }
        if let Ok(media_type) = MediaType::from_content_type(text) {
            assert!(!media_type.as_str().contains([';', ' ']));
            assert_eq!(MediaType::from_content_type(media_type.as_str()), Ok(media_type));
        }
    });
}

/// A repository name has one spelling, and its components may be names of directories.
pub fn name(input: &[u8]) {
    with_text(input, |text| {
        let Ok(name) = text.parse::<RepositoryName>() else { return };
        assert_eq!(name.to_string(), text);
        assert!(text.len() <= oci::name::MAX_LEN);
        assert_eq!(name.components().collect::<Vec<_>>().join("/"), text);
        for component in name.components() {
            assert!(component.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()));
            assert!(component.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()));
            assert!(!component.contains(".."));
        }
    });
}

/// A reference is parsed from its own spelling.
pub fn reference(input: &[u8]) {
    with_text(input, |text| {
        if let Ok(reference) = text.parse::<Reference>() {
            assert!(text.starts_with(reference.repository.as_str()));
            assert_eq!(reference.to_string().parse(), Ok(reference));
        }
        if let Ok(target) = text.parse::<TagOrDigest>() {
            assert_eq!(target.to_string(), text);
        }
    });
}

/// A tag has one spelling, may be the name of a file, and is no digest.
pub fn tag(input: &[u8]) {
    with_text(input, |text| {
        let Ok(tag) = text.parse::<Tag>() else { return };
        assert_eq!(tag.to_string(), text);
        assert!(text.len() <= oci::tag::MAX_LEN && !text.contains('/') && !text.starts_with('.'));
        text.parse::<Digest>().expect_err("a tag is no digest");
        assert_eq!(text.parse(), Ok(TagOrDigest::Tag(tag)));
    });
}

/// A parsed manifest agrees with a plain reading of the JSON. An error is short enough to be sent.
pub fn manifest(input: &[u8]) {
    match Manifest::parse(input, None) {
        Ok(manifest) => {
            check_manifest(&manifest, input);
            assert_eq!(Manifest::parse(input, Some(&manifest.media_type)), Ok(manifest));
        }
        Err(error) => {
            let text = error.to_string();
            // Up to 600 characters, of up to four bytes each.
            assert!(text.len() < 2400 && !text.contains(char::is_control), "{text:?}");
            if matches!(error, ManifestError::Malformed(_)) {
                return;
            }
        }
    }
    for content_type in [OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT, DOCKER_MANIFEST, DOCKER_LIST] {
        let content_type: MediaType = content_type.parse().expect("a media type");
        if let Ok(manifest) = Manifest::parse(input, Some(&content_type)) {
            assert_eq!(manifest.media_type, content_type);
            check_manifest(&manifest, input);
        }
    }
}

fn check_manifest(manifest: &Manifest, bytes: &[u8]) {
    assert_eq!(manifest.config.is_some(), manifest.kind == Kind::Image);
    assert!(manifest.layers.is_empty() || manifest.kind != Kind::Index);
    assert!(manifest.manifests.is_empty() || manifest.kind == Kind::Index);

    let all: Vec<_> = manifest.config.iter().chain(&manifest.layers).chain(&manifest.manifests).collect();
    for (part, is_manifest) in manifest.parts() {
        assert!(all.contains(&part));
        assert!(!is_manifest || manifest.kind == Kind::Index);
    }
    let elsewhere = manifest.layers.iter().filter(|layer| layer.may_be_elsewhere()).count();
    assert_eq!(manifest.parts().count() + elsewhere, all.len());

    for descriptor in all.iter().copied().chain(&manifest.subject) {
        let json = serde_json::to_string(descriptor).expect("JSON");
        assert_eq!(&serde_json::from_str::<Descriptor>(&json).expect("a descriptor"), descriptor);
    }

    // Numbers and surrogates that a registry skips are errors to a reader of everything.
    let Ok(plain) = serde_json::from_slice::<Value>(bytes) else { return };
    let layers = if manifest.kind == Kind::Artifact { "blobs" } else { "layers" };
    assert_same(&manifest.layers, &plain[layers]);
    assert_same(&manifest.manifests, &plain["manifests"]);
    assert_same(manifest.config.as_slice(), &listed(&plain["config"]));
    assert_same(manifest.subject.as_slice(), &listed(&plain["subject"]));
}

fn listed(one: &Value) -> Value {
    if one.is_null() { Value::Null } else { Value::Array(vec![one.clone()]) }
}

/// Asserts that descriptors are those of a JSON array, or that both are not there.
fn assert_same(descriptors: &[Descriptor], plain: &Value) {
    let plain = plain.as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(descriptors.len(), plain.len());
    for (descriptor, plain) in descriptors.iter().zip(plain) {
        assert_eq!(plain["digest"].as_str(), Some(descriptor.digest.to_string().as_str()));
        assert_eq!(plain["mediaType"].as_str(), Some(descriptor.media_type.as_str()));
        assert_eq!(plain["size"].as_u64(), Some(descriptor.size));
    }
}
