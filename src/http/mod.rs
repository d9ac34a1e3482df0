//! HTTP: a file per endpoint, below the directory of its API, and the layers between a connection and a handler.
//!
//! - [`server`]: listeners, TLS, connections, HTTP/1.1 and HTTP/2, idle timeouts, connection limits.
//! - `middleware`: request id, client address, rate limit, authorization, CORS, audit, access log.
//! - `extract`: reads path, query, range, conditional headers and body of a request.
//! - `service`: takes a request through the middleware; `dispatch` chooses the handler.
//! - `v1`, `v2`, `api`, `token`, `jwks`, `auth`, `health`, `root`: the handlers.
//! - `error`: maps errors to statuses and JSON bodies. `body`, `response`, `links`: parts of responses.

mod api;
pub(crate) mod app;
mod auth;
pub(crate) mod body;
pub(crate) mod content_proxy;
mod dispatch;
pub(crate) mod error;
pub(crate) mod extract;
pub(crate) mod gateway_error;
mod health;
mod jwks;
pub(crate) mod links;
pub(crate) mod middleware;
pub(crate) mod response;
mod root;
pub mod server;
mod service;
mod token;
mod v1;
mod v2;

pub use extract::endpoint::routes;
