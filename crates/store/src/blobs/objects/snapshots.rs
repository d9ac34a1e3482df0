//! Snapshots of the metadata in the bucket of the blobs, and the changes after them. One object names the
//! newest snapshot.

use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use oci::{Algorithm, Digest, Digester};
use serde::{Deserialize, Serialize};

use super::bucket::Bucket;
use super::keys::Keys;
use crate::StoreError;
use crate::blobs::Blob;
use crate::blocking::blocking;
use crate::object_settings::ObjectSettings;

/// The size of a part of a large snapshot in bytes.
const PART: usize = 16 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// The name of its object.
    pub(crate) name: String,
    /// The id of the database.
    pub(crate) database: String,
    /// The id of the data directory that made it.
    pub(crate) directory: String,
    /// The digest of the object.
    pub(crate) digest: Digest,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// In seconds since 1970.
    pub(crate) made_at: u64,
    /// The changes that belong to it.
    #[serde(default)]
    pub(crate) log: Option<LogRange>,
}

/// The objects with the changes during and after a snapshot, which are numbered without a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogRange {
    /// The directory of the objects.
    pub(crate) session: String,
    /// The first one to apply.
    pub(crate) first: u64,
    /// The number after the last needed object. The snapshot already has a part of these changes.
    pub(crate) needed: u64,
}

pub(crate) struct Snapshots {
    bucket: std::sync::Arc<Bucket>,
    keys: Keys,
}

impl Snapshots {
    /// Prepares the client. Sends no request.
    pub(crate) fn open(settings: &ObjectSettings) -> Result<Self, StoreError> {
        let bucket = std::sync::Arc::new(Bucket::open(settings)?);
        let keys = Keys::new(bucket.prefix());
        Ok(Self { bucket, keys })
    }

    /// The place of the snapshots, for messages.
    pub(crate) fn place(&self) -> String {
        self.bucket.name(&self.keys.snapshots())
    }

    /// Returns the newest snapshot.
    pub(crate) async fn newest(&self) -> Result<Option<Snapshot>, StoreError> {
        let key = self.keys.newest_snapshot();
        let Some(json) = self.bucket.get(&key).await? else { return Ok(None) };
        let damaged = |error| StoreError::Damaged(format!("{}: {error}", self.bucket.name(&key)));
        serde_json::from_slice(&json).map(Some).map_err(damaged)
    }

    /// Stores the file as the object `name`.
    pub(crate) async fn put(&self, name: &str, file: PathBuf) -> Result<(), StoreError> {
        let key = format!("{}{name}", self.keys.snapshots());
        let mut file = Some(std::fs::File::open(&file).map_err(|error| StoreError::io("read", file, error))?);
        let mut parts = Vec::new();
        let mut upload = None;
        loop {
            let Some(mut open) = file.take() else { break };
            let (part, rest) = blocking(move || {
                let mut part = Vec::with_capacity(PART);
                let read = open.by_ref().take(PART as u64).read_to_end(&mut part);
                read.map_err(|error| StoreError::io("read", "a snapshot of the metadata", error))?;
                let is_last = part.len() < PART;
                Ok((Bytes::from(part), (!is_last).then_some(open)))
            })
            .await?;
            if rest.is_none() && upload.is_none() {
                return self.bucket.put(&key, vec![part]).await;
            }
            let id = match &upload {
                Some(id) => id,
                None => upload.insert(self.bucket.begin(&key).await?),
            };
            if !part.is_empty() {
                parts.push(self.bucket.put_part(&key, id, parts.len(), part).await?);
            }
            file = rest;
        }
        let id = upload.unwrap_or_default();
        match self.bucket.complete(&key, &id, parts).await? {
            true => Ok(()),
            false => Err(StoreError::ObjectStore {
                action: "write",
                what: self.bucket.name(&key),
                reason: "its multipart upload is gone".to_owned(),
            }),
        }
    }

