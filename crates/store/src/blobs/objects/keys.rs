//! The keys of a bucket, in distribution's layout: `<prefix>docker/registry/v2/blobs/sha256/ab/<hex>/data`.

use std::ops::Range;

use oci::{Algorithm, Digest};
use uuid::Uuid;

/// The keys below a prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    /// `prefix` is empty, or has a slash at its end.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn blob(&self, digest: &Digest) -> String {
        let hex = digest.hex();
        format!("{}{}/{}/{hex}/data", self.blobs(), digest.algorithm(), &hex[..2])
    }

    /// The object with the id of the database that the bucket belongs to. distribution ignores it.
    pub(super) fn identity(&self) -> String {
        format!("{}.wharfinger", self.content())
    }

    /// The object with the lease of the server that uses the bucket.
    pub(super) fn lease(&self) -> String {
        format!("{}wharfinger/lease", self.prefix)
    }

    /// The prefix of all that distribution keeps.
    pub(super) fn content(&self) -> String {
        format!("{}docker/registry/v2/", self.prefix)
    }

    /// The prefix of the links of the `repositories/` view.
    pub(super) fn repositories(&self) -> String {
        format!("{}repositories/", self.content())
    }

    /// The object with the id of the database whose links are complete.
    pub(super) fn complete_links(&self) -> String {
        format!("{}wharfinger/links", self.prefix)
    }

    pub(super) fn blobs(&self) -> String {
        format!("{}docker/registry/v2/blobs/", self.prefix)
    }

    /// Returns the digest of a blob's key; `None` for other keys.
    pub(super) fn digest(&self, key: &str) -> Option<Digest> {
        let (algorithm, rest) = key.strip_prefix(&self.blobs())?.split_once('/')?;
        let algorithm: Algorithm = algorithm.parse().ok()?;
        let hex = rest.strip_suffix("/data")?.split_once('/')?.1;
        let digest: Digest = format!("{algorithm}:{hex}").parse().ok()?;
        (self.blob(&digest) == key).then_some(digest)
    }

    /// The prefix of uploads whose digest is not known yet.
    pub(super) fn uploads(&self) -> String {
        format!("{}wharfinger/uploads/", self.prefix)
    }

    pub(super) fn upload(&self, id: Uuid) -> String {
        format!("{}{}", self.uploads(), id.as_hyphenated())
    }

    /// Returns the id of an upload's key; `None` for other keys.
    pub(super) fn upload_id(&self, key: &str) -> Option<Uuid> {
        key.strip_prefix(&self.uploads())?.parse().ok()
    }

    /// The prefix of saved bytes that are in no part.
    pub(super) fn tails(&self) -> String {
        format!("{}wharfinger/tails/", self.prefix)
    }

    /// The prefix of those of one upload.
    pub(super) fn tail(&self, id: Uuid) -> String {
        format!("{}{}/", self.tails(), id.as_hyphenated())
    }

    /// The object with the bytes of a range.
    pub(super) fn piece(&self, id: Uuid, bytes: Range<u64>) -> String {
        format!("{}{}-{}", self.tail(id), bytes.start, bytes.end)
    }

    /// Returns the id of the upload of a piece; `None` for other keys.
    pub(super) fn tail_id(&self, key: &str) -> Option<Uuid> {
        key.strip_prefix(&self.tails())?.split_once('/')?.0.parse().ok()
    }

    /// The prefix of snapshots of the metadata.
    pub(super) fn snapshots(&self) -> String {
        format!("{}wharfinger/metadata/", self.prefix)
    }

    /// The object that names the newest snapshot of the metadata.
    pub(super) fn newest_snapshot(&self) -> String {
        format!("{}newest", self.snapshots())
    }

    /// The prefix of the changes after a snapshot.
    pub(super) fn log(&self, session: &str) -> String {
        format!("{}log/{session}/", self.snapshots())
    }

    /// The prefix of damaged content.
    pub(super) fn quarantine(&self) -> String {
        format!("{}wharfinger/quarantine/", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_key_is_distributions() {
        let keys = Keys::new("a/");
        let digest = Algorithm::Sha256.digest(b"content");
        let key = keys.blob(&digest);
        let hex = digest.hex();
        assert_eq!(key, format!("a/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
        assert_eq!(keys.digest(&key), Some(digest));
        for other in ["", "a/docker/registry/v2/blobs/sha256/00/data", &key[1..], &key[..key.len() - 1]] {
            assert_eq!(keys.digest(other), None);
        }
        let id = Uuid::new_v4();
        assert_eq!(keys.upload_id(&keys.upload(id)), Some(id));
        let piece = keys.piece(id, 0..7);
        assert_eq!((keys.tail_id(&piece), keys.tail_id(&keys.upload(id))), (Some(id), None));
    }
}
