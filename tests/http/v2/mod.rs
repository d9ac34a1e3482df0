//! `/v2/`: the protocol of registries.

mod base;
mod blobs;
mod catalog;
mod damage;
mod manifests;
mod referrers;
mod tags;
mod uploads;
