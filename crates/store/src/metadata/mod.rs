//! Metadata: the truth about repositories, tags, links between manifests and blobs, uploads,
//! accounts and grants.
//!
//! A struct, no trait: one method is one operation is one transaction. What a method returns was
//! decided inside the transaction that it names.
//!
//! Every method fails with [`StoreError::Full`] or another error for which
//! [`StoreError::is_full`] holds where the disk has no room, with [`StoreError::Closed`] after
//! [`Metadata::close`], and with [`StoreError::Database`] where the database refuses.

mod accounts;
mod blobs;
mod checkpointer;
mod columns;
mod commit_mark;
mod connection;
mod damage;
#[cfg(test)]
mod fixtures;
mod import;
mod jobs;
mod journaled;
mod lock_holders;
mod manifests;
#[cfg(test)]
mod measure;
mod migrations;
mod readers;
mod referrers;
mod remote_repositories;
mod repositories;
mod rows;
mod search;
mod sql;
mod tags;
mod types;
mod uploads;
mod usage;
mod view_changes;
mod view_state;
mod visible;
mod writer;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use accounts::*;
pub use damage::{Affected, ContentRecord};
pub use import::Import;
pub use journaled::JournaledContent;
pub use migrations::SCHEMA_VERSION;
pub use types::*;

use crate::StoreError;
use crate::accounts_mark::AccountsMark;
use commit_mark::CommitMark;
use connection::{Connection, unreadable};
use readers::Readers;
use sql::Sql;
use writer::{Durability, Writer};

/// The metadata of a registry. Cheap to clone: all clones are the same database.
#[derive(Clone)]
pub struct Metadata {
    inner: Arc<Inner>,
}

struct Inner {
    readers: Arc<Readers>,
    writer: Writer,
    boot: String,
    id: String,
    accounts_mark: Arc<AccountsMark>,
    /// The first error that says that the database's file is damaged.
    damage: OnceLock<String>,
}

impl Metadata {
    /// Opens the database at `path`; makes it if it is not there, and brings it up to date.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file is no database of ours, or one of a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        keep_from_others(path);
        let connection = Connection::writer(path)?;
        commit_mark::compare(&connection, path)?;
        migrations::migrate(&connection, path)?;
        let sql = connection.sql();
        let id: Option<String> = sql.first("SELECT id FROM identity", &[], |row| row.get(0))?;
        let id = id.ok_or_else(|| StoreError::Damaged("the id of the database".to_owned()))?;
        let boot = uploads::this_boot();
        let forgotten = uploads::forget_other_boots(sql, &boot)?;
        if forgotten > 0 {
            tracing::info!(uploads = forgotten, "forgot uploads from before the machine was started");
        }
        let accounts_mark = Arc::new(AccountsMark::beside(path));
        if accounts::any_users(sql)? {
            accounts_mark.write()?;
        }
        let inner = Inner {
            readers: Readers::new(path.to_owned()),
            writer: Writer::start(connection, path, CommitMark::new(path, id.clone()))?,
            boot,
            id,
            accounts_mark,
            damage: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether the database at `path` holds users, without changing or making anything; there may be none.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file is no database of ours.
    pub fn holds_users(path: &Path) -> Result<bool, StoreError> {
        if !path.exists() {
            return Ok(false);
        }
        let look = || {
            let connection = Connection::reader(path)?;
            let sql = connection.sql();
            let has_table = sql.exists("SELECT 1 FROM sqlite_schema WHERE name = 'accounts'", &[])?;
            Ok(has_table && accounts::any_users(sql)?)
        };
        look().map_err(|error| unreadable(error, path))
    }

    /// Takes the database at `path` as it is, though it is older than its last commit. Nobody may have it open.
    ///
    /// # Errors
    /// [`StoreError::Io`] if its mark cannot be removed.
    pub fn accept_older(path: &Path) -> Result<(), StoreError> {
        commit_mark::forget(path)
    }

    /// Which database this is: 32 hexadecimal digits, the same for as long as the database lives.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Whether the database answers, and was never found to be damaged: for a readiness check. Reads a row of each table.
    pub async fn ready(&self) -> Result<(), StoreError> {
        if let Some(damage) = self.inner.damage.get() {
            return Err(StoreError::Damaged(damage.clone()));
        }
        self.read(|sql| {
            for table in
                ["repositories", "blobs", "blob_links", "manifests", "manifest_parts", "tags", "accounts"]
            {
                sql.exists(&format!("SELECT * FROM {table} LIMIT 1"), &[])?;
            }
            Ok(())
        })
        .await
    }

    /// Marks the directory `content` as well once there are users, and now if either place is marked already.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a mark cannot be written.
    pub fn mark_accounts_beside(&self, content: &Path) -> Result<(), StoreError> {
        self.inner.accounts_mark.add_content(content)
    }

    /// Whether this directory has had users, even if it has none now.
    #[must_use]
    pub fn has_had_users(&self) -> bool {
        self.inner.accounts_mark.is_written()
    }

    /// Ends: waits for what was begun, refuses what comes later, and writes the log back into the
    /// database, so that its file is all there is.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        let inner = Arc::clone(&self.inner);
        if tokio::task::spawn_blocking(move || inner.writer.close()).await.is_err() {
            tracing::error!("the metadata could not be closed");
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.note_damage(self.inner.readers.read(operation).await)
    }

    async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.note_damage(self.inner.writer.write(durability, operation).await)
    }

    fn note_damage<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && error.is_corrupt()
            && self.inner.damage.set(error.to_string()).is_ok()
        {
            tracing::error!(%error, "the database is damaged; restore metadata.db from a backup");
        }
        result
    }

    fn boot(&self) -> String {
        self.inner.boot.clone()
    }
}

/// Makes the file of the database, if it is not there, for its owner alone: it holds how passwords are kept, and the keys
/// that tokens are signed with. SQLite makes those beside it as this one is. Who has given it to others has had a reason.
fn keep_from_others(path: &Path) {
    // If it cannot be made, SQLite tells why.
    drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::fixtures::{empty, manifest, put};

    #[tokio::test]
    async fn the_database_and_what_is_beside_it_are_for_their_owner_alone() {
        let (metadata, directory) = empty();
        put(&metadata, manifest("a", "m")).await;
        let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(Result::unwrap).collect();
        assert!(files.len() >= 3, "the database, its log and its index: {files:?}");
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{file:?}");
        }
        metadata.close().await;
    }
}
