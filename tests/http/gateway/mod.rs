//! `wharfinger gateway` and what stands behind it.

mod bad_days;
mod judged;
mod locations;
mod policy;
mod told;
