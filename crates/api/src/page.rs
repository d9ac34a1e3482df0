//! Pagination: the fields that all paged lists have in common.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A page of a list. If `more` is true, the next page is requested with the key of the last entry as `last`.
pub trait Page: Serialize + DeserializeOwned {
    type Entry;

    /// Returns the entries, and whether more follow.
    fn split(self) -> (Vec<Self::Entry>, bool);

    /// The value of `last` that requests the page after `entry`.
    fn key(entry: &Self::Entry) -> String;
}

/// Defines the type of a page with its single list, and how the key of an entry is found.
macro_rules! page {
    (
        $(#[$meta:meta])+
        $Page:ident { $(#[$list_meta:meta])+ $list:ident: $Entry:ty } by $key:expr
    ) => {
        $(#[$meta])+
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub struct $Page {
            $(#[$list_meta])+
            pub $list: Vec<$Entry>,
            /// Whether more entries follow.
            pub more: bool,
        }

        impl $crate::Page for $Page {
            type Entry = $Entry;

            fn split(self) -> (Vec<$Entry>, bool) {
                (self.$list, self.more)
            }

            fn key(entry: &$Entry) -> String {
                let key: fn(&$Entry) -> String = $key;
                key(entry)
            }
        }

        impl From<(Vec<$Entry>, bool)> for $Page {
            fn from(($list, more): (Vec<$Entry>, bool)) -> Self {
                Self { $list, more }
            }
        }
    };
}

pub(crate) use page;
