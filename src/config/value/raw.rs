//! Raw values: the text, number or table that the operator wrote for a setting, before it is checked.

use std::fmt;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{TomlValue, write_list, write_table};
use crate::config::error::Excerpt;

/// The value that was written for a setting.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) enum RawValue {
    /// An environment variable or a flag, where text and numbers look the same.
    Text(String),
    /// A quoted string of the file.
    String(String),
    Integer(i128),
    Boolean(bool),
    List(Vec<RawValue>),
    Table(Vec<Member>),
    /// A float, a date or a JSON null, which no setting accepts.
    Other,
}

/// A key of a table with its value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct Member {
    pub(in crate::config) key: String,
    pub(in crate::config) value: RawValue,
    /// The place of the key, if it is in a file.
    pub(in crate::config) place: Option<Excerpt>,
}

impl RawValue {
    /// Parses the text of a variable or a flag for a setting that text alone cannot express: inline TOML, as
    /// in the file, or JSON.
    pub(in crate::config) fn parse(text: &str) -> Option<Self> {
        Self::parse_toml(text).or_else(|| serde_json::from_str(text).ok().map(Self::from_json))
    }

    fn parse_toml(text: &str) -> Option<Self> {
        let file = format!("value = {text}");
        let table = DeTable::parse(&file).ok()?;
        let (_, value) = table.get_ref().iter().next().filter(|_| table.get_ref().len() == 1)?;
        Some(Self::from_toml(value.get_ref(), &|_| None))
    }

    /// Converts a value of the file. `place` finds the place of an offset in it.
    pub(in crate::config) fn from_toml(
        value: &DeValue<'_>,
        place: &dyn Fn(usize) -> Option<Excerpt>,
    ) -> Self {
        match value {
            DeValue::String(text) => Self::String(text.to_string()),
            DeValue::Boolean(value) => Self::Boolean(*value),
            DeValue::Integer(number) => {
                i128::from_str_radix(number.as_str(), number.radix()).map_or(Self::Other, Self::Integer)
            }
            DeValue::Array(items) => {
                Self::List(items.iter().map(|item| Self::from_toml(item.get_ref(), place)).collect())
            }
            DeValue::Table(table) => {
                let member = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
                    let member = Member {
                        key: key.get_ref().to_string(),
                        value: Self::from_toml(value.get_ref(), place),
                        place: place(key.span().start),
                    };
                    (key.span().start, member)
                };
                let mut members: Vec<(usize, Member)> = table.iter().map(member).collect();
                // In the order of the file.
                members.sort_by_key(|(offset, _)| *offset);
                Self::Table(members.into_iter().map(|(_, member)| member).collect())
            }
            _ => Self::Other,
        }
    }

    fn from_json(value: serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Other,
            Value::Bool(value) => Self::Boolean(value),
            Value::Number(number) => {
                number.as_i64().map_or(Self::Other, |number| Self::Integer(number.into()))
            }
            Value::String(text) => Self::String(text),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from_json).collect()),
            Value::Object(members) => {
                let member = |(key, value)| Member { key, value: Self::from_json(value), place: None };
                Self::Table(members.into_iter().map(member).collect())
            }
        }
    }

    /// Returns the text, if it is text.
    pub(in crate::config) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::String(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// Returns the number, if it is a whole number. A quoted one in a file is not: the quotes are an error to
    /// report.
    pub(super) fn number(&self) -> Option<i128> {
        match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

impl fmt::Display for RawValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::String(text) => TomlValue::String(text.clone()).fmt(formatter),
            Self::Integer(number) => number.fmt(formatter),
            Self::Boolean(value) => value.fmt(formatter),
            Self::List(items) => write_list(formatter, items),
            Self::Table(members) => write_table(formatter, members),
            Self::Other => formatter.write_str("neither a text nor a whole number"),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} = {}", self.key, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_and_json_parse_to_the_same_value() {
        let toml = RawValue::parse(r#"[{ a = "x", b = 1, c = true }]"#).unwrap();
        let json = RawValue::parse(r#"[{ "a": "x", "b": 1, "c": true }]"#).unwrap();
        assert_eq!(toml, json);
        assert_eq!(RawValue::parse("[1]\nlisten = 2"), None);
    }
}
