//! Reading a manifest ends in a manifest that agrees with a plain reading of the same JSON, or in an
//! error that is short enough to be sent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST};
use oci::{Descriptor, Kind, Manifest, ManifestError, MediaType};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    match Manifest::parse(bytes, None) {
        Ok(manifest) => {
            check(&manifest, bytes);
            assert_eq!(Manifest::parse(bytes, Some(&manifest.media_type)), Ok(manifest));
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
        if let Ok(manifest) = Manifest::parse(bytes, Some(&content_type)) {
            assert_eq!(manifest.media_type, content_type);
            check(&manifest, bytes);
        }
    }
});

fn check(manifest: &Manifest, bytes: &[u8]) {
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
