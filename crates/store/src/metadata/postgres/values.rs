//! Conversion between values and the binary format of PostgreSQL.

use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::super::value::{Kind, Value};
use crate::StoreError;

/// Returns the type of a parameter. The server decides on that of NULL without a type.
pub(super) fn type_of(value: Value<'_>) -> Type {
    match value {
        Value::Null => Type::UNKNOWN,
        Value::Integer(_) | Value::NullOf(Kind::Integer) => Type::INT8,
        Value::Text(_) | Value::NullOf(Kind::Text) => Type::TEXT,
        Value::Blob(_) | Value::NullOf(Kind::Blob) => Type::BYTEA,
    }
}

/// A value as a parameter. The driver logs parameters at the level `debug`, and they may be password hashes
/// and keys, so it is never shown.
pub(super) struct Parameter<'a>(pub(super) Value<'a>);

impl fmt::Debug for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self, _ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Value::Null | Value::NullOf(_) => return Ok(IsNull::Yes),
            Value::Integer(number) => out.extend_from_slice(&number.to_be_bytes()),
            // PostgreSQL has no NUL in a text, but a description or the start of a page may. The next
            // character has nearly the same order.
            Value::Text(text) if text.contains('\0') => {
                out.extend_from_slice(text.replace('\0', "\u{1}").as_bytes());
            }
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
            Value::Blob(bytes) => out.extend_from_slice(bytes),
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::TEXT | Type::BYTEA)
    }

    to_sql_checked!();
}

/// A parameter of a statement that is sent and not waited for.
pub(super) struct Encoded(Option<BytesMut>);

impl Encoded {
    pub(super) fn new(value: Value<'_>) -> Result<Self, StoreError> {
        let mut bytes = BytesMut::new();
        match Parameter(value).to_sql(&type_of(value), &mut bytes) {
            Ok(IsNull::No) => Ok(Self(Some(bytes))),
            Ok(IsNull::Yes) => Ok(Self(None)),
            Err(error) => Err(StoreError::Damaged(format!("a parameter cannot be encoded: {error}"))),
        }
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl ToSql for Encoded {
    fn to_sql(&self, _ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(bytes) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        <Parameter<'_> as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *ty {
            Type::INT8 => Self::Integer(i64::from_be_bytes(raw.try_into()?)),
            Type::INT4 => Self::Integer(i32::from_be_bytes(raw.try_into()?).into()),
            Type::BOOL => Self::Integer(i64::from(raw != [0])),
            Type::NUMERIC => Self::Integer(integer(raw).ok_or("a number that is no integer of 64 bits")?),
            Type::TEXT => Self::Text(str::from_utf8(raw)?),
            Type::BYTEA => Self::Blob(raw),
            _ => return Err(format!("a value of type {ty}").into()),
        })
    }

    fn from_sql_null(_ty: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::INT4 | Type::BOOL | Type::NUMERIC | Type::TEXT | Type::BYTEA)
    }
}

/// Decodes a NUMERIC, the type of a sum. It has 16-bit fields: the number of digits to the base 10,000, the
/// exponent of the first one, the sign, the number of decimals, and the digits. Trailing zeros are left out.
fn integer(raw: &[u8]) -> Option<i64> {
    let mut fields = raw.chunks_exact(2).map(|field| i16::from_be_bytes([field[0], field[1]]));
    let (digits, exponent, sign) = (fields.next()?, fields.next()?, fields.next()?);
    let _decimals = fields.next()?;
    if digits == 0 {
        return Some(0);
    }
    if exponent < digits - 1 {
        return None;
    }
    let mut number = 0_i64;
    for _ in 0..=exponent {
        let digit = fields.next().unwrap_or(0);
        number = number.checked_mul(10_000)?.checked_sub(digit.into())?;
    }
    match sign {
        0x4000 => Some(number),
        0 => number.checked_neg(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(fields: &[i16]) -> Option<i64> {
        integer(&fields.iter().flat_map(|field| field.to_be_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn sums_are_decoded() {
        assert_eq!(numeric(&[0, 0, 0, 0]), Some(0));
        assert_eq!(numeric(&[1, 0, 0, 0, 42]), Some(42));
        assert_eq!(numeric(&[1, 0, 0x4000, 0, 42]), Some(-42));
        // 120,000,000: the digits after 1 2000 are left out.
        assert_eq!(numeric(&[2, 2, 0, 0, 1, 2000]), Some(120_000_000));
        assert_eq!(numeric(&[5, 4, 0, 0, 922, 3372, 368, 5477, 5807]), Some(i64::MAX));
        assert_eq!(numeric(&[5, 4, 0x4000, 0, 922, 3372, 368, 5477, 5808]), Some(i64::MIN));
        assert_eq!(numeric(&[5, 4, 0, 0, 922, 3372, 368, 5477, 5808]), None, "too large");
        assert_eq!(numeric(&[2, 0, 0, 1, 1, 5000]), None, "1.5");
    }
}
