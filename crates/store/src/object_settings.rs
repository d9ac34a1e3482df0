//! Settings of a blob store in a bucket.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::blocking::blocking;
use crate::{StoreError, regular_file};

/// The bucket of a blob store, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSettings {
    /// `s3://bucket/prefix` or `az://container/prefix`.
    pub url: String,
    /// The URL of a server that is not the provider's.
    pub endpoint: Option<String>,
    /// The region. `AWS_REGION`, else `us-east-1` if there is none.
    pub region: Option<String>,
    /// Whether the bucket is in the path of a request, and not in its host name.
    pub path_style: bool,
    /// The access key, or the account of Azure with its key. Without one, the usual sources of the provider's
    /// tools are asked.
    pub key: Option<SharedKey>,
    /// Whether the links of the `repositories/` view are written to the bucket as well.
    pub view: bool,
    /// The size of the copies of blobs on the local disk, in bytes. 0 for none.
    pub cache: u64,
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

/// An access key that can be replaced while requests are under way. Clones share it.
#[derive(Clone, Debug)]
pub struct SharedKey(Arc<RwLock<KeyOfFile>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyOfFile {
    key: AccessKey,
    /// The file of the secret, which is read again if the store refuses the key.
    file: Option<PathBuf>,
}

impl PartialEq for SharedKey {
    fn eq(&self, other: &Self) -> bool {
        self.whole() == other.whole()
    }
}

impl Eq for SharedKey {}

impl From<AccessKey> for SharedKey {
    fn from(key: AccessKey) -> Self {
        Self(Arc::new(RwLock::new(KeyOfFile { key, file: None })))
    }
}

impl SharedKey {
    /// A key whose secret was read from this file.
    #[must_use]
    pub fn of_file(key: AccessKey, file: &Path) -> Self {
        Self(Arc::new(RwLock::new(KeyOfFile { key, file: Some(file.to_owned()) })))
    }

    fn whole(&self) -> KeyOfFile {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, whole: KeyOfFile) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = whole;
    }

    /// The present key.
    #[must_use]
    pub fn get(&self) -> AccessKey {
        self.whole().key
    }

    /// Puts the key of `other` into force.
    pub fn replace(&self, other: &Self) {
        self.set(other.whole());
    }

    /// Reads the file of the secret again. Returns the present key if it is not `used`, which the store has
    /// refused.
    pub(crate) async fn changed_since(&self, used: &AccessKey) -> Option<AccessKey> {
        let now = self.whole();
        if now.key != *used {
            return Some(now.key);
        }
        let file = now.file.clone()?;
        let read = blocking(move || match regular_file::read(&file) {
            Ok(content) => Ok(content),
            Err(error) => Err(StoreError::io("read blobs.secret_key_file", file, error)),
        });
        let content = match read.await {
            Ok(content) => content?,
            Err(error) => {
                tracing::warn!(%error, "cannot read the access key of the bucket again");
                return None;
            }
        };
        let secret = String::from_utf8(content).ok()?.trim().to_owned();
        if secret.is_empty() || secret == used.secret {
            return None;
        }
        let key = AccessKey { secret, ..now.key };
        self.set(KeyOfFile { key: key.clone(), file: now.file });
        Some(key)
    }
}

/// The API of an object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    /// `s3://`, of Amazon and of other servers.
    S3,
    /// `az://`.
    Azure,
}

impl Provider {
    /// The scheme of its URLs.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Azure => "az",
        }
    }

    fn of_scheme(scheme: &str) -> Option<Self> {
        [Self::S3, Self::Azure].into_iter().find(|provider| provider.scheme() == scheme)
    }
}

/// A bucket, and the prefix of all keys in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) provider: Provider,
    /// The bucket, or the container of Azure.
    pub(crate) bucket: String,
    /// Empty, or with a slash at its end.
    pub(crate) prefix: String,
}

impl ObjectSettings {
    /// The settings of a bucket of Amazon's S3, with the key of the environment.
    #[must_use]
    pub fn of(url: String) -> Self {
        Self { url, endpoint: None, region: None, path_style: true, key: None, view: false, cache: 0 }
    }

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
        let (provider, rest) = url
            .split_once("://")
            .and_then(|(scheme, rest)| Some((Provider::of_scheme(scheme)?, rest)))
            .ok_or_else(|| refused("it must be s3://BUCKET/PREFIX or az://CONTAINER/PREFIX"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |text: &str, more: &str| {
            text.chars().all(|char| char.is_ascii_alphanumeric() || more.contains(char))
        };
        if bucket.is_empty() || !is_plain(bucket, ".-_") {
            return Err(refused("the name of a bucket has letters, digits, dots and hyphens"));
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.is_empty() {
            return Ok(Self { provider, bucket: bucket.to_owned(), prefix: String::new() });
        }
        if !is_plain(prefix, ".-_/") || prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(refused("the prefix has letters, digits, dots, hyphens and single slashes"));
        }
        Ok(Self { provider, bucket: bucket.to_owned(), prefix: format!("{prefix}/") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_has_a_bucket_and_perhaps_a_prefix() {
        let place = Place::parse;
        let expected = |bucket: &str, prefix: &str| Place {
            provider: Provider::S3,
            bucket: bucket.into(),
            prefix: prefix.into(),
        };
        assert_eq!(place("s3://images").unwrap(), expected("images", ""));
        assert_eq!(place("s3://images/").unwrap(), expected("images", ""));
        assert_eq!(place("s3://my.images/a/b-1/").unwrap(), expected("my.images", "a/b-1/"));
        assert_eq!(
            place("az://images/a").unwrap(),
            Place { provider: Provider::Azure, ..expected("images", "a/") }
        );
        for url in ["", "images", "s3://", "s3:///a", "s3://a/../b", "s3://a/b//c", "s3://a/b%20", "gs://a"] {
            place(url).unwrap_err();
        }
    }
}
