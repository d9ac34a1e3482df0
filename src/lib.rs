//! Wharfinger, a private container registry: the command line, the configuration and the HTTP server. The
//! crates `registry` and `store` have the rules and the storage.
//!
//! This is a library so that tests can run the server in their own process; `src/main.rs` only calls it.

// Output goes through `output_queue`: the macros panic if an output fails.
#![warn(clippy::print_stdout, clippy::print_stderr)]
#![allow(missing_docs, reason = "the library exists for tests only")]

mod allocator;
mod audit_log;
mod build;
mod byte_order_mark;
pub mod cli;
mod client_network;
pub mod config;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod host;
pub mod http;
pub mod logging;
mod name_service;
mod operator_file;
mod output_queue;
pub mod reload;
mod rfc3339;
pub mod serve;
mod sync;
pub mod tls;
pub mod traces;
mod upstreams;
pub mod webhooks;
