//! Real clients against the built binary.
//!
//! A missing client fails its tests by name: `scripts/test` installs them all. README.md beside this file
//! lists the clients, their versions and their commands.

mod accounts;
mod acme;
mod azure;
mod buildah;
mod buildkit;
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
mod nginx;
mod object_store;
mod operation_guide;
mod oras;
mod podman;
mod postgres;
mod pulls;
mod regctl;
mod relocation;
mod rules;
mod skopeo;
mod static_binary;
mod trust;
