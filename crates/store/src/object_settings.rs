//! Settings of a blob store in a bucket.

use crate::StoreError;

/// The bucket of a blob store, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSettings {
    /// `s3://bucket/prefix`.
    pub url: String,
    /// The URL of a server that is not Amazon's.
    pub endpoint: Option<String>,
    /// The region. `AWS_REGION`, else `us-east-1` if there is none.
    pub region: Option<String>,
    /// Whether the bucket is in the path of a request, and not in its host name.
    pub path_style: bool,
    /// The access key. Without one, the usual sources of Amazon's tools are asked.
    pub key: Option<AccessKey>,
}

/// An access key.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The id.
    pub id: String,
    /// The secret.
    pub secret: String,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A bucket, and the prefix of all keys in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    /// Empty, or with a slash at its end.
    pub(crate) prefix: String,
}

impl ObjectSettings {
    pub(crate) fn place(&self) -> Result<Place, StoreError> {
        let refused = |reason| StoreError::Directory(format!("blobs.url {:?}: {reason}", self.url));
        Place::parse(&self.url).map_err(refused)
    }
}

/// Checks the URL of a bucket.
///
/// # Errors
/// The reason why it cannot be used.
pub fn check_bucket_url(url: &str) -> Result<(), String> {
    Place::parse(url).map(drop)
}

impl Place {
    fn parse(url: &str) -> Result<Self, String> {
        let refused = |reason: &str| reason.to_owned();
        let rest = url
            .strip_prefix("s3://")
            .ok_or_else(|| refused("it must be s3://BUCKET or s3://BUCKET/PREFIX"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |text: &str, more: &str| {
            text.chars().all(|char| char.is_ascii_alphanumeric() || more.contains(char))
        };
        if bucket.is_empty() || !is_plain(bucket, ".-_") {
            return Err(refused("the name of a bucket has letters, digits, dots and hyphens"));
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.is_empty() {
            return Ok(Self { bucket: bucket.to_owned(), prefix: String::new() });
        }
        if !is_plain(prefix, ".-_/") || prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(refused("the prefix has letters, digits, dots, hyphens and single slashes"));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: format!("{prefix}/") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_has_a_bucket_and_perhaps_a_prefix() {
        let place = Place::parse;
        let expected = |bucket: &str, prefix: &str| Place { bucket: bucket.into(), prefix: prefix.into() };
        assert_eq!(place("s3://images").unwrap(), expected("images", ""));
        assert_eq!(place("s3://images/").unwrap(), expected("images", ""));
        assert_eq!(place("s3://my.images/a/b-1/").unwrap(), expected("my.images", "a/b-1/"));
        for url in ["", "images", "s3://", "s3:///a", "s3://a/../b", "s3://a/b//c", "s3://a/b%20", "gs://a"] {
            place(url).unwrap_err();
        }
    }
}
