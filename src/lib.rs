//! Wharfinger, a private container registry: how it is said. The command line, the configuration and HTTP;
//! what is allowed and where it is kept are the crates `registry` and `store`.
//!
//! This is a library so that tests can run the server in their own process; `src/main.rs` is all of the program.

// The server writes through `output_queue`: the macros panic where an output fails.
#![warn(clippy::print_stdout, clippy::print_stderr)]
#![allow(missing_docs, reason = "the library exists for tests only")]

mod allocator;
mod audit_log;
mod byte_order_mark;
pub mod cli;
pub mod config;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod host;
pub mod http;
pub mod logging;
mod output_queue;
pub mod reload;
mod rfc3339;
pub mod serve;
pub mod tls;
