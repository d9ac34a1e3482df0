//! Transfer of all metadata from one database to another, between SQLite and PostgreSQL.
//!
//! It reads one snapshot of the source, and writes one transaction to the target. Tables and columns come
//! from the schemas, which are equal in both, so a migration needs no change here. Each table is read back
//! and compared before the commit: the number of rows and a checksum. The target has the id of the source
//! afterwards.
//!
//! - `schema`: tables, columns, counters, and the triggers and constraints that must rest meanwhile.
//! - `source`, `target`: the two databases.
//! - `marks`: tables that mark an unfinished copy, and a database that was moved away.

mod marks;
mod schema;
mod source;
mod target;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use oci::{Algorithm, Digester};

pub(crate) use marks::{check_server, check_source, mark_departed};
use schema::Table;
use source::Source;
use target::Target;

use super::sql::{Row, Sql};
use super::value::{Kind, Value};
use crate::StoreError;
use crate::database_url::DatabaseUrl;

#[derive(Clone, Debug)]
pub(crate) enum DatabasePlace {
    /// A file of SQLite.
    File(PathBuf),
    /// A server of PostgreSQL.
    Server(Box<DatabaseUrl>),
}

/// A table whose copy is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedTable {
    /// The name.
    pub name: String,
    /// The number of rows.
    pub rows: u64,
    /// The checksum of all rows, in hexadecimal digits. It does not depend on their order.
    pub checksum: String,
}

/// Tables of one place only: its own migrations, and the right to write.
const OWN_TABLES: [&str; 2] = ["schema_migrations", "writer"];
/// Tables whose content is lost with a move of the blobs: uploads begin again, and journaled content is
/// copied as blobs.
const OF_BLOBS: [&str; 2] = ["uploads", "unsettled_contents"];
/// The parameters of a statement that inserts several rows.
const PARAMETERS: usize = 2000;
/// The bytes of the rows in memory.
const BATCH_BYTES: usize = 1 << 20;

/// Checks that a database may become the target for the one with this id.
///
/// # Errors
/// [`StoreError::Directory`] if it is used, or cannot be reached.
pub(crate) fn check_target(target: &DatabasePlace, id: &str) -> Result<(), StoreError> {
    match target {
        DatabasePlace::File(_) => Ok(()),
        DatabasePlace::Server(url) => marks::check_target(url, id),
    }
}

/// Copies all tables. `with_uploads`: the blobs stay where they are. `progress` receives the number of rows
/// so far. The caller keeps the source frozen.
///
/// # Errors
/// [`StoreError::Directory`] if the target cannot be used, [`StoreError::Damaged`] if the copy differs. The
/// target then has no copy.
pub(crate) fn copy(
    source: &DatabasePlace,
    target: &DatabasePlace,
    with_uploads: bool,
    progress: impl Fn(u64),
) -> Result<Vec<CopiedTable>, StoreError> {
    let source = Source::open(source)?;
    let id = super::stored_id(source.sql())?;
    let mut target = Target::open(target, &id)?;
    let tables = shared_tables(target.sql())?;
    check_tables(&source, &tables)?;
    target.begin(&tables)?;
    let mut copied = Vec::new();
    let mut rows = 0;
    for table in &tables {
        let is_left_out = !with_uploads && OF_BLOBS.contains(&table.name.as_str());
        let sum = match is_left_out {
            true => Sum::default(),
            false => copy_table(&source, &target, table, |more| {
                rows += more;
                progress(rows);
            })?,
        };
        let found = target.sum(table)?;
        if found != sum {
            return Err(StoreError::Damaged(format!(
                "the copy of the table {} has {} rows with the checksum {}, and its source {} with {}",
                table.name,
                found.rows,
                found.checksum(),
                sum.rows,
                sum.checksum()
            )));
        }
        copied.push(CopiedTable { name: table.name.clone(), rows: sum.rows, checksum: sum.checksum() });
    }
    target.end(&tables, &source.counters()?)?;
    Ok(copied)
}

