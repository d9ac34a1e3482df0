//! Marks in PostgreSQL: a table that an unfinished copy has, and one that a database has that was moved away.
//!
//! Neither is a part of the schema, so that no migration knows them. A database with a mark is refused by a
//! server, with the reason.

use super::super::postgres::Session;
use super::super::server_database::{has_replicas, unusable};
use super::super::sql::{Sql, params};
use super::super::stored_id;
use crate::StoreError;
use crate::database_url::DatabaseUrl;

/// The copy of the database with the id in it is not in use yet.
const ARRIVAL: &str = "move_arrival";
/// The database was moved to the place in it.
const DEPARTURE: &str = "move_departure";

pub(super) fn is_mark(table: &str) -> bool {
    [ARRIVAL, DEPARTURE].contains(&table)
}

/// Refuses a target that is in use, or has tables of another program.
pub(super) fn check_target(url: &DatabaseUrl, id: &str) -> Result<(), StoreError> {
    let session = Session::connect(url).map_err(|error| unusable(url, &error))?;
    check_tables(&session, url, id)
}

fn check_tables(session: &Session, url: &DatabaseUrl, id: &str) -> Result<(), StoreError> {
    let sql = Sql::server(session);
    let any = "SELECT tablename::TEXT FROM pg_tables WHERE schemaname = CURRENT_SCHEMA() ORDER BY tablename";
    let Some(table) = sql.first(any, &[], |row| row.get::<String>(0))? else { return Ok(()) };
    let refused = |what: &str| {
        let place = url.place();
        StoreError::Directory(format!(
            "{place} is not empty: {what}. Name another database, or a schema of its own with \
             options=-c%20search_path%3DNAME"
        ))
    };
    if session.has_table(ARRIVAL)? {
        let arriving = sql.first(&format!("SELECT id FROM {ARRIVAL}"), &[], |row| row.get::<String>(0))?;
        return match arriving {
            Some(arriving) if arriving == id => Ok(()),
            _ => Err(refused("it has the unfinished copy of another registry")),
        };
    }
    if session.has_table(DEPARTURE)? && session.has_table("identity")? && stored_id(sql)? == id {
        // This registry has moved away from it, and comes back.
        return Ok(());
    }
    match session.has_table("schema_migrations")? && session.has_table("identity")? {
        true => Err(refused("it has the metadata of a registry")),
        false => Err(refused(&format!("it has tables, such as {table}"))),
    }
}

/// Refuses a source that other servers use, or from which the registry has moved already.
///
/// # Errors
/// [`StoreError::Directory`] with the reason.
pub(crate) fn check_source(url: &DatabaseUrl) -> Result<(), StoreError> {
    check_server(url, None)?;
    let session = Session::connect(url).map_err(|error| unusable(url, &error))?;
    match has_replicas(&session)? {
        true => Err(unusable(
            url,
            &"other servers use it: stop all but this one, and start them in the new place after the move",
        )),
        false => Ok(()),
    }
}

/// Marks an empty target before its first table is made.
pub(super) fn begin(url: &DatabaseUrl, id: &str) -> Result<(), StoreError> {
    let session = Session::connect(url).map_err(|error| unusable(url, &error))?;
    check_tables(&session, url, id)?;
    session.begin("BEGIN")?;
    let sql = Sql::server(&session);
    sql.run(&format!("DROP TABLE IF EXISTS {DEPARTURE}"), &[])?;
    sql.run(&format!("CREATE TABLE IF NOT EXISTS {ARRIVAL} (id TEXT NOT NULL PRIMARY KEY)"), &[])?;
    let insert = format!("INSERT INTO {ARRIVAL} (id) VALUES (?1) ON CONFLICT (id) DO NOTHING");
    sql.run(&insert, params![id])?;
    session.commit()
}

/// Marks a database that was moved to `place`.
pub(crate) fn mark_departed(url: &DatabaseUrl, place: &str) -> Result<(), StoreError> {
    let session = Session::connect(url)?;
    session.begin("BEGIN")?;
    let sql = Sql::server(&session);
    sql.run(&format!("CREATE TABLE IF NOT EXISTS {DEPARTURE} (place TEXT NOT NULL)"), &[])?;
    sql.run(&format!("DELETE FROM {DEPARTURE}"), &[])?;
    sql.run(&format!("INSERT INTO {DEPARTURE} (place) VALUES (?1)"), params![place])?;
    session.commit()
}

/// Refuses a database that has a mark. The first start on a finished copy removes its mark: `expected` is the
/// id that the data directory has recorded for this database.
///
/// # Errors
/// [`StoreError::Directory`] with the reason.
pub(crate) fn check_server(url: &DatabaseUrl, expected: Option<&str>) -> Result<(), StoreError> {
    let session = Session::connect(url).map_err(|error| unusable(url, &error))?;
    let sql = Sql::server(&session);
    if session.has_table(DEPARTURE)? {
        let place = sql.first(&format!("SELECT place FROM {DEPARTURE}"), &[], |row| row.get::<String>(0))?;
        return Err(unusable(
            url,
            &format!(
                "its registry was moved to {}, where later pushes are. To go back to the state before the move, drop \
                 the table {DEPARTURE}",
                place.unwrap_or_default()
            ),
        ));
    }
    if !session.has_table(ARRIVAL)? {
        return Ok(());
    }
    let arriving = sql.first(&format!("SELECT id FROM {ARRIVAL}"), &[], |row| row.get::<String>(0))?;
    if arriving.is_some() && arriving.as_deref() == expected {
        sql.run(&format!("DROP TABLE {ARRIVAL}"), &[])?;
        return Ok(());
    }
    Err(unusable(
        url,
        &"it has the copy of an unfinished `wharfinger move`: run that command again, or drop its tables",
    ))
}
