//! SQL: the one narrow type through which every statement of the metadata runs, with its values and rows.
//!
//! Statements use the subset that SQLite and PostgreSQL share: parameters numbered `?1`, `?2` …, `ON
//! CONFLICT`, `RETURNING`. `MIN` and `MAX` of two integers belong to it, because `0023_base.sql` defines them
//! as functions in PostgreSQL. Where there is no common text, [`Both`] has one for each. A statement is
//! prepared once per connection and cached. Only this file, [`connection`](super::connection) and
//! [`postgres`](super::postgres) know the drivers; `scripts/check-layers` checks that.

use std::cell::RefCell;

use accounts::Actor;
use oci::{RepositoryName, Tag};
use rusqlite::OptionalExtension as _;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use super::postgres::{self, Session};
use super::rules::{ChangeRules, TagRefusal};
pub(super) use super::value::{FromValue, ToValue, Value, params};
use super::{Change, Commit};
use crate::StoreError;

#[derive(Clone, Copy)]
enum Driver<'a> {
    Sqlite(&'a rusqlite::Connection),
    Postgres(&'a Session),
}

/// A statement whose text differs between the databases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Both {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

/// A connection inside a transaction.
#[derive(Clone, Copy)]
pub(super) struct Sql<'a> {
    connection: Driver<'a>,
    actor: Option<&'a Actor>,
    /// The effects of the transaction so far. `None` outside the writer.
    effects: Option<&'a RefCell<Commit>>,
    /// The operator's rules. `None` for reads.
    rules: Option<&'a dyn ChangeRules>,
    /// Whether the rules on tags apply.
    has_tag_rules: bool,
}

impl<'a> Sql<'a> {
    /// Statements for SQLite.
    pub(super) fn file(connection: &'a rusqlite::Connection) -> Self {
        Self::new(Driver::Sqlite(connection))
    }

    /// Statements for PostgreSQL.
    pub(super) fn server(session: &'a Session) -> Self {
        Self::new(Driver::Postgres(session))
    }

    fn new(connection: Driver<'a>) -> Self {
        Self { connection, actor: None, effects: None, rules: None, has_tag_rules: true }
    }

    /// The same connection for an actor.
    pub(super) fn acting_as(self, actor: &'a Actor) -> Self {
        Self { actor: Some(actor), ..self }
    }

    /// The same connection, which records its effects.
    pub(super) fn recording(self, effects: &'a RefCell<Commit>) -> Self {
        Self { effects: Some(effects), ..self }
    }

    /// The same connection with the operator's rules.
    pub(super) fn obeying(self, rules: Option<&'a dyn ChangeRules>) -> Self {
        Self { rules, ..self }
    }

    /// The same connection without the rules on tags, for facts that the rules cannot refuse.
    pub(super) fn without_tag_rules(self) -> Self {
        Self { has_tag_rules: false, ..self }
    }

