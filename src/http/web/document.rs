//! Manifests and image configs as pages show them: every field that is absent or of another type is empty.
//!
//! Pushers choose the content, so a page shows bounded parts: the first rows of each list, and the beginning
//! of each text. A larger document is not parsed at all.

use oci::descriptor::Annotations;
use oci::{Digest, HistoryEntry, ImageConfig, Platform, lenient};
use serde::Deserialize;

use super::language::Language;

/// The largest document that is parsed, in bytes.
const MAX_PARSED: usize = 1 << 20;
/// The most rows of a list.
const ROWS: usize = 200;
/// The most bytes of a text.
const TEXT: usize = 4 << 10;

/// Replaces characters that change the direction of their neighbours or control a terminal, because they
/// could disguise a text.
pub(crate) fn harmless(text: String) -> String {
    let misleads = |char: char| {
        char.is_control() && !matches!(char, '\n' | '\r' | '\t')
            || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(misleads) { text.replace(misleads, "\u{fffd}") } else { text }
}

/// Cuts a text that is too long.
pub(crate) fn shortened(mut text: String) -> String {
    if text.len() > TEXT {
        text.truncate(text.floor_char_boundary(TEXT));
        text.push('…');
    }
    harmless(text)
}

/// Cuts texts.
fn shorten(text: &mut Option<String>) {
    *text = text.take().map(shortened);
}

fn shorten_text(text: &mut String) {
    *text = shortened(std::mem::take(text));
}

/// Cuts a list to the rows of a page. Returns the number of the others.
fn cut<T>(list: &mut Vec<T>, rows: usize) -> usize {
    let others = list.len().saturating_sub(rows);
    list.truncate(rows);
    others
}

/// Cuts pairs to the rows of a page, with their texts. Returns the number of the others.
fn cut_pairs(pairs: &mut Annotations) -> usize {
    let others = pairs.len().saturating_sub(ROWS);
    let kept = std::mem::take(pairs).into_iter().take(ROWS);
    pairs.extend(kept.map(|(key, value)| (shortened(key), shortened(value))));
    others
}

/// A manifest, an index or an artifact.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Document {
    #[serde(deserialize_with = "lenient::value")]
    pub(crate) artifact_type: Option<String>,
    #[serde(deserialize_with = "lenient::value")]
    pub(crate) config: Option<Entry>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) layers: Vec<Entry>,
    #[serde(deserialize_with = "lenient::list")]
    blobs: Vec<Entry>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) manifests: Vec<Entry>,
    #[serde(deserialize_with = "lenient::value")]
    pub(crate) subject: Option<Entry>,
    #[serde(deserialize_with = "lenient::pairs")]
    pub(crate) annotations: Annotations,
    /// The number of entries that are left out.
    #[serde(skip)]
    pub(crate) left_out: usize,
    /// Whether it is too large to be parsed. Then everything else is empty.
    #[serde(skip)]
    pub(crate) is_too_large: bool,
    /// The bytes of config and layers.
    #[serde(skip)]
    content_size: u64,
}

/// A descriptor.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, deserialize_with = "lenient::pairs")]
    pub(crate) annotations: Annotations,
    #[serde(default, deserialize_with = "lenient::value")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, deserialize_with = "lenient::value")]
    pub(crate) artifact_type: Option<String>,
}

impl Entry {
    /// Keeps the parts that a page shows.
    fn bound(&mut self) {
        shorten_text(&mut self.media_type);
        shorten(&mut self.artifact_type);
        self.annotations.retain(|key, _| [TITLE, ATTESTS].contains(&key.as_str()));
        cut_pairs(&mut self.annotations);
    }
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
        Some(shortened(platform.to_string()))
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

impl From<oci::CosignKind> for Kind {
    fn from(kind: oci::CosignKind) -> Self {
        match kind {
            oci::CosignKind::Signature => Self::Signature,
            oci::CosignKind::Attestation => Self::Attestation,
            oci::CosignKind::Sbom => Self::Sbom,
        }
    }
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
        if content.len() > MAX_PARSED {
            return Self { is_too_large: true, ..Self::default() };
        }
        let mut document: Self = serde_json::from_slice(content).unwrap_or_default();
        document.layers.append(&mut document.blobs);
        let parts = document.config.iter().chain(&document.layers);
        document.content_size = parts.map(|part| part.size).fold(0, u64::saturating_add);
        document.bound();
        document
    }

