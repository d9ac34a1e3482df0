//! The registry protocol: distribution-spec 1.1 with additions of its development branch. A file per
//! endpoint.

pub(super) mod base;
pub(super) mod blobs;
pub(super) mod catalog;
mod manifest_answer;
pub(super) mod manifests;
pub(super) mod mirrored;
pub(super) mod referrers;
pub(super) mod tags;
pub(super) mod uploads;
