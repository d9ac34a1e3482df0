//! Manifests and image configs as pages show them: every field that is absent or of another type is empty.

use std::collections::BTreeMap;

use oci::Digest;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::language::Language;

/// Labels and annotations, by key.
pub(crate) type Pairs = BTreeMap<String, String>;

/// A manifest, an index or an artifact.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Document {
    #[serde(deserialize_with = "lenient")]
    pub(crate) artifact_type: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) config: Option<Entry>,
    #[serde(deserialize_with = "list")]
    pub(crate) layers: Vec<Entry>,
    #[serde(deserialize_with = "list")]
    blobs: Vec<Entry>,
    #[serde(deserialize_with = "list")]
    pub(crate) manifests: Vec<Entry>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) subject: Option<Entry>,
    #[serde(deserialize_with = "pairs")]
    pub(crate) annotations: Pairs,
}

/// A descriptor.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, deserialize_with = "pairs")]
    pub(crate) annotations: Pairs,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) platform: Option<oci::Platform>,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) artifact_type: Option<String>,
}

const TITLE: &str = "org.opencontainers.image.title";
const ATTESTS: &str = "vnd.docker.reference.digest";

impl Entry {
    /// Returns the file name of a layer of an artifact.
    pub(crate) fn title(&self) -> Option<&str> {
        self.annotations.get(TITLE).map(String::as_str)
    }

    /// Returns the platform, if it is a real one: BuildKit writes `unknown/unknown` for attestations.
    pub(crate) fn platform(&self) -> Option<String> {
        let platform = self.platform.as_ref().filter(|platform| platform.os != "unknown")?;
        Some(platform.to_string())
    }

    /// Returns the digest of the image that an entry of BuildKit attests.
    pub(crate) fn attested(&self) -> Option<&str> {
        self.annotations.get(ATTESTS).map(String::as_str)
    }
}

/// The kind of content, by its media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Image,
    Index,
    Chart,
    Signature,
    Sbom,
    Attestation,
    Cache,
    Artifact,
}

impl Kind {
    pub(crate) fn label(self, language: Language) -> String {
        let key = match self {
            Self::Image => "kind-image",
            Self::Index => "kind-index",
            Self::Chart => "kind-chart",
            Self::Signature => "kind-signature",
            Self::Sbom => "kind-sbom",
            Self::Attestation => "kind-attestation",
            Self::Cache => "kind-cache",
            Self::Artifact => "kind-artifact",
        };
        language.text(key).into_owned()
    }

    /// Returns the kind of an artifact by its type, and by the types of its layers.
    pub(crate) fn of_artifact<'t>(types: impl IntoIterator<Item = &'t str>) -> Self {
        for kind in types {
            let has = |words: &[&str]| words.iter().any(|word| kind.contains(word));
            if has(&["cosign.artifact.sig", "simplesigning", "notary", "signature", "pgp-signature"]) {
                return Self::Signature;
            }
            if has(&["sigstore.bundle"]) {
                return Self::Signature;
            }
            if has(&["spdx", "cyclonedx", "syft", "sbom"]) {
                return Self::Sbom;
            }
            if has(&["in-toto", "dsse", "attestation", "provenance"]) {
                return Self::Attestation;
            }
            if has(&["buildkit.cacheconfig"]) {
                return Self::Cache;
            }
            if has(&["helm.config", "helm.chart"]) {
                return Self::Chart;
            }
        }
        Self::Artifact
    }
}

impl Document {
    /// Parses a manifest.
    pub(crate) fn parse(content: &[u8]) -> Self {
        let mut document: Self = serde_json::from_slice(content).unwrap_or_default();
        document.layers.append(&mut document.blobs);
        document
    }

    pub(crate) fn kind(&self) -> Kind {
        let config = self.config.as_ref().map_or("", |config| &config.media_type);
        let has_image_config =
            [oci::media_type::OCI_CONFIG, oci::media_type::DOCKER_CONFIG].contains(&config);
        if !self.manifests.is_empty() {
            return if config.contains("cacheconfig") { Kind::Cache } else { Kind::Index };
        }
        let types = self.artifact_type.as_deref().into_iter().chain([config]);
        let types = types.chain(self.layers.iter().map(|layer| layer.media_type.as_str()));
        match Kind::of_artifact(types) {
            Kind::Artifact if has_image_config => Kind::Image,
            Kind::Artifact if self.config.is_none() && self.layers.is_empty() => Kind::Index,
            kind => kind,
        }
    }

    /// The type of an artifact: its own, or that of its config.
    pub(crate) fn type_of_artifact(&self) -> Option<&str> {
        self.artifact_type.as_deref().or(self.config.as_ref().map(|config| config.media_type.as_str()))
    }

    /// The bytes of config and layers.
    pub(crate) fn content_size(&self) -> u64 {
        self.config.iter().chain(&self.layers).map(|part| part.size).sum()
    }
}

/// The config of an image (image-spec v1.1, config.md).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ImageConfig {
    #[serde(deserialize_with = "lenient")]
    pub(crate) created: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) author: Option<String>,
    #[serde(deserialize_with = "lenient")]
    architecture: Option<String>,
    #[serde(deserialize_with = "lenient")]
    os: Option<String>,
    #[serde(deserialize_with = "lenient")]
    variant: Option<String>,
    #[serde(deserialize_with = "lenient")]
    config: Option<Container>,
    #[serde(deserialize_with = "list")]
    pub(crate) history: Vec<Step>,
}

/// The settings of containers of an image.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Container {
    #[serde(deserialize_with = "lenient")]
    pub(crate) user: Option<String>,
    #[serde(deserialize_with = "keys")]
    pub(crate) exposed_ports: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub(crate) cmd: Vec<String>,
    #[serde(deserialize_with = "keys")]
    pub(crate) volumes: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) working_dir: Option<String>,
    #[serde(deserialize_with = "pairs")]
    pub(crate) labels: Pairs,
    #[serde(deserialize_with = "lenient")]
    pub(crate) stop_signal: Option<String>,
}

