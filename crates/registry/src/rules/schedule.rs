//! Schedules in the syntax of cron, in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// A schedule: minute, hour, day of the month, month and day of the week, in UTC.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

/// The reason to reject a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a cron schedule: {reason}")]
pub struct ScheduleError {
    text: String,
    reason: String,
}

impl Schedule {
    /// Returns the next time after `now`. `None` if there is none.
    #[must_use]
    pub fn next(&self, now: SystemTime) -> Option<SystemTime> {
        let now: chrono::DateTime<chrono::Utc> = now.into();
        let next = self.cron.find_next_occurrence(&now, false).ok()?;
        let seconds = u64::try_from(next.timestamp()).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        match parser.parse(text) {
            Ok(cron) => Ok(Self { text: text.to_owned(), cron }),
            Err(error) => Err(ScheduleError { text: text.to_owned(), reason: error.to_string() }),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_time_follows_the_schedule() {
        let schedule: Schedule = "30 3 * * *".parse().unwrap();
        let day = Duration::from_secs(86_400);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(3 * 3_600 + 30 * 60);
        assert_eq!(schedule.next(SystemTime::UNIX_EPOCH), Some(time));
        assert_eq!(schedule.next(time), Some(time + day));
        "daily at three".parse::<Schedule>().unwrap_err();
        "61 * * * *".parse::<Schedule>().unwrap_err();
    }
}
