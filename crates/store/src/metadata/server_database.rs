//! The database on a server of PostgreSQL: transactions, the readers' connections, and the right to write.
//!
//! One process makes changes: it holds an advisory lock of the session of its writer. A number, the epoch,
//! tells whether another process has held the lock after that session broke. Replicas write counts and times
//! of their pulls without the lock. The row lock of `writer.version` lets all transactions run one after
//! another.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::DatabaseError;
use super::columns;
use super::migrations;
use super::postgres::Session;
use super::readers::{ReaderConnection, Readers};
use super::sql::{Sql, params};
use super::versions::{self, SharedKnown};
use super::writer::{Durability, WriterDatabase};
use crate::StoreError;
use crate::database_url::{DatabaseUrl, ServerRole};

/// The first key of the advisory lock ("Whrf"). The second one is the schema.
const LOCK: i64 = 0x5768_7266;

/// The first key of the advisory lock that all replicas share.
const REPLICAS: i64 = LOCK + 1;

/// The time for the connection of another server to close.
const CLOSING: Duration = Duration::from_secs(5);

/// The difference of two clocks in milliseconds that is not worth a warning.
const CLOCKS_MS: u64 = 2_000;

/// The time for a reader to become free.
const FREE_WITHIN: Duration = Duration::from_secs(10);

/// Begins a transaction that writes, with the next version. Its row lock keeps the transactions of other
/// servers waiting.
const BEGIN: &str = "BEGIN; UPDATE writer SET version = version + 1 RETURNING version";

/// The readers' transactions see one snapshot.
const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The database of the writer thread.
pub(super) struct ServerDatabase {
    url: Arc<DatabaseUrl>,
    session: Session,
    epoch: i64,
    /// Whether the session broke during a commit, so that the transaction may be committed later.
    is_commit_unknown: Cell<bool>,
    has_new_session: bool,
    /// The state that the caches have, for the version check.
    known: SharedKnown,
    /// The version of the open transaction.
    version: i64,
}

impl ServerDatabase {
    /// Takes the right to write, and brings the schema to the newest version. A replica does neither.
    ///
    /// # Errors
    /// [`StoreError::Directory`] for a database of another program or of a newer version.
    ///
    /// [`StoreError::HasPrimary`] for a primary if there is one, [`StoreError::OtherSchema`] for a replica.
    pub(super) fn open(url: &Arc<DatabaseUrl>) -> Result<Self, StoreError> {
        let session = connect(url).map_err(|error| unusable(url, &error))?;
        let sql = Sql::server(&session);
        let encoding =
            sql.first("SELECT CURRENT_SETTING('server_encoding')", &[], |row| row.get::<String>(0))?;
        if encoding.as_deref() != Some("UTF8") {
            let encoding = encoding.unwrap_or_default();
            return Err(unusable(
                url,
                &format!("its encoding is {encoding}; create it with ENCODING 'UTF8'"),
            ));
        }
        compare_clocks(sql)?;
        let epoch = if url.role == ServerRole::Replica {
            migrations::server_version(&session)?;
            "SELECT epoch FROM writer"
        } else {
            let begun = Instant::now();
            while !take_lock(&session)? {
                if url.role == ServerRole::Primary {
                    return Err(StoreError::HasPrimary(url.place()));
                }
                // The connection of a server that has just ended may still be closing.
                if begun.elapsed() > CLOSING {
                    return Err(StoreError::InUse(url.place()));
                }
                std::thread::sleep(CLOSING / 50);
            }
            migrations::migrate_server(&session).map_err(|error| unusable(url, &error))?;
            "UPDATE writer SET epoch = epoch + 1, address = '', secret = '' RETURNING epoch"
        };
        let epoch = Sql::server(&session).first(epoch, &[], |row| row.get(0))?;
        let epoch = epoch.ok_or_else(|| StoreError::Damaged("the database has no epoch".to_owned()))?;
        let is_commit_unknown = Cell::default();
        Ok(Self {
            url: url.clone(),
            session,
            epoch,
            is_commit_unknown,
            has_new_session: false,
            known: SharedKnown::default(),
            version: 0,
        })
    }

    /// The epoch of the lock: each process that takes it increments the number.
    pub(super) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The state that the caches have, which the writer advances.
    pub(super) fn known(&self) -> SharedKnown {
        self.known.clone()
    }

