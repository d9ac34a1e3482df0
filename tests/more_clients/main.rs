//! Clients that `scripts/test` leaves out, each in its newest version against the built binary.
//! `scripts/test-more-clients` installs and runs them; `cargo test` without `--test more_clients` does not.
//!
//! Each client signs in, pushes, pulls and lists over HTTPS, as far as it supports that, and is refused
//! another account's repository.

#[path = "../clients/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "these clients need only a part of it")]
mod harness;

mod buildx;
mod conftest;
mod cosign;
mod docker_py;
mod helm;
mod imgpkg;
mod jib;
mod ko;
mod nerdctl;
mod notation;
mod oras_py;
mod python_dxf;
mod regsync;
mod setup;
mod tracing;
mod umoci;
