//! The protocol of registries: distribution-spec 1.1 and what its development branch adds. A file per endpoint.

pub(super) mod base;
pub(super) mod blobs;
pub(super) mod catalog;
pub(super) mod manifests;
pub(super) mod referrers;
pub(super) mod tags;
pub(super) mod uploads;
