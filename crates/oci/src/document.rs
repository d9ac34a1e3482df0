//! The JSON document of a manifest, and its conversion to a [`Manifest`].
//!
//! Clients write empty fields in different ways: Go writes `null` for an empty list. Those are accepted. A
//! document that two readers could understand in two ways is rejected.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess};

use crate::descriptor::Annotations;
use crate::json::{self, Object};
use crate::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST};
use crate::{Descriptor, Kind, Manifest, ManifestError, MediaType};

/// A manifest document in which each single field is valid.
#[derive(Default)]
pub(crate) struct Document {
    schema_version: Option<i64>,
    media_type: Option<MediaType>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: List,
    blobs: List,
    manifests: List,
    subject: Option<Descriptor>,
    annotations: Option<Annotations>,
}

impl Document {
    /// Parses a document.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        json::read(bytes).map_err(ManifestError::Malformed)
    }

    /// Converts the document to a manifest.
    pub(crate) fn into_manifest(self, content_type: Option<&MediaType>) -> Result<Manifest, ManifestError> {
        let media_type = self.media_type(content_type)?;
        let kind = match media_type.as_str() {
            OCI_MANIFEST | DOCKER_MANIFEST => Kind::Image,
            OCI_INDEX | DOCKER_LIST => Kind::Index,
            OCI_ARTIFACT => Kind::Artifact,
            _ => return Err(ManifestError::UnsupportedMediaType(media_type)),
        };
        self.check_fields(&media_type, kind)?;
        let missing = |field| ManifestError::MissingField { media_type: media_type.clone(), field };
        let (config, layers, manifests) = match kind {
            Kind::Image => {
                let config = self.config.ok_or_else(|| missing("config"))?;
                (Some(config), self.layers.unless_absent().ok_or_else(|| missing("layers"))?, Vec::new())
            }
            Kind::Index => {
                (None, Vec::new(), self.manifests.unless_absent().ok_or_else(|| missing("manifests"))?)
            }
            Kind::Artifact => (None, self.blobs.unless_absent().unwrap_or_default(), Vec::new()),
        };
        let artifact_type = self
            .artifact_type
            .filter(|own| !own.is_empty())
            .or_else(|| config.as_ref().map(|config| config.media_type.as_str().to_owned()));
        Ok(Manifest {
            media_type,
            kind,
            config,
            layers,
            manifests,
            subject: self.subject,
            artifact_type,
            annotations: self.annotations,
        })
    }

    fn media_type(&self, content_type: Option<&MediaType>) -> Result<MediaType, ManifestError> {
        let own = self.media_type.as_ref();
        let said = content_type.or(own);
        match self.schema_version {
            Some(2) => {}
            Some(1) => return Err(ManifestError::SchemaOne),
            // Only the artifact manifest has no schemaVersion.
            None if said.is_some_and(|said| said.as_str() == OCI_ARTIFACT) => {}
            _ => return Err(ManifestError::SchemaVersion),
        }
        if let (Some(content_type), Some(own)) = (content_type, own)
            && content_type != own
        {
            return Err(ManifestError::MediaTypeMismatch {
                content_type: content_type.clone(),
                media_type: own.clone(),
            });
        }
        if let Some(said) = said {
            return Ok(said.clone());
        }
        let shape = match self.manifests {
            List::There(_) => OCI_INDEX,
            _ if self.config.is_some() => OCI_MANIFEST,
            List::Null => OCI_INDEX,
            List::Absent => return Err(ManifestError::UnknownKind),
        };
        shape.parse().map_err(|_| ManifestError::UnknownKind)
    }

    /// Rejects fields of another kind of manifest: a client might read the document as that kind.
    fn check_fields(&self, media_type: &MediaType, kind: Kind) -> Result<(), ManifestError> {
        let fields = [
            ("layers", self.layers.is_there(), Kind::Image),
            ("config", self.config.is_some(), Kind::Image),
            ("manifests", self.manifests.is_there(), Kind::Index),
            ("blobs", self.blobs.is_there(), Kind::Artifact),
        ];
        let Some((stray, ..)) = fields.iter().find(|(_, there, of)| *there && *of != kind) else {
            return Ok(());
        };
        Err(match fields.iter().find(|(_, there, of)| *there && *of == kind) {
            Some((own, ..)) => ManifestError::TwoDocuments(own, stray),
            None => ManifestError::StrayField { media_type: media_type.clone(), field: stray },
        })
    }
}