    /// Connects again after the connection broke.
    fn reconnect(&mut self) -> Result<(), StoreError> {
        let session = connect(&self.url)?;
        let has_lock = self.url.role == ServerRole::Replica || take_lock(&session)?;
        if !has_lock {
            let place = self.url.place();
            // Either the server has not noticed yet that the old connection broke, or another server took
            // over.
            return Err(away(format!("{place}: another connection holds the right to write")));
        }
        let epoch = Sql::server(&session).first("SELECT epoch FROM writer", &[], |row| row.get::<i64>(0))?;
        if epoch != Some(self.epoch) && self.url.role != ServerRole::Replica {
            let place = self.url.place();
            self.is_commit_unknown.set(false);
            self.has_new_session = true;
            tracing::error!(database = %place, "another server has used the metadata database: restart this one");
            return Err(away(format!("{place}: another server has used the database; restart this one")));
        }
        tracing::info!(database = %self.url.place(), "connected to the metadata database again");
        self.session = session;
        // The old one has ended, or it would hold the right to write.
        self.is_commit_unknown.set(false);
        self.has_new_session = true;
        Ok(())
    }
}

/// Warns of a clock that differs from that of the database. Times are those of the servers, so a difference
/// between them counts for the order of pushes, and the end of tokens and grace periods.
fn compare_clocks(sql: Sql<'_>) -> Result<(), StoreError> {
    let now = "SELECT CAST(EXTRACT(EPOCH FROM CLOCK_TIMESTAMP()) * 1000 AS BIGINT)";
    let now = sql.first(now, &[], |row| row.get::<i64>(0))?.unwrap_or_default();
    let milliseconds = columns::now() - now;
    if milliseconds.unsigned_abs() > CLOCKS_MS {
        tracing::warn!(
            milliseconds,
            "the clock of this server differs from that of the metadata database; set both by NTP"
        );
    }
    Ok(())
}

fn connect(url: &DatabaseUrl) -> Result<Session, StoreError> {
    Session::connect(url)
}

/// Takes the right to write, which the session holds until it ends. Returns `false` if another one has it.
fn take_lock(session: &Session) -> Result<bool, StoreError> {
    try_lock(session, "PG_TRY_ADVISORY_LOCK", LOCK)
}

fn try_lock(session: &Session, function: &str, key: i64) -> Result<bool, StoreError> {
    let lock = format!(
        "SELECT {function}(CAST(?1 AS INT4),
             (SELECT CAST(oid AS INT4) FROM pg_namespace WHERE nspname = CURRENT_SCHEMA()))"
    );
    Ok(Sql::server(session).first(&lock, params![key], |row| row.get(0))?.unwrap_or(false))
}

/// Announces a replica until the session ends.
pub(super) fn announce_replica(session: &Session) -> Result<(), StoreError> {
    try_lock(session, "PG_TRY_ADVISORY_LOCK_SHARED", REPLICAS).map(drop)
}

/// Whether a replica has announced itself. The session is not to be used afterwards.
pub(super) fn has_replicas(session: &Session) -> Result<bool, StoreError> {
    Ok(!try_lock(session, "PG_TRY_ADVISORY_LOCK", REPLICAS)?)
}

/// Whether no session has the right to write.
pub(super) fn is_lock_free(session: &Session) -> Result<bool, StoreError> {
    let is_free = take_lock(session)?;
    if is_free {
        session.script("SELECT PG_ADVISORY_UNLOCK_ALL()")?;
    }
    Ok(is_free)
}

/// Ends the session that has the right to write, if it is that of an epoch.
pub(super) fn end_holder(session: &Session, epoch: i64) -> Result<(), StoreError> {
    let end = "SELECT COUNT(PG_TERMINATE_BACKEND(pid)) FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND classid = CAST(?1 AS INT4) AND pid <> PG_BACKEND_PID()
          AND database = (SELECT oid FROM pg_database WHERE datname = CURRENT_DATABASE())
          AND objid = (SELECT oid FROM pg_namespace WHERE nspname = CURRENT_SCHEMA())
          AND EXISTS (SELECT 1 FROM writer WHERE epoch = ?2)";
    Sql::server(session).first(end, params![LOCK, epoch], |row| row.get::<i64>(0))?;
    Ok(())
}

