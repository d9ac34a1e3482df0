//! Extractors: path, query, range, conditional headers and body of a request.

pub(crate) mod body;
pub(crate) mod conditional;
pub(crate) mod endpoint;
pub(crate) mod namespace;
pub(crate) mod page;
pub(crate) mod path_part;
pub(crate) mod query;
pub(crate) mod range;
pub(crate) mod request;
