//! `wharfinger gateway` and what stands behind it.

mod told;