fn away(message: String) -> StoreError {
    StoreError::Database(DatabaseError::away(message))
}

pub(super) fn unusable(url: &DatabaseUrl, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Directory(format!("cannot use the metadata database {}: {reason}", url.place()))
}

impl Drop for ServerDatabase {
    fn drop(&mut self) {
        // The server would notice the end of the connection a moment later.
        if let Err(error) = self.session.script("SELECT PG_ADVISORY_UNLOCK_ALL()") {
            tracing::debug!(%error, "the right to write ends with its connection");
        }
    }
}

impl WriterDatabase for ServerDatabase {
    fn sql(&self) -> Sql<'_> {
        Sql::server(&self.session)
    }

    fn begin(&mut self, durability: Durability) -> Result<(), StoreError> {
        let begin = |session: &Session| match durability {
            Durability::Disk => session.begin(BEGIN),
            Durability::Bulk => session.begin_long(BEGIN),
            // The next durable commit includes it.
            Durability::Process => session.begin(&format!("{BEGIN}; SET LOCAL synchronous_commit = off")),
        };
        let version = match begin(&self.session) {
            Err(error) if error.is_away() => {
                self.reconnect()?;
                begin(&self.session)
            }
            begun => begun,
        };
        self.version =
            version?.ok_or_else(|| StoreError::Damaged("the database has no version".to_owned()))?;
        Ok(())
    }

    fn is_in_transaction(&self) -> bool {
        self.session.is_in_transaction()
    }

    fn rollback(&self) -> Result<(), StoreError> {
        self.session.rollback()
    }

    fn savepoint(&self) -> Result<(), StoreError> {
        self.session.send_script("SAVEPOINT operation")
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.session.settle()
    }

    fn end_savepoint(&self, has_failed: bool) -> Result<(), StoreError> {
        if has_failed {
            self.session.rollback_to("ROLLBACK TO operation")?;
        }
        self.session.send_script("RELEASE operation")
    }

    fn prepare_commit(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn commit(&self) -> Result<(), StoreError> {
        let committed = self.session.commit();
        if committed.is_err() && self.session.is_closed() {
            self.is_commit_unknown.set(true);
        }
        committed
    }

    fn committed(&mut self, _: Durability, last_change: Option<i64>) -> Result<(), StoreError> {
        versions::committed(&self.known, self.version, last_change);
        Ok(())
    }

    fn after_batch(&mut self) {}

    /// Ends the uncertainty about a commit without an answer, which readers may see later.
    fn when_idle(&mut self) -> bool {
        if self.is_commit_unknown.get()
            && let Err(error) = self.reconnect()
        {
            tracing::debug!(%error, "the metadata database is still away");
        }
        !self.is_commit_unknown.get()
    }

    fn take_session_change(&mut self) -> bool {
        std::mem::take(&mut self.has_new_session)
    }

    fn turn_within(&self) -> Option<Duration> {
        Some(self.session.statement_timeout())
    }

    /// Room on the disk of the server is the operator's.
    fn make_room(&mut self) -> bool {
        false
    }

    fn keep_room(&mut self) {}

    fn after_full(&mut self) {}
}

pub(super) fn readers(url: &Arc<DatabaseUrl>) -> Arc<Readers> {
    let url = url.clone();
    Readers::new(url.readers, Some(FREE_WITHIN), move || Ok(Box::new(ServerReader(connect(&url)?))))
}

struct ServerReader(Session);

impl ReaderConnection for ServerReader {
    fn sql(&self) -> Sql<'_> {
        Sql::server(&self.0)
    }

    fn begin(&self) -> Result<(), StoreError> {
        self.0.begin_with_first(BEGIN_READ);
        Ok(())
    }

    fn end(&self) -> Result<(), StoreError> {
        self.0.end_without_wait();
        if self.0.is_closed() { Err(StoreError::Closed) } else { Ok(()) }
    }
}

/// Asks a database that this process may not use. The answer is `false` without the table `table`.
pub(super) fn ask(
    url: &DatabaseUrl,
    table: &str,
    question: impl FnOnce(Sql<'_>) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    let session = connect(url).map_err(|error| unusable(url, &error))?;
    Ok(session.has_table(table)? && question(Sql::server(&session))?)
}

#[cfg(test)]
mod tests;
