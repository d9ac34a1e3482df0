//! Times as text (RFC 3339). A time before 1970 or after the year 9999 becomes the nearest valid one;
//! humantime panics there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second of the year 9999.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// Formats a time to the second: `2026-01-31T12:00:00Z`.
pub(crate) fn seconds(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(within(time)).to_string()
}

/// Formats a time to the millisecond.
pub(crate) fn milliseconds(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(within(time)).to_string()
}

fn within(time: SystemTime) -> SystemTime {
    time.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_out_of_range_are_clamped() {
        let hour = Duration::from_secs(3600);
        assert_eq!(seconds(UNIX_EPOCH + hour), "1970-01-01T01:00:00Z");
        assert_eq!(seconds(UNIX_EPOCH - hour), "1970-01-01T00:00:00Z");
        assert_eq!(milliseconds(UNIX_EPOCH - hour), "1970-01-01T00:00:00.000Z");
        assert_eq!(seconds(UNIX_EPOCH + LAST + hour), "9999-12-31T23:59:59Z");
    }
}
