//! `wharfinger gateway` and what stands behind it.

mod bad_days;
mod blobs;
mod judged;
mod locations;
mod policy;
mod told;
