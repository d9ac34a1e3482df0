//! The words of a query and of a repository, and the rank of a match.

use crate::StoreError;

/// The number of letters of a word that are indexed.
const WORD: usize = 64;

/// The number of suffixes of a word that are indexed, the longest first. Each costs a row, and names have up
/// to 255 letters.
pub(super) const ENDINGS: usize = 24;

/// The number of words of a description that are indexed.
pub(super) const DESCRIPTION_WORDS: usize = 256;

pub(super) struct Query {
    /// In lower case, trimmed to letters and digits.
    pub(super) text: String,
    /// Distinct, the longest first, because long words are rare.
    pub(super) words: Vec<String>,
}

impl Query {
    /// Returns `None` if the query has no words.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let text = query.to_lowercase();
        let text = text.trim_matches(|letter: char| !letter.is_alphanumeric()).to_owned();
        let mut words: Vec<String> = words(&text).map(str::to_owned).collect();
        words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        words.dedup();
        if words.is_empty() { None } else { Some(Self { text, words }) }
    }

    pub(super) fn is_one_word(&self) -> bool {
        self.words.len() == 1 && self.words[0] == self.text && indexed(&self.text) == self.text
    }

    pub(super) const RANKS: usize = 7;

    /// Returns the rank of a repository, from 0 for the best, in the order of the index; `None` if it does
    /// not match.
    pub(super) fn rank(
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
    pub(super) fn tier(&self, name: &str, description: &str) -> Option<Tier> {
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
pub(super) enum Tier {
    /// A word of the name begins with the query.
    Beginning,
    /// The name contains all words.
    Name,
    /// Name and description together contain all words.
    Description,
}

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

pub(super) fn indexed(word: &str) -> &str {
    word.char_indices().nth(WORD).map_or(word, |(end, _)| &word[..end])
}
