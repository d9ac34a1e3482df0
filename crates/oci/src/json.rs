//! Strict JSON parsing, so that two readers of one document cannot come to different conclusions.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

/// The maximum length of a value in an error, in characters; a sha512 digest has 135.
const MAX_QUOTED: usize = 150;
/// The maximum length of an error in characters: serde repeats a whole value of the wrong type.
const MAX_REASON: usize = 400;

/// A JSON object that is filled field by field.
///
/// Unlike a derived `Deserialize`, this rejects an array in place of the object, and a field in another case:
/// Go reads `Layers` as `layers`.
pub(crate) trait Object: Default {
    /// The object in errors: "a descriptor".
    const WHAT: &'static str;
    /// All fields of the specification, at most 32, including skipped ones.
    const FIELDS: &'static [&'static str];

    /// Reads the value of `field` with one call of `next_value`.
    fn take<'de, M: MapAccess<'de>>(&mut self, field: &'static str, values: &mut M) -> Result<(), M::Error>;
}

/// Reads an object.
pub(crate) fn object<'de, T: Object, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(ObjectVisitor(PhantomData))
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Object> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<T, M::Error> {
        let mut object = T::default();
        let mut seen = 0_u32;
        while let Some(known) = map.next_key_seed(Key(T::FIELDS))? {
            let Some(index) = known else {
                map.next_value::<serde::de::IgnoredAny>()?;
                continue;
            };
            let field = T::FIELDS[index];
            if seen & 1 << index != 0 {
                return Err(Error::duplicate_field(field));
            }
            seen |= 1 << index;
            object.take(field, &mut map)?;
        }
        Ok(object)
    }
}

/// Reads a key. Returns its index among the known fields, or `None`.
struct Key(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        if let Some(index) = self.0.iter().position(|field| *field == key) {
            return Ok(Some(index));
        }
        match self.0.iter().find(|field| is_same_to_go(key, field)) {
            Some(field) => Err(E::custom(format!(
                "`{key}` is not a field, but some clients would read it as `{field}`; write it so, or leave it out"
            ))),
            None => Ok(None),
        }
    }
}

/// Returns whether Go's `encoding/json` reads `key` as `field`. It ignores case with Unicode's simple
/// folding, which maps two letters outside of ASCII to `s` and `k`.
pub(crate) fn is_same_to_go(key: &str, field: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(field.chars().map(fold))
}

/// Reads and parses a string without a copy. `what` names it in errors.
pub(crate) fn parsed<'de, T, D>(deserializer: D, what: &'static str) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_str(ParsedVisitor { what, parsed: PhantomData })
}

struct ParsedVisitor<T> {
    what: &'static str,
    parsed: PhantomData<T>,
}

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for ParsedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}", self.what)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse()
            .map_err(|error| E::custom(format!("{} {:?}: {error}", self.what, shortened(text, MAX_QUOTED))))
    }
}

/// Shortens `text` to at most `most` characters.
fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Reads JSON from memory.
///
/// # Errors
/// The fault and its field, with a bounded length and without control characters.
pub(crate) fn read<'de, T: serde::Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, String> {
    if bytes.trim_ascii().is_empty() {
        return Err("it is empty".into());
    }
    // serde_json does not check skipped strings.
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("invalid UTF-8 at byte {}", error.valid_up_to()))?;
    serde_json::from_str(text).or_else(|_| with_place(text))
}

/// Parses an invalid document again, slower, to find the field of the fault.
fn with_place<'de, T: serde::Deserialize<'de>>(text: &'de str) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // At the end of the text or in invalid JSON, the field is a guess.
        if let Some(syntax) = syntax_error(text, error.inner()) {
            return syntax;
        }
        let place = error.path().to_string();
        let reason = error.inner().to_string();
        let reason = shortened(&reason, MAX_REASON);
        let whole = match place.as_str() {
            "." => reason.into_owned(),
            place => format!("{}: {reason}", shortened(place, MAX_QUOTED)),
        };
        whole.replace(char::is_control, "\u{fffd}")
    })?;
    deserializer.end().map_err(|error| syntax_error(text, &error).unwrap_or_else(|| error.to_string()))?;
    Ok(value)
}

/// Returns the fault of invalid JSON and its byte.
fn syntax_error(text: &str, error: &serde_json::Error) -> Option<String> {
    if error.is_eof() {
        return Some(format!("unexpected end of JSON at byte {}", text.len()));
    }
    if !error.is_syntax() {
        return None;
    }
    // Lines and columns are counted from 1, and columns in bytes.
    let before = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let at = before + error.column().saturating_sub(1);
    let reason = error.to_string();
    let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
    Some(format!("{reason} at byte {at}"))
}
