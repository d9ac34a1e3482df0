//! The registry as clients see it: a server in this process, behind a real socket. The tests lie where the routes do;
//! what concerns all of them is in `protocol`, and what concerns connections in `connections`.

// What a test expects and does not get is best told by where it stands.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod access;
mod api;
mod connections;
mod control;
mod cors;
mod gateway;
mod harness;
mod health;
mod http2;
mod protocol;
mod proxied;
mod shutdown;
mod v1;
mod v2;
