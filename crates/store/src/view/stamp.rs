//! Stamps detect changes of other programs below `repositories/` without reading links.
//!
//! A stamp holds the change times (ctime) of the directories in which links are created and removed. No
//! program can set a ctime, so a restored or copied directory looks changed.
//!
//! A stamp does not show a link that was overwritten in place. `registry:2` does that when a tag moves to a
//! known manifest; a full scan finds such links.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use super::links::{LAYERS, MANIFESTS, is_absence};
use crate::metadata::{TagsDirectory, ViewStamp};

/// The directories of a repository in which links are created and removed.
const PARTS: [&str; 5] =
    ["_layers/sha256", "_layers/sha512", "_manifests/revisions/sha256", "_manifests/revisions/sha512", TAGS];

/// The tags of a repository.
const TAGS: &str = "_manifests/tags";

impl ViewStamp {
    /// Returns the stamp of a directory: one stat, or eight for a repository.
    ///
    /// # Errors
    /// If a stat fails.
    pub(crate) fn of(directory: &Path) -> io::Result<Self> {
        let mut stamp = changed(directory)?.to_le_bytes().to_vec();
        let is_repository = [LAYERS, MANIFESTS].iter().any(|part| directory.join(part).is_dir());
        if is_repository {
            stamp.extend(parts(directory)?);
        }
        Ok(Self(stamp))
    }

    /// Returns whether a directory is unchanged: one stat, or six for a repository.
    pub(crate) fn is_still_of(&self, directory: &Path) -> bool {
        let Some((own, inner)) = self.0.split_first_chunk::<8>() else { return false };
        changed(directory).is_ok_and(|now| now.to_le_bytes() == *own)
            && (inner.is_empty() || parts(directory).is_ok_and(|now| now == inner))
    }
}

impl TagsDirectory {
    /// Returns the identity of the tags directory of a repository's directory, if it exists. File systems
    /// reuse inode numbers at once, so the time of birth belongs to it. It is zero where the file system has
    /// none.
    pub(crate) fn of(repository: &Path) -> Option<Self> {
        let about = fs::metadata(repository.join(TAGS)).ok().filter(fs::Metadata::is_dir)?;
        let born = about.created().ok().and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
        let mut identity = about.ino().to_le_bytes().to_vec();
        identity.extend(born.unwrap_or_default().as_nanos().to_le_bytes());
        Some(Self(identity))
    }
}

fn parts(directory: &Path) -> io::Result<Vec<u8>> {
    let mut times = Vec::with_capacity(PARTS.len() * 8);
    for part in PARTS {
        let time = match changed(&directory.join(part)) {
            Err(error) if is_absence(&error) => 0,
            time => time?,
        };
        times.extend(time.to_le_bytes());
    }
    Ok(times)
}

/// Returns the ctime in nanoseconds since 1970.
fn changed(path: &Path) -> io::Result<i64> {
    let about = fs::metadata(path)?;
    Ok(about.ctime().saturating_mul(1_000_000_000).saturating_add(about.ctime_nsec()))
}
