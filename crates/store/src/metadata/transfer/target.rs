//! The target of a transfer: one transaction in an empty database.

use std::path::PathBuf;

use super::super::connection::Connection;
use super::super::server_database::ServerDatabase;
use super::super::sql::{Sql, params};
use super::super::value::Value;
use super::super::writer::{Durability, WriterDatabase as _};
use super::super::{create_private, migrations};
use super::schema::{Table, quoted};
use super::source::each_by_cursor;
use super::{Cell, DatabasePlace, Sum, marks, read};
use crate::metadata::commit_mark;
use crate::{StoreError, durable};

pub(super) enum Target {
    File { connection: Connection, path: PathBuf, triggers: Vec<(String, String)> },
    Server { database: ServerDatabase, keys: Vec<ForeignKey> },
}

/// A foreign key of PostgreSQL, which is dropped during the copy.
pub(super) struct ForeignKey {
    table: String,
    name: String,
    definition: String,
}

impl Target {
    /// Makes the schema of an empty database for a copy of the one with this id.
    pub(super) fn open(place: &DatabasePlace, id: &str) -> Result<Self, StoreError> {
        match place {
            DatabasePlace::File(path) => {
                // An interrupted copy may have left it.
                durable::remove_database(path)?;
                create_private(path);
                let connection = Connection::writer(path)?;
                migrations::migrate(&connection, path)?;
                // It ends here, outside of a transaction. The keys are checked at the end.
                connection.script("PRAGMA foreign_keys = OFF")?;
                let triggers = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'";
                let triggers = connection.sql().all(triggers, &[], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(Self::File { connection, path: path.clone(), triggers })
            }
            DatabasePlace::Server(url) => {
                marks::begin(url, id)?;
                let database = ServerDatabase::open(&std::sync::Arc::new((**url).clone()))?;
                let keys = database.sql().all(
                    "SELECT c.conrelid::regclass::TEXT, c.conname::TEXT, pg_get_constraintdef(c.oid)
                     FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
                     WHERE c.contype = 'f' AND n.nspname = CURRENT_SCHEMA()",
                    &[],
                    |row| Ok(ForeignKey { table: row.get(0)?, name: row.get(1)?, definition: row.get(2)? }),
                )?;
                Ok(Self::Server { database, keys })
            }
        }
    }

    pub(super) fn sql(&self) -> Sql<'_> {
        match self {
            Self::File { connection, .. } => connection.sql(),
            Self::Server { database, .. } => database.sql(),
        }
    }

    /// Begins the transaction with empty tables. Triggers and foreign keys rest, because the rows come in any
    /// order, and counters that triggers keep are copied.
    pub(super) fn begin(&mut self, tables: &[Table]) -> Result<(), StoreError> {
        match self {
            Self::File { connection, triggers, .. } => {
                connection.script("BEGIN IMMEDIATE")?;
                let sql = connection.sql();
                for (name, _) in triggers {
                    sql.run(&format!("DROP TRIGGER {}", quoted(name)), &[])?;
                }
                for table in tables {
                    sql.run(&format!("DELETE FROM {}", quoted(&table.name)), &[])?;
                }
            }
            Self::Server { database, keys } => {
                database.begin(Durability::Bulk)?;
                let sql = database.sql();
                for ForeignKey { table, name, .. } in keys {
                    sql.run(&format!("ALTER TABLE {table} DROP CONSTRAINT {}", quoted(name)), &[])?;
                }
                for table in tables {
                    let name = quoted(&table.name);
                    sql.run(&format!("ALTER TABLE {name} DISABLE TRIGGER USER"), &[])?;
                    sql.run(&format!("TRUNCATE {name}"), &[])?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn insert(&self, table: &Table, rows: &[Vec<Cell>]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let values: Vec<Value<'_>> = rows.iter().flatten().map(Cell::value).collect();
        self.sql().run(&table.insert(rows.len()), &values)?;
        Ok(())
    }

    /// Reads a table back.
    pub(super) fn sum(&self, table: &Table) -> Result<Sum, StoreError> {
        let mut sum = Sum::default();
        let add = |row: &super::Row<'_>| {
            sum.add(&read(row, table)?);
            Ok(())
        };
        match self {
            Self::File { connection, .. } => connection.sql().each(&table.select(), &[], add)?,
            Self::Server { database, .. } => each_by_cursor(database.sql(), table, add)?,
        }
        Ok(sum)
    }

    /// Sets the counters, checks the references between the tables, and commits.
    pub(super) fn end(mut self, tables: &[Table], counters: &[(String, i64)]) -> Result<(), StoreError> {
        for table in tables.iter().filter(|table| table.has_id()) {
            let counter = counters.iter().find(|(name, _)| *name == table.name).map_or(0, |(_, last)| *last);
            self.set_counter(&table.name, counter)?;
        }
        match &mut self {
            Self::File { connection, path, triggers } => {
                let sql = connection.sql();
                for (_, text) in &*triggers {
                    sql.run(text, &[])?;
                }
                let broken = "SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1";
                if let Some(table) = sql.first(broken, &[], |row| row.get::<String>(0))? {
                    return Err(StoreError::Damaged(format!(
                        "the table {table} refers to rows that are missing"
                    )));
                }
                connection.script("COMMIT; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE")?;
                commit_mark::remove(path)?;
                durable::sync(path)
            }
            Self::Server { database, keys } => {
                let sql = database.sql();
                for table in tables {
                    sql.run(&format!("ALTER TABLE {} ENABLE TRIGGER USER", quoted(&table.name)), &[])?;
                }
                for ForeignKey { table, name, definition } in &*keys {
                    let name = quoted(name);
                    sql.run(&format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"), &[])?;
                }
                database.commit()
            }
        }
    }

    /// Lets the ids of a table go on after the last one of the source.
    fn set_counter(&self, table: &str, last: i64) -> Result<(), StoreError> {
        let sql = self.sql();
        let greatest = format!("SELECT COALESCE(MAX(id), 0) FROM {}", quoted(table));
        let last = last.max(sql.first(&greatest, &[], |row| row.get(0))?.unwrap_or(0));
        if last == 0 {
            return Ok(());
        }
        match self {
            Self::File { .. } => {
                let own = "SELECT 1 FROM sqlite_schema WHERE name = ?1 AND sql LIKE '%AUTOINCREMENT%'";
                if sql.exists(own, params![table])? {
                    sql.run("DELETE FROM sqlite_sequence WHERE name = ?1", params![table])?;
                    sql.run("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", params![table, last])?;
                }
            }
            Self::Server { .. } => {
                let sequence = "SELECT pg_get_serial_sequence(quote_ident(?1), 'id')";
                let sequence = sql.first(sequence, params![table], |row| row.get::<Option<String>>(0))?;
                if let Some(sequence) = sequence.flatten() {
                    let set = "SELECT setval(CAST(?1 AS regclass), ?2)";
                    sql.first(set, params![sequence, last], |row| row.get::<i64>(0))?;
                }
            }
        }
        Ok(())
    }
}
