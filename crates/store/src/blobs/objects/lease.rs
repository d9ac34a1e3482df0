//! The lease of a bucket prefix: an object that names the server which uses it.
//!
//! Two servers with one database, such as a restored copy beside its original, would delete each other's
//! blobs. So a server renews the lease. A server with another data directory waits for a renewal before it
//! takes the lease over, and no clocks are compared. A server whose lease was taken stops writing. A
//! stopping server releases the lease, so that the next one need not wait.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::bucket::Bucket;
use super::keys::Keys;
use crate::StoreError;
use crate::blocking::blocking;

/// The lease as this process knows it.
pub(super) struct Lease {
    bucket: Arc<Bucket>,
    keys: Keys,
    /// The file with the id of the data directory. Backups and restored copies do not have it.
    path: PathBuf,
    process: Uuid,
    /// The id of the database, once the prefix is claimed.
    pub(super) database: OnceLock<String>,
    written: Mutex<Option<(Instant, Uuid)>>,
    /// When this process was last known to have the lease.
    confirmed: Mutex<Option<Instant>>,
}

/// The content of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    directory: Uuid,
    process: Uuid,
    renewal: Uuid,
    host: String,
    /// The server has stopped. Its data directory is still named.
    is_released: bool,
    /// The interval of its renewals.
    interval: Duration,
}

/// The interval of a server that names none.
const INTERVAL: Duration = Duration::from_secs(15);

/// The last line of a released lease.
const RELEASED: &str = "released";
/// The longest wait for the lease of another server that begins at the same time.
const SETTLE: Duration = Duration::from_secs(2);

impl Holder {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut id = || lines.next()?.parse::<Uuid>().ok();
        let (directory, process, renewal) = (id()?, id()?, id()?);
        let host = lines.next().unwrap_or_default().to_owned();
        let is_released = lines.next() == Some(RELEASED);
        let interval =
            lines.next().and_then(|text| text.parse().ok()).map_or(INTERVAL, Duration::from_millis);
        Some(Self { directory, process, renewal, host, is_released, interval })
    }
}

impl Lease {
    pub(super) fn new(bucket: Arc<Bucket>, keys: Keys, path: PathBuf) -> Self {
        let (process, database) = (Uuid::new_v4(), OnceLock::new());
        let (written, confirmed) = (Mutex::default(), Mutex::default());
        Self { bucket, keys, path, process, database, written, confirmed }
    }

    /// Returns the id of the data directory, and makes it at the first call.
    pub(super) async fn directory(&self) -> Result<Uuid, StoreError> {
        let path = self.path.clone();
        blocking(move || {
            let id = match fs::read_to_string(&path) {
                Ok(text) => text.trim().parse::<Uuid>().ok(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(StoreError::io("read", path, error)),
            };
            if let Some(id) = id {
                return Ok(id);
            }
            // A power failure may have emptied the file.
            let id = Uuid::new_v4();
            fs::write(&path, format!("{id}\n")).map_err(|error| StoreError::io("write", path, error))?;
            Ok(id)
        })
        .await
    }

    async fn holder(&self) -> Result<Option<Holder>, StoreError> {
        let found = self.bucket.get(&self.keys.lease()).await?;
        Ok(found.and_then(|content| Holder::parse(&String::from_utf8_lossy(&content))))
    }

    /// The last renewal. `None` if no server holds the lease.
    pub(super) async fn renewal(&self) -> Result<Option<Uuid>, StoreError> {
        Ok(self.holder().await?.filter(|holder| !holder.is_released).map(|holder| holder.renewal))
    }

    async fn write(&self, directory: Uuid, interval: Duration) -> Result<(), StoreError> {
        self.write_with(directory, "", interval).await?;
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), directory));
        Ok(())
    }

    async fn write_with(&self, directory: Uuid, end: &str, interval: Duration) -> Result<(), StoreError> {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let (process, renewal) = (self.process, Uuid::new_v4());
        let interval = interval.as_millis();
        let text = format!("{directory}\n{process}\n{renewal}\n{}\n{end}\n{interval}\n", host.trim());
        self.bucket.put(&self.keys.lease(), vec![Bytes::from(text)]).await
    }

    /// Releases the lease, if this process has it. Nothing may be written afterwards.
    pub(super) async fn release(&self) -> Result<(), StoreError> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((_, directory)) = written else { return Ok(()) };
        match self.holder().await? {
            Some(holder) if holder.process == self.process => {
                self.write_with(directory, RELEASED, INTERVAL).await
            }
            _ => Ok(()),
        }
    }

    /// Takes the lease, unless a server with another data directory renews it.
    pub(super) async fn take(&self, renewal: Duration) -> Result<(), StoreError> {
        let directory = self.directory().await?;
        let place = self.bucket.name(self.bucket.prefix());
        let in_use = |holder: Holder| {
            StoreError::Directory(format!(
                "{place} is in use by another server, on {}: two servers would delete each other's blobs. Stop that one, or \
                 set another prefix in blobs.url",
                holder.host
            ))
        };
        let before = self.holder().await?;
        let other = before.clone().filter(|holder| holder.directory != directory);
        let is_new_here = before.is_none() || other.is_some();
        if let Some(holder) = other.filter(|holder| !holder.is_released) {
            let wait = holder.interval.max(renewal) * 3;
            tracing::warn!(
                host = holder.host,
                ?wait,
                "another server has used this bucket; waiting to see whether it still does"
            );
            tokio::time::sleep(wait).await;
            if let Some(now) = self.holder().await?
                && Some(&now) != before.as_ref()
            {
                return Err(in_use(now));
            }
        }
        self.write(directory, renewal).await?;
        if is_new_here {
            // Another server may have come this far at the same time. The later one keeps the lease.
            tokio::time::sleep((renewal / 8).min(SETTLE)).await;
        }
        match self.holder().await? {
            Some(holder) if holder.process != self.process => Err(in_use(holder)),
            _ => {
                self.confirm();
                Ok(())
            }
        }
    }

    fn confirm(&self) {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Like [`keep`](Self::keep), unless the lease was confirmed a moment ago. A process that was suspended
    /// must not go on to delete what its successor stores.
    pub(super) async fn ensure(&self, renewal: Duration) -> Result<(), StoreError> {
        let confirmed = *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        match confirmed {
            Some(at) if at.elapsed() < renewal * 2 => Ok(()),
            // No prefix is claimed.
            None => Ok(()),
            Some(_) => self.keep(renewal).await,
        }
    }

    /// Checks that this process still has the lease, and renews it.
    pub(super) async fn keep(&self, renewal: Duration) -> Result<(), StoreError> {
        let gone = |key: &str| Err(StoreError::ContentGone(self.bucket.name(key).into()));
        match self.holder().await? {
            Some(holder) if holder.process == self.process => self.confirm(),
            Some(_) => return gone(&self.keys.lease()),
            // The bucket may be another one, or empty.
            None => {
                let identity = self.keys.identity();
                let owner = self.bucket.get(&identity).await?;
                let owner = owner.map(|owner| String::from_utf8_lossy(&owner).trim().to_owned());
                if owner.is_none() || owner.as_ref() != self.database.get() {
                    return gone(&identity);
                }
            }
        }
        let written = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written {
            Some((at, directory)) if at.elapsed() >= renewal => self.write(directory, renewal).await,
            _ => Ok(()),
        }
    }
}
