//! Search: repositories by words and parts of words of their name and description.
//!
//! The index is plain tables, the same for every database, and every lookup is a range of keys:
//!
//! - `search_words` has each distinct word once for each [`Field`] in which it occurs;
//! - `search_suffixes` has every ending of every word but the word itself, so that the
//!   repositories with `bunt` in `ubuntu` are found at the endings that begin with `bunt`;
//! - `search_postings` has the repositories of a word, those with short names first.
//!
//! A search takes matches from the best tier downwards until it has [`SEARCH_WINDOW`] of them. So
//! a word that is in every name costs no more than one that is in some, and no text of a query is
//! ever part of a statement or of a pattern.
//!
//! For somebody who may not know of everything, only what is visible is taken, counted and paged
//! through: what is found is what a registry would find that had nothing else. There are two ways
//! to it, through the index, passing over what is not visible, and through the visible repositories,
//! comparing each; the first is short where little matches or much is visible, the second where
//! little is visible. Both are tried in turn with growing effort until one comes to its end, so
//! that a search costs about as much as the shorter way.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use oci::RepositoryName;

use super::sql::{Row, Sql, Value, params};
use super::visible::{ScanEnd, walk};
use super::{Hit, Metadata, SEARCH_WINDOW, SearchPage, columns};
use crate::StoreError;
use accounts::{Selection, Visible};

/// A query of several words looks at no more repositories than this to see whether the other
/// words match too. It matters only where each of its words is in more repositories than this.
const CANDIDATES: usize = 600;

/// A word that is in fewer than this is rare enough not to look for a rarer one.
const FEW: usize = 100;

/// Letters of a word that are indexed; what follows is compared, but does not find.
const WORD: usize = 64;

/// Endings of a word that are indexed, those of the beginning of the word first. Each costs a row, and a name of 250
/// letters must not cost 60 of them.
const ENDINGS: usize = 24;

/// Words of a description that are indexed.
const DESCRIPTION_WORDS: usize = 256;

/// Words of a query that are tried for the one that is in the fewest repositories.
const TRIED: usize = 6;

/// How many repositories either way of a search among the visible ones looks at before the other is
/// tried, and at last as many as there are. The second way comes first.
const EFFORTS: [usize; 4] = [100, 2_000, 20_000, usize::MAX];

/// Where a word occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Field {
    /// Between the separators `/`, `.`, `_` and `-` of the name.
    Name,
    /// In the description.
    Description,
    /// The whole last component of the name, kept as one word and without endings.
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
    /// Visible repositories that hold a manifest and match `query`, best first, from the one at
    /// `offset`.
    ///
    /// A repository matches if every word of the query is in its name or description, as a word or
    /// a part of one, in whatever case. In order: the query is the name, it is the last component
    /// of the name, a word of the name, the beginning of a word of the name, anywhere in the name,
    /// anywhere in the description. Among equals the shorter name comes first, then the older repository.
    /// Of several words that are all in more than 600 visible repositories, only so many may be
    /// compared.
    /// An empty query finds every repository, in the order of their names; one of signs alone none.
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

/// The page of a search that found these.
fn page(sql: Sql<'_>, found: &[i64], offset: usize, limit: usize) -> Result<SearchPage, StoreError> {
    let hits = found.iter().skip(offset).take(limit);
    let hits = hits.map(|id| hit(sql, *id)).collect::<Result<Vec<_>, _>>()?;
    Ok(SearchPage { total: found.len() as u64, hits: hits.into_iter().flatten().collect() })
}

/// The visible repositories that hold a manifest, by name.
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
        let mut reading = Reading { visible: Some(visible), left: effort, is_tired: false };
        let found = through_index(sql, query, &mut reading)?;
        if !reading.is_tired {
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

/// Compares every visible repository; `None` if there are more than `effort`.
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

/// A query as it is compared.
struct Query {
    /// In lower case, without what is no letter or digit at both ends.
    text: String,
    /// Its distinct words, the longest first: most likely the rarest.
    words: Vec<String>,
}

impl Query {
    /// `None` if there is no word in it.
    fn parse(query: &str) -> Option<Self> {
        let text = query.to_lowercase();
        let text = text.trim_matches(|letter: char| !letter.is_alphanumeric()).to_owned();
        let mut words: Vec<String> = words(&text).map(str::to_owned).collect();
        words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        words.dedup();
        if words.is_empty() { None } else { Some(Self { text, words }) }
    }

    /// Whether the index alone answers it.
    fn is_one_word(&self) -> bool {
        self.words.len() == 1 && self.words[0] == self.text && indexed(&self.text) == self.text
    }

    /// How many ranks there are.
    const RANKS: usize = 7;

    /// How well a repository matches, in numbers from 0 for the best; `None` if it does not. The
    /// same order that the index leads to.
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

    /// How well a repository matches, beside those whose name or last component is the query
    /// itself; `None` if it does not.
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

/// What is looked for by comparing, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    /// The query stands in the name, and a word begins with it.
    Beginning,
    /// All words are in the name.
    Name,
    /// All words are in the name or the description.
    Description,
}

/// The words of a text in lower case.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// As much of a word as is indexed.
fn indexed(word: &str) -> &str {
    word.char_indices().nth(WORD).map_or(word, |(end, _)| &word[..end])
}

/// A set of ids of repositories. They are our own small numbers, so a hash that no one can attack
/// is not needed, and a search puts a thousand of them in.
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
        // Spreads neighbours over the whole range: the fraction of the golden ratio, as in
        // Knuth's multiplicative hashing.
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}