    /// Makes a snapshot the newest one.
    pub(crate) async fn publish(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let json = serde_json::to_vec(snapshot).map_err(|error| StoreError::Damaged(error.to_string()))?;
        self.bucket.put(&self.keys.newest_snapshot(), vec![json.into()]).await
    }

    /// Stores the changes with this number.
    pub(crate) async fn put_log(&self, session: &str, number: u64, content: Bytes) -> Result<(), StoreError> {
        self.bucket.put(&self.log_key(session, number), vec![content]).await
    }

    /// Returns the changes with this number.
    pub(crate) async fn get_log(&self, session: &str, number: u64) -> Result<Option<Bytes>, StoreError> {
        self.bucket.get(&self.log_key(session, number)).await
    }

    /// The object with these changes, for messages.
    pub(crate) fn log_name(&self, session: &str, number: u64) -> String {
        self.bucket.name(&self.log_key(session, number))
    }

    fn log_key(&self, session: &str, number: u64) -> String {
        format!("{}{number:016x}.gz", self.keys.log(session))
    }

    /// Returns the number after the last changes of a session that are there.
    pub(crate) async fn log_end(&self, session: &str) -> Result<u64, StoreError> {
        let prefix = self.keys.log(session);
        let mut keys = self.bucket.list(prefix.clone());
        let mut end = 0;
        while let Some((key, _)) = keys.try_next().await? {
            end = end.max(number_of(&key, &prefix).map_or(0, |number| number + 1));
        }
        Ok(end)
    }

    /// Removes all snapshots.
    pub(crate) async fn remove(&self) -> Result<(), StoreError> {
        self.bucket.delete(&self.keys.newest_snapshot()).await?;
        self.remove_except(None).await
    }

    /// Removes all snapshots but one, and the changes that it does not need.
    pub(crate) async fn remove_except(&self, kept: Option<&Snapshot>) -> Result<(), StoreError> {
        let prefix = self.keys.snapshots();
        let keys: Vec<String> = self.bucket.list(prefix.clone()).map_ok(|(key, _)| key).try_collect().await?;
        let is_kept = |key: &str| {
            let Some(snapshot) = kept else { return false };
            let is_needed = |log: &LogRange| {
                number_of(key, &self.keys.log(&log.session)).is_some_and(|number| number >= log.first)
            };
            key.strip_prefix(&prefix) == Some(&snapshot.name) || snapshot.log.as_ref().is_some_and(is_needed)
        };
        for key in keys {
            if key != self.keys.newest_snapshot() && !is_kept(&key) {
                self.bucket.delete(&key).await?;
            }
        }
        Ok(())
    }

    /// Reads a snapshot into a file, and verifies its digest.
    pub(crate) async fn fetch(&self, snapshot: &Snapshot, target: &Path) -> Result<(), StoreError> {
        let key = format!("{}{}", self.keys.snapshots(), snapshot.name);
        let damaged = |what: &str| StoreError::Damaged(format!("{} {what}", self.bucket.name(&key)));
        let Some((size, object)) = self.bucket.open_object(key.clone()).await? else {
            return Err(damaged("is missing"));
        };
        let failed = |error: io::Error| StoreError::io("write", target, error);
        let create =
            std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(target);
        let mut file = create.map_err(failed)?;
        let mut digester = Digester::new(Algorithm::Sha256);
        let mut pieces = Blob::new(size, Box::new(object)).read(0..size);
        while let Some(piece) = pieces.try_next().await? {
            digester.update(&piece);
            file = blocking(move || {
                io::Write::write_all(&mut file, &piece)
                    .map_err(|error| StoreError::io("write", "a snapshot of the metadata", error))?;
                Ok(file)
            })
            .await?;
        }
        if digester.finish() != snapshot.digest {
            return Err(damaged("does not have its digest"));
        }
        Ok(())
    }
}

fn number_of(key: &str, prefix: &str) -> Option<u64> {
    u64::from_str_radix(key.strip_prefix(prefix)?.strip_suffix(".gz")?, 16).ok()
}
