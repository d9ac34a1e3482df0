//! Image configs (image-spec v1.1, config.md): the fields that are shown to people.

use std::fmt;

use serde::Deserialize;

use crate::descriptor::Annotations;
use crate::lenient;

/// The shown fields of an image config. Fields with another type than the specification says count as absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageConfig {
    /// The time of creation, as the config has it.
    pub created: Option<String>,
    /// The person or program that made the image.
    pub author: Option<String>,
    /// The platform. Images that are made from nothing leave it empty.
    pub platform: Option<Platform>,
    /// The settings of containers of the image.
    pub container: ContainerConfig,
    /// The steps of the build, the first one first.
    pub history: Vec<HistoryEntry>,
}

/// The settings of containers of an image.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// User or id, perhaps with a group.
    #[serde(deserialize_with = "lenient::value")]
    pub user: Option<String>,
    /// Ports with their protocol, such as `80/tcp`.
    #[serde(deserialize_with = "lenient::keys")]
    pub exposed_ports: Vec<String>,
    /// Variables as `NAME=value`.
    #[serde(deserialize_with = "lenient::list")]
    pub env: Vec<String>,
    /// The words of the entry point.
    #[serde(deserialize_with = "lenient::list")]
    pub entrypoint: Vec<String>,
    /// The words of the command, or the arguments of the entry point.
    #[serde(deserialize_with = "lenient::list")]
    pub cmd: Vec<String>,
    /// The paths of volumes.
    #[serde(deserialize_with = "lenient::keys")]
    pub volumes: Vec<String>,
    /// The working directory of the entry point.
    #[serde(deserialize_with = "lenient::value")]
    pub working_dir: Option<String>,
    /// Labels, by key.
    #[serde(deserialize_with = "lenient::pairs")]
    pub labels: Annotations,
    /// The signal that stops a container, such as `SIGTERM`.
    #[serde(deserialize_with = "lenient::value")]
    pub stop_signal: Option<String>,
}

/// A step of the build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HistoryEntry {
    /// The command, as the builder writes it.
    #[serde(deserialize_with = "lenient::value")]
    pub created_by: Option<String>,
    /// A remark of the builder.
    #[serde(deserialize_with = "lenient::value")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(deserialize_with = "lenient::value")]
    pub empty_layer: Option<bool>,
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
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Fields {
            #[serde(deserialize_with = "lenient::value")]
            created: Option<String>,
            #[serde(deserialize_with = "lenient::value")]
            author: Option<String>,
            #[serde(deserialize_with = "lenient::value")]
            architecture: Option<String>,
            #[serde(deserialize_with = "lenient::value")]
            os: Option<String>,
            #[serde(deserialize_with = "lenient::value")]
            variant: Option<String>,
            #[serde(deserialize_with = "lenient::value")]
            config: Option<ContainerConfig>,
            #[serde(deserialize_with = "lenient::list")]
            history: Vec<HistoryEntry>,
        }
        let Fields { created, author, architecture, os, variant, config, history } =
            serde_json::from_slice(content).ok()?;
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let platform = match (filled(architecture), filled(os)) {
            (Some(architecture), Some(os)) => Some(Platform { architecture, os, variant }),
            _ => None,
        };
        Some(Self { created, author, platform, container: config.unwrap_or_default(), history })
    }
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
        assert_eq!(config.container.labels.get("a").map(|label| &**label), Some("b"));
    }

    #[test]
    fn config_with_other_types_lacks_those_fields() {
        let config = ImageConfig::parse(br#"{"created":1,"os":"linux","config":{"Labels":null}}"#).unwrap();
        assert_eq!(config, ImageConfig::default());
        assert_eq!(ImageConfig::parse(br#"{"config":[]}"#), Some(ImageConfig::default()));
        assert_eq!(ImageConfig::parse(b"not json"), None);
    }

    #[test]
    fn config_lists_skip_entries_of_other_types() {
        let json = br#"{"history":[1,{"created_by":"x","empty_layer":true}],"config":{"Env":["A=b",3],
            "Labels":{"a":"b","c":1},"ExposedPorts":{"80/tcp":{}},"Volumes":[],"Cmd":null,"StopSignal":9}}"#;
        let config = ImageConfig::parse(json).unwrap();
        let step = HistoryEntry { created_by: Some("x".to_owned()), comment: None, empty_layer: Some(true) };
        assert_eq!(config.history, [step]);
        let expected = ContainerConfig {
            env: vec!["A=b".to_owned()],
            labels: [("a".to_owned(), "b".to_owned())].into(),
            exposed_ports: vec!["80/tcp".to_owned()],
            ..ContainerConfig::default()
        };
        assert_eq!(config.container, expected);
    }
}
