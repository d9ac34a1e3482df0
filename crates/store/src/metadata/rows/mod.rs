//! Row helpers: statements on single tables, run inside the transaction of an operation.
//!
//! The operations of [`Metadata`](super::Metadata) are built from them. A helper may use those of tables that
//! its own refers to, never an operation.

pub(super) mod blobs;
pub(super) mod erasures;
pub(super) mod history;
pub(super) mod manifests;
pub(super) mod outbox;
pub(super) mod put_manifest;
pub(super) mod quotas;
pub(super) mod repositories;
pub(super) mod tags;
pub(super) mod trash;
