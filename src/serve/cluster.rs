//! Several servers of one registry: which of them is the primary, and what happens when it changes.
//!
//! A server starts as the primary if there is none, and as a replica otherwise. A replica looks for the
//! primary each second. When there is none, it becomes the primary: the process makes a new server of the
//! same sockets, while the old one ends its requests. A primary that another server has replaced becomes a
//! replica in the same way.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use registry::Registry;
use store::database_url::ServerRole;
use store::metadata::{Primary, PrimaryWatch};
use store::{Directory, StoreError};
use tokio::time::Instant;
use upstream::PeerClient;
use uuid::Uuid;

use super::error::ServeError;
use super::registry::open_in;
use super::settings::{account_settings, database, objects, policy};
use crate::config::{BaseUrl, Config};
use crate::http::cluster::{Forwarder, ReplicaSettings, Role};
use crate::tls::client::{self, System};
use crate::tls::pair;

/// The interval between two looks at the primary.
const LOOK: Duration = Duration::from_secs(1);
/// The time without a renewal of the lease of the bucket after which a primary counts as suspended. It renews
/// each 5 to 10 seconds.
const SUSPENDED: Duration = Duration::from_secs(30);
/// The same for a new primary that has not renewed it yet. It may be changing the schema of a large database.
const STARTING: Duration = Duration::from_secs(600);
/// The number of failed checks of an address after which the log says so. A starting primary does not listen
/// yet.
const REPORTED: u32 = 5;
/// The number of looks, one each second, after which the log says that the primary has named no address. A new
/// primary first waits about 15 s for the lease of the bucket.
const UNNAMED_REPORTED: u32 = 60;
/// The time for a starting primary to make the schema.
const ATTEMPTS: Duration = Duration::from_secs(60);

/// Opens the registry as the primary if there is none, and as a replica otherwise.
pub(super) async fn open_registry(config: &Config, directory: &Directory) -> Result<Registry, ServeError> {
    let (Some(database), Some(objects)) =
        (database(config).map_err(registry::Error::from)?, objects(config).map_err(registry::Error::from)?)
    else {
        return Err(ServeError::ClusterStorage);
    };
    let place = |role| {
        directory
            .clone()
            .with_objects(Some(objects.clone()))
            .with_database(Some(database.clone().with_role(role)))
    };
    let begun = Instant::now();
    loop {
        match open_in(config, place(ServerRole::Primary)).await {
            Err(registry::Error::Store(StoreError::HasPrimary(_))) => {}
            opened => return Ok(opened?),
        }
        match Registry::open_replica(place(ServerRole::Replica), policy(config), account_settings(config))
            .await
        {
            // The primary may just be starting, with the first schema or a newer one.
            Err(registry::Error::Store(StoreError::OtherSchema { .. })) if begun.elapsed() < ATTEMPTS => {
                tokio::time::sleep(LOOK).await;
            }
            opened => return Ok(opened?),
        }
    }
}

/// Returns the role of an open registry, and announces a primary.
pub(super) async fn role(registry: &Registry, config: &Config) -> Result<Role, ServeError> {
    let Some(address) = &config.cluster.address else { return Ok(Role::Alone) };
    if registry.is_replica() {
        let tls = client_tls(config.cluster.ca.as_deref())?;
        let forwarder = Forwarder::new(PeerClient::new(tls), ReplicaSettings::new(config));
        // Pulls are answered from the first request on. `await_vacancy` looks when requests come already.
        if let Some(database) = registry.directory().database()
            && let Ok(Some(primary)) = PrimaryWatch::new(database.clone()).look().await
        {
            forwarder.set_may_read(primary.has_own_schema);
        }
        return Ok(Role::Replica(Arc::new(forwarder)));
    }
    let role = Role::primary().ok_or(ServeError::Random)?;
    if let Role::Primary { secret } = &role {
        let (address, secret) = (address.as_str().to_owned(), secret.clone());
        registry.announce_primary(address, secret).await?;
    }
    tracing::info!(address = address.as_str(), "this server is the primary of the registry");
    Ok(role)
}

fn client_tls(ca: Option<&Path>) -> Result<rustls::ClientConfig, ServeError> {
    let named = match ca {
        Some(path) => pair::read_chain(path).map_err(ServeError::ClusterCa)?.0,
        None => Vec::new(),
    };
    client::config(named, System::Trusted).map_err(|error| ServeError::Tls(error.into()))
}

/// Returns when this server has to change its role.
pub(super) async fn role_change(registry: &Registry, role: &Role, config: &Config) {
    match role {
        Role::Alone => std::future::pending().await,
        Role::Primary { .. } => await_successor(registry).await,
        Role::Replica(forwarder) => await_vacancy(registry, forwarder, config).await,
    }
}

/// Waits until another server has become the primary.
async fn await_successor(registry: &Registry) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        match registry.is_superseded().await {
            Ok(true) => {
                tracing::warn!(
                    "another server has become the primary of the registry; this one becomes a replica"
                );
                return;
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "cannot look for another primary"),
        }
    }
}