    /// The operator's rules.
    pub(super) fn rules(self) -> Option<&'a dyn ChangeRules> {
        self.rules
    }

    /// The operator's rules, if those on tags apply.
    pub(super) fn tag_rules(self) -> Option<&'a dyn ChangeRules> {
        self.rules.filter(|_| self.has_tag_rules)
    }

    /// Asks the rules whether a tag may point to another manifest.
    pub(super) fn check_move(self, repository: &RepositoryName, tag: &Tag) -> Result<(), StoreError> {
        self.check_tag(repository, tag, |rules, actor| rules.may_move(repository, tag, actor))
    }

    /// Asks the rules whether a tag may be deleted.
    pub(super) fn check_deletion(self, repository: &RepositoryName, tag: &Tag) -> Result<(), StoreError> {
        self.check_tag(repository, tag, |rules, actor| rules.may_delete(repository, tag, actor))
    }

    fn check_tag(
        self,
        repository: &RepositoryName,
        tag: &Tag,
        check: impl FnOnce(&dyn ChangeRules, &Actor) -> Result<(), TagRefusal>,
    ) -> Result<(), StoreError> {
        let (Some(rules), Some(actor)) = (self.tag_rules(), self.actor) else { return Ok(()) };
        check(rules, actor)
            .map_err(|refusal| StoreError::TagRefused(Box::new((repository.clone(), tag.clone(), refusal))))
    }

    /// Records a change for the listeners of the commit.
    pub(super) fn record(self, change: Change) {
        if let Some(effects) = self.effects {
            effects.borrow_mut().changes.push(change);
        }
    }

    /// Records that content was journaled.
    pub(super) fn record_journaled(self) {
        if let Some(effects) = self.effects {
            effects.borrow_mut().has_journaled = true;
        }
    }

    /// The actor of the operation. `None` for reads.
    pub(super) fn actor(self) -> Option<&'a Actor> {
        self.actor
    }

    /// The text of a statement for this database.
    pub(super) fn either(self, both: Both) -> &'static str {
        match self.connection {
            Driver::Sqlite(_) => both.sqlite,
            Driver::Postgres(_) => both.postgres,
        }
    }

    /// Runs a statement that returns no rows. Returns the number of rows that it changed.
    pub(super) fn run(self, sql: &str, params: &[Value<'_>]) -> Result<usize, StoreError> {
        match self.connection {
            Driver::Sqlite(connection) => Ok(connection.prepare_cached(sql)?.execute(bound(params))?),
            Driver::Postgres(session) => session.execute(sql, params),
        }
    }

    /// Runs a statement that returns no rows, and of which nobody needs the number of changed rows.
    ///
    /// PostgreSQL gets it without a wait for the answer. An error comes from the next statement that waits, or
    /// from the end of the operation.
    pub(super) fn send(self, sql: &str, params: &[Value<'_>]) -> Result<(), StoreError> {
        match self.connection {
            Driver::Sqlite(_) => self.run(sql, params).map(drop),
            Driver::Postgres(session) => session.send(sql, params),
        }
    }

    /// Reads the first row, if there is one.
    pub(super) fn first<T>(
        self,
        sql: &str,
        params: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match self.connection {
            Driver::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let read =
                    statement.query_row(bound(params), |row| Ok(read(&Row::Sqlite(row)))).optional()?;
                read.transpose()
            }
            Driver::Postgres(session) => {
                let rows = session.query(sql, params)?;
                rows.first().map(|row| read(&Row::Postgres(row))).transpose()
            }
        }
    }

    /// Reads all rows.
    pub(super) fn all<T>(
        self,
        sql: &str,
        params: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        self.each(sql, params, |row| {
            all.push(read(row)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Calls `visit` with every row.
    pub(super) fn each(
        self,
        sql: &str,
        params: &[Value<'_>],
        mut visit: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.each_while(sql, params, |row| visit(row).map(|()| true))
    }

    /// Calls `visit` with each row, until `visit` returns `false`. SQLite finds one row after the other;
    /// PostgreSQL sends all of them first.
    pub(super) fn each_while(
        self,
        sql: &str,
        params: &[Value<'_>],
        mut visit: impl FnMut(&Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        match self.connection {
            Driver::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(bound(params))?;
                while let Some(row) = rows.next()?
                    && visit(&Row::Sqlite(row))?
                {}
            }
            Driver::Postgres(session) => {
                for row in &session.query(sql, params)? {
                    if !visit(&Row::Postgres(row))? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the statement returns a row.
    pub(super) fn exists(self, sql: &str, params: &[Value<'_>]) -> Result<bool, StoreError> {
        match self.connection {
            Driver::Sqlite(connection) => Ok(connection.prepare_cached(sql)?.exists(bound(params))?),
            Driver::Postgres(session) => session.exists(sql, params),
        }
    }

    /// Enlarges the page cache of SQLite's writer, for an operation that changes very many pages. The writer
    /// shrinks it when it is idle.
    pub(super) fn expect_many_changes(self) -> Result<(), StoreError> {
        match self.connection {
            Driver::Sqlite(connection) => Ok(connection.execute_batch(LARGE_CACHE)?),
            Driver::Postgres(_) => Ok(()),
        }
    }
}

const LARGE_CACHE: &str = "PRAGMA cache_size = -32768";

fn bound<'a>(params: &'a [Value<'a>]) -> impl rusqlite::Params + 'a {
    rusqlite::params_from_iter(params)
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null | Self::NullOf(_) => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A row that a statement returned.
pub(super) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a postgres::Row),
}

impl Row<'_> {
    /// The value of column `index`.
    pub(super) fn get<T: FromValue>(&self, index: usize) -> Result<T, StoreError> {
        let value = self.value(index)?;
        T::from_value(value).ok_or_else(|| self.damaged(index, "a value of another type or range"))
    }

    pub(super) fn text(&self, index: usize) -> Result<&str, StoreError> {
        match self.value(index)? {
            Value::Text(text) => Ok(text),
            _ => Err(self.damaged(index, "not text")),
        }
    }

    pub(super) fn value(&self, index: usize) -> Result<Value<'_>, StoreError> {
        let row = match self {
            Self::Sqlite(row) => row,
            Self::Postgres(row) => return Ok(row.try_get(index)?),
        };
        Ok(match row.get_ref(index)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Text(text) => {
                Value::Text(str::from_utf8(text).map_err(|error| self.damaged(index, error))?)
            }
            ValueRef::Blob(bytes) => Value::Blob(bytes),
            ValueRef::Real(_) => return Err(self.damaged(index, "a floating-point number")),
        })
    }

    /// The error for a column with an invalid value.
    pub(super) fn damaged(&self, index: usize, reason: impl std::fmt::Display) -> StoreError {
        let column = match self {
            Self::Sqlite(row) => row.as_ref().column_name(index).unwrap_or_default(),
            Self::Postgres(row) => row.columns().get(index).map_or("", |column| column.name()),
        };
        StoreError::Damaged(format!("column {column} of a row in the database: {reason}"))
    }
}
