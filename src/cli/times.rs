//! Parses durations such as `7d`, and points in time such as `yesterday` or `2026-11-20`, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 60 * 60;
/// The longest duration, in days.
const MAX_DAYS: u64 = 365_000;

/// Parses a duration: `30m`, `12h`, `7d`.
///
/// # Errors
/// A text that tells what to write instead.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|_| match text.parse::<u64>() {
        Ok(number) => {
            format!("a number alone does not say its unit; write {number}m, {number}h or {number}d")
        }
        Err(_) => "write a number and a unit, such as 30m, 12h or 7d".to_owned(),
    })?;
    // Dates after the year 9999 cannot be written.
    if span.as_secs() > MAX_DAYS * DAY {
        return Err(format!("that is too long: at most {MAX_DAYS}d (a thousand years)"));
    }
    Ok(span)
}

/// Parses a point in the past: a duration before now, `today`, `yesterday`, a date, or a date and a time.
///
/// # Errors
/// A text that tells what to write instead.
pub(super) fn since(text: &str) -> Result<SystemTime, String> {
    since_at(text, SystemTime::now())
}

fn since_at(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let midnight = UNIX_EPOCH + Duration::from_secs(seconds - seconds % DAY);
    match text.trim().to_lowercase().as_str() {
        "now" => return Ok(now),
        "today" => return Ok(midnight),
        "yesterday" => return Ok(midnight.checked_sub(Duration::from_secs(DAY)).unwrap_or(UNIX_EPOCH)),
        _ => {}
    }
    let spelled = if text.contains(':') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    if let Ok(time) = humantime::parse_rfc3339_weak(&spelled) {
        return Ok(time);
    }
    match span(text.trim().trim_end_matches("ago").trim()) {
        Ok(span) => Ok(now.checked_sub(span).unwrap_or(UNIX_EPOCH).max(UNIX_EPOCH)),
        Err(error) => Err(format!(
            "{error}; or today, yesterday, a date (2026-11-20) or a time in UTC (2026-11-20T14:30:00Z)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_accepts_all_notations() {
        let now = humantime::parse_rfc3339("2026-11-20T14:30:00Z").unwrap();
        let read =
            |text: &str| since_at(text, now).map(|time| humantime::format_rfc3339_seconds(time).to_string());
        for (text, time) in [
            ("30m", "2026-11-20T14:00:00Z"),
            ("7d", "2026-11-13T14:30:00Z"),
            ("2 hours ago", "2026-11-20T12:30:00Z"),
            ("today", "2026-11-20T00:00:00Z"),
            ("Yesterday", "2026-11-19T00:00:00Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T08:15:00Z", "2026-11-01T08:15:00Z"),
            ("2026-11-01 08:15:00", "2026-11-01T08:15:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(time), "{text}");
        }
        assert!(read("last week").unwrap_err().contains("yesterday"));
        assert!(read("15").unwrap_err().contains("15m, 15h or 15d"));
    }

    #[test]
    fn span_without_unit_is_rejected() {
        assert_eq!(span("7d"), Ok(Duration::from_secs(7 * DAY)));
        assert!(span("7").unwrap_err().contains("7d"));
        assert!(span("soon").unwrap_err().contains("such as 30m"));
        assert!(span("99999999999999d").unwrap_err().contains("too long"));
        span("365000d").unwrap();
    }
}
