//! Tags as semantic versions, read leniently: `v1.2` is 1.2.0.

use oci::Tag;
use semver::{BuildMetadata, Prerelease, Version};

/// The version in a tag: one to three numbers, with or without `v` before them and a prerelease behind them.
pub(crate) fn of(tag: &Tag) -> Option<Version> {
    let text = tag.as_str();
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let (numbers, prerelease) = match text.split_once('-') {
        Some((numbers, prerelease)) => (numbers, Prerelease::new(prerelease).ok()?),
        None => (text, Prerelease::EMPTY),
    };
    let mut parts = numbers.split('.').map(|part| {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { part.parse::<u64>().ok() } else { None }
    });
    let major = parts.next()??;
    let minor = parts.next().unwrap_or(Some(0))?;
    let patch = parts.next().unwrap_or(Some(0))?;
    parts.next().is_none().then_some(Version {
        major,
        minor,
        patch,
        pre: prerelease,
        build: BuildMetadata::EMPTY,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_is_read_as_a_version() {
        let read = |tag: &str| of(&tag.parse().unwrap()).map(|version| version.to_string());
        for (tag, version) in [
            ("1.2.3", Some("1.2.3")),
            ("v1", Some("1.0.0")),
            ("1.2", Some("1.2.0")),
            ("1.2.3-rc.1", Some("1.2.3-rc.1")),
            ("14.04", Some("14.4.0")),
            ("latest", None),
            ("1.2.3.4", None),
            ("1.x", None),
            ("v", None),
        ] {
            assert_eq!(read(tag).as_deref(), version, "{tag}");
        }
    }
}
