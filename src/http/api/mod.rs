//! `/api/v1/`: what our own command line asks and `/v2/` cannot say.

pub(super) mod manage;
pub(super) mod management;
mod openapi;
pub(super) mod repositories;
pub(super) mod tags;
pub mod types;
pub(super) mod usage;
