//! Search: finds repositories by words, and parts of words, of their name and description.
//!
//! The index is plain tables, so that every database can hold it. Every lookup is a range of keys:
//!
//! - `search_words` has each distinct word of each field: name, last component and description;
//! - `search_suffixes` has the proper suffixes of words, so that `bunt` finds `ubuntu`;
//! - `search_postings` has the repositories of each word, the shortest names first.
//!
//! A search collects matches tier by tier, the best first, until it has [`SEARCH_WINDOW`] of them. So a word
//! in every name costs no more than a rare one. Queries are bound parameters, never part of a statement.
//!
//! With restricted visibility, a search counts and pages only visible repositories, as if no others existed.
//! It can walk the index and skip invisible repositories, or compare every visible repository. The first is
//! fast if few repositories match or most are visible, the second if few are visible. Both run in turn with
//! growing limits until one finishes.

mod found;
mod index;
mod query;
mod scan;
#[cfg(test)]
mod tests;

use accounts::{Selection, Visible};

use self::found::{Candidate, Found};
pub(super) use self::index::{add, redescribe, remove};
use self::query::Query;
use self::scan::{EFFORTS, Reading, one_word, several_words};
use super::sql::{Sql, params};
use super::visible::{ScanEnd, walk};
use super::{Hit, Metadata, SEARCH_WINDOW, SearchPage, columns};
use crate::StoreError;

impl Metadata {
    /// Returns the visible repositories with a manifest that match `query`, best first, from number `offset`.
    ///
    /// A repository matches if its name or description contains every word of the query, in any case. The
    /// first in the order are those whose name is the query. Then it is the last component, a word of the
    /// name, or the beginning of such a word. Then it is any part of the name, and last of the description.
    /// Shorter names and then older repositories come first. A query of several words compares at most 600
    /// repositories. An empty query finds every repository by name, a query without letters or digits none.
    pub async fn search(
        &self,
        visible: &Visible,
        query: &str,
        offset: usize,
        limit: usize,
    ) -> Result<SearchPage, StoreError> {
        let visible = visible.clone();
        if query.trim().is_empty() {
            return self
                .read(move |sql| match &visible {
                    Visible::Everything => everything(sql, offset, limit),
                    Visible::Only(visible) => page(sql, &all_visible(sql, visible)?, offset, limit),
                })
                .await;
        }
        let Some(query) = Query::parse(query) else {
            return Ok(SearchPage { total: 0, hits: Vec::new() });
        };
        self.read(move |sql| {
            let found = match &visible {
                Visible::Everything => through_index(sql, &query, &mut Reading::everything())?,
                Visible::Only(visible) => among_visible(sql, &query, visible)?,
            };
            page(sql, &found.ids, offset, limit)
        })
        .await
    }
}

fn page(sql: Sql<'_>, found: &[i64], offset: usize, limit: usize) -> Result<SearchPage, StoreError> {
    let hits = found.iter().skip(offset).take(limit);
    let hits = hits.map(|id| hit(sql, *id)).collect::<Result<Vec<_>, _>>()?;
    Ok(SearchPage { total: found.len() as u64, hits: hits.into_iter().flatten().collect() })
}

fn all_visible(sql: Sql<'_>, visible: &Selection) -> Result<Vec<i64>, StoreError> {
    let mut ids = Vec::new();
    walk(sql, visible, "", usize::MAX, |id, _| {
        ids.push(id);
        Ok(ids.len() < SEARCH_WINDOW)
    })?;
    Ok(ids)
}

fn among_visible(sql: Sql<'_>, query: &Query, visible: &Selection) -> Result<Found, StoreError> {
    for effort in EFFORTS {
        if let Some(found) = through_visible(sql, query, visible, effort)? {
            return Ok(found);
        }
        let mut reading = Reading { visible: Some(visible), left: effort, is_exhausted: false };
        let found = through_index(sql, query, &mut reading)?;
        if !reading.is_exhausted {
            return Ok(found);
        }
    }
    Ok(Found::default())
}

fn through_index(sql: Sql<'_>, query: &Query, reading: &mut Reading<'_>) -> Result<Found, StoreError> {
    let mut found = Found::default();
    if query.is_one_word() {
        one_word(sql, reading, &query.text, &mut found)?;
    } else {
        several_words(sql, reading, query, &mut found)?;
    }
    Ok(found)
}

/// Compares every visible repository. Returns `None` if there are more than `effort`.
fn through_visible(
    sql: Sql<'_>,
    query: &Query,
    visible: &Selection,
    effort: usize,
) -> Result<Option<Found>, StoreError> {
    let mut tiers: [Vec<Candidate>; Query::RANKS] = Default::default();
    let walked = walk(sql, visible, "", effort, |id, name| {
        let description = || {
            let description =
                sql.first("SELECT description FROM repositories WHERE id = ?1", params![id], |row| {
                    row.get::<String>(0)
                })?;
            Ok(description.unwrap_or_default())
        };
        if let Some(rank) = query.rank(name.as_str(), description)? {
            tiers[rank].push(Candidate { length: columns::limit_in(name.as_str().len()), repository: id });
        }
        Ok(true)
    })?;
    if walked == ScanEnd::LimitReached {
        return Ok(None);
    }
    let mut found = Found::default();
    for tier in tiers {
        found.take(tier);
    }
    Ok(Some(found))
}

fn hit(sql: Sql<'_>, id: i64) -> Result<Option<Hit>, StoreError> {
    sql.first("SELECT name, description FROM repositories WHERE id = ?1", params![id], |row| {
        Ok(Hit { name: columns::text(row, 0)?, description: row.get(1)? })
    })
}

fn everything(sql: Sql<'_>, offset: usize, limit: usize) -> Result<SearchPage, StoreError> {
    let total = sql.first(
        "SELECT COUNT(*) FROM (SELECT 1 FROM repositories WHERE manifests > 0 LIMIT ?1) AS w",
        params![columns::limit_in(SEARCH_WINDOW)],
        |row| columns::count(row, 0),
    )?;
    let limit = limit.min(SEARCH_WINDOW.saturating_sub(offset));
    let hits = sql.all(
        "SELECT name, description FROM repositories WHERE manifests > 0 ORDER BY name LIMIT ?1 OFFSET ?2",
        params![columns::limit_in(limit), columns::limit_in(offset)],
        |row| Ok(Hit { name: columns::text(row, 0)?, description: row.get(1)? }),
    )?;
    Ok(SearchPage { total: total.unwrap_or(0), hits })
}
