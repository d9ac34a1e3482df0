//! Facts about this build.

/// The commit, if WHARFINGER_COMMIT was set when the program was built.
pub(crate) const COMMIT: Option<&str> = option_env!("WHARFINGER_COMMIT");

/// The parts of the program that another build may lack.
pub(crate) const FEATURES: &[&str] = &["acme", "http2", "metrics", "systemd", "tracing-otlp"];
