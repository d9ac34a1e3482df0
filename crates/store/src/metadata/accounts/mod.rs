//! Accounts: users, organisations, robots, memberships, grants, tokens and the audit log.
//!
//! The result of a change says whether anything changed, so that callers can invalidate their caches.
//! Refusals that a person can act on are values of an outcome and not errors.

mod account_rows;
pub(super) mod audit;
mod decision;
#[cfg(test)]
pub(super) mod fixtures;
mod grants;
mod keys;
mod limit;
mod organisations;
mod records;
mod robots;
mod teams;
mod tokens;
mod users;

pub use limit::Limit;
pub use records::*;
pub(super) use users::any_users;
