//! The registry over HTTP: a server in this process behind a real socket. The modules follow the routes.
//! `protocol` tests rules of all endpoints, and `connections` tests timeouts and limits.

// A failed expectation reports its place.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod access;
mod api;
mod connections;
mod control;
mod cors;
mod events;
mod gateway;
mod harness;
mod health;
mod http2;
mod metrics;
mod mirror;
mod postgres;
mod protocol;
mod proxied;
mod rules;
mod shutdown;
mod v1;
mod v2;
mod web;
