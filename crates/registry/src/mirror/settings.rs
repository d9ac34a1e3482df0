//! The operator's settings of an upstream.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use accounts::Pattern;
use ipnet::IpNet;
use oci::{RepositoryName, TagOrDigest};
use upstream::Client;

/// The answer when an upstream does not answer, or has deleted a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenUnavailable {
    /// Serve the kept tag.
    #[default]
    Serve,
    /// Refuse pulls by tag.
    Refuse,
}

/// The treatment of pushes below the name of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PushPolicy {
    /// Refuse them.
    #[default]
    Refuse,
    /// Keep them here. A pushed tag hides the tag of the upstream.
    Overlay,
}

/// The callers for whom the registry fetches from an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FillPolicy {
    /// Every account that may pull.
    #[default]
    Accounts,
    /// Accounts with the right `fill`.
    Granted,
    /// Everyone who may pull, also without an account.
    Everyone,
}

/// The platform of an image: `linux/arm64/v8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The operating system.
    pub os: String,
    /// The CPU architecture.
    pub architecture: String,
    /// Its variant; every one if it is empty.
    pub variant: String,
}

impl FromStr for Platform {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match *parts {
            [os, architecture] => (os, architecture, ""),
            [os, architecture, variant] if !variant.is_empty() => (os, architecture, variant),
            _ => return Err("a platform is written os/architecture, such as linux/amd64"),
        };
        if os.is_empty() || architecture.is_empty() {
            return Err("a platform is written os/architecture, such as linux/amd64");
        }
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.to_owned() })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.variant) }
    }
}

/// The bounds of everything that is cached.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    /// The limit of the cached bytes of all upstreams together.
    pub max_bytes: Option<u64>,
    /// The part of a limit at which an eviction begins, in hundredths of a percent.
    pub high_mark: u16,
    /// The part of a limit to which it goes, in hundredths of a percent.
    pub low_mark: u16,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { max_bytes: None, high_mark: 9_500, low_mark: 8_500 }
    }
}

/// The settings of the cache.
#[derive(Default)]
pub struct MirrorSettings {
    /// The upstreams.
    pub upstreams: Vec<UpstreamSettings>,
    /// The bounds of all together.
    pub limits: CacheLimits,
}

/// An upstream registry.
pub struct UpstreamSettings {
    /// The first component of its repositories' names here, such as `docker.io`.
    pub name: RepositoryName,
    /// Further values of `ns` that mean it.
    pub aliases: Vec<String>,
    /// The host name of this registry that stands for the upstream.
    pub host: Option<String>,
    /// The client of its URLs.
    pub client: Client,
    /// The namespace of names with one component, such as `library`.
    pub namespace: Option<String>,
    /// Whether names without an upstream mean it.
    pub is_default: bool,
    /// How long a tag is served without asking.
    pub fresh: Duration,
    /// The policy while the upstream does not answer.
    pub when_down: WhenUnavailable,
    /// The policy for tags that the upstream has deleted.
    pub when_gone: WhenUnavailable,
    /// Patterns of the repositories that may be pulled; all if empty.
    pub allow: Vec<Pattern>,
    /// Patterns of the repositories that may not be pulled.
    pub deny: Vec<Pattern>,
    /// The platforms of an index that are fetched in the background.
    pub complete: Vec<Platform>,
    /// The limit of the cached bytes.
    pub max_bytes: Option<u64>,
    /// How long a new digest of a tag is not served.
    pub quarantine: Duration,
    /// The policy for pushes.
    pub push: PushPolicy,
    /// The callers for whom it fetches.
    pub fill: FillPolicy,
    /// Networks whose clients pull and fetch without an account.
    pub open_to: Vec<IpNet>,
    /// The limit for all downloads from it together, in bytes per second.
    pub bandwidth: Option<u64>,
    /// Patterns of repositories that are never evicted.
    pub keep: Vec<Pattern>,
    /// Images that are fetched on a schedule.
    pub prefetch: Vec<(RepositoryName, TagOrDigest)>,
    /// The period of the schedule.
    pub prefetch_interval: Duration,
    /// Whether a range far beyond the received bytes is fetched by a request of its own.
    pub far_ranges: bool,
    /// The client of its search, if searches are passed on.
    pub search: Option<Client>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platform_has_two_or_three_parts() {
        for text in ["linux/amd64", "linux/arm64/v8"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in ["", "linux", "linux/", "/amd64", "linux/arm64/", "a/b/c/d"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
