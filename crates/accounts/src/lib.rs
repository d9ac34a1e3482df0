//! Access control values: names of accounts and teams, rights, repository patterns and sets of
//! visible repositories.
//!
//! Pure values without a database: `store::metadata` keeps users and grants and decides access.
//!
//! - [`Actor`]: the account and the request behind a change.
//! - [`AccountName`], [`TeamName`], [`Subject`]: the users, robots, organisations and teams.
//! - [`Right`], [`Rights`], [`Role`]: the permitted actions.
//! - [`Pattern`]: the repositories that a grant covers.
//! - [`Visible`]: the set of repositories that a caller may see.
//! - [`PrefixRules`]: rules for a repository and all repositories below it.
//! - [`string_enum!`]: enums with one spelling in the database, in JSON and on the command line.

mod actor;
mod name;
mod pattern;
mod prefix_rules;
mod rights;
mod string_enum;
mod subject;
mod visible;

pub use actor::Actor;
pub use name::{AccountName, AccountNameError, TeamName, TeamNameError};
pub use pattern::{Pattern, PatternError, lookup_keys};
pub use prefix_rules::{PrefixRules, Tree};
pub use rights::{Right, Rights, RightsError, Role};
pub use string_enum::UnknownWord;
pub use subject::{Subject, SubjectError};
pub use visible::{Selection, Visible, first_after};
