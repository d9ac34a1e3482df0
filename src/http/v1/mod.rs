//! The part of the registry API of 2013 that `docker search` uses.

pub(super) mod ping;
pub(super) mod search;
