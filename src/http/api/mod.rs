//! `/api/v1/`: what our own command line asks and `/v2/` cannot say.

mod convert;
pub(super) mod manage;
pub(super) mod management;
mod openapi;
pub(super) mod repositories;
pub(super) mod tags;
pub(super) mod usage;
