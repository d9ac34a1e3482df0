//! `/v1/`: the ping and the search of engines.

mod ping;
mod search;
