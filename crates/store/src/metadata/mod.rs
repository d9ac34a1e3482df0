//! Metadata: repositories, tags, links between manifests and blobs, uploads, accounts and grants, in SQLite
//! or PostgreSQL.
//!
//! Each method is one operation in one transaction, which also decides its result.
//!
//! Every method can fail with an error for which [`StoreError::is_full`] holds if the disk is full, with
//! [`StoreError::Closed`] after [`Metadata::close`], and with [`StoreError::Database`].

mod accounts;
mod backup;
mod ballast;
mod blobs;
mod browse;
mod changes;
mod check;
mod checkpointer;
pub mod collection;
mod columns;
mod commit;
mod commit_mark;
mod connection;
mod counted_space;
mod damage;
mod database_error;
mod file_database;
mod file_identity;
#[cfg(test)]
mod fixtures;
mod freeze;
mod history;
mod import;
mod jobs;
mod journaled;
mod lock_holders;
mod log_capture;
mod manifests;
#[cfg(test)]
mod measure;
mod metrics;
mod migrations;
mod postgres;
mod primary;
mod pulls;
mod quotas;
mod readers;
mod referrers;
mod remote_repositories;
mod repositories;
mod retention;
mod retention_rules;
mod rows;
mod rules;
mod search;
mod server_database;
mod sql;
mod tags;
pub(crate) mod transfer;
mod trash;
mod types;
mod undo;
mod uploads;
mod upstream_tags;
mod usage;
mod value;
mod versions;
mod view_outbox;
mod view_state;
mod visible;
mod webhooks;
mod writer;

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use ::accounts::Actor;
use tracing::Instrument as _;

pub use accounts::*;
pub(crate) use backup::{RestoredDatabase, merge_log};
pub use browse::{Position, RepositoryOrder};
pub use changes::{Change, ChangeKind, Changes, EVENTS, NewChange};
pub use check::{ContentCheck, CounterDrift, StoredContent};
pub use commit::Commit;
pub use damage::{Affected, ContentRecord};
pub use database_error::DatabaseError;
pub(crate) use database_error::DatabaseErrorKind;
pub use freeze::Frozen;
pub use history::HistoryEntry;
pub use import::Import;
pub use journaled::JournaledContent;
use log_capture::SharedSink;
pub(crate) use log_capture::{LogPages, LogSink};
pub use migrations::SCHEMA_VERSION;
pub use primary::{Primary, PrimaryWatch};
pub use pulls::PullCount;
pub use retention::{Decide, RetentionDeletion, RetentionStep, TagState};
pub use rows::erasures::ErasureMark;
pub use rules::{ChangeRules, ContentRefusal, Quota, QuotaExcess, QuotaUsage, TagRefusal};
pub use tags::{TagDeletion, TagPosition, TagSearch};
pub use transfer::CopiedTable;
pub use trash::{DeletedManifest, Deletion, Restored};
pub use types::*;
pub use undo::{RunTag, UndoOutcome, UndoTarget};
pub use upstream_tags::{UpstreamTag, UpstreamUsage};
pub use view_outbox::RepositoryItem;
pub use webhooks::{DeliveryCounts, DeliveryRecord, DeliveryState, NewDelivery, WEBHOOKS, WebhookRecord};

use crate::accounts_mark::AccountsMark;
use crate::boot::boot_id;
use crate::database_url::{DatabaseUrl, ServerRole};
use crate::{StoreError, space};
use ballast::Ballast;
use commit::Listeners;
use commit_mark::CommitMark;
use connection::{Connection, unreadable};
use file_database::FileDatabase;
use file_identity::FileIdentity;
use readers::Readers;
use server_database::ServerDatabase;
use sql::Sql;
use versions::VersionCheck;
use writer::{Durability, OnFull, Writer, WriterDatabase};

/// The metadata of a registry. Clones share one database.
#[derive(Clone)]
pub struct Metadata {
    inner: Arc<Inner>,
    /// The actor of changes made through this clone.
    actor: Arc<Actor>,
}

