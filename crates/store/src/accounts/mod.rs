//! Accounts and what they may do, as values. No database here: who has which right is kept, and
//! decided, in [`crate::metadata`].
//!
//! - [`AccountName`], [`TeamName`], [`Subject`]: who.
//! - [`Right`], [`Rights`], [`Role`]: what.
//! - [`Pattern`]: on which repositories.
//! - [`Visible`]: which repositories somebody may know of.
//! - [`Trees`]: what is said of a repository and all below it.

mod name;
mod pattern;
mod rights;
mod subject;
mod trees;
mod visible;
mod words;

pub use name::{AccountName, AccountNameError, TeamName, TeamNameError};
pub use pattern::{Pattern, PatternError};
pub use rights::{Right, Rights, RightsError, Role};
pub use subject::{Subject, SubjectError};
pub use trees::{Tree, Trees};
pub use visible::{Selection, Visible};
pub use words::UnknownWord;

pub(crate) use pattern::lookup_keys;
pub(crate) use visible::first_after;
pub(crate) use words::{spelled, words};
