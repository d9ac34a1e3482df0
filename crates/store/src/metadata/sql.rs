//! Running statements: the narrow way through which all SQL of the metadata goes.
//!
//! The statements themselves are written in what SQLite and PostgreSQL share: parameters numbered
//! `?1`, `?2` …, `ON CONFLICT`, `RETURNING`. Every one is prepared once and kept by its connection.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::StoreError;

/// A connection inside a transaction.
#[derive(Clone, Copy)]
pub(super) struct Sql<'a>(&'a Connection);

impl<'a> Sql<'a> {
    /// The caller has begun the transaction, and ends it.
    pub(super) fn inside_transaction(connection: &'a Connection) -> Self {
        Self(connection)
    }

    /// Runs a statement that returns no rows; how many rows it changed.
    pub(super) fn run(self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        Ok(self.0.prepare_cached(sql)?.execute(params)?)
    }

    /// The first row, if there is one.
    pub(super) fn first<T>(
        self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.0.prepare_cached(sql)?.query_row(params, read).optional()?)
    }

    /// All rows.
    pub(super) fn all<T>(
        self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Shows all rows to `look`.
    pub(super) fn each(
        self,
        sql: &str,
        params: impl Params,
        mut look: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            look(row)?;
        }
        Ok(())
    }

    /// Shows rows to `look`, one by one as they are found, until it returns `false`.
    pub(super) fn each_while(
        self,
        sql: &str,
        params: impl Params,
        mut look: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
    ) -> Result<(), StoreError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()?
            && look(row)?
        {}
        Ok(())
    }

    /// Whether there is a row.
    pub(super) fn exists(self, sql: &str, params: impl Params) -> Result<bool, StoreError> {
        Ok(self.0.prepare_cached(sql)?.exists(params)?)
    }

    /// Gives the writer more memory for pages, for an operation that changes very many of them.
    /// It gives it back when it next has nothing to do.
    pub(super) fn expect_many_changes(self) -> Result<(), StoreError> {
        Ok(self.0.execute_batch(MUCH_CACHE)?)
    }
}

/// Makes a connection keep the plan of a statement that it has prepared.
///
/// Otherwise SQLite, as it is built here (with `STAT4`), prepares a statement anew whenever another
/// value is bound to it, which costs several times what our statements cost to run.
pub(super) fn keep_plans(connection: &Connection, statements: usize) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(statements);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// How much memory the writer has for pages: little, as the kernel has them too.
pub(super) const LITTLE_CACHE: &str = "PRAGMA cache_size = -1024";
const MUCH_CACHE: &str = "PRAGMA cache_size = -32768";