struct Inner {
    /// `None` for a server of PostgreSQL.
    file: Option<DatabaseFile>,
    readers: Arc<Readers>,
    writer: Writer,
    listeners: Arc<Listeners>,
    /// `None` if only this process uses the database.
    versions: Option<VersionCheck>,
    /// Whether this is a replica, which makes no changes.
    is_replica: bool,
    /// The number of this process among the primaries of a database in PostgreSQL.
    epoch: i64,
    boot: String,
    id: String,
    accounts_mark: Arc<AccountsMark>,
    /// The rules of [`Metadata::obey`].
    rules: RwLock<Option<Arc<dyn ChangeRules>>>,
    /// Namespaces that no account owns.
    reserved: RwLock<Arc<HashSet<String>>>,
    /// The first error that reported a damaged database.
    damage: OnceLock<String>,
    /// Whether changes are refused; see [`Metadata::freeze`].
    frozen: Arc<AtomicBool>,
}

/// The file of an SQLite database, and the files beside it.
struct DatabaseFile {
    path: PathBuf,
    ballast: Arc<Ballast>,
    files: Arc<FileIdentity>,
    log_sink: SharedSink,
}

/// The properties of an open database.
struct Start {
    file: Option<DatabaseFile>,
    accounts_mark: AccountsMark,
    role: ServerRole,
    epoch: i64,
}

