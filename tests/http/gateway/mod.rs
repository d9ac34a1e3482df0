//! `wharfinger gateway` and what stands behind it.

mod bad_days;
mod locations;
mod policy;
mod told;
