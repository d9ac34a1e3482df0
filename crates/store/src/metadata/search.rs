//! Search: finds repositories by words, and parts of words, of their name and description.
//!
//! The index is plain tables, so that every database can hold it. Every lookup is a range of keys:
//!
//! - `search_words` has each distinct word of each [`Field`];
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

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use oci::RepositoryName;

use super::sql::{Row, Sql, Value, params};
use super::visible::{ScanEnd, walk};
use super::{Hit, Metadata, SEARCH_WINDOW, SearchPage, columns};
use crate::StoreError;
use accounts::{Selection, Visible};

/// The number of repositories whose other words a query of several words compares. The limit matters only if
/// each word is in more repositories.
const CANDIDATES: usize = 600;

/// A word in fewer repositories than this is rare enough to start from.
const FEW: usize = 100;

/// The number of letters of a word that are indexed.
const WORD: usize = 64;

/// The number of suffixes of a word that are indexed, the longest first. Each costs a row, and names have up
/// to 255 letters.
const ENDINGS: usize = 24;

/// The number of words of a description that are indexed.
const DESCRIPTION_WORDS: usize = 256;

/// The number of words of a query among which the rarest is looked up.
const TRIED: usize = 6;

/// The limits, in repositories, of the two ways of a search with restricted visibility.
const EFFORTS: [usize; 4] = [100, 2_000, 20_000, usize::MAX];

/// The field in which a word occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Field {
    /// A word of the name, between the separators `/`, `.`, `_` and `-`.
    Name,
    /// A word of the description.
    Description,
    /// The whole last component of the name, indexed as one word without suffixes.
    LastComponent,
}

impl Field {
    const fn number(self) -> i64 {
        match self {
            Self::Name => 0,
            Self::Description => 1,
            Self::LastComponent => 2,
        }
    }
}

impl Metadata {
    /// Returns the visible repositories with a manifest that match `query`, best first, from number `offset`.
    ///
    /// A repository matches if its name or description contains every word of the query, in any case. The
    /// order: the query is the name, the last component, a word of the name, the beginning of such a word,
    /// any part of the name, any part of the description. Shorter names and then older repositories come
    /// first. A query of several words compares at most 600 repositories. An empty query finds every
    /// repository by name, a query without letters or digits none.
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

/// A normalised query.
struct Query {
    /// In lower case, trimmed to letters and digits.
    text: String,
    /// Distinct, the longest first, because long words are rare.
    words: Vec<String>,
}

impl Query {
    /// Returns `None` if the query has no words.
    fn parse(query: &str) -> Option<Self> {
        let text = query.to_lowercase();
        let text = text.trim_matches(|letter: char| !letter.is_alphanumeric()).to_owned();
        let mut words: Vec<String> = words(&text).map(str::to_owned).collect();
        words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        words.dedup();
        if words.is_empty() { None } else { Some(Self { text, words }) }
    }

    fn is_one_word(&self) -> bool {
        self.words.len() == 1 && self.words[0] == self.text && indexed(&self.text) == self.text
    }

    const RANKS: usize = 7;

    /// Returns the rank of a repository, from 0 for the best, in the order of the index; `None` if it does
    /// not match.
    fn rank(
        &self,
        name: &str,
        description: impl Fn() -> Result<String, StoreError>,
    ) -> Result<Option<usize>, StoreError> {
        if name == self.text {
            return Ok(Some(0));
        }
        if name.rsplit('/').next() == Some(&self.text) {
            return Ok(Some(1));
        }
        if !self.is_one_word() {
            return Ok(self.tier(name, &description()?).map(|tier| 2 + tier as usize));
        }
        let best = |words: &mut dyn Iterator<Item = &str>| {
            let ranks = words.map(indexed).filter_map(|word| match word.find(&self.text)? {
                0 if word == self.text => Some(2),
                0 => Some(3),
                at => (word[..at].chars().count() <= ENDINGS).then_some(4),
            });
            ranks.min()
        };
        if let Some(rank) = best(&mut words(name)) {
            return Ok(Some(rank));
        }
        let description = description()?.to_lowercase();
        let rank = best(&mut words(&description).take(DESCRIPTION_WORDS));
        Ok(rank.map(|rank| if rank == 4 { 6 } else { 5 }))
    }

