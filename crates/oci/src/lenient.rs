//! Lenient deserializers for serde's `deserialize_with`: a value of another type counts as absent. They are
//! for documents that are only shown.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::descriptor::Annotations;

/// Reads a value of another type as `None`.
///
/// # Errors
/// The input is no JSON.
pub fn value<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// Reads a list without the entries of another type.
///
/// # Errors
/// The input is no JSON.
pub fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let Value::Array(items) = Value::deserialize(deserializer)? else { return Ok(Vec::new()) };
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}

/// Reads an object without the values that are not strings.
///
/// # Errors
/// The input is no JSON.
pub fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Annotations, D::Error> {
    let Value::Object(object) = Value::deserialize(deserializer)? else { return Ok(Annotations::new()) };
    let text = |(key, value)| if let Value::String(value) = value { Some((key, value)) } else { None };
    Ok(object.into_iter().filter_map(text).collect())
}

/// Reads the keys of an object.
///
/// # Errors
/// The input is no JSON.
pub fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let Value::Object(object) = Value::deserialize(deserializer)? else { return Ok(Vec::new()) };
    Ok(object.into_iter().map(|(key, _)| key).collect())
}
