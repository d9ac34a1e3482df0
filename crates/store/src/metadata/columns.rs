//! Conversion between the types of `oci` and columns.
//!
//! Values are parsed like external input, so that a damaged row is an error and never an invalid value.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use super::ManifestRecord;
use super::sql::Row;
use super::value::{Kind, ToValue, Value};
use crate::StoreError;
use accounts::{Pattern, Rights};
use oci::descriptor::Annotations;
use oci::{Algorithm, Digest, MediaType};
use serde::de::DeserializeOwned;

/// A digest as a column: one byte for the algorithm, then the hash. It has half the size of the text and the
/// same order.
pub(super) struct DigestKey {
    bytes: [u8; 65],
    len: usize,
}

pub(super) fn key(digest: &Digest) -> DigestKey {
    let mut bytes = [0; 65];
    bytes[0] = match digest.algorithm() {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    };
    let hash = digest.hash();
    bytes[1..=hash.len()].copy_from_slice(hash);
    DigestKey { bytes, len: hash.len() + 1 }
}

impl ToValue for DigestKey {
    const NULL: Value<'static> = Value::NullOf(Kind::Blob);

    fn to_value(&self) -> Value<'_> {
        Value::Blob(&self.bytes[..self.len])
    }
}

/// The digest in column `index`.
pub(super) fn digest(row: &Row<'_>, index: usize) -> Result<Digest, StoreError> {
    let digest = match row.value(index)? {
        Value::Blob([1, hash @ ..]) => Digest::from_hash(Algorithm::Sha256, hash),
        Value::Blob([2, hash @ ..]) => Digest::from_hash(Algorithm::Sha512, hash),
        _ => None,
    };
    digest.ok_or_else(|| row.damaged(index, "not a digest"))
}

/// The digest in column `index`, unless it is NULL.
pub(super) fn digest_or_null(row: &Row<'_>, index: usize) -> Result<Option<Digest>, StoreError> {
    if row.value(index)? == Value::Null { Ok(None) } else { digest(row, index).map(Some) }
}

/// Parses the text in column `index`: a name, a tag, a media type, an algorithm, a UUID.
pub(super) fn text<T>(row: &Row<'_>, index: usize) -> Result<T, StoreError>
where
    T: FromStr<Err: std::fmt::Display>,
{
    row.text(index)?.parse().map_err(|error| row.damaged(index, error))
}

/// A size or number as SQL's signed integer.
pub(super) fn count_in(count: u64) -> Result<i64, StoreError> {
    i64::try_from(count)
        .map_err(|_| StoreError::Damaged(format!("{count} is more than the database can store")))
}

pub(super) fn count(row: &Row<'_>, index: usize) -> Result<u64, StoreError> {
    row.get(index)
}

/// A limit as SQL's signed integer.
pub(super) fn limit_in(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A time in milliseconds since 1970. Earlier times, which only a wrong clock gives, become 0.
pub(super) fn time_in(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The present time in milliseconds since 1970.
pub(super) fn now() -> i64 {
    time_in(SystemTime::now())
}

/// A time from milliseconds since 1970.
pub(super) fn from_millis(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(super) fn time(row: &Row<'_>, index: usize) -> Result<SystemTime, StoreError> {
    Ok(SystemTime::UNIX_EPOCH + Duration::from_millis(count(row, index)?))
}

/// The time in column `index`, unless it is NULL.
pub(super) fn time_or_null(row: &Row<'_>, index: usize) -> Result<Option<SystemTime>, StoreError> {
    if row.value(index)? == Value::Null { Ok(None) } else { time(row, index).map(Some) }
}

/// Parses the text in column `index`, unless it is NULL.
pub(super) fn text_or_null<T>(row: &Row<'_>, index: usize) -> Result<Option<T>, StoreError>
where
    T: FromStr<Err: std::fmt::Display>,
{
    if row.value(index)? == Value::Null { Ok(None) } else { text(row, index).map(Some) }
}

pub(super) fn rights(row: &Row<'_>, index: usize) -> Result<Rights, StoreError> {
    Ok(Rights::from_bits(row.get(index)?))
}

/// Annotations as a JSON object.
pub(super) fn annotations_in(annotations: Option<&Annotations>) -> Result<Option<String>, StoreError> {
    annotations
        .map(serde_json::to_string)
        .transpose()
        .map_err(|error| StoreError::Damaged(format!("annotations cannot be serialised: {error}")))
}

pub(super) fn annotations(row: &Row<'_>, index: usize) -> Result<Option<Annotations>, StoreError> {
    json(row, index)
}

/// Patterns as a JSON array.
pub(super) fn patterns_in(patterns: Option<&[Pattern]>) -> Result<Option<String>, StoreError> {
    patterns
        .map(serde_json::to_string)
        .transpose()
        .map_err(|error| StoreError::Damaged(format!("patterns cannot be serialised: {error}")))
}

pub(super) fn patterns(row: &Row<'_>, index: usize) -> Result<Option<Vec<Pattern>>, StoreError> {
    json(row, index)
}

/// The manifest whose digest, media type and size are in the columns from `index` on.
pub(super) fn manifest(row: &Row<'_>, index: usize) -> Result<ManifestRecord, StoreError> {
    let media_type: MediaType = text(row, index + 1)?;
    Ok(ManifestRecord { digest: digest(row, index)?, media_type, size: count(row, index + 2)? })
}

/// A list of texts as a JSON array.
pub(super) fn json_list(row: &Row<'_>, index: usize) -> Result<Vec<String>, StoreError> {
    Ok(json(row, index)?.unwrap_or_default())
}

/// Parses the JSON in column `index`, unless it is NULL.
fn json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> Result<Option<T>, StoreError> {
    if row.value(index)? == Value::Null {
        return Ok(None);
    }
    serde_json::from_str(row.text(index)?).map(Some).map_err(|error| row.damaged(index, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_like_digests() {
        let mut digests: Vec<Digest> = (0_u8..50).map(|n| Algorithm::Sha256.digest(&[n])).collect();
        digests.extend((0_u8..50).map(|n| Algorithm::Sha512.digest(&[n])));
        let mut by_key = digests.clone();
        by_key.sort_by_key(|digest| {
            let key = key(digest);
            key.bytes[..key.len].to_vec()
        });
        digests.sort_by_key(ToString::to_string);
        assert_eq!(by_key, digests);
    }

    #[test]
    fn time_before_1970_becomes_1970() {
        assert_eq!(time_in(SystemTime::UNIX_EPOCH - Duration::from_secs(5)), 0);
    }
}
