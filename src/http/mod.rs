//! HTTP: a file per endpoint, below the directory of its API, and the layers between a connection and a
//! handler.
//!
//! - [`server`]: listeners, TLS, connections, HTTP/1.1 and HTTP/2, idle timeouts, connection limits.
//! - `service`: the pipeline that takes a request through the middleware to its handler.
//! - `middleware`: request id, client address, rate limit, authorization, CORS, audit, access log.
//! - `endpoints`: the table of endpoints. `dispatch` calls their handlers.
//! - `extract`: path, query, range, conditional headers and body of a request.
//! - `v1`, `v2`, `api`, `token`, `jwks`, `auth`, `health`, `metrics`, `root`: the handlers.
//! - `web`: the pages for browsers.
//! - `error`: statuses and JSON bodies of errors. `body`, `response`, `links`: parts of responses.

mod api;
pub(crate) mod app;
mod audited_change;
mod auth;
pub(crate) mod body;
mod call;
pub(crate) mod cluster;
pub(crate) mod content_proxy;
mod dispatch;
mod endpoints;
pub(crate) mod error;
pub(crate) mod extract;
pub(crate) mod gateway_error;
mod health;
mod in_force;
mod jwks;
pub(crate) mod links;
pub(crate) mod live;
mod metrics;
pub(crate) mod middleware;
pub(crate) mod reload_requests;
pub(crate) mod response;
mod root;
mod scrape;
pub mod server;
mod service;
mod token;
mod v1;
mod v2;
mod web;

pub use extract::endpoint::routes;
