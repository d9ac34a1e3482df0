//! `wharfinger gateway` and what stands behind it.

mod bad_days;
mod policy;
mod told;
