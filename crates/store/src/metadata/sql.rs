//! SQL: the one narrow type through which every statement of the metadata runs, with its values and rows.
//!
//! Statements use the subset that SQLite and PostgreSQL share: parameters numbered `?1`, `?2` …, `ON CONFLICT`,
//! `RETURNING`. Each is prepared once per connection and cached. Only this file and
//! [`connection`](super::connection) know the driver.

use std::cell::RefCell;

use accounts::Actor;
use oci::{RepositoryName, Tag};
use rusqlite::OptionalExtension as _;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use super::rules::{ChangeRules, TagRefusal};
use super::{Change, Commit};
use crate::StoreError;

/// A connection inside a transaction.
#[derive(Clone, Copy)]
pub(super) struct Sql<'a> {
    connection: &'a rusqlite::Connection,
    actor: Option<&'a Actor>,
    /// The effects of the transaction so far. `None` outside the writer.
    effects: Option<&'a RefCell<Commit>>,
    /// The operator's rules. `None` for reads.
    rules: Option<&'a dyn ChangeRules>,
    /// Whether the rules on tags apply.
    has_tag_rules: bool,
}

impl<'a> Sql<'a> {
    pub(super) fn new(connection: &'a rusqlite::Connection) -> Self {
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

    /// The same connection, which records no effects because they will be rolled back.
    pub(super) fn silently(self) -> Self {
        Self { effects: None, ..self }
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

    /// Runs a statement that returns no rows. Returns the number of rows that it changed.
    pub(super) fn run(self, sql: &str, params: &[Value<'_>]) -> Result<usize, StoreError> {
        Ok(self.connection.prepare_cached(sql)?.execute(bound(params))?)
    }

    /// Reads the first row, if there is one.
    pub(super) fn first<T>(
        self,
        sql: &str,
        params: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let read = statement.query_row(bound(params), |row| Ok(read(&Row(row)))).optional()?;
        read.transpose()
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

    /// Calls `visit` with each row as the database finds it, until `visit` returns `false`.
    pub(super) fn each_while(
        self,
        sql: &str,
        params: &[Value<'_>],
        mut visit: impl FnMut(&Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(bound(params))?;
        while let Some(row) = rows.next()?
            && visit(&Row(row))?
        {}
        Ok(())
    }

    /// Whether the statement returns a row.
    pub(super) fn exists(self, sql: &str, params: &[Value<'_>]) -> Result<bool, StoreError> {
        Ok(self.connection.prepare_cached(sql)?.exists(bound(params))?)
    }

    /// Enlarges the page cache of the writer, for an operation that changes very many pages. The writer shrinks it when
    /// it is idle.
    pub(super) fn expect_many_changes(self) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch(LARGE_CACHE)?)
    }
}

const LARGE_CACHE: &str = "PRAGMA cache_size = -32768";

fn bound<'a>(params: &'a [Value<'a>]) -> impl rusqlite::Params + 'a {
    rusqlite::params_from_iter(params)
}

/// A parameter of a statement, or a column of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The parameters of a statement.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::metadata::sql::ToValue::to_value(&$value)),*]
    };
}
pub(super) use params;

/// A type that can be a parameter.
pub(super) trait ToValue {
    fn to_value(&self) -> Value<'_>;
}

impl ToValue for Value<'_> {
    fn to_value(&self) -> Value<'_> {
        *self
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

/// A type that a column can be read as. `None` if the value has another type or is out of range.
pub(super) trait FromValue: Sized {
    fn from_value(value: Value<'_>) -> Option<Self>;
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl FromValue for String {
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.to_owned()) } else { None }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Blob(bytes) = value { Some(bytes.to_vec()) } else { None }
    }
}

impl FromValue for u64 {
    fn from_value(value: Value<'_>) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl ToValue for $integer {
            fn to_value(&self) -> Value<'_> {
                Value::Integer(i64::from(*self))
            }
        }

        impl FromValue for $integer {
            fn from_value(value: Value<'_>) -> Option<Self> {
                if let Value::Integer(number) = value { number.try_into().ok() } else { None }
            }
        }
    )*};
}
integers!(i64, i32, u32, u16, u8);

impl ToValue for bool {
    fn to_value(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl FromValue for bool {
    fn from_value(value: Value<'_>) -> Option<Self> {
        i64::from_value(value).map(|number| number != 0)
    }
}

/// A row that a statement returned.
pub(super) struct Row<'a>(&'a rusqlite::Row<'a>);

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
        Ok(match self.0.get_ref(index)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Text(text) => {
                Value::Text(str::from_utf8(text).map_err(|error| self.damaged(index, error))?)
            }
            ValueRef::Blob(bytes) => Value::Blob(bytes),
            ValueRef::Real(_) => return Err(self.damaged(index, "a floating-point number")),
        })
    }

    /// The error for a column that holds what it must not.
    pub(super) fn damaged(&self, index: usize, reason: impl std::fmt::Display) -> StoreError {
        let column = self.0.as_ref().column_name(index).unwrap_or_default().to_owned();
        StoreError::Damaged(format!("column {column} of a row in the database: {reason}"))
    }
}
