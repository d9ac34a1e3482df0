//! `wharfinger gateway` before a scripted upstream.

mod blobs;
mod faults;
mod headers;
mod locations;
mod policy;
mod refusals;
