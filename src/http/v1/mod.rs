//! What engines still ask of the registries of 2013, for `docker search` alone.

pub(super) mod ping;
pub(super) mod search;