/// Returns the tables that are copied.
fn shared_tables(sql: Sql<'_>) -> Result<Vec<Table>, StoreError> {
    let is_shared = |name: &str| !OWN_TABLES.contains(&name) && !marks::is_mark(name);
    Ok(schema::tables(sql)?.into_iter().filter(|table| is_shared(&table.name)).collect())
}

/// Refuses a target whose tables are not those of the source.
fn check_tables(source: &Source, tables: &[Table]) -> Result<(), StoreError> {
    let of_source = shared_tables(source.sql())?;
    if of_source == tables {
        return Ok(());
    }
    let name = of_source
        .iter()
        .find(|table| !tables.contains(table))
        .or_else(|| tables.iter().find(|table| !of_source.contains(table)))
        .map_or("", |table| &table.name);
    Err(StoreError::Directory(format!(
        "the schemas of the two databases differ in the table {name}: use one version of wharfinger for both"
    )))
}

fn copy_table(
    source: &Source,
    target: &Target,
    table: &Table,
    mut progress: impl FnMut(u64),
) -> Result<Sum, StoreError> {
    let mut sum = Sum::default();
    let most = (PARAMETERS / table.columns.len()).max(1);
    let mut batch = Batch::default();
    source.each(table, |row| {
        let cells = read(row, table)?;
        sum.add(&cells);
        batch.bytes += cells.iter().map(Cell::bytes).sum::<usize>();
        batch.rows.push(cells);
        if batch.rows.len() >= most || batch.bytes >= BATCH_BYTES {
            progress(batch.rows.len() as u64);
            target.insert(table, &std::mem::take(&mut batch).rows)?;
        }
        Ok(())
    })?;
    progress(batch.rows.len() as u64);
    target.insert(table, &batch.rows)?;
    Ok(sum)
}

#[derive(Default)]
struct Batch {
    rows: Vec<Vec<Cell>>,
    bytes: usize,
}

/// A value of a row, which outlives it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    Null(Kind),
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl Cell {
    fn bytes(&self) -> usize {
        match self {
            Self::Null(_) | Self::Integer(_) => 8,
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Null(kind) => Value::NullOf(*kind),
            Self::Integer(number) => Value::Integer(*number),
            Self::Text(text) => Value::Text(text),
            Self::Blob(bytes) => Value::Blob(bytes),
        }
    }
}

fn read(row: &Row<'_>, table: &Table) -> Result<Vec<Cell>, StoreError> {
    let cell = |(index, (_, kind)): (usize, &(String, Kind))| {
        Ok(match row.value(index)? {
            Value::Null | Value::NullOf(_) => Cell::Null(*kind),
            Value::Integer(number) => Cell::Integer(number),
            // PostgreSQL has no NUL in a text; its driver writes the same character.
            Value::Text(text) => Cell::Text(text.replace('\0', "\u{1}")),
            Value::Blob(bytes) => Cell::Blob(bytes.to_vec()),
        })
    };
    table.columns.iter().enumerate().map(cell).collect()
}

/// The number of rows, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    hashes: u128,
}

impl Sum {
    fn add(&mut self, cells: &[Cell]) {
        let mut digester = Digester::new(Algorithm::Sha256);
        for cell in cells {
            let (kind, length) = match cell {
                Cell::Null(_) => (0, 0),
                Cell::Integer(_) => (1, 8),
                Cell::Text(text) => (2, text.len()),
                Cell::Blob(bytes) => (3, bytes.len()),
            };
            digester.update(&[kind]);
            digester.update(&(length as u64).to_be_bytes());
            match cell {
                Cell::Null(_) => {}
                Cell::Integer(number) => digester.update(&number.to_be_bytes()),
                Cell::Text(text) => digester.update(text.as_bytes()),
                Cell::Blob(bytes) => digester.update(bytes),
            }
        }
        let hash = digester.finish();
        let (first, _) = hash.hash().split_at(16);
        self.hashes =
            self.hashes.wrapping_add(first.iter().fold(0, |sum, byte| (sum << 8) | u128::from(*byte)));
        self.rows += 1;
    }

    fn checksum(self) -> String {
        format!("{:032x}", self.hashes)
    }
}