    /// Returns the tier of a repository whose name and last component are not the query; `None` if it does
    /// not match.
    fn tier(&self, name: &str, description: &str) -> Option<Tier> {
        let missing = |word: &&String| !name.contains(word.as_str());
        if self.words.iter().any(|word| missing(&word)) {
            let description = description.to_lowercase();
            let matches = self.words.iter().filter(missing).all(|word| description.contains(word.as_str()));
            return matches.then_some(Tier::Description);
        }
        let begins_word = |at: usize| !name[..at].ends_with(|letter: char| letter.is_ascii_alphanumeric());
        let begins = name.match_indices(&self.text).any(|(at, _)| begins_word(at));
        Some(if begins { Tier::Beginning } else { Tier::Name })
    }
}

/// The tiers of a comparison, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    /// A word of the name begins with the query.
    Beginning,
    /// The name contains all words.
    Name,
    /// Name and description together contain all words.
    Description,
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn indexed(word: &str) -> &str {
    word.char_indices().nth(WORD).map_or(word, |(end, _)| &word[..end])
}

/// A set of repository ids. Clients cannot choose the ids, so a fast hash is safe.
type Ids = HashSet<i64, BuildHasherDefault<IdHasher>>;

#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_i64(&mut self, id: i64) {
        self.write_u64(id.cast_unsigned());
    }

    fn write_u64(&mut self, number: u64) {
        // Knuth's multiplicative hashing spreads neighbouring ids.
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}

/// Distinct repository ids in the order of the results.
#[derive(Default)]
struct Found {
    ids: Vec<i64>,
    seen: Ids,
}

impl Found {
    /// Adds the next tier. Returns whether there is room for another.
    fn take(&mut self, mut tier: Vec<Candidate>) -> bool {
        tier.sort_unstable();
        self.seen.reserve(tier.len());
        for candidate in tier {
            if self.ids.len() == SEARCH_WINDOW {
                break;
            }
            if self.seen.insert(candidate.repository) {
                self.ids.push(candidate.repository);
            }
        }
        self.ids.len() < SEARCH_WINDOW
    }
}

/// A match, ordered by the length of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    length: i64,
    repository: i64,
}

/// A scan of postings, with the visibility of the caller and a limit.
struct Reading<'a> {
    /// `None` if everything is visible.
    visible: Option<&'a Selection>,
    /// The number of postings that the scan may still read.
    left: usize,
    /// Whether the scan stopped before its end.
    is_exhausted: bool,
}

