//! Lenient parsing of manifests that another registry has stored.
//!
//! A push is parsed strictly ([`Manifest::parse`]). Content that `registry:2` serves already is kept whatever
//! a strict parser says of it: clients pull the bytes, and the registry needs the media type and the parts
//! only.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::descriptor::Annotations;
use crate::json::is_same_to_go;
use crate::media_type::{
    DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, OCI_ARTIFACT, OCI_INDEX,
    OCI_MANIFEST,
};
use crate::{Descriptor, Kind, Manifest, ManifestError, MediaType};

/// The media type of a descriptor whose own is missing or malformed.
const UNKNOWN: &str = "application/octet-stream";
/// The media type of a layer in schema 1, as docker calls it.
const SCHEMA1_LAYER: &str = "application/vnd.docker.container.image.rootfs.diff+x-gtar";

impl Manifest {
    /// Parses a manifest that is stored already, strictly if possible, else leniently: Docker's schema 1,
    /// descriptors without a size (which is then 0) or a valid media type, fields in another case. Parts
    /// without a digest are left out.
    ///
    /// # Errors
    /// The [`ManifestError`] of the strict parser, if the content is not a manifest even by the lenient one.
    pub fn parse_stored(bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::parse(bytes, None)
            .or_else(|error| Document::read(bytes).and_then(Document::manifest).ok_or(error))
    }
}

/// A JSON object whose fields are found as Go finds them.
struct Document(Map<String, Value>);

impl Document {
    fn read(bytes: &[u8]) -> Option<Self> {
        // Go replaces invalid UTF-8 and lone surrogates.
        match serde_json::from_str(&without_lone_surrogates(&String::from_utf8_lossy(bytes))).ok()? {
            Value::Object(fields) => Some(Self(fields)),
            _ => None,
        }
    }

    /// The field, unless it is `null`.
    fn field(&self, name: &str) -> Option<&Value> {
        let exact = self.0.get(name);
        let folded = || self.0.iter().find(|(key, _)| is_same_to_go(key, name)).map(|(_, value)| value);
        exact.or_else(folded).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.field(name)?.as_str().filter(|text| !text.is_empty())
    }

