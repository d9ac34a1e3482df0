//! Values: the parameters of statements and the columns of rows, whichever the database is.

/// A parameter of a statement, or a column of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    /// NULL as a parameter of a known type, which PostgreSQL needs for `?1 IS NULL`.
    NullOf(Kind),
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// The type of a value that is not NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
    Blob,
}

/// The parameters of a statement.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::metadata::value::ToValue::to_value(&$value)),*]
    };
}
pub(super) use params;

/// A type that can be a parameter.
pub(super) trait ToValue {
    /// NULL of this type.
    const NULL: Value<'static>;

    fn to_value(&self) -> Value<'_>;
}

impl ToValue for Value<'_> {
    const NULL: Value<'static> = Value::Null;

    fn to_value(&self) -> Value<'_> {
        *self
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    const NULL: Value<'static> = T::NULL;

    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    const NULL: Value<'static> = T::NULL;

    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(T::NULL, ToValue::to_value)
    }
}

impl ToValue for str {
    const NULL: Value<'static> = Value::NullOf(Kind::Text);

    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for String {
    const NULL: Value<'static> = Value::NullOf(Kind::Text);

    fn to_value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for [u8] {
    const NULL: Value<'static> = Value::NullOf(Kind::Blob);

    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl ToValue for Vec<u8> {
    const NULL: Value<'static> = Value::NullOf(Kind::Blob);

    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<const N: usize> ToValue for [u8; N] {
    const NULL: Value<'static> = Value::NullOf(Kind::Blob);

    fn to_value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

/// A type that a column can be read as. `None` if the value has another type or is out of range.
pub(super) trait FromValue: Sized {
    fn from_value(value: Value<'_>) -> Option<Self>;
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl FromValue for String {
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.to_owned()) } else { None }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        if let Value::Blob(bytes) = value { Some(bytes.to_vec()) } else { None }
    }
}

impl FromValue for u64 {
    fn from_value(value: Value<'_>) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl ToValue for $integer {
            const NULL: Value<'static> = Value::NullOf(Kind::Integer);

            fn to_value(&self) -> Value<'_> {
                Value::Integer(i64::from(*self))
            }
        }

        impl FromValue for $integer {
            fn from_value(value: Value<'_>) -> Option<Self> {
                if let Value::Integer(number) = value { number.try_into().ok() } else { None }
            }
        }
    )*};
}
integers!(i64, i32, u32, u16, u8);

impl ToValue for bool {
    const NULL: Value<'static> = Value::NullOf(Kind::Integer);

    fn to_value(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl FromValue for bool {
    fn from_value(value: Value<'_>) -> Option<Self> {
        i64::from_value(value).map(|number| number != 0)
    }
}
