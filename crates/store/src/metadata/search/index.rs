//! The rows of the search index: its words, their suffixes and their postings.

use std::collections::HashSet;

use super::super::columns;
use super::super::sql::{Sql, params};
use super::query::{DESCRIPTION_WORDS, ENDINGS, indexed, words};
use crate::StoreError;

/// The field in which a word occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Field {
    /// A word of the name, between the separators `/`, `.`, `_` and `-`.
    Name,
    /// A word of the description.
    Description,
    /// The whole last component of the name, indexed as one word without suffixes.
    LastComponent,
}

impl Field {
    pub(super) const fn number(self) -> i64 {
        match self {
            Self::Name => 0,
            Self::Description => 1,
            Self::LastComponent => 2,
        }
    }
}

/// Adds a repository to the index when it gets its first manifest.
pub(in crate::metadata) fn add(
    sql: Sql<'_>,
    id: i64,
    name: &str,
    description: &str,
) -> Result<(), StoreError> {
    for (field, word) in index_of_name(name) {
        post(sql, id, name, field, word)?;
    }
    redescribe(sql, id, name, "", description)
}

/// Removes a repository from the index, in which it has this description.
pub(in crate::metadata) fn remove(
    sql: Sql<'_>,
    id: i64,
    name: &str,
    description: &str,
) -> Result<(), StoreError> {
    for (field, word) in index_of_name(name) {
        unpost(sql, id, name, field, word)?;
    }
    redescribe(sql, id, name, description, "")
}

/// Replaces the description of a repository in the index.
pub(in crate::metadata) fn redescribe(
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