    fn bound(&mut self) {
        self.left_out = cut(&mut self.layers, ROWS) + cut(&mut self.manifests, ROWS);
        self.left_out += cut_pairs(&mut self.annotations);
        shorten(&mut self.artifact_type);
        self.config.iter_mut().chain(&mut self.subject).for_each(Entry::bound);
        self.layers.iter_mut().chain(&mut self.manifests).for_each(Entry::bound);
    }

    pub(crate) fn kind(&self) -> Kind {
        if self.is_too_large {
            return Kind::Artifact;
        }
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
        self.content_size
    }
}

/// Returns the instruction of a step as its Dockerfile has it: builders wrap it in a shell.
pub(crate) fn instruction(step: &HistoryEntry) -> String {
    let text = step.created_by.as_deref().or(step.comment.as_deref()).unwrap_or_default();
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

/// An image config, cut to the parts that a page shows.
#[derive(Debug, Default)]
pub(crate) struct ShownConfig {
    pub(crate) image: ImageConfig,
    /// The number of entries that are left out.
    pub(crate) left_out: usize,
}

impl ShownConfig {
    pub(crate) fn parse(content: &[u8]) -> Self {
        let mut config = Self { image: ImageConfig::parse(content).unwrap_or_default(), left_out: 0 };
        config.bound();
        config
    }

    fn bound(&mut self) {
        let ImageConfig { created, author, platform, container, history } = &mut self.image;
        shorten(created);
        shorten(author);
        if let Some(Platform { architecture, os, variant }) = platform {
            shorten(variant);
            shorten_text(architecture);
            shorten_text(os);
        }
        self.left_out = cut(history, ROWS);
        for step in history {
            shorten(&mut step.created_by);
            shorten(&mut step.comment);
        }
        for text in [&mut container.user, &mut container.working_dir, &mut container.stop_signal] {
            shorten(text);
        }
        for list in [
            &mut container.env,
            &mut container.entrypoint,
            &mut container.cmd,
            &mut container.exposed_ports,
            &mut container.volumes,
        ] {
            self.left_out += cut(list, ROWS);
            list.iter_mut().for_each(shorten_text);
        }
        self.left_out += cut_pairs(&mut container.labels);
    }

    pub(crate) fn platform(&self) -> Option<String> {
        self.image.platform.as_ref().map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn step(text: &str) -> String {
        instruction(&HistoryEntry { created_by: Some(text.to_owned()), ..HistoryEntry::default() })
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
    fn large_documents_are_cut() {
        let many = (0..1_000).map(|n| (format!("key-{n:04}"), Value::String("x".repeat(9))));
        let mut annotations: serde_json::Map<String, Value> = many.collect();
        annotations.insert("a".to_owned(), "é".repeat(TEXT).into());
        let digest = format!("sha256:{}", "0".repeat(64));
        let layer = serde_json::json!({ "mediaType": "text/plain", "digest": digest, "size": 7 });
        let manifest = serde_json::json!({ "layers": vec![layer; 300], "annotations": annotations });
        let document = Document::parse(manifest.to_string().as_bytes());
        assert_eq!((document.layers.len(), document.annotations.len()), (ROWS, ROWS));
        assert_eq!((document.left_out, document.content_size()), (100 + 801, 2_100));
        assert!(document.annotations["a"].len() <= TEXT + "…".len());
        assert_eq!(shortened("a\u{202e}b\u{1b}[31m\n".to_owned()), "a\u{fffd}b\u{fffd}[31m\n");
        let large = serde_json::json!({ "annotations": { "a": "x".repeat(MAX_PARSED) } }).to_string();
        let document = Document::parse(large.as_bytes());
        assert!(document.is_too_large && document.annotations.is_empty());
        let config = serde_json::json!({ "history": vec![serde_json::json!({}); 500],
            "config": { "Env": vec!["A=b"; 500], "Labels": annotations } });
        let config = ShownConfig::parse(config.to_string().as_bytes());
        assert_eq!(config.left_out, 300 + 300 + 801);
    }
}
