//! The tables of a database, as its catalog describes them.

use super::super::sql::{Sql, params};
use super::super::value::Kind;
use crate::StoreError;
use crate::metadata::sql::Both;

/// A table and its columns, ordered by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<(String, Kind)>,
}

const TABLES: Both = Both {
    sqlite: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
    postgres: "SELECT tablename::TEXT FROM pg_tables WHERE schemaname = CURRENT_SCHEMA() ORDER BY tablename",
};
const COLUMNS: Both = Both {
    sqlite: "SELECT name, LOWER(type) FROM pragma_table_info(?1) ORDER BY name",
    postgres: "SELECT a.attname::TEXT, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
               JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = CURRENT_SCHEMA() AND c.relname = ?1 AND c.relkind = 'r'
                 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname",
};
/// The last value of each counter of ids, by its table.
const COUNTERS: Both = Both {
    sqlite: "SELECT name, seq FROM sqlite_sequence",
    postgres: "SELECT c.relname::TEXT, COALESCE(pg_sequence_last_value(
                 pg_get_serial_sequence(quote_ident(c.relname), 'id')::regclass), 0)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'id' AND a.attidentity <> ''
               WHERE n.nspname = CURRENT_SCHEMA()",
};

/// Returns all tables, ordered by their names.
pub(super) fn tables(sql: Sql<'_>) -> Result<Vec<Table>, StoreError> {
    let names: Vec<String> = sql.all(sql.either(TABLES), &[], |row| row.get(0))?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let mut columns = sql.all(sql.either(COLUMNS), params![name], |row| {
            let kind = match row.text(1)? {
                "integer" | "bigint" => Kind::Integer,
                "text" => Kind::Text,
                "blob" | "bytea" => Kind::Blob,
                other => return Err(StoreError::Damaged(format!("a column of {name} has the type {other}"))),
            };
            Ok((row.get::<String>(0)?, kind))
        })?;
        // Databases order names by their own rules.
        columns.sort_by(|(one, _), (other, _)| one.cmp(other));
        tables.push(Table { name, columns });
    }
    tables.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(tables)
}

/// Returns the counters of ids that are never used again.
pub(super) fn counters(sql: Sql<'_>) -> Result<Vec<(String, i64)>, StoreError> {
    sql.all(sql.either(COUNTERS), &[], |row| Ok((row.get(0)?, row.get(1)?)))
}

impl Table {
    /// The statement that reads all rows.
    pub(super) fn select(&self) -> String {
        format!("SELECT {} FROM {}", self.column_names(), quoted(&self.name))
    }

    /// The statement that inserts a number of rows.
    pub(super) fn insert(&self, rows: usize) -> String {
        let width = self.columns.len();
        let values = (0..rows).map(|row| {
            let numbers = (1..=width).map(|column| format!("?{}", row * width + column));
            format!("({})", numbers.collect::<Vec<_>>().join(", "))
        });
        let values = values.collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {} ({}) VALUES {values}", quoted(&self.name), self.column_names())
    }

    fn column_names(&self) -> String {
        self.columns.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn has_id(&self) -> bool {
        self.columns.iter().any(|(name, kind)| name == "id" && *kind == Kind::Integer)
    }
}

/// Quotes a name of a table, a column or a constraint.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
