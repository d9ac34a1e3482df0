//! The source of a transfer: one snapshot of a database.

use super::super::connection::Connection;
use super::super::postgres::Session;
use super::super::sql::{Row, Sql};
use super::DatabasePlace;
use super::schema::{self, Table, quoted};
use crate::StoreError;

/// The rows that PostgreSQL sends at a time.
const FETCH: usize = 1000;

pub(super) enum Source {
    File(Connection),
    Server(Session),
}

impl Source {
    /// Opens the database beside its server, and keeps one snapshot of it.
    pub(super) fn open(place: &DatabasePlace) -> Result<Self, StoreError> {
        match place {
            DatabasePlace::File(path) => {
                let connection = Connection::reader(path)?;
                connection.script("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")?;
                Ok(Self::File(connection))
            }
            DatabasePlace::Server(url) => {
                let session = Session::connect(url)?;
                session.begin_long("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
                Ok(Self::Server(session))
            }
        }
    }

    pub(super) fn sql(&self) -> Sql<'_> {
        match self {
            Self::File(connection) => connection.sql(),
            Self::Server(session) => Sql::server(session),
        }
    }

    /// Calls `visit` with every row of a table.
    pub(super) fn each(
        &self,
        table: &Table,
        visit: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match self {
            Self::File(connection) => connection.sql().each(&table.select(), &[], visit),
            Self::Server(session) => each_by_cursor(Sql::server(session), table, visit),
        }
    }

    pub(super) fn counters(&self) -> Result<Vec<(String, i64)>, StoreError> {
        schema::counters(self.sql())
    }
}

/// Reads a table of PostgreSQL in pieces, because a plain statement sends all rows at once.
pub(super) fn each_by_cursor(
    sql: Sql<'_>,
    table: &Table,
    mut visit: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let cursor = quoted(&format!("copy_{}", table.name));
    sql.run(&format!("DECLARE {cursor} NO SCROLL CURSOR FOR {}", table.select()), &[])?;
    let fetch = format!("FETCH {FETCH} FROM {cursor}");
    loop {
        let mut rows = 0;
        sql.each(&fetch, &[], |row| {
            rows += 1;
            visit(row)
        })?;
        if rows < FETCH {
            break;
        }
    }
    sql.run(&format!("CLOSE {cursor}"), &[])?;
    Ok(())
}