/// An entry of the history.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Step {
    #[serde(deserialize_with = "lenient")]
    created_by: Option<String>,
    #[serde(deserialize_with = "lenient")]
    comment: Option<String>,
    #[serde(deserialize_with = "lenient")]
    empty_layer: Option<bool>,
}

impl Step {
    pub(crate) fn is_empty_layer(&self) -> bool {
        self.empty_layer == Some(true)
    }

    /// Returns the instruction as its Dockerfile has it: builders wrap it in a shell.
    pub(crate) fn instruction(&self) -> String {
        let text = self.created_by.as_deref().or(self.comment.as_deref()).unwrap_or_default();
        let text = text.trim_end_matches("# buildkit").trim();
        if let Some((_, rest)) = text.split_once("#(nop)") {
            return rest.trim().to_owned();
        }
        match text.split_once("/bin/sh -c ") {
            Some(("", command)) => format!("RUN {command}"),
            // `RUN |1 VERSION=2 /bin/sh -c …` names the build arguments.
            Some((before, command)) if before.starts_with("RUN") || before.starts_with('|') => {
                format!("RUN {command}")
            }
            _ => text.to_owned(),
        }
    }
}

impl ImageConfig {
    pub(crate) fn parse(content: &[u8]) -> Self {
        serde_json::from_slice(content).unwrap_or_default()
    }

    pub(crate) fn platform(&self) -> Option<String> {
        let (os, architecture) = (self.os.as_deref()?, self.architecture.as_deref()?);
        if os.is_empty() || architecture.is_empty() {
            return None;
        }
        let variant = self.variant.as_deref().map(|variant| format!("/{variant}")).unwrap_or_default();
        Some(format!("{os}/{architecture}{variant}"))
    }

    pub(crate) fn into_container(self) -> (Container, Vec<Step>) {
        (self.config.unwrap_or_default(), self.history)
    }

    pub(crate) fn container(&self) -> Option<&Container> {
        self.config.as_ref()
    }
}

/// Reads a value of another type as absent.
fn lenient<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// Reads a list without the entries of another type.
fn list<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let Value::Array(items) = Value::deserialize(deserializer)? else { return Ok(Vec::new()) };
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}

/// Reads an object without the values that are no text.
fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
    let Value::Object(object) = Value::deserialize(deserializer)? else { return Ok(Pairs::new()) };
    let text = |(key, value)| if let Value::String(value) = value { Some((key, value)) } else { None };
    Ok(object.into_iter().filter_map(text).collect())
}

/// Reads the keys of an object.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let Value::Object(object) = Value::deserialize(deserializer)? else { return Ok(Vec::new()) };
    Ok(object.into_iter().map(|(key, _)| key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str) -> String {
        Step { created_by: Some(text.to_owned()), ..Step::default() }.instruction()
    }

    #[test]
    fn instructions_lose_the_shell_of_the_builder() {
        assert_eq!(step("/bin/sh -c #(nop)  CMD [\"sh\"]"), "CMD [\"sh\"]");
        assert_eq!(step("/bin/sh -c apk add curl"), "RUN apk add curl");
        assert_eq!(step("RUN /bin/sh -c make # buildkit"), "RUN make");
        assert_eq!(step("RUN |1 V=2 /bin/sh -c make # buildkit"), "RUN make");
        assert_eq!(step("COPY /a /b # buildkit"), "COPY /a /b");
    }

    #[test]
    fn kind_follows_from_media_types() {
        let kind = |text: &str| Document::parse(text.as_bytes()).kind();
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let entry = |kind: &str| format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":1}}"#);
        let config = |kind: &str| format!(r#"{{"config":{}}}"#, entry(kind));
        assert_eq!(kind(&config(oci::media_type::OCI_CONFIG)), Kind::Image);
        assert_eq!(kind(&config("application/vnd.cncf.helm.config.v1+json")), Kind::Chart);
        assert_eq!(kind(&config("application/vnd.oci.empty.v1+json")), Kind::Artifact);
        assert_eq!(
            kind(&format!(r#"{{"manifests":[{}]}}"#, entry(oci::media_type::OCI_MANIFEST))),
            Kind::Index
        );
        assert_eq!(kind(r#"{"manifests":[]}"#), Kind::Index);
        let artifact =
            |kind: &str| format!(r#"{{"artifactType":"{kind}","layers":[{}]}}"#, entry("text/plain"));
        assert_eq!(kind(&artifact("application/spdx+json")), Kind::Sbom);
        assert_eq!(kind(&artifact("application/vnd.dev.sigstore.bundle.v0.3+json")), Kind::Signature);
        assert_eq!(kind(&artifact("application/vnd.example")), Kind::Artifact);
    }

    #[test]
    fn config_of_other_types_is_empty() {
        let text = br#"{"created":1,"os":"linux","architecture":"arm64","variant":"v8","history":[1,{"created_by":"x"}],
            "config":{"Env":["A=b",3],"Labels":{"a":"b","c":1},"ExposedPorts":{"80/tcp":{}},"Cmd":null}}"#;
        let config = ImageConfig::parse(text);
        assert_eq!(config.platform().as_deref(), Some("linux/arm64/v8"));
        let (container, history) = config.into_container();
        assert_eq!(
            (container.env, container.exposed_ports),
            (vec!["A=b".to_owned()], vec!["80/tcp".to_owned()])
        );
        assert_eq!((container.labels.len(), history.len(), container.cmd.len()), (1, 1, 0));
    }
}