    fn list(&self, name: &str) -> &[Value] {
        self.field(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn manifest(self) -> Option<Manifest> {
        match self.field("schemaVersion").map(Value::as_i64) {
            Some(Some(1)) => self.schema_one(),
            Some(Some(2)) => self.schema_two(),
            None if self.text("mediaType") == Some(OCI_ARTIFACT) => self.schema_two(),
            _ => None,
        }
    }

    fn schema_one(&self) -> Option<Manifest> {
        let media_type =
            if self.field("signatures").is_some() { DOCKER_SCHEMA1_SIGNED } else { DOCKER_SCHEMA1 };
        let layer = |layer: &Value| {
            let digest = layer.get("blobSum")?.as_str()?.parse().ok()?;
            let media_type = SCHEMA1_LAYER.parse().ok()?;
            Some(Descriptor {
                media_type,
                digest,
                size: 0,
                urls: vec![],
                annotations: None,
                artifact_type: None,
            })
        };
        self.field("fsLayers")?;
        Some(Manifest {
            media_type: media_type.parse().ok()?,
            kind: Kind::Image,
            config: None,
            layers: self.list("fsLayers").iter().filter_map(layer).collect(),
            manifests: Vec::new(),
            subject: None,
            artifact_type: None,
            annotations: None,
        })
    }

    fn schema_two(&self) -> Option<Manifest> {
        let shape = [
            (Kind::Index, OCI_INDEX, self.field("manifests").is_some()),
            (Kind::Image, OCI_MANIFEST, self.field("config").is_some() || self.field("layers").is_some()),
            (Kind::Artifact, OCI_ARTIFACT, self.field("blobs").is_some()),
        ];
        let mut shapes: Vec<_> = shape.into_iter().filter(|(.., is_there)| *is_there).collect();
        if shapes.len() > 1 {
            // An empty list of another kind does not decide.
            shapes.retain(|(kind, ..)| match kind {
                Kind::Index => !self.list("manifests").is_empty(),
                Kind::Image => self.field("config").is_some() || !self.list("layers").is_empty(),
                Kind::Artifact => !self.list("blobs").is_empty(),
            });
        }
        // With several, it is an image for one reader and an index for another (CVE-2021-41190).
        let [(kind, by_shape, _)] = shapes[..] else { return None };
        let own = self.text("mediaType");
        let of_kind = match own {
            Some(OCI_INDEX | DOCKER_LIST) => kind == Kind::Index,
            Some(OCI_MANIFEST | DOCKER_MANIFEST) => kind == Kind::Image,
            Some(OCI_ARTIFACT) => kind == Kind::Artifact,
            _ => true,
        };
        let own: Option<MediaType> = own.filter(|_| of_kind).and_then(|own| own.parse().ok());
        let config = self.field("config").and_then(|config| descriptor(config, UNKNOWN));
        let config_type = || self.field("config")?.get("mediaType")?.as_str().filter(|text| !text.is_empty());
        Some(Manifest {
            media_type: own.or_else(|| by_shape.parse().ok())?,
            kind,
            layers: self.descriptors(if kind == Kind::Artifact { "blobs" } else { "layers" }, UNKNOWN),
            manifests: self.descriptors("manifests", OCI_MANIFEST),
            subject: self.field("subject").and_then(|subject| descriptor(subject, OCI_MANIFEST)),
            artifact_type: self.text("artifactType").or_else(config_type).map(str::to_owned),
            annotations: self.field("annotations").and_then(annotations),
            config,
        })
    }

    fn descriptors(&self, name: &str, unknown: &str) -> Vec<Descriptor> {
        self.list(name).iter().filter_map(|value| descriptor(value, unknown)).collect()
    }
}

/// Replaces the escapes of unpaired surrogates, which JSON allows and Rust's text cannot hold.
fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return Cow::Borrowed(text);
    }
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        replaced.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match (escape(rest), rest.get(6..).and_then(escape)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                replaced.push('\u{fffd}');
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            // A backslash and the character that it escapes.
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        replaced.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    replaced.push_str(rest);
    Cow::Owned(replaced)
}

/// Returns the code unit of a `\uXXXX` at the beginning.
fn escape(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// A descriptor as far as it can be read; `None` without a digest.
fn descriptor(value: &Value, unknown: &str) -> Option<Descriptor> {
    let fields = Document(value.as_object()?.clone());
    let size = fields.field("size").and_then(Value::as_i64).and_then(|size| u64::try_from(size).ok());
    let urls = fields.list("urls").iter().filter_map(|url| url.as_str().map(str::to_owned));
    Some(Descriptor {
        media_type: fields
            .text("mediaType")
            .and_then(|text| text.parse().ok())
            .or_else(|| unknown.parse().ok())?,
        digest: fields.text("digest")?.parse().ok()?,
        size: size.unwrap_or(0),
        urls: urls.collect(),
        annotations: fields.field("annotations").and_then(annotations),
        artifact_type: fields.text("artifactType").map(str::to_owned),
    })
}

fn annotations(value: &Value) -> Option<Annotations> {
    let pairs = value.as_object()?.iter();
    Some(pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    fn digest(content: &str) -> String {
        Algorithm::Sha256.digest(content.as_bytes()).to_string()
    }

    fn parse(text: &str) -> Manifest {
        assert!(Manifest::parse(text.as_bytes(), None).is_err(), "no strict parser takes it: {text}");
        Manifest::parse_stored(text.as_bytes()).unwrap()
    }

    #[test]
    fn stored_image_without_sizes_has_its_parts() {
        let (config, layer) = (digest("config"), digest("layer"));
        let image = parse(&format!(
            r#"{{"schemaVersion":2,"mediaType":"{DOCKER_MANIFEST}",
                "config":{{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"{config}"}},
                "layers":[{{"digest":"{layer}","size":-1}},{{"mediaType":"a/b"}}]}}"#
        ));
        assert_eq!((image.kind, image.media_type.as_str()), (Kind::Image, DOCKER_MANIFEST));
        let parts: Vec<_> = image.parts().map(|(part, _)| (part.digest.to_string(), part.size)).collect();
        assert_eq!(parts, [(config, 0), (layer, 0)]);
    }

    #[test]
    fn stored_config_type_without_a_slash_is_kept() {
        let image = parse(&format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"referrer.image","digest":"{}","size":2}},"Layers":[],
                "annotations":{{"a":"1","b":2}}}}"#,
            digest("{}")
        ));
        assert_eq!(image.media_type.as_str(), OCI_MANIFEST);
        assert_eq!(image.config.as_ref().unwrap().media_type.as_str(), UNKNOWN);
        assert_eq!(image.artifact_type.as_deref(), Some("referrer.image"));
        assert_eq!((image.annotation("a"), image.annotation("b")), (Some("1"), None));
    }

    #[test]
    fn stored_image_may_have_an_empty_manifests_list() {
        let (config, layer) = (digest("config"), digest("layer"));
        let image = parse(&format!(
            r#"{{"schemaVersion":2,"mediaType":"{DOCKER_MANIFEST}","manifests":[],
                "config":{{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"{config}","size":2}},
                "layers":[{{"mediaType":"a/b","digest":"{layer}","size":3}}]}}"#
        ));
        assert_eq!((image.kind, image.layers.len()), (Kind::Image, 1));
        let index = parse(&format!(
            r#"{{"schemaVersion":2,"layers":[],"manifests":[{{"digest":"{}"}}]}}"#,
            digest("child")
        ));
        assert_eq!((index.kind, index.manifests.len()), (Kind::Index, 1));
    }

    #[test]
    fn stored_annotation_with_half_a_character_is_read() {
        let image = parse(&format!(
            r#"{{"schemaVersion":2,"layers":[],"config":{{"mediaType":"a/b","digest":"{}","size":2}},
                "annotations":{{"a":"x\ud800y","b":"\uD83D\uDE00","c":"\\ud800","d":"\udc00\udc00","e":"\ud800"}}}}"#,
            digest("{}")
        ));
        let values = ["a", "b", "c", "d", "e"].map(|key| image.annotation(key).unwrap());
        assert_eq!(values, ["x\u{fffd}y", "\u{1f600}", "\\ud800", "\u{fffd}\u{fffd}", "\u{fffd}"]);
    }

    #[test]
    fn stored_schema_one_has_its_layers() {
        let layer = digest("layer");
        let text =
            format!(r#"{{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[{{"blobSum":"{layer}"}}]"#);
        let unsigned = parse(&format!("{text}}}"));
        assert_eq!((unsigned.media_type.as_str(), unsigned.config), (DOCKER_SCHEMA1, None));
        assert_eq!(unsigned.layers[0].digest.to_string(), layer);
        assert_eq!(parse(&format!(r#"{text},"signatures":[]}}"#)).media_type.as_str(), DOCKER_SCHEMA1_SIGNED);
    }

    #[test]
    fn stored_index_with_an_odd_child_lists_manifests() {
        let index = parse(&format!(
            r#"{{"schemaVersion":2,"mediaType":"{DOCKER_LIST}","manifests":[{{"digest":"{}"}}]}}"#,
            digest("child")
        ));
        assert_eq!((index.kind, index.manifests.len()), (Kind::Index, 1));
        assert!(index.manifests[0].media_type.is_manifest());
    }

    #[test]
    fn stored_content_that_is_no_manifest_is_refused() {
        let both = r#"{"schemaVersion":2,"config":{},"layers":[],"manifests":[{}]}"#;
        for text in
            ["<html>", "[]", "{}", r#"{"schemaVersion":3,"layers":[]}"#, r#"{"schemaVersion":2}"#, both]
        {
            let strict = Manifest::parse(text.as_bytes(), None).unwrap_err();
            assert_eq!(Manifest::parse_stored(text.as_bytes()), Err(strict), "{text}");
        }
    }
}
