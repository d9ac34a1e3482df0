//! Links of distribution in a bucket: copied to files once, when a bucket is adopted.
//!
//! distribution keeps the links of its repositories beside the blobs. Here they are files of the data
//! directory, from which the metadata are made. So an adoption copies each link with its time, and goes on as
//! that of a directory does.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::bucket::Bucket;
use super::keys::Keys;
use crate::StoreError;
use crate::blocking::blocking;
use crate::object_settings::ObjectSettings;

/// Concurrent requests.
const CONCURRENCY: usize = 32;
/// The maximum size of a link in bytes.
const MAX_LINK: u64 = 1024;
/// The skipped keys that the log names.
const LOGGED: u64 = 100;

/// Copies the links of distribution in a bucket below `repositories`. Returns their number: 0 for a bucket
/// that belongs to a database.
///
/// # Errors
/// [`StoreError::ObjectStore`], [`StoreError::Io`].
pub(in crate::blobs) async fn import(
    settings: &ObjectSettings,
    repositories: &Path,
) -> Result<u64, StoreError> {
    let bucket = Bucket::open(settings)?;
    let keys = Keys::new(bucket.prefix());
    if bucket.get(&keys.identity()).await?.is_some() {
        return Ok(0);
    }
    let prefix = keys.repositories();
    let mut skipped = 0;
    let links = bucket.list(prefix.clone()).try_filter_map(|(key, size)| {
        let path = key.strip_prefix(&prefix).map(PathBuf::from);
        let found = match path {
            Some(path) if is_needed(&path) && size <= MAX_LINK => Some((key, path)),
            Some(path) if is_left_out(&path) => None,
            _ => {
                skipped += 1;
                if skipped <= LOGGED {
                    tracing::warn!(key, "skipped: no link of a registry");
                }
                None
            }
        };
        std::future::ready(Ok(found))
    });
    links
        .map_ok(|(key, path)| {
            let (bucket, path) = (&bucket, repositories.join(path));
            async move {
                let Some((content, modified)) = bucket.get_dated(&key).await? else { return Ok(0) };
                blocking(move || write(&path, &content, modified)).await?;
                Ok(1)
            }
        })
        .try_buffer_unordered(CONCURRENCY)
        .try_fold(0, |sum, link| std::future::ready(Ok(sum + link)))
        .await
}

/// Whether an adoption reads it: a link to a layer or a manifest, or the present one of a tag.
fn is_needed(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let is_plain = text.split('/').all(|part| !matches!(part, "" | "." | ".."));
    is_plain && text.ends_with("/link") && !is_left_out(path)
}

/// Unfinished uploads, and the former targets of tags.
fn is_left_out(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains("/_uploads/") || (text.contains("/_manifests/tags/") && text.contains("/index/"))
}

fn write(path: &Path, content: &Bytes, modified: i64) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("write", path, error);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(modified).unwrap_or(0));
    let mut file = File::create(path).map_err(failed)?;
    file.write_all(content).and_then(|()| file.set_modified(modified)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_told_from_uploads_and_strangers() {
        let hex = "6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b";
        for path in [
            format!("team/app/_layers/sha256/{hex}/link"),
            format!("team/app/_manifests/revisions/sha256/{hex}/link"),
            "app/_manifests/tags/1.0/current/link".to_owned(),
        ] {
            assert!(is_needed(Path::new(&path)), "{path}");
        }
        let index = format!("app/_manifests/tags/1.0/index/sha256/{hex}/link");
        for path in ["app/_uploads/1/data", "app/_uploads/1/startedat", &index] {
            assert!(!is_needed(Path::new(path)) && is_left_out(Path::new(path)), "{path}");
        }
        for path in ["app/../../link", "app//link", "app/_layers/readme"] {
            assert!(!is_needed(Path::new(path)), "{path}");
        }
    }
}
