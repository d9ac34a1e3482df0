//! Enums of words with one spelling in the database, in JSON and on the command line.

/// An invalid word of an enum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {given:?}; expected one of: {expected}")]
pub struct UnknownWord {
    /// The subject of the enum.
    pub what: &'static str,
    /// The invalid word.
    pub given: String,
    /// The valid words.
    pub expected: String,
}

/// Implements serde for a type with `Display` and `FromStr`, as a string.
#[macro_export]
macro_rules! serde_as_string {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Defines an enum of words.
#[macro_export]
macro_rules! string_enum {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident: $what:literal {
            $($(#[$variant_attribute:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_attribute])* $variant,)+
        }

        impl $name {
            /// All values in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                match s {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::UnknownWord {
                        what: $what,
                        given: s.chars().take(40).collect(),
                        expected: [$($word),+].join(", "),
                    }),
                }
            }
        }

        $crate::serde_as_string!($name);
    };
}
