//! Types of values: each parses the raw value of a setting, writes it back, and describes what it accepts.

mod enums;
mod origins;
mod parsed;
mod paths;
mod raw;
mod redirect;
mod tables;
mod units;
mod urls;

use std::fmt;

use serde::{Serialize, Serializer};

use super::error::Excerpt;
pub use enums::{AcmeChallenge, Challenge, LogFormat, UpstreamHost};
pub(in crate::config) use enums::{choice, header_name, log_filter, text_or_none, word};
pub use origins::WebOrigin;
pub(in crate::config) use origins::web_origin;
pub(in crate::config) use parsed::{one_or_more, optional, parsed, percent, reserve, schedule};
pub(in crate::config) use paths::{address, host, network, optional_address, optional_path, path};
pub(in crate::config) use raw::{Member, RawValue};
pub(in crate::config) use redirect::redirect;
pub(in crate::config) use tables::{Key, Members, Table, TableRules, table, tables};
pub(in crate::config) use units::{
    count, count_or_unlimited, duration, duration_or_off, size, size_or_unlimited, switch,
};
pub use urls::{BaseUrl, BucketUrl, DatabaseUrl, DirectoryUrl};
pub(in crate::config) use urls::{base_url, bucket_url, contact, database_url, directory_url, url};

fn write_list(formatter: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    formatter.write_str("[")?;
    write_joined(formatter, items)?;
    formatter.write_str("]")
}

fn write_table(formatter: &mut fmt::Formatter<'_>, members: &[impl fmt::Display]) -> fmt::Result {
    formatter.write_str("{ ")?;
    write_joined(formatter, members)?;
    formatter.write_str(" }")
}

fn write_joined(formatter: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        write!(formatter, "{}{item}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}

/// Why a raw value is not accepted.
#[derive(Debug, Default, PartialEq)]
pub(in crate::config) struct Refused {
    /// The part that is wrong, in a value that has parts.
    pub(in crate::config) part: Option<Part>,
    /// A suggestion, beyond the expected kind of value.
    pub(in crate::config) hint: Option<String>,
}

/// A part of a value that is not accepted.
#[derive(Debug, PartialEq)]
pub(in crate::config) struct Part {
    /// The fault, which follows the name of the setting in the message.
    pub(in crate::config) wrong: String,
    /// The place of the part, if it is in a file.
    pub(in crate::config) place: Option<Excerpt>,
}

impl Refused {
    pub(in crate::config) fn because(hint: impl Into<String>) -> Self {
        Self { part: None, hint: Some(hint.into()) }
    }
}

/// A value in the syntax of the configuration file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TomlValue {
    Boolean(bool),
    Integer(u64),
    String(String),
    List(Vec<TomlValue>),
    #[serde(serialize_with = "serialize_table")]
    Table(Vec<(&'static str, TomlValue)>),
}

fn serialize_table<S: Serializer>(
    members: &[(&'static str, TomlValue)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(members.iter().map(|(key, value)| (key, value)))
}

impl fmt::Display for TomlValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(formatter, "{value}"),
            Self::Integer(value) => write!(formatter, "{value}"),
            Self::String(text) => write!(formatter, "{}", toml::Value::from(text.as_str())),
            Self::List(items) => write_list(formatter, items),
            Self::Table(members) => {
                let members: Vec<String> =
                    members.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                write_table(formatter, &members)
            }
        }
    }
}

/// A type of values that are stored as `T`.
pub(in crate::config) trait ValueType<T> {
    fn read(&self, raw: &RawValue) -> Result<T, Refused>;
    fn write(&self, value: &T) -> TomlValue;
    /// The accepted values, with an example: the end of the sentence "expected …".
    fn expects(&self) -> String;
    /// The keys of an array of tables; empty for other values.
    fn keys(&self) -> &'static [Key] {
        &[]
    }
}

/// A list of items of one type: `["a", "b"]` in the file, and separated by commas in a variable or flag.
pub(in crate::config) fn list_of<S>(item: S) -> List<S> {
    List(item)
}

pub(in crate::config) struct List<S>(S);

impl<S> List<S> {
    /// Reads every item. An error names all wrong items, with their hints.
    fn read_all<T>(&self, items: &[RawValue]) -> Result<Vec<T>, Refused>
    where
        S: ValueType<T>,
    {
        let (mut values, mut wrong, mut hints) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            match self.0.read(item) {
                Ok(value) => values.push(value),
                Err(refused) => {
                    wrong.push(item.to_string());
                    hints.extend(refused.hint);
                }
            }
        }
        if wrong.is_empty() {
            return Ok(values);
        }
        let is_or_are = if wrong.len() == 1 { "an item is" } else { "items are" };
        let wrong = format!("{is_or_are} {}; expected {}", wrong.join(", "), self.0.expects());
        let hint = (!hints.is_empty()).then(|| hints.join("\n"));
        Err(Refused { part: Some(Part { wrong, place: None }), hint })
    }
}

impl<T, S: ValueType<T>> ValueType<Vec<T>> for List<S> {
    fn read(&self, raw: &RawValue) -> Result<Vec<T>, Refused> {
        match raw {
            RawValue::List(items) => self.read_all(items),
            RawValue::Text(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let items: Vec<RawValue> = items.map(|item| RawValue::Text(item.to_owned())).collect();
                self.read_all(&items)
            }
            RawValue::String(text) => {
                let list = TomlValue::List(vec![TomlValue::String(text.clone())]);
                Err(Refused::because(format!("write a list: {list}")))
            }
            _ => Err(Refused::default()),
        }
    }

    fn write(&self, value: &Vec<T>) -> TomlValue {
        TomlValue::List(value.iter().map(|item| self.0.write(item)).collect())
    }

    fn expects(&self) -> String {
        format!("a list, each of its items {}", self.0.expects())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn text(text: &str) -> RawValue {
        RawValue::Text(text.to_owned())
    }

    pub(super) fn string(text: &str) -> RawValue {
        RawValue::String(text.to_owned())
    }

    pub(super) fn hint<T: fmt::Debug>(result: Result<T, Refused>) -> String {
        result.unwrap_err().hint.unwrap_or_default()
    }

    #[test]
    fn list_is_read_from_file_and_text() {
        let networks = list_of(network());
        let read = |given: &RawValue| networks.read(given).map(|found| networks.write(&found).to_string());
        let file = RawValue::List(vec![string("127.0.0.1"), string("10.1.2.3/8"), string("::ffff:1.2.3.4")]);
        let same = r#"["127.0.0.1", "10.0.0.0/8", "1.2.3.4"]"#;
        assert_eq!(read(&file).as_deref(), Ok(same));
        assert_eq!(read(&text("127.0.0.1, 10.0.0.0/8,1.2.3.4")).as_deref(), Ok(same));
        assert_eq!(read(&text("")).as_deref(), Ok("[]"));
        assert_eq!(read(&RawValue::List(Vec::new())).as_deref(), Ok("[]"));
        assert_eq!(hint(networks.read(&string("10.0.0.0/8"))), r#"write a list: ["10.0.0.0/8"]"#);
        let two = RawValue::List(vec![string("10.0.0.0/40"), string("10.0.0.1"), string("localhost")]);
        let refused = networks.read(&two).unwrap_err();
        let wrong = refused.part.unwrap().wrong;
        assert!(wrong.starts_with(r#"items are "10.0.0.0/40", "localhost"; expected "#), "{wrong}");
        assert_eq!(refused.hint.as_deref(), Some(r#"write "127.0.0.1" and "::1""#));
        networks.read(&RawValue::List(vec![RawValue::Integer(1)])).unwrap_err();
    }
}
