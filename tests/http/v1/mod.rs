//! `/v1/`: what engines ask before and for a search.

mod ping;
mod search;
