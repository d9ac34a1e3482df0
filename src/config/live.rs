//! Reload: which settings a running server changes. All others need a restart.

use super::definition::Setting;

/// The settings that a reload applies, and sections whose settings it all applies.
const LIVE: &[&str] = &[
    "blobs.access_key",
    "blobs.secret_key_file",
    "external_url",
    "http2_clear",
    "upstream",
    "cache.max_bytes",
    "cache.high_mark",
    "cache.low_mark",
    "webhook",
    "immutable",
    "protected",
    "quota",
    "retention",
    "retention_schedule",
    "retention_minimum_age",
    "storage",
    "backup",
    "log.level",
    "tracing.sample",
    "limits",
    "auth.challenge",
    "auth.forward_headers",
    "auth.forward_timeout",
    "auth.forward_cache",
    "audit.pulls",
    "proxy",
    "events",
    "web.cors_origins",
    "registry",
    "check",
    "gc",
    "cache",
];

impl Setting {
    /// Whether a reload applies a change of the setting.
    #[must_use]
    pub fn is_live(&self) -> bool {
        LIVE.contains(&self.path) || self.section.is_some_and(|section| LIVE.contains(&section))
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition::settings;
    use super::*;

    #[test]
    fn live_settings_exist() {
        for name in LIVE {
            let exists = settings().any(|setting| setting.path == *name || setting.section == Some(name));
            assert!(exists, "{name}");
        }
    }
}
