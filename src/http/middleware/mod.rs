//! Middleware: the layers that every request passes before its handler, and its answer after it.

pub(crate) mod access_log;
pub(crate) mod audit;
pub(crate) mod authorization;
pub(crate) mod body_budget;
pub(crate) mod client_info;
pub(crate) mod cors;
pub(crate) mod forward_auth;
pub(crate) mod host_header;
pub(crate) mod rate_limit;
pub(crate) mod request_id;
