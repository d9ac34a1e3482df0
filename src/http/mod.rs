//! HTTP: how the registry is spoken to. A file per endpoint, below the directory of its API.
//!
//! - [`server`] listens, bounds and closes connections; `connection` keeps their time limits, `poll_budget` lets them go on.
//!   `redirect` is the port of plain HTTP beside that of HTTPS.
//! - `service` takes a request to its answer; `endpoint` reads the path, `dispatch` chooses the handler.
//! - `v2`, `v1`, `api`, `health`, `root`: the handlers. They take what they need from the request, ask the
//!   registry, and answer.
//! - `error` alone decides which status and JSON an error becomes.
//! - `cors` is for pages in browsers: which origins may use the registry, and no cross-site writes.
//! - `access` decides who may do what; `client_info` who it is that asks, behind a proxy; `rate_limit` how much.
//! - `query`, `page`, `range`, `conditional`, `receive`: what requests say. `body`, `response`, `links`: answers.

pub(crate) mod access;
mod access_log;
pub mod api;
pub(crate) mod app;
mod audit;
mod auth;
pub(crate) mod body;
mod body_budget;
mod client_info;
mod conditional;
pub(crate) mod connection;
mod connection_table;
mod cors;
mod dispatch;
pub(crate) mod endpoint;
pub(crate) mod error;
mod forward_auth;
mod health;
mod host_header;
mod idle_timeout;
mod jwks;
pub(crate) mod links;
mod page;
mod poll_budget;
mod query;
mod range;
mod rate_limit;
mod redirect;
pub(crate) mod request;
pub(crate) mod request_body;
mod request_id;
pub(crate) mod response;
mod root;
pub mod server;
mod service;
mod token;
mod v1;
mod v2;

pub use endpoint::routes;
