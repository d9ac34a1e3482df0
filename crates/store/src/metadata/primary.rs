//! The primary among the servers of one database: its address, and its succession.
//!
//! The primary holds the lock of the database (`server_database`). It records the URL at which the other
//! servers reach it, and a secret that proves their requests. Replicas read both, and try to become the
//! primary when the lock is free.

use std::sync::{Arc, Mutex};

use super::Metadata;
use super::migrations;
use super::postgres::Session;
use super::server_database::{announce_replica, end_holder, is_lock_free, unusable};
use super::sql::{Sql, params};
use super::writer::{Durability, lock};
use crate::StoreError;
use crate::blocking::blocking;
use crate::database_url::DatabaseUrl;

/// The primary, as it has recorded itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Primary {
    /// The URL at which the other servers reach it.
    pub address: String,
    /// The secret of their requests.
    pub secret: String,
    /// The number of times that a server has become the primary.
    pub epoch: i64,
    /// Whether the schema of the database is that of this program. Otherwise this program does not read it.
    pub has_own_schema: bool,
}

impl Metadata {
    /// Whether this server is a replica, which makes no changes.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.inner.is_replica
    }

    /// Records this server as the primary.
    ///
    /// # Errors
    /// The errors of the database.
    pub async fn announce_primary(&self, address: String, secret: String) -> Result<(), StoreError> {
        self.write(Durability::Disk, move |sql| {
            sql.run(
                "UPDATE writer SET address = ?1, secret = ?2",
                params![address.as_str(), secret.as_str()],
            )?;
            Ok(())
        })
        .await
    }

    /// Whether another server has become the primary since this one did.
    ///
    /// # Errors
    /// The errors of the database.
    pub async fn is_superseded(&self) -> Result<bool, StoreError> {
        let own = self.inner.epoch;
        self.read(move |sql| {
            let epoch = sql.first("SELECT epoch FROM writer", &[], |row| row.get::<i64>(0))?;
            Ok(epoch != Some(own))
        })
        .await
    }
}

/// A look of a replica at the primary.
pub struct PrimaryWatch {
    url: Arc<DatabaseUrl>,
    session: Arc<Mutex<Option<Session>>>,
}

impl PrimaryWatch {
    /// Watches the primary of a database.
    #[must_use]
    pub fn new(url: DatabaseUrl) -> Self {
        Self { url: Arc::new(url), session: Arc::default() }
    }

    /// Returns the primary. `None` if there is none, so that this server may become it.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if PostgreSQL cannot be asked.
    pub async fn look(&self) -> Result<Option<Primary>, StoreError> {
        let (url, kept) = (self.url.clone(), self.session.clone());
        blocking(move || {
            let mut kept = lock(&kept);
            let session = match kept.take() {
                Some(session) => session,
                None => {
                    let session = connect(&url)?;
                    announce_replica(&session)?;
                    session
                }
            };
            let primary = primary(&session)?;
            // After an error, the next look connects anew.
            *kept = Some(session);
            Ok(primary)
        })
        .await
    }

    /// Ends the session of the primary of an epoch, which holds the lock. For a primary that is suspended.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if PostgreSQL cannot be asked.
    pub async fn end_primary(&self, epoch: i64) -> Result<(), StoreError> {
        let url = self.url.clone();
        blocking(move || end_holder(&connect(&url)?, epoch)).await
    }
}

fn connect(url: &DatabaseUrl) -> Result<Session, StoreError> {
    Session::connect(url).map_err(|error| unusable(url, &error))
}

fn primary(session: &Session) -> Result<Option<Primary>, StoreError> {
    if is_lock_free(session)? {
        return Ok(None);
    }
    let has_own_schema = migrations::server_version(session)? == migrations::SCHEMA_VERSION;
    let read = Sql::server(session).first("SELECT address, secret, epoch FROM writer", &[], |row| {
        Ok(Primary { address: row.get(0)?, secret: row.get(1)?, epoch: row.get(2)?, has_own_schema })
    });
    read?.map(Some).ok_or_else(|| StoreError::Damaged("the database has no writer".to_owned()))
}