/// A list of descriptors. Required and forbidden lists may be `null`.
#[derive(Default)]
enum List {
    #[default]
    Absent,
    Null,
    There(Vec<Descriptor>),
}

impl List {
    fn is_there(&self) -> bool {
        matches!(self, Self::There(_))
    }

    fn unless_absent(self) -> Option<Vec<Descriptor>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(Vec::new()),
            Self::There(list) => Some(list),
        }
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::There))
    }
}

/// The `mediaType` of a document; empty counts as missing.
struct OwnMediaType(Option<MediaType>);

impl<'de> Deserialize<'de> for OwnMediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        let own = text.filter(|text| !text.is_empty()).map(|text| text.parse()).transpose();
        own.map(Self).map_err(D::Error::custom)
    }
}

impl Object for Document {
    const WHAT: &'static str = "a manifest";
    const FIELDS: &'static [&'static str] = &[
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "blobs",
        "manifests",
        "subject",
        "annotations",
    ];

    fn take<'de, M: MapAccess<'de>>(&mut self, field: &'static str, values: &mut M) -> Result<(), M::Error> {
        match field {
            "schemaVersion" => self.schema_version = values.next_value()?,
            "mediaType" => self.media_type = values.next_value::<OwnMediaType>()?.0,
            "artifactType" => self.artifact_type = values.next_value()?,
            "config" => self.config = values.next_value()?,
            "layers" => self.layers = values.next_value()?,
            "blobs" => self.blobs = values.next_value()?,
            "manifests" => self.manifests = values.next_value()?,
            "subject" => self.subject = values.next_value()?,
            "annotations" => self.annotations = values.next_value()?,
            _ => drop(values.next_value::<serde::de::IgnoredAny>()?),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::object(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;
    use crate::media_type::OCI_CONFIG;

    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    const EMPTY: &str = "application/vnd.oci.empty.v1+json";

    /// A descriptor of `content`.
    fn descriptor(media_type: &str, content: &str) -> String {
        let digest = Algorithm::Sha256.digest(content.as_bytes());
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, content.len())
    }

    /// A document of this `mediaType` with these further fields.
    fn document(media_type: &str, fields: &str) -> String {
        format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}",{fields}}}"#)
    }

    /// An OCI image with one layer and these further fields, each with a comma before it.
    fn image(more: &str) -> String {
        let (config, layer) = (descriptor(OCI_CONFIG, "{}"), descriptor(LAYER, "layer"));
        document(OCI_MANIFEST, &format!(r#""config":{config},"layers":[{layer}]{more}"#))
    }

    /// An OCI index of one image with these further fields, each with a comma before it.
    fn index(more: &str) -> String {
        document(OCI_INDEX, &format!(r#""manifests":[{}]{more}"#, descriptor(OCI_MANIFEST, "image")))
    }

    fn parse(text: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(text.as_bytes(), None)
    }

    fn parse_as(text: &str, content_type: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(text.as_bytes(), Some(&media_type(content_type)))
    }

    fn media_type(text: &str) -> MediaType {
        text.parse().unwrap()
    }

    /// Returns the error of a malformed document.
    fn fault(text: &str) -> String {
        match parse(text) {
            Err(ManifestError::Malformed(fault)) => fault,
            other => panic!("{text}: {other:?}"),
        }
    }

    mod accepted {
        use super::*;

        #[test]
        fn image_is_parsed() {
            let image = parse_as(&image(""), OCI_MANIFEST).unwrap();
            assert_eq!(image.kind, Kind::Image);
            assert_eq!(image.media_type.as_str(), OCI_MANIFEST);
            assert_eq!(image.config.unwrap().digest, Algorithm::Sha256.digest(b"{}"));
            assert_eq!(image.layers.len(), 1);
            assert_eq!(image.layers[0].size, 5);
            assert_eq!((image.manifests, image.subject, image.annotations), (vec![], None, None));
        }

        #[test]
        fn index_may_be_nested_or_empty() {
            let one = parse_as(&index(""), OCI_INDEX).unwrap();
            assert_eq!((one.kind, one.manifests.len(), one.config), (Kind::Index, 1, None));
            let nested = document(OCI_INDEX, &format!(r#""manifests":[{}]"#, descriptor(OCI_INDEX, "index")));
            assert_eq!(parse(&nested).unwrap().manifests[0].media_type.as_str(), OCI_INDEX);
            assert_eq!(parse(&document(OCI_INDEX, r#""manifests":[]"#)).unwrap().manifests, []);
        }

        #[test]
        fn docker_image_and_list_are_parsed() {
            let (config, layer) = (
                descriptor("application/vnd.docker.container.image.v1+json", "{}"),
                descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", "layer"),
            );
            let image =
                document(DOCKER_MANIFEST, &format!(r#""config":{config},"layers":[{layer},{layer}]"#));
            let image = parse_as(&image, DOCKER_MANIFEST).unwrap();
            assert_eq!((image.kind, image.layers.len()), (Kind::Image, 2));
            let child = descriptor(DOCKER_MANIFEST, "image").replace(
                r#"{"mediaType""#,
                r#"{"platform":{"architecture":"amd64","os":"linux"},"mediaType""#,
            );
            let list = document(DOCKER_LIST, &format!(r#""manifests":[{child}]"#));
            assert_eq!(parse_as(&list, DOCKER_LIST).unwrap().kind, Kind::Index);
        }

        #[test]
        fn artifact_needs_no_layers() {
            let text = document(
                OCI_MANIFEST,
                &format!(
                    r#""artifactType":"application/vnd.example.sbom.v1","config":{},"layers":[]"#,
                    descriptor(EMPTY, "{}")
                ),
            );
            let artifact = parse(&text).unwrap();
            assert_eq!(artifact.artifact_type.as_deref(), Some("application/vnd.example.sbom.v1"));
            assert_eq!(artifact.layers, []);
        }

        #[test]
        fn artifact_manifest_needs_no_schema_version() {
            let text = format!(
                r#"{{"mediaType":"{OCI_ARTIFACT}","artifactType":"text/x","blobs":[{}]}}"#,
                descriptor("text/plain", "blob")
            );
            for artifact in [parse(&text), parse_as(&text, OCI_ARTIFACT)] {
                let artifact = artifact.unwrap();
                assert_eq!(
                    (artifact.kind, artifact.layers.len(), artifact.config),
                    (Kind::Artifact, 1, None)
                );
            }
            let bare = format!(r#"{{"mediaType":"{OCI_ARTIFACT}","artifactType":"text/x"}}"#);
            assert_eq!(parse(&bare).unwrap().layers, []);
        }

        #[test]
        fn subject_and_annotations_are_parsed() {
            let more = format!(
                r#","subject":{},"annotations":{{"a":"1","":"","é\n":"\u0000"}}"#,
                descriptor(OCI_MANIFEST, "subject")
            );
            for text in [image(&more), index(&more)] {
                let manifest = parse(&text).unwrap();
                assert_eq!(manifest.subject.as_ref().unwrap().digest, Algorithm::Sha256.digest(b"subject"));
                assert_eq!(manifest.annotation("a"), Some("1"));
                assert_eq!(manifest.annotation("é\n"), Some("\0"));
                assert_eq!(manifest.annotation("b"), None);
            }
        }

        #[test]
        fn unknown_field_is_skipped() {
            let unknown = r#","org.EXAMPLE":{"layers":[1]},"x":[null,1e999,-0.0,"\ud800"],"x":0"#;
            let (known, without) = (parse(&image(unknown)).unwrap(), parse(&image("")).unwrap());
            assert_eq!(known, without);
        }

        #[test]
        fn unknown_field_may_nest_to_any_depth() {
            let depth = 200_000;
            let more = format!(r#","x":{}{}"#, r#"{"a":["#.repeat(depth), "]}".repeat(depth));
            parse(&image(&more)).unwrap();
            assert!(fault(&image(&format!(r#"{more},"annotations":1"#))).starts_with("annotations: "));
        }
    }

    mod media_types {
        use super::*;

        #[test]
        fn content_type_replaces_a_missing_media_type() {
            let own = format!(r#""mediaType":"{OCI_MANIFEST}","#);
            for instead in ["", r#""mediaType":null,"#, r#""mediaType":"","#] {
                let text = image("").replace(&own, instead);
                assert_eq!(parse_as(&text, OCI_MANIFEST).unwrap().media_type.as_str(), OCI_MANIFEST);
                assert_eq!(parse_as(&text, DOCKER_MANIFEST).unwrap().media_type.as_str(), DOCKER_MANIFEST);
            }
        }

        #[test]
        fn missing_media_type_follows_from_the_fields() {
            let image = image("").replace(&format!(r#""mediaType":"{OCI_MANIFEST}","#), "");
            assert_eq!(parse(&image).unwrap().media_type.as_str(), OCI_MANIFEST);
            let with_null = image.replace(r#""schemaVersion""#, r#""manifests":null,"schemaVersion""#);
            assert_eq!(parse(&with_null).unwrap().media_type.as_str(), OCI_MANIFEST);
            let index = index("").replace(&format!(r#""mediaType":"{OCI_INDEX}","#), "");
            assert_eq!(parse(&index).unwrap().media_type.as_str(), OCI_INDEX);
            let empty = parse(r#"{"schemaVersion":2,"manifests":null}"#).unwrap();
            assert_eq!(empty.media_type.as_str(), OCI_INDEX);
            assert_eq!(parse(r#"{"schemaVersion":2}"#), Err(ManifestError::UnknownKind));
            assert_eq!(parse(r#"{"schemaVersion":2,"layers":[]}"#), Err(ManifestError::UnknownKind));
        }

        #[test]
        fn header_and_document_must_agree() {
            let error = parse_as(&image(""), OCI_INDEX).unwrap_err();
            assert_eq!(
                error,
                ManifestError::MediaTypeMismatch {
                    content_type: media_type(OCI_INDEX),
                    media_type: media_type(OCI_MANIFEST),
                }
            );
            parse_as(&image(""), DOCKER_MANIFEST).unwrap_err();
            parse_as(&image(""), "application/octet-stream").unwrap_err();
        }

        #[test]
        fn unknown_media_type_is_refused() {
            let other = media_type("application/json");
            let error = ManifestError::UnsupportedMediaType(other.clone());
            assert_eq!(parse(&document("application/json", r#""layers":[]"#)), Err(error.clone()));
            assert_eq!(parse_as(r#"{"schemaVersion":2}"#, "application/json"), Err(error));
            let with_parameter = format!("{OCI_INDEX};a=b");
            let error = ManifestError::UnsupportedMediaType(media_type(&with_parameter));
            assert_eq!(parse(&document(&with_parameter, r#""manifests":[]"#)), Err(error));
        }

        #[test]
        fn artifact_type_is_its_own_or_that_of_the_config() {
            let type_of = |text: String| parse(&text).unwrap().artifact_type;
            assert_eq!(type_of(image(r#","artifactType":"text/x""#)).as_deref(), Some("text/x"));
            for more in ["", r#","artifactType":"""#, r#","artifactType":null"#] {
                assert_eq!(type_of(image(more)).as_deref(), Some(OCI_CONFIG));
                assert_eq!(type_of(index(more)), None);
            }
            // An index has no config, whatever its artifactType.
            assert_eq!(type_of(index(r#","artifactType":"text/x""#)).as_deref(), Some("text/x"));
        }
    }

    mod null_values {
        use super::*;

        #[test]
        fn required_list_may_be_null() {
            let config = descriptor(OCI_CONFIG, "{}");
            let image = document(OCI_MANIFEST, &format!(r#""config":{config},"layers":null"#));
            assert_eq!(parse(&image).unwrap().layers, []);
            assert_eq!(parse(&document(OCI_INDEX, r#""manifests":null"#)).unwrap().manifests, []);
            assert_eq!(parse(&document(OCI_ARTIFACT, r#""blobs":null"#)).unwrap().layers, []);
        }

        #[test]
        fn missing_required_field_is_refused() {
            let config = descriptor(OCI_CONFIG, "{}");
            let missing =
                |of: &str, field| Err(ManifestError::MissingField { media_type: media_type(of), field });
            let without_layers = document(OCI_MANIFEST, &format!(r#""config":{config}"#));
            assert_eq!(parse(&without_layers), missing(OCI_MANIFEST, "layers"));
            assert_eq!(parse(&document(OCI_MANIFEST, r#""layers":[]"#)), missing(OCI_MANIFEST, "config"));
            let null_config = document(DOCKER_MANIFEST, r#""layers":[],"config":null"#);
            assert_eq!(parse(&null_config), missing(DOCKER_MANIFEST, "config"));
            assert_eq!(parse(&document(OCI_INDEX, r#""x":1"#)), missing(OCI_INDEX, "manifests"));
        }

        #[test]
        fn optional_fields_may_be_null() {
            let more =
                r#","subject":null,"annotations":null,"artifactType":null,"manifests":null,"blobs":null"#;
            assert_eq!(parse(&image(more)), parse(&image("")));
            let more =
                r#","subject":null,"annotations":null,"artifactType":null,"layers":null,"config":null"#;
            assert_eq!(parse(&index(more)), parse(&index("")));
        }

        #[test]
        fn null_descriptor_is_refused() {
            assert!(fault(&document(OCI_INDEX, r#""manifests":[null]"#)).starts_with("manifests[0]: "));
        }
    }

    mod refused {
        use super::*;

        #[test]
        fn fields_of_two_kinds_are_refused() {
            let layer = descriptor(LAYER, "layer");
            let both = |own, stray| Err(ManifestError::TwoDocuments(own, stray));
            let child = descriptor(OCI_MANIFEST, "image");
            assert_eq!(parse(&image(&format!(r#","manifests":[{child}]"#))), both("layers", "manifests"));
            assert_eq!(parse(&image(r#","manifests":[]"#)), both("layers", "manifests"));
            assert_eq!(parse(&image(r#","blobs":[]"#)), both("layers", "blobs"));
            assert_eq!(parse(&index(&format!(r#","layers":[{layer}]"#))), both("manifests", "layers"));
            assert_eq!(parse(&index(&format!(r#","config":{layer}"#))), both("manifests", "config"));
            let artifact = document(OCI_ARTIFACT, &format!(r#""blobs":[],"config":{layer}"#));
            assert_eq!(parse(&artifact), both("blobs", "config"));
        }

        #[test]
        fn document_of_another_media_type_is_refused() {
            let image = image("").replace(OCI_MANIFEST, OCI_INDEX);
            let stray = ManifestError::StrayField { media_type: media_type(OCI_INDEX), field: "layers" };
            assert_eq!(parse(&image), Err(stray));
            let index = index("").replace(OCI_INDEX, DOCKER_MANIFEST);
            let stray =
                ManifestError::StrayField { media_type: media_type(DOCKER_MANIFEST), field: "manifests" };
            assert_eq!(parse(&index), Err(stray));
        }

        #[test]
        fn duplicate_field_is_refused() {
            assert!(fault(&image(r#","layers":[]"#)).starts_with("duplicate field `layers`"));
            assert!(fault(&image(r#","layers":null"#)).starts_with("duplicate field `layers`"));
            assert!(fault(&image(r#","\u006cayers":[]"#)).starts_with("duplicate field `layers`"));
            let twice = descriptor(LAYER, "a").replace(r#""size":1"#, r#""size":1,"size":1"#);
            let text = document(OCI_INDEX, &format!(r#""manifests":[{twice}]"#));
            assert!(fault(&text).starts_with("manifests[0]: duplicate field `size`"));
        }

        #[test]
        fn field_in_another_case_is_refused() {
            for field in ["Layers", "LAYERS", "layer\u{17f}", "manifestS", "schemaversion"] {
                let fault = fault(&image(&format!(r#","{field}":[]"#)));
                assert!(fault.starts_with(&format!("{field}: `{field}` is not a field, but")), "{fault}");
            }
            let text = image("").replace(r#""digest""#, r#""Digest":"sha256:0","digest""#);
            assert!(fault(&text).starts_with("config.Digest: `Digest` is not a field"));
        }

        #[test]
        fn other_schema_version_is_refused() {
            let with = |version: &str| image("").replace(r#""schemaVersion":2"#, version);
            for version in
                [r#""x":2"#, r#""schemaVersion":null"#, r#""schemaVersion":3"#, r#""schemaVersion":-2"#]
            {
                assert_eq!(parse(&with(version)), Err(ManifestError::SchemaVersion), "{version}");
            }
            for version in [r#""2""#, "2.0", "2e0", "[]", "true", "18446744073709551616"] {
                let fault = fault(&with(&format!(r#""schemaVersion":{version}"#)));
                assert!(fault.starts_with("schemaVersion: "), "{fault}");
            }
            let fault = fault(&with(r#""schemaVersion":1e400"#));
            assert!(fault.contains("number out of range"), "{fault}");
        }

        #[test]
        fn schema_1_is_refused() {
            let text = r#"{"schemaVersion":1,"name":"a","tag":"b","architecture":"amd64","fsLayers":[],"history":[],
                           "signatures":[{"header":{"alg":"ES256"}}]}"#;
            assert_eq!(parse(text), Err(ManifestError::SchemaOne));
            let content_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
            assert_eq!(parse_as(text, content_type), Err(ManifestError::SchemaOne));
        }

        #[test]
        fn other_json_than_an_object_is_refused() {
            for nothing in ["", " \n\t"] {
                assert_eq!(fault(nothing), "it is empty");
            }
            for text in
                ["null", "2", "\"\"", "[]", "{", "{}{}", "<html>", "{\"schemaVersion\":2,}", "\u{feff}{}"]
            {
                fault(text);
            }
            assert!(fault(&format!("{} x", image(""))).starts_with("trailing characters"));
            // An array of the values in field order is rejected as well.
            let text = format!(r#"[2,"{OCI_INDEX}",null,null,null,null,[]]"#);
            assert!(fault(&text).contains("expected a manifest"), "{}", fault(&text));
            assert!(
                fault(&document(OCI_INDEX, r#""manifests":[["a/b"]]"#)).contains("expected a descriptor")
            );
        }

        #[test]
        fn invalid_utf8_in_skipped_field_is_refused() {
            let mut bytes = image(r#","x":"y""#).into_bytes();
            let at = bytes.len() - 3;
            bytes[at] = 0xff;
            let error = Manifest::parse(&bytes, None).unwrap_err().to_string();
            assert_eq!(error, format!("invalid manifest: invalid UTF-8 at byte {at}"));
        }

        #[test]
        fn field_of_another_type_is_refused() {
            for (more, place) in [
                (r#","annotations":{"a":1}"#, "annotations.a: invalid type: integer `1`, expected a string"),
                (r#","annotations":{"a":null}"#, "annotations.a: invalid type: null, expected a string"),
                (r#","annotations":{"a":{}}"#, "annotations.a: "),
                (r#","annotations":[]"#, "annotations: "),
                (r#","artifactType":1"#, "artifactType: "),
                (r#","subject":"sha256:a""#, "subject: "),
                (r#","manifests":{}"#, "manifests: "),
            ] {
                assert!(fault(&image(more)).starts_with(place), "{}", fault(&image(more)));
            }
            let text = image("").replace(OCI_MANIFEST, "manifest");
            assert!(fault(&text).starts_with("mediaType: a media type is written"), "{}", fault(&text));
        }
    }

    mod messages {
        use super::*;

        #[test]
        fn message_names_the_wrong_field() {
            let good = descriptor(LAYER, "layer");
            let bad = good.replace("sha256:", "sha384:");
            let text = image("").replace(&good, &format!("{good},{bad}"));
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.starts_with("invalid manifest: layers[1].digest: digest \"sha384:"), "{error}");
            assert!(error.contains("unsupported digest algorithm"), "{error}");
        }

        #[test]
        fn message_is_short_without_control_characters() {
            let long = "\\u001b[31m".to_owned() + &"x".repeat(1 << 20);
            for text in [
                image(&format!(r#","annotations":{{"{long}":1}}"#)),
                image(&format!(r#","artifactType":["{long}"]"#)),
                image("").replace(OCI_MANIFEST, &long),
                image("").replace("sha256:", &long),
                image("").replace(r#""schemaVersion":2"#, &format!(r#""schemaVersion":"{long}""#)),
            ] {
                let error = parse(&text).unwrap_err().to_string();
                assert!(error.len() < 1000 && !error.contains(char::is_control), "{error:?}");
            }
        }
    }
}
