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
mod accounts_mark;
mod blobs;
mod checkpointer;
mod columns;
mod commit_mark;
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

use rusqlite::{Connection, OpenFlags};

pub use accounts::*;
pub use damage::{Affected, ContentRecord};
pub use import::Import;
pub use journaled::JournaledContent;
pub use types::*;

use crate::StoreError;
use accounts_mark::AccountsMark;
use commit_mark::CommitMark;
use readers::Readers;
use sql::{LITTLE_CACHE, Sql, keep_plans};
use writer::{Durability, Writer};

/// Prepared statements kept by the writer; more than there are kinds of statements.
const STATEMENTS: usize = 128;

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
        do_not_count_memory();
        keep_from_others(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection =
            Connection::open_with_flags(path, flags).map_err(|error| migrations::unreadable(error, path))?;
        connection
            .execute_batch(
                "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; \
                 PRAGMA mmap_size = 2147418112; PRAGMA wal_autocheckpoint = 0; \
                 PRAGMA journal_size_limit = 67108864",
            )
            .map_err(|error| migrations::unreadable(error, path))?;
        connection.execute_batch(LITTLE_CACHE)?;
        commit_mark::compare(&connection, path)?;
        migrations::migrate(&mut connection, path)?;
        let id: String = connection.query_row("SELECT id FROM identity", (), |row| row.get(0))?;
        let boot = uploads::this_boot();
        let forgotten = uploads::forget_other_boots(&connection, &boot)?;
        if forgotten > 0 {
            tracing::info!(uploads = forgotten, "forgot uploads from before the machine was started");
        }
        keep_plans(&connection, STATEMENTS)?;
        let accounts_mark = Arc::new(AccountsMark::beside(path));
        if accounts::any_users(&connection)? {
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
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let look = || {
            let connection = Connection::open_with_flags(path, flags)?;
            let table = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'accounts')";
            let users = "SELECT EXISTS (SELECT 1 FROM accounts WHERE kind = ?1)";
            Ok(connection.query_row(table, (), |row| row.get(0))?
                && connection.query_row(users, [accounts::AccountKind::User.as_str()], |row| row.get(0))?)
        };
        look().map_err(|error: rusqlite::Error| migrations::unreadable(error, path))
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
                sql.exists(&format!("SELECT * FROM {table} LIMIT 1"), ())?;
            }
            Ok(())
        })
        .await
    }

    /// Whether the directory of the database at `path` has had users, even if the database is lost. Opens nothing.
    #[must_use]
    pub fn has_had_users_at(path: &Path) -> bool {
        accounts_mark::exists(path)
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
        operation: impl FnOnce(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.note_damage(self.inner.readers.read(operation).await)
    }

    async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        operation: impl FnOnce(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
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

/// SQLite counts the memory that it uses, under a lock that all connections share and nobody here
/// asks about. Without that, reads at the same time do not wait for each other.
fn do_not_count_memory() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: it takes one int for this option. Calls at the same time as others would be
        // unsound; `Once` excludes that among ours, and a process that has opened a database
        // elsewhere gets SQLITE_MISUSE, which changes nothing.
        let _ = unsafe {
            rusqlite::ffi::sqlite3_config(rusqlite::ffi::SQLITE_CONFIG_MEMSTATUS, 0 as std::ffi::c_int)
        };
    });
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