/// Follows the primary until there is none.
async fn await_vacancy(registry: &Registry, forwarder: &Forwarder, config: &Config) {
    let mut ticks = tokio::time::interval(LOOK);
    let Some(database) = registry.directory().database() else { return std::future::pending().await };
    let watch = PrimaryWatch::new(database.clone());
    let mut lease = LeaseWatch::default();
    let mut known = None;
    let mut misses = Misses::default();
    loop {
        ticks.tick().await;
        let looked = watch.look().await;
        if let Ok(Some(primary)) = &looked
            && lease.is_old(registry, primary.epoch).await
        {
            tracing::warn!(
                "the primary server has not renewed its lease, as if it was suspended; its session with the database is ended"
            );
            if let Err(error) = watch.end_primary(primary.epoch).await {
                tracing::warn!(%error, "cannot end the session of the primary server");
            }
        }
        match looked {
            Ok(None) => {
                forwarder.end();
                tracing::warn!("the registry has no primary server; this one takes its place");
                return;
            }
            Ok(Some(primary)) if known.as_ref() != Some(&primary) => {
                forwarder.set_may_read(primary.has_own_schema);
                if let Err(miss) = find(forwarder, &primary, config).await {
                    if misses.is_report_due(&miss) {
                        miss.report(&primary.address);
                    }
                    continue;
                }
                tracing::info!(primary = primary.address, "this server is a replica");
                if !primary.has_own_schema {
                    tracing::warn!(
                        "the database has the schema of another version of wharfinger: the primary answers all requests"
                    );
                }
                known = Some(primary);
                misses = Misses::default();
            }
            Ok(Some(_)) => {}
            Err(error) => tracing::debug!(%error, "cannot look for the primary"),
        }
    }
}

/// Sets the primary of a replica, if it is at the address that it names.
async fn find(forwarder: &Forwarder, primary: &Primary, config: &Config) -> Result<(), Miss> {
    let own = config.cluster.address.as_ref().map_or("", BaseUrl::as_str);
    let miss = match primary.address.as_str() {
        // The primary publishes its address after it listens.
        "" => Miss::Unnamed,
        address if address == own => Miss::Elsewhere("it is that of this server".to_owned()),
        address => return forwarder.set_primary(address, &primary.secret).await.map_err(Miss::Elsewhere),
    };
    forwarder.lose_primary();
    Err(miss)
}

/// Why a primary was not found.
enum Miss {
    /// It has named no address yet.
    Unnamed,
    /// It is not at the address that it names, for this reason.
    Elsewhere(String),
}

impl Miss {
    fn report(&self, address: &str) {
        match self {
            Self::Unnamed => tracing::warn!(
                "the primary server has not named its address yet: its log says what it waits for; until then this server \
                 refuses changes"
            ),
            Self::Elsewhere(reason) => tracing::error!(
                address,
                reason,
                "the primary server is not at the address that it names: check its cluster.address; until then this server \
                 refuses changes"
            ),
        }
    }
}

/// Counts consecutive misses of one kind.
#[derive(Default)]
struct Misses {
    unnamed: u32,
    elsewhere: u32,
}

impl Misses {
    fn is_report_due(&mut self, miss: &Miss) -> bool {
        match miss {
            Miss::Unnamed => {
                *self = Self { unnamed: self.unnamed + 1, elsewhere: 0 };
                self.unnamed == UNNAMED_REPORTED
            }
            Miss::Elsewhere(_) => {
                *self = Self { unnamed: 0, elsewhere: self.elsewhere + 1 };
                self.elsewhere == REPORTED
            }
        }
    }
}

/// Looks at the lease of the bucket, which a primary renews.
#[derive(Default)]
struct LeaseWatch {
    seen: Option<SeenLease>,
    looked: Option<Instant>,
}

/// The last renewal of a lease.
struct SeenLease {
    /// That of the primary at the time.
    epoch: i64,
    renewal: Uuid,
    /// When this server first saw it.
    since: Instant,
    /// The time after which it is old.
    limit: Duration,
}

impl LeaseWatch {
    /// Whether the primary of an epoch has not renewed the lease for a long time. A failed look begins anew.
    async fn is_old(&mut self, registry: &Registry, epoch: i64) -> bool {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK * 5) {
            return false;
        }
        self.looked = Some(Instant::now());
        let seen = self.seen.take();
        let Ok(Some(renewal)) = registry.lease_renewal().await else { return false };
        let limit = match seen {
            Some(seen) if seen.epoch == epoch && seen.renewal == renewal => {
                let is_old = seen.since.elapsed() > seen.limit;
                self.seen = (!is_old).then_some(seen);
                return is_old;
            }
            // The lease is still that of the primary before.
            Some(seen) if seen.renewal == renewal => STARTING,
            _ => SUSPENDED,
        };
        self.seen = Some(SeenLease { epoch, renewal, since: Instant::now(), limit });
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unnamed_primary_is_reported_after_a_minute() {
        let mut misses = Misses::default();
        assert!((1..60).all(|_| !misses.is_report_due(&Miss::Unnamed)));
        assert!(misses.is_report_due(&Miss::Unnamed));
        assert!(!misses.is_report_due(&Miss::Unnamed), "it is reported once");
        let elsewhere = Miss::Elsewhere("it does not answer".to_owned());
        assert!((1..5).all(|_| !misses.is_report_due(&elsewhere)));
        assert!(misses.is_report_due(&elsewhere));
    }
}
