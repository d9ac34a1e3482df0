//! Range scans of the index: candidates by name, by word, by the beginning and by a part of a word.

use accounts::Selection;
use oci::RepositoryName;

use super::super::sql::{Row, Sql, Value, params};
use super::super::{SEARCH_WINDOW, columns};
use super::found::{Candidate, Found, Ids};
use super::index::Field;
use super::query::{Query, indexed};
use crate::StoreError;

/// The number of repositories whose other words a query of several words compares. The limit matters only if
/// each word is in more repositories.
pub(super) const CANDIDATES: usize = 600;

/// A word in fewer repositories than this is rare enough to start from.
const FEW: usize = 100;

/// The number of words of a query among which the rarest is looked up.
const TRIED: usize = 6;

/// The limits, in repositories, of the two ways of a search with restricted visibility.
pub(super) const EFFORTS: [usize; 4] = [100, 2_000, 20_000, usize::MAX];

/// A scan of postings, with the visibility of the caller and a limit.
pub(super) struct Reading<'a> {
    /// `None` if everything is visible.
    pub(super) visible: Option<&'a Selection>,
    /// The number of postings that the scan may still read.
    pub(super) left: usize,
    /// Whether the scan stopped before its end.
    pub(super) is_exhausted: bool,
}

impl Reading<'_> {
    pub(super) fn everything() -> Self {
        Self { visible: None, left: usize::MAX, is_exhausted: false }
    }

    /// The limit of one statement.
    fn limit(&self) -> i64 {
        match self.visible {
            None => columns::limit_in(SEARCH_WINDOW),
            // One more than allowed, to notice that there are more.
            Some(_) => columns::limit_in(self.left.saturating_add(1)),
        }
    }

    /// Counts a posting. Returns whether the scan may read it.
    fn goes_on(&mut self) -> bool {
        self.is_exhausted |= self.left == 0;
        self.left = self.left.saturating_sub(1);
        !self.is_exhausted
    }

    /// Reads visible candidates, at most [`SEARCH_WINDOW`].
    fn take(
        &mut self,
        sql: Sql<'_>,
        statement: &str,
        params: &[Value<'_>],
    ) -> Result<Vec<Candidate>, StoreError> {
        let Some(visible) = self.visible else { return sql.all(statement, params, candidate) };
        let mut taken = Vec::new();
        sql.each_while(statement, params, |row| {
            if !self.goes_on() {
                return Ok(false);
            }
            let candidate = candidate(row)?;
            if is_visible(sql, visible, candidate.repository)? {
                taken.push(candidate);
            }
            Ok(taken.len() < SEARCH_WINDOW)
        })?;
        Ok(taken)
    }
}

fn is_visible(sql: Sql<'_>, visible: &Selection, repository: i64) -> Result<bool, StoreError> {
    let name = sql.first("SELECT name FROM repositories WHERE id = ?1", params![repository], |row| {
        columns::text::<RepositoryName>(row, 0)
    })?;
    Ok(name.is_some_and(|name| visible.allows(&name)))
}

pub(super) fn one_word(
    sql: Sql<'_>,
    reading: &mut Reading<'_>,
    word: &str,
    found: &mut Found,
) -> Result<(), StoreError> {
    let _ = found.take(named(sql, reading, word)?)
        && found.take(exactly(sql, reading, Field::LastComponent, word)?)
        && found.take(exactly(sql, reading, Field::Name, word)?)
        && found.take(beginning(sql, reading, Field::Name, word)?)
        && found.take(containing(sql, reading, Field::Name, word)?)
        && found.take(beginning(sql, reading, Field::Description, word)?)
        && found.take(containing(sql, reading, Field::Description, word)?);
    Ok(())
}

pub(super) fn several_words(
    sql: Sql<'_>,
    reading: &mut Reading<'_>,
    query: &Query,
    found: &mut Found,
) -> Result<(), StoreError> {
    found.take(named(sql, reading, &query.text)?);
    found.take(exactly(sql, reading, Field::LastComponent, &query.text)?);
    let mut rarest = query.words.first().map_or("", |word| indexed(word));
    // With restricted visibility a scan may read all postings of a word, so the rarest word matters more.
    let mut least = if reading.visible.is_some() { reading.left.min(EFFORTS[2]) } else { CANDIDATES };
    for word in query.words.iter().take(TRIED).map(|word| indexed(word)) {
        let count = frequency(sql, word, least)?;
        if count < least {
            (rarest, least) = (word, count);
        }
        if least < FEW {
            break;
        }
    }
    let mut tiers: [Vec<Candidate>; 3] = Default::default();
    let mut seen = Ids::default();
    for field in [Field::Name, Field::Description] {
        let limit = match reading.visible {
            None => columns::limit_in(CANDIDATES.saturating_sub(seen.len())),
            Some(_) => reading.limit(),
        };
        compare(sql, field, rarest, limit, |candidate, name, description| {
            if let Some(visible) = reading.visible {
                if seen.len() >= CANDIDATES || !reading.goes_on() {
                    return Ok(false);
                }
                if !visible.allows(&name) {
                    return Ok(true);
                }
            }
            if seen.insert(candidate.repository)
                && let Some(tier) = query.tier(name.as_str(), description)
            {
                tiers[tier as usize].push(candidate);
            }
            Ok(true)
        })?;
    }
    for tier in tiers {
        found.take(tier);
    }
    Ok(())
}