impl Metadata {
    /// Opens the database at `path`. Creates it if it does not exist, and migrates an older one.
    ///
    /// # Errors
    /// [`StoreError::Directory`] for a database of another program or of a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let ballast = Arc::new(Ballast::new(path.with_extension("db.ballast")));
        // Opening creates the log and its index, and a start writes some rows. The background fills the
        // ballast again.
        let is_full = ballast.is_needed() && ballast.release();
        create_private(path);
        let connection = Connection::writer(path)?;
        if is_full && let Err(error) = connection.script("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(%error, "the metadata's log could not be checkpointed on a full disk");
        }
        commit_mark::compare(&connection, path)?;
        migrations::migrate(&connection, path)?;
        let files = Arc::new(FileIdentity::of(path));
        let mark = CommitMark::new(path, stored_id(connection.sql())?);
        let log_sink = SharedSink::default();
        let database =
            FileDatabase::new(connection, path, mark, files.clone(), ballast.clone(), log_sink.clone())?;
        let readers = file_database::readers(path);
        let file = DatabaseFile { path: path.to_owned(), ballast, files, log_sink };
        let start = Start {
            file: Some(file),
            accounts_mark: AccountsMark::beside(path),
            role: ServerRole::Alone,
            epoch: 0,
        };
        Self::start(Box::new(database), readers, start, |_| Ok(None))
    }

    /// Opens the database on a server of PostgreSQL. Creates its tables if there are none, and migrates older
    /// ones. `own` is the directory of the files that belong to it.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if it cannot be used, [`StoreError::InUse`] or [`StoreError::HasPrimary`]
    /// and [`StoreError::OtherSchema`] if several servers use it.
    pub fn connect(url: &DatabaseUrl, own: &Path) -> Result<Self, StoreError> {
        let url = Arc::new(url.clone());
        let database = ServerDatabase::open(&url)?;
        let readers = server_database::readers(&url);
        let accounts_mark = AccountsMark::beside(&own.join("metadata"));
        let known = database.known();
        let start = Start { file: None, accounts_mark, role: url.role, epoch: database.epoch() };
        Self::start(Box::new(database), readers, start, |listeners| match url.role {
            ServerRole::Alone => Ok(None),
            ServerRole::Primary | ServerRole::Replica => VersionCheck::start(url, known, listeners).map(Some),
        })
    }

    /// Whether the database is on a server of PostgreSQL.
    pub(crate) fn is_on_server(&self) -> bool {
        self.inner.file.is_none()
    }

    /// Starts the writer of an open database.
    fn start(
        database: Box<dyn WriterDatabase>,
        readers: Arc<Readers>,
        Start { file, accounts_mark, role, epoch }: Start,
        versions: impl FnOnce(Arc<Listeners>) -> Result<Option<VersionCheck>, StoreError>,
    ) -> Result<Self, StoreError> {
        let sql = database.sql();
        let id = stored_id(sql)?;
        let is_replica = role == ServerRole::Replica;
        let is_on_several = role != ServerRole::Alone;
        let boot = if is_on_several { uploads::SHARED_BOOT.to_owned() } else { boot_id() };
        let deleted = if is_replica { 0 } else { uploads::delete_other_boots(sql, &boot)? };
        if deleted > 0 {
            tracing::info!(uploads = deleted, "deleted uploads from before the last boot of the machine");
        }
        if accounts::any_users(sql)? {
            accounts_mark.write()?;
        }
        let listeners = Arc::new(Listeners::new(changes::newest(sql)?));
        let inner = Inner {
            file,
            readers,
            versions: versions(listeners.clone())?,
            is_replica,
            epoch,
            writer: Writer::start(database, listeners.clone())?,
            listeners,
            boot,
            id,
            accounts_mark: Arc::new(accounts_mark),
            rules: RwLock::default(),
            reserved: RwLock::default(),
            damage: OnceLock::new(),
            frozen: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner), actor: Arc::default() })
    }

    /// The same metadata for an actor, which is recorded with all changes made through it.
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { inner: self.inner.clone(), actor: Arc::new(actor) }
    }

    /// Whether the database at `path` lists manifests or blobs. Changes and creates nothing.
    ///
    /// # Errors
    /// [`StoreError::Directory`] for a database of another program.
    pub fn holds_content_at(path: &Path) -> Result<bool, StoreError> {
        if !path.exists() {
            return Ok(false);
        }
        let read = || {
            let connection = Connection::reader(path)?;
            connection.sql().exists(HOLDS_CONTENT, &[])
        };
        read().map_err(|error| unreadable(error, path))
    }

    /// Whether the database at `path` holds users. Changes and creates nothing.
    ///
    /// # Errors
    /// [`StoreError::Directory`] for a database of another program.
    pub fn holds_users(path: &Path) -> Result<bool, StoreError> {
        if !path.exists() {
            return Ok(false);
        }
        let read = || {
            let connection = Connection::reader(path)?;
            let sql = connection.sql();
            let has_table = sql.exists("SELECT 1 FROM sqlite_schema WHERE name = 'accounts'", &[])?;
            Ok(has_table && accounts::any_users(sql)?)
        };
        read().map_err(|error| unreadable(error, path))
    }

    /// Whether a database on a server lists manifests or blobs. Changes and creates nothing.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the server cannot be asked.
    pub fn holds_content_on(url: &DatabaseUrl) -> Result<bool, StoreError> {
        server_database::ask(url, "manifests", |sql| sql.exists(HOLDS_CONTENT, &[]))
    }

    /// Whether a database on a server holds users. Changes and creates nothing.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the server cannot be asked.
    pub fn holds_users_on(url: &DatabaseUrl) -> Result<bool, StoreError> {
        server_database::ask(url, "accounts", accounts::any_users)
    }

    /// Accepts a database at `path` that is older than its last commit. No process may have it open.
    ///
    /// # Errors
    /// [`StoreError::Io`] if its mark cannot be removed.
    pub fn accept_older(path: &Path) -> Result<(), StoreError> {
        commit_mark::remove(path)
    }

    /// The id of the database: 32 hexadecimal digits that never change.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Checks that no other program has removed or replaced the files of the database.
    ///
    /// # Errors
    /// [`StoreError::DatabaseGone`].
    pub fn check_files(&self) -> Result<(), StoreError> {
        self.file().map_or(Ok(()), |file| file.files.check())
    }

    /// Checks readiness: the database is in its place, answers, and no damage was reported. Reads a row of
    /// each main table.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.check_files()?;
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

    /// Also keeps the accounts mark in the directory `content`: now if either place has it, else once there
    /// are users.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a mark cannot be written.
    pub fn mark_accounts_beside(&self, content: &Path) -> Result<(), StoreError> {
        self.inner.accounts_mark.add_content(content)
    }

    /// Records that there are accounts, such as those of an htpasswd file, even if the database has none yet.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a mark cannot be written.
    pub fn mark_accounts(&self) -> Result<(), StoreError> {
        self.inner.accounts_mark.write()
    }

    /// Whether the database ever had users, even if it has none now.
    #[must_use]
    pub fn has_had_users(&self) -> bool {
        self.inner.accounts_mark.is_written()
    }

    /// Waits for running operations, refuses later ones, and checkpoints the log into the database file.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        let inner = Arc::clone(&self.inner);
        let close = move || {
            inner.writer.close();
            if let Some(versions) = &inner.versions {
                versions.close();
            }
        };
        if tokio::task::spawn_blocking(close).await.is_err() {
            tracing::error!("the metadata could not be closed");
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let span = tracing::trace_span!(target: "wharfinger::spans", "metadata.read");
        let read = self.inner.readers.read(operation).instrument(span).await;
        if let Err(StoreError::Database(_) | StoreError::Directory(_)) = &read {
            // The pool cannot open another connection to a removed database.
            self.check_files()?;
        }
        self.record_damage(read)
    }

    /// Like [`write`](Self::write), for an operation that replicas run as well.
    async fn write_anywhere<T: Send + 'static>(
        &self,
        durability: Durability,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_anywhere(durability, OnFull::Fail, operation).await
    }

    async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(durability, OnFull::Fail, operation).await
    }

    /// Like [`write`](Self::write), for an operation that frees space or prepares to do so. On a full
    /// disk it runs again with the space of the ballast.
    async fn free<T: Send + 'static>(
        &self,
        durability: Durability,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(durability, OnFull::UseBallast, operation).await
    }

    async fn run<T: Send + 'static>(
        &self,
        durability: Durability,
        on_full: OnFull,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.inner.is_replica {
            return Err(StoreError::Replica);
        }
        self.run_anywhere(durability, on_full, operation).await
    }

    async fn run_anywhere<T: Send + 'static>(
        &self,
        durability: Durability,
        on_full: OnFull,
        operation: impl Fn(Sql<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let rules = self.inner.rules.read().unwrap_or_else(PoisonError::into_inner).clone();
        let frozen = self.inner.frozen.clone();
        let operation = move |sql: Sql<'_>| match frozen.load(Ordering::Acquire) {
            true => Err(StoreError::Moving),
            false => operation(sql.obeying(rules.as_deref())),
        };
        let span = tracing::trace_span!(target: "wharfinger::spans", "metadata.write");
        let written = self.inner.writer.write(durability, on_full, self.actor.clone(), operation);
        match self.record_damage(written.instrument(span).await) {
            // Counted here, because the writer has other work.
            Err(StoreError::QuotaExceeded(excess)) => {
                let excess = Box::pin(self.with_deleted(*excess)).await;
                Err(StoreError::QuotaExceeded(Box::new(excess)))
            }
            written => written,
        }
    }

    fn record_damage<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        // SQLite reports an I/O error.
        if let Err(StoreError::Database(_)) = &result
            && let Some(DatabaseFile { path, .. }) = self.file()
            && space::is_read_only(&commit_mark::beside(path))
        {
            return Err(StoreError::io("write", path, std::io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        if let Err(error) = &result
            && error.is_corrupt()
            && self.inner.damage.set(error.to_string()).is_ok()
        {
            tracing::error!(%error, "the database is damaged; restore it from a backup");
        }
        result
    }

    /// Gives the pages of all later commits to a sink. Only the first one counts. `false` if there is no log.
    pub(crate) fn capture_log(&self, sink: Arc<dyn LogSink>) -> bool {
        self.file().is_some_and(|file| file.log_sink.set(sink).is_ok())
    }

    /// Waits until the sink of [`capture_log`](Self::capture_log) has all commits that were visible before.
    pub(crate) async fn await_capture(&self) {
        let nothing = |_: Sql<'_>| Ok(());
        // The writer thread has ended all earlier transactions, even if this one fails.
        let _ = self.inner.writer.write(Durability::Process, OnFull::Fail, self.actor.clone(), nothing).await;
    }

    fn file(&self) -> Option<&DatabaseFile> {
        self.inner.file.as_ref()
    }

    fn boot(&self) -> String {
        self.inner.boot.clone()
    }
}

const HOLDS_CONTENT: &str = "SELECT 1 FROM manifests UNION ALL SELECT 1 FROM blob_links LIMIT 1";

fn stored_id(sql: Sql<'_>) -> Result<String, StoreError> {
    let id = sql.first("SELECT id FROM identity", &[], |row| row.get(0))?;
    id.ok_or_else(|| StoreError::Damaged("the database has no id".to_owned()))
}

/// Creates the database file with mode 0600 if it does not exist, because it holds password hashes and
/// signing keys. SQLite gives the files beside it the same mode. The mode of an existing file stays.
fn create_private(path: &Path) {
    // SQLite reports the error when it opens the file.
    drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::fixtures::{in_file, manifest, put};

    #[tokio::test]
    async fn database_files_have_mode_0600() {
        let (metadata, directory) = in_file();
        put(&metadata, manifest("a", "m")).await;
        let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(Result::unwrap).collect();
        assert!(files.len() >= 3, "the database, its log and its index: {files:?}");
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{file:?}");
        }
        metadata.close().await;
    }
}
