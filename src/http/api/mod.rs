//! `/api/v1/`: the management API.

pub(super) mod conditional;
pub(crate) mod convert;
pub(super) mod events;
mod garbage;
pub(super) mod history;
pub(super) mod manage;
pub(super) mod manifests;
pub(super) mod openapi;
pub(super) mod quotas;
pub(super) mod repositories;
pub(super) mod tags;
pub(super) mod trash;
pub(super) mod usage;
