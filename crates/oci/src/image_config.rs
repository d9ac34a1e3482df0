//! Image configs (image-spec v1.1, config.md): the fields that are shown to people.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::descriptor::Annotations;

/// The shown fields of an image config. Fields with another type than the specification says count as absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageConfig {
    /// The time of creation, as the config has it.
    pub created: Option<String>,
    /// The platform. Images that are made from nothing leave it empty.
    pub platform: Option<Platform>,
    /// The labels of the container config.
    pub labels: Annotations,
}

/// A platform of an image config or of an entry of an index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// The CPU architecture, such as `amd64`.
    pub architecture: String,
    /// The operating system, such as `linux`.
    pub os: String,
    /// The variant of the architecture, such as `v8`.
    #[serde(default)]
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(formatter, "/{variant}"))
    }
}

/// Whether a time of creation is the zero time of Go, in the year 1: clients that know no time write it. The
/// start of 1970 is a time: reproducible builds choose it.
#[must_use]
pub fn is_zero_time(created: &str) -> bool {
    created.starts_with("0001-01-01T00:00:00")
}

impl ImageConfig {
    /// Parses a config; `None` if it is no JSON object.
    #[must_use]
    pub fn parse(content: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(default, deserialize_with = "lenient")]
            created: Option<String>,
            #[serde(default, deserialize_with = "lenient")]
            architecture: Option<String>,
            #[serde(default, deserialize_with = "lenient")]
            os: Option<String>,
            #[serde(default, deserialize_with = "lenient")]
            variant: Option<String>,
            #[serde(default, deserialize_with = "lenient")]
            config: Option<ContainerConfig>,
        }
        #[derive(Deserialize)]
        struct ContainerConfig {
            #[serde(default, rename = "Labels")]
            labels: Option<Annotations>,
        }
        let Fields { created, architecture, os, variant, config } = serde_json::from_slice(content).ok()?;
        let platform = match (architecture, os) {
            (Some(architecture), Some(os)) if !os.is_empty() => Some(Platform { architecture, os, variant }),
            _ => None,
        };
        Some(Self { created, platform, labels: config.and_then(|config| config.labels).unwrap_or_default() })
    }
}

/// Reads a value of another type as `None`.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_has_creation_platform_and_labels() {
        let json = br#"{"created":"2026-01-01T00:00:00Z","architecture":"arm64","os":"linux","variant":"v8",
            "config":{"Labels":{"a":"b"}},"rootfs":{}}"#;
        let config = ImageConfig::parse(json).unwrap();
        assert_eq!(config.created.as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(config.platform.unwrap().to_string(), "linux/arm64/v8");
        assert_eq!(config.labels.get("a").map(|label| &**label), Some("b"));
    }

    #[test]
    fn config_with_other_types_lacks_those_fields() {
        let config = ImageConfig::parse(br#"{"created":1,"os":"linux","config":{"Labels":null}}"#).unwrap();
        assert_eq!(config, ImageConfig::default());
        assert_eq!(ImageConfig::parse(br#"{"config":[]}"#), Some(ImageConfig::default()));
        assert_eq!(ImageConfig::parse(b"not json"), None);
    }
}