fn named(sql: Sql<'_>, reading: &mut Reading<'_>, name: &str) -> Result<Vec<Candidate>, StoreError> {
    reading.take(
        sql,
        "SELECT LENGTH(name), id FROM repositories WHERE name = ?1 AND manifests > 0",
        params![name],
    )
}

/// Candidates with exactly this word in a field.
fn exactly(
    sql: Sql<'_>,
    reading: &mut Reading<'_>,
    field: Field,
    word: &str,
) -> Result<Vec<Candidate>, StoreError> {
    let limit = reading.limit();
    reading.take(sql, EXACTLY, params![field.number(), word, limit])
}

const EXACTLY: &str =
    "SELECT p.length, p.repository FROM search_words w JOIN search_postings p ON p.word = w.id
     WHERE w.field = ?1 AND w.word = ?2 ORDER BY p.length, p.repository LIMIT ?3";

/// Candidates with a word that begins with `beginning`.
fn beginning(
    sql: Sql<'_>,
    reading: &mut Reading<'_>,
    field: Field,
    beginning: &str,
) -> Result<Vec<Candidate>, StoreError> {
    let limit = reading.limit();
    reading.take(sql, BEGINNING, params![field.number(), beginning, end(beginning), limit])
}

const BEGINNING: &str =
    "SELECT p.length, p.repository FROM search_words w JOIN search_postings p ON p.word = w.id
     WHERE w.field = ?1 AND w.word >= ?2 AND w.word < ?3
     ORDER BY w.word, p.length, p.repository LIMIT ?4";

/// Candidates with a word that contains `part` after its first letter.
fn containing(
    sql: Sql<'_>,
    reading: &mut Reading<'_>,
    field: Field,
    part: &str,
) -> Result<Vec<Candidate>, StoreError> {
    let limit = reading.limit();
    reading.take(sql, CONTAINING, params![field.number(), part, end(part), limit])
}

const CONTAINING: &str =
    "SELECT p.length, p.repository FROM search_suffixes s JOIN search_postings p ON p.word = s.word
     WHERE s.field = ?1 AND s.suffix >= ?2 AND s.suffix < ?3
     ORDER BY s.suffix, s.word, p.length, p.repository LIMIT ?4";

/// Counts the names and descriptions with a part of a word, up to `most`.
fn frequency(sql: Sql<'_>, part: &str, most: usize) -> Result<usize, StoreError> {
    let mut frequency = 0;
    for field in [Field::Name, Field::Description] {
        let counted = sql.first(
            "SELECT COUNT(*) FROM (
                SELECT p.repository FROM search_words w JOIN search_postings p ON p.word = w.id
                WHERE w.field = ?1 AND w.word >= ?2 AND w.word < ?3
                UNION ALL
                SELECT p.repository FROM search_suffixes s JOIN search_postings p ON p.word = s.word
                WHERE s.field = ?1 AND s.suffix >= ?2 AND s.suffix < ?3
                LIMIT ?4) AS f",
            params![field.number(), part, end(part), columns::limit_in(most.saturating_sub(frequency))],
            |row| row.get::<i64>(0),
        )?;
        frequency += usize::try_from(counted.unwrap_or(0)).unwrap_or(most);
    }
    Ok(frequency)
}

/// Calls `visit` with up to `limit` repositories with a part of a word in a field, until it returns `false`.
/// The database chooses which.
fn compare(
    sql: Sql<'_>,
    field: Field,
    part: &str,
    limit: i64,
    mut visit: impl FnMut(Candidate, RepositoryName, &str) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    sql.each_while(
        "SELECT p.length, p.repository, r.name, r.description
         FROM (SELECT w.id AS word FROM search_words w
               WHERE w.field = ?1 AND w.word >= ?2 AND w.word < ?3
               UNION ALL
               SELECT s.word FROM search_suffixes s
               WHERE s.field = ?1 AND s.suffix >= ?2 AND s.suffix < ?3) AS f
         JOIN search_postings p ON p.word = f.word JOIN repositories r ON r.id = p.repository
         LIMIT ?4",
        params![field.number(), part, end(part), limit],
        |row| visit(candidate(row)?, columns::text(row, 2)?, row.text(3)?),
    )
}

fn candidate(row: &Row<'_>) -> Result<Candidate, StoreError> {
    Ok(Candidate { length: row.get(0)?, repository: row.get(1)? })
}

/// The upper bound of the words that begin with `beginning`: no word contains its last character.
fn end(beginning: &str) -> String {
    format!("{beginning}{}", char::MAX)
}
