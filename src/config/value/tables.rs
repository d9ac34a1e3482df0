//! Arrays of tables, such as `[[auth.locations]]`: each table is a struct that [`table!`] defines.

use std::marker::PhantomData;

use super::{Member, Part, RawValue, Refused, TomlValue, ValueType};
use crate::config::nearest;

/// A key of the tables, as the template and the errors describe it.
pub(in crate::config) struct Key {
    pub(in crate::config) name: &'static str,
    /// The description, in the lines of the source.
    pub(in crate::config) description: &'static str,
    pub(in crate::config) is_required: bool,
}

/// A struct that is read from a table.
pub(in crate::config) trait Table: TableRules + Sized {
    /// An inline table, for error messages.
    const EXAMPLE: &'static str;
    const KEYS: &'static [Key];

    fn read(table: &Members<'_>) -> Result<Self, Refused>;

    /// The keys with their values, without those that have their default.
    fn write(&self) -> Vec<(&'static str, TomlValue)>;
}

/// Rules for several keys and several tables.
pub(in crate::config) trait TableRules {
    /// The key whose value no two tables may share; empty if tables may be equal.
    const UNIQUE: &'static str;

    /// Checks keys that depend on each other. An error names the key at fault.
    fn check(&self) -> Result<(), (&'static str, String)>;
}

/// Defines a struct that is read from a table, in the way of the settings: a description, then
/// `key: type = default, type of the value;`. A key without a default is required.
macro_rules! table {
    (@is_required) => { true };
    (@is_required $default:expr) => { false };
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
    (
        $(#[doc = $doc:literal])+
        $Table:ident, such as $example:literal {
            $( $(#[doc = $key_doc:literal])+ $key:ident : $type:ty $(= $default:expr)?, $value:expr; )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Table {
            $( $(#[doc = $key_doc])+ pub $key: $type, )+
        }

        impl $crate::config::value::Table for $Table {
            const EXAMPLE: &'static str = $example;
            const KEYS: &'static [$crate::config::value::Key] = &[$(
                $crate::config::value::Key {
                    name: stringify!($key),
                    description: concat!($($key_doc, "\n"),+),
                    is_required: table!(@is_required $($default)?),
                },
            )+];

            fn read(
                table: &$crate::config::value::Members<'_>,
            ) -> Result<Self, $crate::config::value::Refused> {
                Ok(Self {
                    $( $key: table.value(stringify!($key), &$value, table!(@default $($default)?))?, )+
                })
            }

            fn write(&self) -> Vec<(&'static str, $crate::config::value::TomlValue)> {
                let mut members = Vec::new();
                $(
                    let default: Option<$type> = table!(@default $($default)?);
                    if default.as_ref() != Some(&self.$key) {
                        members.push((stringify!($key), $value.write(&self.$key)));
                    }
                )+
                members
            }
        }
    };
}

pub(in crate::config) use table;

/// The value of a setting that is an array of tables.
pub(in crate::config) fn tables<T: Table>() -> Tables<T> {
    Tables(PhantomData)
}

pub(in crate::config) struct Tables<T>(PhantomData<T>);

impl<T: Table> ValueType<Vec<T>> for Tables<T> {
    fn read(&self, raw: &RawValue) -> Result<Vec<T>, Refused> {
        let parsed;
        let items = match raw {
            RawValue::List(items) => items,
            RawValue::Text(text) => {
                parsed = RawValue::parse(text);
                match &parsed {
                    Some(RawValue::List(items)) => items,
                    _ => {
                        return Err(Refused::because(
                            "write it as in the file, with the brackets and the quotes, or as JSON",
                        ));
                    }
                }
            }
            RawValue::Table(_) => {
                return Err(Refused::because("write a list: [{ … }], or a heading in double brackets"));
            }
            _ => return Err(Refused::default()),
        };
        let mut tables: Vec<T> = Vec::new();
        for item in items {
            let RawValue::Table(members) = item else { return Err(Refused::default()) };
            let table = Members { members, example: T::EXAMPLE }.table::<T>()?;
            let unique = member(&table, T::UNIQUE);
            if !T::UNIQUE.is_empty() && tables.iter().any(|other| member(other, T::UNIQUE) == unique) {
                let value = unique.map(|value| value.to_string()).unwrap_or_default();
                let fault = format!("two tables have the {} {value}", T::UNIQUE);
                return Err(Members { members, example: T::EXAMPLE }.fault(T::UNIQUE, fault));
            }
            tables.push(table);
        }
        Ok(tables)
    }

    fn write(&self, value: &Vec<T>) -> TomlValue {
        TomlValue::List(value.iter().map(|table| TomlValue::Table(table.write())).collect())
    }

    fn expects(&self) -> String {
        format!("a list of tables such as {}", T::EXAMPLE)
    }

    fn keys(&self) -> &'static [Key] {
        T::KEYS
    }
}

/// The value of a key, as it is written.
fn member<T: Table>(table: &T, key: &str) -> Option<TomlValue> {
    table.write().into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// The members of a table that is being read.
pub(in crate::config) struct Members<'a> {
    members: &'a [Member],
    example: &'static str,
}

impl Members<'_> {
    fn table<T: Table>(&self) -> Result<T, Refused> {
        let is_known = |member: &&Member| T::KEYS.iter().any(|key| key.name == member.key);
        if let Some(unknown) = self.members.iter().find(|member| !is_known(member)) {
            let names: Vec<&str> = T::KEYS.iter().map(|key| key.name).collect();
            let hint = match nearest(&unknown.key, names.iter().copied()) {
                Some(key) => format!("did you mean `{key}`?"),
                None => format!("the keys are `{}`", names.join("`, `")),
            };
            let refused = self.fault(&unknown.key, format!("unknown key `{}`", unknown.key));
            return Err(Refused { hint: Some(hint), ..refused });
        }
        let table = T::read(self)?;
        table.check().map_err(|(key, fault)| self.fault(key, fault))?;
        Ok(table)
    }

    /// Reads the value of a key. Without a default, the key is required.
    pub(in crate::config) fn value<V>(
        &self,
        key: &str,
        value: &impl ValueType<V>,
        default: Option<V>,
    ) -> Result<V, Refused> {
        let Some(member) = self.members.iter().find(|member| member.key == key) else {
            return default.ok_or_else(|| Refused {
                hint: Some(format!("expected a table such as {}", self.example)),
                ..self.fault(key, format!("`{key}` is missing"))
            });
        };
        value.read(&member.value).map_err(|refused| Refused {
            hint: refused.hint,
            ..self.fault(key, format!("`{key}` is {}; expected {}", member.value, value.expects()))
        })
    }

    /// Describes a fault at the place of a key, or else of the first key.
    fn fault(&self, key: &str, fault: String) -> Refused {
        let member = self.members.iter().find(|member| member.key == key).or(self.members.first());
        let place = member.and_then(|member| member.place.clone());
        Refused { part: Some(Part { wrong: fault, place }), hint: None }
    }
}