impl Reading<'_> {
    fn everything() -> Self {
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

fn one_word(
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

fn several_words(
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

/// Calls `judge` with up to `limit` repositories with a part of a word in a field, until it returns `false`.
/// The database chooses which.
fn compare(
    sql: Sql<'_>,
    field: Field,
    part: &str,
    limit: i64,
    mut judge: impl FnMut(Candidate, RepositoryName, &str) -> Result<bool, StoreError>,
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
        |row| judge(candidate(row)?, columns::text(row, 2)?, row.text(3)?),
    )
}

fn candidate(row: &Row<'_>) -> Result<Candidate, StoreError> {
    Ok(Candidate { length: row.get(0)?, repository: row.get(1)? })
}

/// The upper bound of the words that begin with `beginning`: no word contains its last character.
fn end(beginning: &str) -> String {
    format!("{beginning}{}", char::MAX)
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

/// Adds a repository to the index when it gets its first manifest.
pub(super) fn add(sql: Sql<'_>, id: i64, name: &str, description: &str) -> Result<(), StoreError> {
    for (field, word) in index_of_name(name) {
        post(sql, id, name, field, word)?;
    }
    redescribe(sql, id, name, "", description)
}

/// Removes a repository from the index, in which it has this description.
pub(super) fn remove(sql: Sql<'_>, id: i64, name: &str, description: &str) -> Result<(), StoreError> {
    for (field, word) in index_of_name(name) {
        unpost(sql, id, name, field, word)?;
    }
    redescribe(sql, id, name, description, "")
}

/// Replaces the description of a repository in the index.
pub(super) fn redescribe(
    sql: Sql<'_>,
    id: i64,
    name: &str,
    before: &str,
    after: &str,
) -> Result<(), StoreError> {
    let (before, after) = (before.to_lowercase(), after.to_lowercase());
    let (before, after) = (index_of_description(&before), index_of_description(&after));
    for word in before.difference(&after) {
        unpost(sql, id, name, Field::Description, word)?;
    }
    for word in after.difference(&before) {
        post(sql, id, name, Field::Description, word)?;
    }
    Ok(())
}

fn index_of_name(name: &str) -> HashSet<(Field, &str)> {
    let last = name.rsplit('/').next().unwrap_or(name);
    let words = words(name).map(|word| (Field::Name, indexed(word)));
    words.chain([(Field::LastComponent, last)]).collect()
}

fn index_of_description(description: &str) -> HashSet<&str> {
    words(description).take(DESCRIPTION_WORDS).map(indexed).collect()
}

fn word_id(sql: Sql<'_>, field: Field, word: &str) -> Result<Option<i64>, StoreError> {
    sql.first(
        "SELECT id FROM search_words WHERE field = ?1 AND word = ?2",
        params![field.number(), word],
        |row| row.get(0),
    )
}

fn post(sql: Sql<'_>, repository: i64, name: &str, field: Field, word: &str) -> Result<(), StoreError> {
    let id = match word_id(sql, field, word)? {
        Some(id) => id,
        None => new_word(sql, field, word)?,
    };
    sql.run(
        "INSERT INTO search_postings (word, length, repository) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![id, columns::limit_in(name.len()), repository],
    )?;
    Ok(())
}

fn new_word(sql: Sql<'_>, field: Field, word: &str) -> Result<i64, StoreError> {
    let id = sql.first(
        "INSERT INTO search_words (field, word) VALUES (?1, ?2) RETURNING id",
        params![field.number(), word],
        |row| row.get(0),
    )?;
    let id = id.ok_or_else(|| StoreError::Damaged(format!("the word {word:?} could not be inserted")))?;
    if field != Field::LastComponent {
        for (begin, _) in word.char_indices().skip(1).take(ENDINGS) {
            sql.run(
                "INSERT INTO search_suffixes (field, suffix, word) VALUES (?1, ?2, ?3)",
                params![field.number(), &word[begin..], id],
            )?;
        }
    }
    Ok(id)
}

fn unpost(sql: Sql<'_>, repository: i64, name: &str, field: Field, word: &str) -> Result<(), StoreError> {
    let Some(id) = word_id(sql, field, word)? else { return Ok(()) };
    sql.run(
        "DELETE FROM search_postings WHERE word = ?1 AND length = ?2 AND repository = ?3",
        params![id, columns::limit_in(name.len()), repository],
    )?;
    // Unused words are deleted, so that no range scan has to skip them.
    if sql.exists("SELECT 1 FROM search_postings WHERE word = ?1 LIMIT 1", params![id])? {
        return Ok(());
    }
    if field != Field::LastComponent {
        // All suffixes, because older versions indexed more of them.
        for (begin, _) in word.char_indices().skip(1) {
            sql.run(
                "DELETE FROM search_suffixes WHERE field = ?1 AND suffix = ?2 AND word = ?3",
                params![field.number(), &word[begin..], id],
            )?;
        }
    }
    sql.run("DELETE FROM search_words WHERE id = ?1", params![id])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixtures::{digest, empty, manifest, name, put};
    use super::super::{Metadata, PutManifest, SEARCH_WINDOW};
    use super::CANDIDATES;
    use accounts::Visible;

    async fn with(metadata: &Metadata, repository: &str, description: &str) {
        let description = Some(description.to_owned());
        put(metadata, PutManifest { description, ..manifest(repository, "m") }).await;
    }

    async fn names(metadata: &Metadata, query: &str) -> Vec<String> {
        let page = metadata.search(&Visible::Everything, query, 0, 100).await.unwrap();
        assert_eq!(page.total, page.hits.len() as u64);
        page.hits.into_iter().map(|hit| hit.name.to_string()).collect()
    }

    #[tokio::test]
    async fn search_orders_best_first() {
        let (metadata, _directory) = empty();
        with(&metadata, "tools/builder", "Builds ubuntu images").await;
        with(&metadata, "team/xubuntu", "").await;
        with(&metadata, "team/ubuntuish", "").await;
        with(&metadata, "ubuntu-base/debootstrap", "").await;
        with(&metadata, "official/ubuntu", "The distribution").await;
        with(&metadata, "my/ubuntu", "").await;
        with(&metadata, "ubuntu", "").await;
        with(&metadata, "debian", "Not what is looked for").await;
        assert_eq!(
            names(&metadata, "ubuntu").await,
            [
                "ubuntu",
                "my/ubuntu",
                "official/ubuntu",
                "ubuntu-base/debootstrap",
                "team/ubuntuish",
                "team/xubuntu",
                "tools/builder",
            ]
        );
        let page = metadata.search(&Visible::Everything, "ubuntu", 2, 2).await.unwrap();
        assert_eq!(page.total, 7);
        assert_eq!(page.hits[0].name, name("official/ubuntu"));
        assert_eq!(page.hits[0].description, "The distribution");
        assert_eq!(page.hits.len(), 2);
        assert_eq!(metadata.search(&Visible::Everything, "ubuntu", 7, 10).await.unwrap().hits, []);
        assert_eq!(
            metadata.search(&Visible::Everything, "ubuntu", usize::MAX, usize::MAX).await.unwrap().total,
            7
        );
    }

    #[tokio::test]
    async fn search_matches_parts_of_words_in_any_case() {
        let (metadata, _directory) = empty();
        with(&metadata, "team/web_server.v2-edge", "Größe ÄRGER naïve 日本語の画像").await;
        for query in [
            "server",
            "SERVER",
            "erve",
            "v",
            "v2",
            "2",
            "edge",
            "dge",
            "web_server.v2-edge",
            "server.v2",
            "web",
            "team/web",
            "größe",
            "GRÖSSE und"[..6].trim(),
            "ärger",
            "rger",
            "naïve",
            "日本",
            "画像",
            " team  ",
            "edge server",
            "naïve server",
            "team ärger 画像",
            "\"server\"",
            "team:edge",
        ] {
            // Upper case turns ß into SS, which does not match.
            let expected = usize::from(!query.contains("GRÖ"));
            assert_eq!(names(&metadata, query).await.len(), expected, "{query}");
        }
        for query in ["serverx", "xserver", "edge nowhere", "team/webs", "ver2"] {
            assert_eq!(names(&metadata, query).await, [""; 0], "{query}");
        }
    }

    #[tokio::test]
    async fn search_ranks_several_words() {
        let (metadata, _directory) = empty();
        with(&metadata, "one/app", "The server of the team").await;
        with(&metadata, "team/xapp-server", "").await;
        with(&metadata, "team/app-server-x", "").await;
        with(&metadata, "other/app-server", "").await;
        with(&metadata, "app-server", "").await;
        assert_eq!(
            names(&metadata, "app-server").await,
            ["app-server", "other/app-server", "team/app-server-x", "team/xapp-server", "one/app"]
        );
        assert_eq!(
            names(&metadata, "server team").await,
            ["team/xapp-server", "team/app-server-x", "one/app"]
        );
    }

    #[tokio::test]
    async fn empty_query_lists_repositories_by_name() {
        let (metadata, _directory) = empty();
        with(&metadata, "b", "").await;
        with(&metadata, "a/x", "").await;
        with(&metadata, "a", "").await;
        metadata.link_blob(&name("c"), &digest("layer"), 1).await.unwrap();
        assert_eq!(names(&metadata, "").await, ["a", "a/x", "b"]);
        assert_eq!(names(&metadata, "  \t").await, ["a", "a/x", "b"]);
        assert_eq!(names(&metadata, "c").await, [""; 0]);
        assert_eq!(metadata.search(&Visible::Everything, "", 1, 1).await.unwrap().hits[0].name, name("a/x"));
    }

    #[tokio::test]
    async fn index_follows_pushes_and_deletions() {
        let (metadata, _directory) = empty();
        with(&metadata, "app", "first words").await;
        with(&metadata, "other", "first impressions").await;
        metadata.set_description(&name("app"), "second words".into()).await.unwrap();
        assert_eq!(names(&metadata, "first").await, ["other"]);
        assert_eq!(names(&metadata, "second").await, ["app"]);
        assert_eq!(names(&metadata, "words").await, ["app"]);

        // With a blob left, the repository stays but is not found until the next manifest.
        metadata.link_blob(&name("app"), &digest("layer"), 1).await.unwrap();
        metadata.delete_manifest(&name("app"), &digest("m")).await.unwrap();
        for query in ["app", "second", "word", ""] {
            assert!(!names(&metadata, query).await.contains(&"app".to_owned()), "{query}");
        }
        put(&metadata, manifest("app", "m")).await;
        assert_eq!(names(&metadata, "second").await, ["app"]);

        metadata.delete_repository(&name("app")).await.unwrap();
        metadata.delete_manifest(&name("other"), &digest("m")).await.unwrap();
        let left = metadata
            .read(|sql| {
                sql.first(
                    "SELECT (SELECT COUNT(*) FROM search_words) + (SELECT COUNT(*) FROM search_suffixes)
                          + (SELECT COUNT(*) FROM search_postings)",
                    &[],
                    |row| row.get::<i64>(0),
                )
            })
            .await
            .unwrap();
        assert_eq!(left, Some(0), "nothing is left of what nobody holds");
    }

    #[tokio::test]
    async fn hostile_queries_find_nothing() {
        let (metadata, _directory) = empty();
        with(&metadata, "app", "an image").await;
        let long = "x".repeat(10_000);
        let many = "app ".repeat(3_000);
        let queries = [
            "\"",
            "'",
            "\"\"",
            "';DROP TABLE repositories;--",
            "*",
            "%",
            "_",
            "app*x",
            "NEAR(",
            "\0",
            "x\0y",
            "-",
            "\u{1F600}",
            "\u{10FFFF}",
            "\u{0301}",
            "(",
            "AND",
            "app OR",
            "name:x",
            "^app^x",
            "{}",
            "\\",
            &long,
        ];
        for query in queries {
            assert_eq!(
                metadata.search(&Visible::Everything, query, 0, 10).await.unwrap().total,
                0,
                "{query:?}"
            );
        }
        for query in ["app*", "\"app\"", "app\0", "%app%", "\u{1F600}app", &many] {
            assert_eq!(
                metadata.search(&Visible::Everything, query, 0, 10).await.unwrap().total,
                1,
                "{query:?}"
            );
        }
        let long_word = format!("{}b", "a".repeat(200));
        with(&metadata, &long_word, "").await;
        assert_eq!(names(&metadata, &long_word).await, [long_word.as_str()]);
        assert_eq!(names(&metadata, &"a".repeat(150)).await, [long_word.as_str()]);
        assert_eq!(names(&metadata, &"a".repeat(202)).await, [""; 0]);
    }

    #[tokio::test]
    async fn search_counts_up_to_its_window() {
        let (metadata, _directory) = empty();
        let many = (0..SEARCH_WINDOW + 50).map(|n| super::super::Import::Manifest {
            put: Box::new(manifest(&format!("common/x{n}-{}", n % 7), "m")),
            at: std::time::SystemTime::now(),
        });
        metadata.import(many.collect(), true).await.unwrap();
        with(&metadata, "late/common", "").await;
        for query in ["common", "ommo", "c", ""] {
            let page = metadata.search(&Visible::Everything, query, 0, 5).await.unwrap();
            assert_eq!(page.total, SEARCH_WINDOW as u64, "{query}");
        }
        // Only a limited number of repositories is compared with several frequent words.
        let page = metadata.search(&Visible::Everything, "common/x", 0, 5).await.unwrap();
        assert!((500..=CANDIDATES as u64).contains(&page.total), "{}", page.total);
        assert_eq!(
            metadata.search(&Visible::Everything, "common", 0, 1).await.unwrap().hits[0].name,
            name("late/common")
        );
        assert_eq!(names(&metadata, "common x77").await.len(), 11);
        assert_eq!(metadata.search(&Visible::Everything, "", SEARCH_WINDOW, 10).await.unwrap().hits, []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// A search finds exactly the repositories that contain every word.
        #[test]
        fn search_finds_names_with_every_word(
            repositories in prop::collection::btree_map("[ab]{1,3}([/._-][abc]{1,3}){0,2}", "[abcB ,.ä]{0,12}", 1..12),
            queries in prop::collection::vec("[abcAä /-]{1,6}", 1..12),
        ) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let (metadata, _directory) = empty();
                for (repository, description) in &repositories {
                    with(&metadata, repository, description).await;
                }
                for query in &queries {
                    let lower = query.to_lowercase();
                    let words: Vec<&str> = super::words(&lower).collect();
                    if words.is_empty() {
                        continue;
                    }
                    let expected: Vec<&String> = repositories
                        .iter()
                        .filter(|(name, text)| {
                            let text = text.to_lowercase();
                            words.iter().all(|word| name.contains(word) || text.contains(word))
                        })
                        .map(|(name, _)| name)
                        .collect();
                    let mut found = names(&metadata, query).await;
                    found.sort();
                    assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query:?}");
                }
            });
        }
    }
}
