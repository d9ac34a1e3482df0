//! Accounts: who there is, who belongs to what, who may do what, and what was done.
//!
//! What a change returns says whether anything changed: whoever remembers decisions forgets them
//! then. Refusals that a person can do something about are values of an outcome, not errors; they
//! were decided inside the transaction that would have made the change.

mod account_rows;
mod audit;
mod decision;
#[cfg(test)]
pub(super) mod fixtures;
mod grants;
mod keys;
mod organisations;
mod records;
mod robots;
mod teams;
mod tokens;
mod users;

pub use records::*;
pub(super) use users::any_users;
