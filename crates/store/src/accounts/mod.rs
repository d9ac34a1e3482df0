//! Accounts and what they may do, as values. No database here: who has which right is kept, and
//! decided, in [`crate::metadata`].
//!
//! - [`AccountName`], [`TeamName`], [`Subject`]: who.
//! - [`Right`], [`Rights`], [`Role`]: what.
//! - [`Pattern`]: on which repositories.
//! - [`Visible`]: which repositories somebody may know of.
//! - [`PrefixRules`]: what is said of a repository and all below it.

mod name;
mod pattern;
mod prefix_rules;
mod rights;
mod string_enum;
mod subject;
mod visible;

pub use name::{AccountName, AccountNameError, TeamName, TeamNameError};
pub use pattern::{Pattern, PatternError};
pub use prefix_rules::{PrefixRules, Tree};
pub use rights::{Right, Rights, RightsError, Role};
pub use string_enum::UnknownWord;
pub use subject::{Subject, SubjectError};
pub use visible::{Selection, Visible};

pub(crate) use pattern::lookup_keys;
pub(crate) use string_enum::{spelled, string_enum};
pub(crate) use visible::first_after;
