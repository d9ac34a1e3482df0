//! Facts about this build.

/// The commit of the source: WHARFINGER_COMMIT, or what git said when `build.rs` last ran.
pub(crate) const COMMIT: Option<&str> = option_env!("SOURCE_COMMIT");

/// The parts of the program, which every build of this version has and an older version may lack.
pub(crate) const FEATURES: &[&str] = &[
    "acme", "azure", "cluster", "gateway", "http2", "metrics", "mirror", "postgres", "s3", "systemd",
    "traces", "web", "webhooks",
];
