//! The harness of the client tests: servers and an engine that always end with the test, terminals, and
//! images.

mod buildkit;
mod clock;
mod containerd;
mod daemon;
mod debian_tree;
mod distribution;
mod engine;
mod gateway;
mod image;
mod image_life;
mod machine;
mod nginx;
#[path = "../../object_servers/mod.rs"]
pub(crate) mod object_servers;
mod object_store;
mod page;
mod pebble;
#[path = "../../postgres/mod.rs"]
pub(crate) mod postgres;
mod server;
mod terminal;

pub(crate) use buildkit::{BuildKit, build_context};
pub(crate) use clock::hours_later;
pub(crate) use containerd::Containerd;
pub(crate) use daemon::Daemon;
pub(crate) use debian_tree::runs_in_debian;
pub(crate) use distribution::Distribution;
pub(crate) use engine::Engine;
pub(crate) use gateway::Gateway;
pub(crate) use image::{Image, Index};
pub(crate) use image_life::{docker_runs_an_image, images_are_copied_and_collected};
pub(crate) use machine::Machine;
pub(crate) use nginx::Nginx;
pub(crate) use object_store::ObjectStore;
pub(crate) use page::Page;
pub(crate) use pebble::{Pebble, Ports, free_address};
pub(crate) use server::{PASSWORD, Server, wait_for_log};
pub(crate) use terminal::Terminal;
