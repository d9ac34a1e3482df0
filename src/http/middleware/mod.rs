//! Middleware: the layers between a connection and a handler.

pub(crate) mod access_log;
pub(crate) mod access_request;
pub(crate) mod audit;
pub(crate) mod authorization;
pub(crate) mod body_budget;
pub(crate) mod bucket;
pub(crate) mod caller;
pub(crate) mod challenge;
pub(crate) mod client_info;
pub(crate) mod compression;
pub(crate) mod cookies;
pub(crate) mod cors;
pub(crate) mod denied;
pub(crate) mod forward_auth;
pub(crate) mod host_header;
pub(crate) mod open_pull;
pub(crate) mod rate_limit;
pub(crate) mod rebinding;
pub(crate) mod request_id;
pub(crate) mod request_metrics;
pub(crate) mod revocation;