/// The ids of repositories in the order in which they are shown, each once.
#[derive(Default)]
struct Found {
    ids: Vec<i64>,
    seen: Ids,
}

impl Found {
    /// Takes in the next tier; whether there is room for another.
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

/// A repository that was found, with what it is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// Length of the name.
    length: i64,
    /// The repository's id.
    repository: i64,
}

/// Reading postings, by whom they are read.
struct Reading<'a> {
    /// What is visible; `None` for everything.
    visible: Option<&'a Selection>,
    /// How many may still be looked at.
    left: usize,
    /// Whether there was more to look at.
    is_tired: bool,
}

impl Reading<'_> {
    fn everything() -> Self {
        Self { visible: None, left: usize::MAX, is_tired: false }
    }

    /// How many a statement is to return at most.
    fn limit(&self) -> i64 {
        match self.visible {
            None => columns::limit_in(SEARCH_WINDOW),
            // One more, to see whether there is more.
            Some(_) => columns::limit_in(self.left.saturating_add(1)),
        }
    }

    /// Whether another may be looked at.
    fn goes_on(&mut self) -> bool {
        self.is_tired |= self.left == 0;
        self.left = self.left.saturating_sub(1);
        !self.is_tired
    }

    /// The first of the rows that are visible, as many as a search shows.
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
    // Whoever sees only some may have to look at all that have a word, so the rarest matters more.
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

/// The repository of this name, if it holds a manifest.
fn named(sql: Sql<'_>, reading: &mut Reading<'_>, name: &str) -> Result<Vec<Candidate>, StoreError> {
    reading.take(
        sql,
        "SELECT LENGTH(name), id FROM repositories WHERE name = ?1 AND manifests > 0",
        params![name],
    )
}

/// Those with exactly this word in a field.
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

/// Those with a word in a field that begins with `beginning`.
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

/// Those with a word in a field that contains `part` after its beginning.
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

/// In how many names and descriptions a part of a word is; counts no further than `most`.
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

/// Shows `judge` the names and descriptions of up to `limit` of those with a part of a word in a
/// field, until it returns `false`. Which ones, if there are more, is left to the database.
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

/// What comes after every word that begins with `beginning`: this last character is in no word.
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

/// Makes a repository that has come to hold a manifest be found.
pub(super) fn add(sql: Sql<'_>, id: i64, name: &str, description: &str) -> Result<(), StoreError> {
    for (field, word) in index_of_name(name) {
        post(sql, id, name, field, word)?;
    }
    redescribe(sql, id, name, "", description)
}

/// Makes a repository be found no more. `description` is what it was found by.
pub(super) fn remove(sql: Sql<'_>, id: i64, name: &str, description: &str) -> Result<(), StoreError> {
    for (field, word) in index_of_name(name) {
        unpost(sql, id, name, field, word)?;
    }
    redescribe(sql, id, name, description, "")
}

/// Makes a repository be found by a description, and no more by the one that it had.
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
    let id = id.ok_or_else(|| StoreError::Damaged(format!("the word {word:?} could not be noted")))?;
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
    // Every word in the index leads to a repository, so that a range of words is never a walk
    // past words that are used no more.
    if sql.exists("SELECT 1 FROM search_postings WHERE word = ?1 LIMIT 1", params![id])? {
        return Ok(());
    }
    if field != Field::LastComponent {
        // All of them: a database of an older version has more.
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
    async fn the_best_comes_first() {
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
    async fn words_and_parts_of_words_match_in_whatever_case() {
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
            // What German capitals do to ß is beyond us.
            let expected = usize::from(!query.contains("GRÖ"));
            assert_eq!(names(&metadata, query).await.len(), expected, "{query}");
        }
        for query in ["serverx", "xserver", "edge nowhere", "team/webs", "ver2"] {
            assert_eq!(names(&metadata, query).await, [""; 0], "{query}");
        }
    }

    #[tokio::test]
    async fn several_words_are_ranked_too() {
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
    async fn nothing_asked_lists_everything_that_holds_a_manifest_by_name() {
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
    async fn the_index_follows_pushes_descriptions_and_deletions() {
        let (metadata, _directory) = empty();
        with(&metadata, "app", "first words").await;
        with(&metadata, "other", "first impressions").await;
        metadata.set_description(&name("app"), "second words".into()).await.unwrap();
        assert_eq!(names(&metadata, "first").await, ["other"]);
        assert_eq!(names(&metadata, "second").await, ["app"]);
        assert_eq!(names(&metadata, "words").await, ["app"]);

        // With a blob left, the repository stays but is not found until a manifest comes again.
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
    async fn hostile_queries_find_nothing_and_break_nothing() {
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
    async fn no_more_than_the_window_is_counted_and_the_best_are_in_it() {
        let (metadata, _directory) = empty();
        let many = (0..SEARCH_WINDOW + 50).map(|n| super::super::Import::Manifest {
            put: Box::new(manifest(&format!("common/x{n}-{}", n % 7), "m")),
            at: std::time::SystemTime::now(),
        });
        metadata.import(many.collect()).await.unwrap();
        with(&metadata, "late/common", "").await;
        for query in ["common", "ommo", "c", ""] {
            let page = metadata.search(&Visible::Everything, query, 0, 5).await.unwrap();
            assert_eq!(page.total, SEARCH_WINDOW as u64, "{query}");
        }
        // Of several words that are all in very many, fewer are compared.
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

        /// Whatever is asked, those are found that contain every word of it.
        #[test]
        fn those_are_found_that_contain_every_word(
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
