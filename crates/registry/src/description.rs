//! The description of an image, shown in search results.

use oci::media_type::{DOCKER_CONFIG, OCI_CONFIG};
use oci::{Digest, ImageConfig, Manifest};
use store::{BlobStore, StoreError};

/// image-spec v1.1, annotations.md. Docker images have it as a label.
const KEY: &str = "org.opencontainers.image.description";
/// The maximum length in bytes. Docker shows 45 characters.
const MAX_LEN: usize = 1024;
/// The maximum size of a config that is read for its label.
const MAX_CONFIG: u64 = 1024 * 1024;

/// Returns the annotation of the manifest, or else the label in its config. A missing, unreadable or
/// malformed config has none.
pub(crate) async fn of(manifest: &Manifest, blobs: &dyn BlobStore) -> Result<Option<String>, StoreError> {
    if let Some(annotation) = annotation(manifest) {
        return Ok(Some(annotation));
    }
    let Some((digest, _)) = config(manifest) else { return Ok(None) };
    match blobs.get(&digest).await {
        Err(StoreError::Io { .. }) => Ok(None),
        content => Ok(content?.and_then(|content| label(&content))),
    }
}

/// Returns the annotation of the manifest.
#[must_use]
pub fn annotation(manifest: &Manifest) -> Option<String> {
    manifest.annotation(KEY).map(shorten)
}

/// Returns digest and size of the config, if it may have a label and is not too large.
#[must_use]
pub fn config(manifest: &Manifest) -> Option<(Digest, u64)> {
    let config = manifest.config.as_ref()?;
    let is_readable =
        [OCI_CONFIG, DOCKER_CONFIG].contains(&config.media_type.as_str()) && config.size <= MAX_CONFIG;
    is_readable.then_some((config.digest, config.size))
}

/// Returns the label in an image config.
#[must_use]
pub fn label(config: &[u8]) -> Option<String> {
    ImageConfig::parse(config)?.container.labels.get(KEY).map(|label| shorten(label))
}

/// Makes one line of bounded length, without control characters, which would reach terminals.
fn shorten(text: &str) -> String {
    let mut line = text.split(|c: char| c.is_control() || c.is_whitespace()).fold(
        String::with_capacity(text.len().min(MAX_LEN)),
        |mut line, word| {
            if !word.is_empty() && line.len() <= MAX_LEN {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            line
        },
    );
    if line.len() > MAX_LEN {
        line.truncate(line.floor_char_boundary(MAX_LEN));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_label_becomes_one_line() {
        let config = format!(
            r#"{{"architecture":"amd64","config":{{"Labels":{{"{KEY}":" Two\n lines\u001b[31m "}}}}}}"#
        );
        assert_eq!(label(config.as_bytes()).as_deref(), Some("Two lines [31m"));
        assert_eq!(label(b"{}"), None);
        assert_eq!(label(br#"{"config":{"Labels":null}}"#), None);
        assert_eq!(label(b"not json"), None);
    }

    #[test]
    fn long_description_is_cut_between_characters() {
        let long = "é".repeat(MAX_LEN);
        let short = shorten(&long);
        assert!(short.len() <= MAX_LEN && long.starts_with(&short));
    }
}
