//! Facts about this build.

/// The commit of the source: WHARFINGER_COMMIT, or what git said when `build.rs` last ran.
pub(crate) const COMMIT: Option<&str> = option_env!("SOURCE_COMMIT");

/// The parts of the program that another build may lack.
pub(crate) const FEATURES: &[&str] = &["acme", "http2", "metrics", "systemd", "traces"];
