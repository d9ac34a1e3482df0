//! Durability: acknowledged pushes survive kills, power failures and full disks.
//!
//! The tests run the built binary. `docs/explanation/durability.md` explains their results.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod backup;
mod client;
#[path = "../clients/harness/daemon.rs"]
mod daemon;
mod disk;
mod faults;
mod full_disk;
mod kill;
mod lease;
mod memory;
mod mirror;
#[allow(dead_code, reason = "the tests of several servers need more of it")]
mod model;
mod order;
mod power;
mod pusher;
mod random;
#[allow(dead_code, reason = "the receiver of tests/http serves more tests")]
#[path = "../http/harness/receiver.rs"]
mod receiver;
mod rounds;
mod schedule;
mod server;
mod soak;
mod torture;
mod webhooks;
