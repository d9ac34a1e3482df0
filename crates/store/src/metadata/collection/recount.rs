//! The recount: finds candidates that no change has recorded, by walking through all rows, and files without
//! a record.
//!
//! A database of an older version, and an adopted directory, have such content. A repair (`check --repair`)
//! requests a recount as well.

use oci::Digest;

use super::super::rows::blobs::{id_of, intern_found};
use super::super::sql::{Sql, params};
use super::super::writer::Durability;
use super::super::{Metadata, columns};
use super::candidates::{self, Candidate, Kind};
use super::holders::{self, Gone, Repository};
use crate::StoreError;

const RECOUNT: &str = "recount garbage";

impl Metadata {
    /// Requests a recount of all rows, which [`recount_step`](Self::recount_step) runs.
    pub async fn request_recount(&self) -> Result<(), StoreError> {
        self.free(Durability::Process, |sql| {
            sql.send(
                "INSERT INTO jobs (kind, subject, started_at) VALUES (?1, '', ?2) ON CONFLICT DO NOTHING",
                params![RECOUNT, columns::now()],
            )
        })
        .await
    }

    /// Whether a recount is requested and not finished.
    pub async fn recount_is_due(&self) -> Result<bool, StoreError> {
        self.read(|sql| sql.exists("SELECT 1 FROM jobs WHERE kind = ?1", params![RECOUNT])).await
    }

    /// Runs the next step of the requested recount: one repository, or a range of content. Returns whether
    /// there is more.
    pub async fn recount_step(&self) -> Result<bool, StoreError> {
        let step = self
            .read(|sql| {
                let job =
                    sql.first("SELECT id, cursor FROM jobs WHERE kind = ?1", params![RECOUNT], |row| {
                        Ok((row.get::<i64>(0)?, row.get::<i64>(1)?))
                    })?;
                let Some((job, cursor)) = job else { return Ok(None) };
                // Content comes after all repositories: its cursor is negative.
                let (next, found) = match cursor >= 0 {
                    true => repository_step(sql, cursor)?,
                    false => content_step(sql, -cursor - 1)?,
                };
                let cursor = match (next, cursor >= 0) {
                    (Some(next), true) => Some(next),
                    (None, true) => Some(-1),
                    (Some(next), false) => Some(-next - 1),
                    (None, false) => None,
                };
                Ok(Some((job, cursor, found)))
            })
            .await?;
        let Some((job, cursor, found)) = step else { return Ok(false) };
        for chunk in found.chunks(ROWS) {
            let chunk = chunk.to_vec();
            self.free(Durability::Process, move |sql| {
                for candidate in &chunk {
                    candidates::add_missing(sql, *candidate)?;
                }
                Ok(())
            })
            .await?;
        }
        let count = columns::limit_in(found.len());
        self.free(Durability::Process, move |sql| {
            match cursor {
                Some(cursor) => sql.run(
                    "UPDATE jobs SET cursor = ?2, progress = progress + ?3 WHERE id = ?1",
                    params![job, cursor, count],
                )?,
                None => sql.run("DELETE FROM jobs WHERE id = ?1", params![job])?,
            };
            Ok(cursor.is_some())
        })
        .await
    }

    /// Records files that have no record as candidates. Returns their number.
    pub async fn record_orphans(&self, files: Vec<(Digest, u64)>) -> Result<usize, StoreError> {
        let unknown = self
            .read(move |sql| {
                let mut unknown = Vec::new();
                for (digest, size) in &files {
                    let is_known = match id_of(sql, digest)? {
                        Some(blob) => holders::of_content(sql, blob, &Gone::default())?.is_some(),
                        None => holders::is_leased(sql, digest)?,
                    };
                    if !is_known {
                        unknown.push((*digest, *size));
                    }
                }
                Ok(unknown)
            })
            .await?;
        if unknown.is_empty() {
            return Ok(0);
        }
        self.free(Durability::Process, move |sql| {
            let mut found = 0;
            for (digest, size) in &unknown {
                let blob = intern_found(sql, digest, *size)?;
                if candidates::since(sql, Kind::Content, 0, blob)?.is_none() {
                    let orphan = Candidate { kind: Kind::Orphan, ..Candidate::content(blob) };
                    found += candidates::add_missing(sql, orphan)?;
                }
            }
            Ok(found)
        })
        .await
    }
}

/// Rows of a range of content, and of a transaction.
const ROWS: usize = 512;

/// The position to continue after, and the candidates.
type Step = (Option<i64>, Vec<Candidate>);

fn repository_step(sql: Sql<'_>, after: i64) -> Result<Step, StoreError> {
    let next: Option<i64> =
        sql.first("SELECT id FROM repositories WHERE id > ?1 ORDER BY id LIMIT 1", params![after], |row| {
            row.get(0)
        })?;
    let Some(id) = next else { return Ok((None, Vec::new())) };
    let Some(repository) = Repository::read(sql, id)? else { return Ok((Some(id), Vec::new())) };
    let mut found = Vec::new();
    let untagged: Vec<(i64, i64)> = sql.all(
        "SELECT m.blob, m.pushed_at FROM manifests m WHERE m.repository = ?1
           AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository = ?1 AND t.blob = m.blob)",
        params![id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for (blob, since) in untagged {
        let is_candidate = candidates::since(sql, Kind::Deleted, id, blob)?.is_some();
        if !is_candidate && holders::of_manifest(sql, &repository, blob, &Gone::default())?.is_none() {
            found.push(Candidate { kind: Kind::Untagged, repository: id, blob, since });
        }
    }
    // Counted from now: an older version recorded no time.
    let since = columns::now();
    let links: Vec<i64> =
        sql.all("SELECT blob FROM blob_links WHERE repository = ?1", params![id], |row| row.get(0))?;
    for blob in links {
        if !holders::is_listed(sql, id, blob)? {
            found.push(Candidate { kind: Kind::Link, repository: id, blob, since });
        }
    }
    Ok((Some(id), found))
}

fn content_step(sql: Sql<'_>, after: i64) -> Result<Step, StoreError> {
    let rows: Vec<(i64, bool)> = sql.all(
        "SELECT id, size IS NOT NULL FROM blobs WHERE id > ?1 ORDER BY id LIMIT ?2",
        params![after, columns::limit_in(ROWS)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let mut found = Vec::new();
    for (blob, is_stored) in &rows {
        if *is_stored && holders::of_content(sql, *blob, &Gone::default())?.is_none() {
            found.push(Candidate::content(*blob));
        }
    }
    Ok((rows.last().map(|(blob, _)| *blob), found))
}
