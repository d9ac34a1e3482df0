//! Real clients against the built binary.
//!
//! A missing client fails its tests by name: `scripts/test` installs them all. README.md beside this file
//! lists the clients, their versions and their commands.

mod accounts;
mod acme;
mod azure;
mod buildah;
mod buildkit;
#[allow(dead_code, reason = "the tests of durability need more of it")]
#[path = "../durability/client.rs"]
mod client;
mod cluster;
mod collection;
mod container_image;
mod containerd;
mod cosign;
mod crane;
mod data_directory;
mod debian_package;
mod deployment;
mod docker;
mod docker_registry;
mod gateway;
mod harness;
mod helm;
mod https;
mod management_api;
mod migration;
mod migration_guide;
mod mirror;
#[allow(dead_code, reason = "the tests of durability need more of it")]
#[path = "../durability/model.rs"]
mod model;
mod nginx;
mod object_store;
mod operation_guide;
mod oras;
mod podman;
mod postgres;
mod pulls;
#[path = "../durability/random.rs"]
mod random;
mod regctl;
mod relocation;
mod rules;
mod skopeo;
mod static_binary;
mod trust;
