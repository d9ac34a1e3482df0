//! `/v2/`: the distribution protocol.

mod base;
mod blobs;
mod catalog;
mod damage;
mod manifests;
mod referrers;
mod tags;
mod uploads;
