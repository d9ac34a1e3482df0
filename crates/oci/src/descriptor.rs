//! Descriptors: the references of a manifest to its content.
//!
//! image-spec v1.1, descriptor.md.

use std::collections::BTreeMap;

use serde::de::{Error, MapAccess, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};

use crate::json::{self, Object};
use crate::{Digest, MediaType};

/// Annotations: a map of strings to strings, in the order of its keys.
pub type Annotations = BTreeMap<String, String>;

/// A descriptor with the fields that a registry uses. Others are skipped; the bytes of the manifest keep
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes, at most `i64::MAX`: the specification defines it as int64.
    pub size: u64,
    /// Download URLs outside of the registry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations of the descriptor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// The artifact type of a manifest; never empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Returns whether a manifest is complete without this content: by its type, or because it has `urls`.
    /// skopeo and podman push no layer with `urls`.
    #[must_use]
    pub fn may_be_elsewhere(&self) -> bool {
        self.media_type.is_nondistributable() || !self.urls.is_empty()
    }
}

#[derive(Default)]
struct Fields {
    media_type: Option<MediaType>,
    digest: Option<Digest>,
    size: Option<Size>,
    urls: Option<Vec<String>>,
    annotations: Option<Annotations>,
    artifact_type: Option<String>,
}

impl Object for Fields {
    const WHAT: &'static str = "a descriptor";
    const FIELDS: &'static [&'static str] =
        &["mediaType", "digest", "size", "urls", "annotations", "artifactType", "data", "platform"];

    fn take<'de, M: MapAccess<'de>>(&mut self, field: &'static str, values: &mut M) -> Result<(), M::Error> {
        match field {
            "mediaType" => self.media_type = Some(values.next_value()?),
            "digest" => self.digest = Some(values.next_value()?),
            "size" => self.size = Some(values.next_value()?),
            "urls" => self.urls = values.next_value()?,
            "annotations" => self.annotations = values.next_value()?,
            "artifactType" => self.artifact_type = values.next_value()?,
            _ => drop(values.next_value::<serde::de::IgnoredAny>()?),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields: Fields = json::object(deserializer)?;
        let missing = D::Error::missing_field;
        Ok(Self {
            media_type: fields.media_type.ok_or_else(|| missing("mediaType"))?,
            digest: fields.digest.ok_or_else(|| missing("digest"))?,
            size: fields.size.ok_or_else(|| missing("size"))?.0,
            urls: fields.urls.unwrap_or_default(),
            annotations: fields.annotations,
            artifact_type: fields.artifact_type.filter(|own| !own.is_empty()),
        })
    }
}

struct Size(u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let size = u64::deserialize(deserializer)?;
        if i64::try_from(size).is_err() {
            return Err(D::Error::invalid_value(Unexpected::Unsigned(size), &"at most 2^63 - 1 bytes"));
        }
        Ok(Self(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// A descriptor with these further fields, each with a comma before it.
    fn descriptor(media_type: &str, size: &str, more: &str) -> Result<Descriptor, serde_json::Error> {
        serde_json::from_str(&format!(
            r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":{size}{more}}}"#
        ))
    }

    #[test]
    fn all_fields_are_read() {
        let read = descriptor(
            "text/plain",
            "7",
            r#","urls":["https://example.com/a"],"annotations":{"a":"b"},"artifactType":"text/x","data":"e30=",
               "platform":{"os":"linux","architecture":"amd64"},"unknown":[1]"#,
        );
        assert_eq!(
            read.unwrap(),
            Descriptor {
                media_type: "text/plain".parse().unwrap(),
                digest: DIGEST.parse().unwrap(),
                size: 7,
                urls: vec!["https://example.com/a".into()],
                annotations: Some([("a".into(), "b".into())].into()),
                artifact_type: Some("text/x".into()),
            }
        );
    }

    #[test]
    fn optional_fields_may_be_null() {
        let bare = descriptor("text/plain", "7", "").unwrap();
        assert_eq!((&bare.urls, &bare.annotations, &bare.artifact_type), (&vec![], &None, &None));
        let nulls = r#","urls":null,"annotations":null,"artifactType":null,"data":null,"platform":null"#;
        assert_eq!(descriptor("text/plain", "7", nulls).unwrap(), bare);
        assert_eq!(descriptor("text/plain", "7", r#","urls":[],"artifactType":"""#).unwrap(), bare);
        for missing in ["mediaType", "digest", "size"] {
            let text = serde_json::to_string(&bare).unwrap();
            let renamed = text.replace(missing, "x");
            let error = serde_json::from_str::<Descriptor>(&renamed).unwrap_err().to_string();
            assert!(error.starts_with(&format!("missing field `{missing}`")), "{error}");
            assert!(
                serde_json::from_str::<Descriptor>(&text.replace(missing, &format!("{missing}\":null,\"x")))
                    .is_err()
            );
        }
    }

    #[test]
    fn size_is_a_number_of_bytes_that_a_file_can_have() {
        for (size, bytes) in [("0", 0), ("9223372036854775807", i64::MAX.cast_unsigned())] {
            assert_eq!(descriptor("text/plain", size, "").unwrap().size, bytes);
        }
        for size in [
            "-1",
            "9223372036854775808",
            "18446744073709551616",
            "1e400",
            "1.0",
            "1e3",
            "\"1\"",
            "[]",
            "true",
        ] {
            assert!(descriptor("text/plain", size, "").is_err(), "{size}");
        }
    }

    #[test]
    fn descriptor_is_written_as_it_was_read() {
        let bare = descriptor("text/plain", "7", "").unwrap();
        let text = serde_json::to_string(&bare).unwrap();
        assert_eq!(text, format!(r#"{{"mediaType":"text/plain","digest":"{DIGEST}","size":7}}"#));
        let full = r#","urls":["a"],"annotations":{},"artifactType":"text/x""#;
        let full = descriptor("text/plain", "7", full).unwrap();
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<Descriptor>(&text).unwrap(), full);
    }

    #[test]
    fn content_may_be_elsewhere_by_its_type_or_its_urls() {
        let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar";
        let layer = "application/vnd.oci.image.layer.v1.tar";
        let urls = r#","urls":["https://example.com/a"]"#;
        assert!(descriptor(foreign, "7", "").unwrap().may_be_elsewhere());
        assert!(descriptor(layer, "7", urls).unwrap().may_be_elsewhere());
        assert!(!descriptor(layer, "7", "").unwrap().may_be_elsewhere());
    }
}
