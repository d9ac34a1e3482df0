//! A rate limit for warnings that clients cause: the same warning at most once a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

/// The limit of one warning.
#[derive(Debug)]
pub struct WarnLimit(Mutex<Option<Instant>>);

impl WarnLimit {
    /// A limit that allows the first warning.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a static needs a constant")]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether the warning may be logged now.
    pub fn allows(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if allowed {
            *last = Some(Instant::now());
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_is_allowed_once_a_minute() {
        let limit = WarnLimit::new();
        assert!(limit.allows());
        assert!(!limit.allows());
        *limit.0.lock().unwrap() = Instant::now().checked_sub(INTERVAL);
        assert!(limit.allows());
    }
}
