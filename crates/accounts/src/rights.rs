//! Rights on repositories, and the roles in an organisation that stand for some of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{UnknownWord, string_enum};

string_enum! {
    /// A right on a repository.
    pub enum Right: "right" {
        /// See the repository, and read its content.
        Pull = "pull",
        /// Put blobs, manifests and tags into it.
        Push = "push",
        /// Delete its content, and the repository.
        Delete = "delete",
        /// Manage the grants on it.
        Administer = "administer",
        /// Make the registry fetch missing content from its upstream.
        Fill = "fill",
    }
}

string_enum! {
    /// The role of a member in the repositories `organisation/**`.
    pub enum Role: "role" {
        /// Pull.
        Reader = "reader",
        /// Pull and push.
        Writer = "writer",
        /// Pull, push and delete.
        Maintainer = "maintainer",
        /// Everything; also members, teams, robots and grants.
        Owner = "owner",
    }
}

impl Role {
    /// Returns the rights of the role.
    #[must_use]
    pub fn rights(self) -> Rights {
        match self {
            Self::Reader => Rights::of([Right::Pull]),
            Self::Writer => Rights::of([Right::Push]),
            Self::Maintainer => Rights::of([Right::Push, Right::Delete]),
            Self::Owner => Rights::ALL,
        }
    }
}

/// A set of rights. Pushing and deleting include pulling, administering includes everything: so it
/// is in every set, and in every union and intersection of sets.
///
/// In JSON it is a list of words, and in text the words are joined by commas.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rights(u8);

/// The error of a text that names no set of rights.
pub type RightsError = UnknownWord;

impl Rights {
    /// No rights: the repository is hidden.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(0b11111);

    /// Returns these rights and the included ones.
    #[must_use]
    pub fn of(rights: impl IntoIterator<Item = Right>) -> Self {
        rights.into_iter().fold(Self::NONE, |set, right| {
            set.union(match right {
                Right::Pull => Self(0b0001),
                Right::Push => Self(0b0011),
                Right::Delete => Self(0b0101),
                Right::Administer => Self::ALL,
                Right::Fill => Self(0b10001),
            })
        })
    }

    /// Whether this right is among them.
    #[must_use]
    pub fn allow(self, right: Right) -> bool {
        self.0 & Self::bit(right) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the set contains all of `others`.
    #[must_use]
    pub fn include(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// The rights of either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The rights that both sets contain.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Iterates over all rights, included ones too.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.iter().copied().filter(move |right| self.allow(*right))
    }

    fn bit(right: Right) -> u8 {
        1 << right as u8
    }

    /// Returns the database value: 1 pull, 2 push, 4 delete, 8 administer, 16 fill.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Converts from [`Rights::bits`].
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self::of(Right::ALL.iter().copied().filter(|right| bits & Self::bit(*right) != 0))
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self::of(rights)
    }
}

impl From<Right> for Rights {
    fn from(right: Right) -> Self {
        Self::of([right])
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let string_enum: Vec<_> = self.iter().map(Right::as_str).collect();
        f.pad(&string_enum.join(","))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

impl FromStr for Rights {
    type Err = RightsError;

    /// Words joined by commas. An empty text is no right.
    fn from_str(s: &str) -> Result<Self, RightsError> {
        s.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Right::from_str).collect()
    }
}

impl Serialize for Rights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Rights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Right>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_include_what_cannot_be_without() {
        let rights = |text: &str| text.parse::<Rights>().unwrap();
        assert_eq!(rights("push").to_string(), "pull,push");
        assert_eq!(rights("delete").to_string(), "pull,delete");
        assert_eq!(rights("fill").to_string(), "pull,fill");
        assert_eq!(rights("administer"), Rights::ALL);
        assert_eq!(rights("delete, push").to_string(), "pull,push,delete");
        assert_eq!(rights(""), Rights::NONE);
        assert!(!rights("push").allow(Right::Delete));
        assert_eq!(rights("push").intersection(rights("delete")), rights("pull"));
        assert_eq!(
            "pull,own".parse::<Rights>().unwrap_err().to_string(),
            "unknown right \"own\"; expected one of: pull, push, delete, administer, fill"
        );
    }

    #[test]
    fn rights_are_consistent_however_made() {
        for bits in 0..32 {
            let set = Rights::from_bits(bits);
            assert_eq!(Rights::from_bits(set.bits()), set);
            assert_eq!(set.iter().collect::<Rights>(), set);
            assert_eq!(set.to_string().parse::<Rights>().unwrap(), set);
            assert_eq!(set.is_empty(), !set.allow(Right::Pull), "whoever may do anything may pull");
            let json = serde_json::to_string(&set).unwrap();
            assert_eq!(serde_json::from_str::<Rights>(&json).unwrap(), set);
            for other in (0..32).map(Rights::from_bits) {
                for mixed in [set.union(other), set.intersection(other)] {
                    assert_eq!(mixed.iter().collect::<Rights>(), mixed);
                }
                assert!(set.union(other).include(set) && set.include(set.intersection(other)));
            }
        }
    }

    #[test]
    fn roles_grow() {
        for pair in Role::ALL.windows(2) {
            assert!(pair[1].rights().include(pair[0].rights()) && pair[0] < pair[1]);
        }
        assert_eq!(Role::Maintainer.rights().to_string(), "pull,push,delete");
    }
}
