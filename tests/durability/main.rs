//! What a registry owes to those who push: what was acknowledged is there, whatever happened since.
//!
//! These tests run the built binary and treat it badly. `docs/explanation/durability.md` says what they show.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../clients/harness/daemon.rs"]
mod daemon;
mod full_disk;
mod kill;
mod memory;
mod order;
mod power;
mod pusher;
mod server;
