//! Switches, numbers of things, sizes and times.

use std::time::Duration;

use bytesize::ByteSize;

use super::{RawValue, Refused, TomlValue, ValueType};

/// `true` or `false`.
pub(in crate::config) fn switch() -> Switch {
    Switch
}

pub(in crate::config) struct Switch;

impl ValueType<bool> for Switch {
    fn read(&self, given: &RawValue) -> Result<bool, Refused> {
        match given {
            RawValue::Boolean(value) => Ok(*value),
            RawValue::Text(text) => text.trim().parse().map_err(|_| Refused::default()),
            RawValue::String(text) if text == "true" || text == "false" => {
                Err(Refused::because("leave the quotes out"))
            }
            _ => Err(Refused::default()),
        }
    }

    fn write(&self, value: &bool) -> TomlValue {
        TomlValue::Boolean(*value)
    }

    fn expects(&self) -> String {
        "true or false".to_owned()
    }
}

/// A whole number.
pub(in crate::config) fn count() -> Count {
    Count { least: 0 }
}

pub(in crate::config) struct Count {
    least: usize,
}

impl Count {
    pub(in crate::config) fn at_least(self, least: usize) -> Self {
        Self { least }
    }
}

impl ValueType<usize> for Count {
    fn read(&self, given: &RawValue) -> Result<usize, Refused> {
        let number = given.number().ok_or_else(|| match given {
            RawValue::String(text) if text.parse::<u64>().is_ok() => Refused::because("leave the quotes out"),
            _ => Refused::default(),
        })?;
        usize::try_from(number).ok().filter(|number| *number >= self.least).ok_or_else(Refused::default)
    }

    fn write(&self, value: &usize) -> TomlValue {
        TomlValue::Integer(*value as u64)
    }

    fn expects(&self) -> String {
        format!("a whole number of at least {}, such as {}", self.least, self.least.max(100))
    }
}

/// A number of bytes: `8388608`, `"8MiB"`, `"10GB"`.
pub(in crate::config) fn size() -> Size {
    Size { least: 0 }
}

pub(in crate::config) struct Size {
    least: u64,
}

impl Size {
    pub(in crate::config) fn at_least(self, least: u64) -> Self {
        Self { least }
    }
}

impl<T> ValueType<T> for Size
where
    T: Copy + TryFrom<u64> + TryInto<u64>,
{
    fn read(&self, given: &RawValue) -> Result<T, Refused> {
        let bytes = match (given.number(), given.text()) {
            (Some(number), _) => u64::try_from(number).ok(),
            // The crate takes numbers that are too large for the largest one.
            (None, Some(text)) => {
                text.parse::<ByteSize>().ok().map(|size| size.as_u64()).filter(|bytes| *bytes < u64::MAX)
            }
            (None, None) => None,
        };
        let bytes = bytes.filter(|bytes| *bytes >= self.least).ok_or_else(Refused::default)?;
        T::try_from(bytes).map_err(|_| Refused::because("that is more than this machine can address"))
    }

    fn write(&self, value: &T) -> TomlValue {
        let bytes = (*value).try_into().unwrap_or(u64::MAX);
        if bytes == 0 {
            return TomlValue::Integer(0);
        }
        const UNITS: [(u64, &str); 8] = [
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
            (1_000_000_000_000, "TB"),
            (1_000_000_000, "GB"),
            (1_000_000, "MB"),
            (1_000, "kB"),
        ];
        match UNITS.iter().find(|(unit, _)| bytes.is_multiple_of(*unit)) {
            Some((unit, name)) => TomlValue::String(format!("{}{name}", bytes / unit)),
            None => TomlValue::Integer(bytes),
        }
    }

    fn expects(&self) -> String {
        match self.least {
            0 => r#"a size such as "8MiB", "512KiB" or "10GB""#.to_owned(),
            least => {
                let least: TomlValue = ValueType::<u64>::write(&Size { least }, &least);
                format!(r#"a size of at least {least}, such as "8MiB", "64MiB" or "10GB""#)
            }
        }
    }
}

/// A limit in bytes, or `"unlimited"`.
pub(in crate::config) fn size_or_unlimited() -> SizeOrUnlimited {
    SizeOrUnlimited
}

pub(in crate::config) struct SizeOrUnlimited;

/// Rejects 0 as a limit, because in some programs it means "nothing", in others "no limit".
fn not_zero(given: &RawValue, is_zero: bool) -> Result<(), Refused> {
    if is_zero {
        return Err(Refused::because(format!(r#"{given} is not a limit; for no limit write "unlimited""#)));
    }
    Ok(())
}

impl ValueType<Option<u64>> for SizeOrUnlimited {
    fn read(&self, given: &RawValue) -> Result<Option<u64>, Refused> {
        if given.text() == Some("unlimited") {
            return Ok(None);
        }
        let bytes: u64 = size().read(given)?;
        not_zero(given, bytes == 0)?;
        Ok(Some(bytes))
    }

    fn write(&self, value: &Option<u64>) -> TomlValue {
        match value {
            Some(bytes) => size().write(bytes),
            None => TomlValue::String("unlimited".to_owned()),
        }
    }

    fn expects(&self) -> String {
        r#"a size such as "10GB" or "512MiB", or "unlimited""#.to_owned()
    }
}

/// A limit as a whole number, or `"unlimited"`.
pub(in crate::config) fn count_or_unlimited() -> CountOrUnlimited {
    CountOrUnlimited
}

pub(in crate::config) struct CountOrUnlimited;

impl ValueType<Option<usize>> for CountOrUnlimited {
    fn read(&self, given: &RawValue) -> Result<Option<usize>, Refused> {
        if given.text() == Some("unlimited") {
            return Ok(None);
        }
        let number = count().read(given)?;
        not_zero(given, number == 0)?;
        Ok(Some(number))
    }

    fn write(&self, value: &Option<usize>) -> TomlValue {
        match value {
            Some(number) => count().write(number),
            None => TomlValue::String("unlimited".to_owned()),
        }
    }

    fn expects(&self) -> String {
        r#"a whole number of at least 1, such as 100, or "unlimited""#.to_owned()
    }
}

/// A duration with its unit: `"30s"`, `"5m"`, `"24h"`, `"1h 30m"`.
pub(in crate::config) fn duration() -> DurationSpelling {
    DurationSpelling { least: Duration::from_millis(1) }
}

pub(in crate::config) struct DurationSpelling {
    least: Duration,
}

impl DurationSpelling {
    pub(in crate::config) fn at_least(self, least: Duration) -> Self {
        Self { least }
    }

    /// Accepts 0 as well.
    pub(in crate::config) fn or_none(self) -> Self {
        Self { least: Duration::ZERO }
    }
}

impl ValueType<Duration> for DurationSpelling {
    fn read(&self, given: &RawValue) -> Result<Duration, Refused> {
        if let Some(number) = given.number().filter(|number| *number > 0) {
            return Err(Refused::because(format!(
                r#"a number alone does not say its unit; for seconds write "{number}s""#
            )));
        }
        let time = match given.number() {
            Some(0) => Ok(Duration::ZERO),
            _ => humantime::parse_duration(given.text().unwrap_or_default()).map_err(|_| Refused::default()),
        }?;
        Some(time).filter(|time| *time >= self.least).ok_or_else(Refused::default)
    }

    fn write(&self, value: &Duration) -> TomlValue {
        const UNITS: [(u64, &str); 3] = [(60 * 60, "h"), (60, "m"), (1, "s")];
        let seconds = value.as_secs();
        let whole = value.subsec_nanos() == 0;
        let unit = UNITS.iter().find(|(unit, _)| whole && seconds > 0 && seconds.is_multiple_of(*unit));
        TomlValue::String(match unit {
            Some((unit, name)) => format!("{}{name}", seconds / unit),
            None => humantime::format_duration(*value).to_string(),
        })
    }

    fn expects(&self) -> String {
        if self.least > Duration::from_millis(1) {
            let least = self.write(&self.least);
            format!(r#"a time of at least {least}, such as "30m" or "24h""#)
        } else {
            r#"a time such as "30s", "5m" or "24h""#.to_owned()
        }
    }
}

/// A duration with its unit, or `"off"`.
pub(in crate::config) fn duration_or_off() -> DurationOrOff {
    DurationOrOff
}

pub(in crate::config) struct DurationOrOff;

impl ValueType<Option<Duration>> for DurationOrOff {
    fn read(&self, given: &RawValue) -> Result<Option<Duration>, Refused> {
        if given.text() == Some("off") {
            return Ok(None);
        }
        duration().or_none().read(given).map(Some)
    }

    fn write(&self, value: &Option<Duration>) -> TomlValue {
        match value {
            Some(time) => duration().write(time),
            None => TomlValue::String("off".to_owned()),
        }
    }

    fn expects(&self) -> String {
        r#"a time such as "12h" or "30d", or "off""#.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hint, string, text};
    use super::*;

    #[test]
    fn sizes() {
        let read = |given: RawValue| -> Result<u64, Refused> { size().read(&given) };
        for (given, bytes) in [
            ("4MiB", 4 << 20),
            ("512KiB", 512 << 10),
            ("512 KiB", 512 << 10),
            ("10GB", 10_000_000_000),
            ("1.5GiB", 3 << 29),
            ("1024", 1024),
            ("0", 0),
        ] {
            assert_eq!(read(text(given)), Ok(bytes), "{given}");
            assert_eq!(read(string(given)), Ok(bytes), "{given}");
        }
        assert_eq!(read(RawValue::Integer(8_388_608)), Ok(8 << 20));
        for given in ["", "-1", "-4MiB", "8 megs", "many", "MiB", "1e400", "99999999999999999999TB"] {
            assert!(read(text(given)).is_err(), "{given}");
        }
        read(RawValue::Integer(-1)).unwrap_err();
        read(RawValue::Integer(i128::MAX)).unwrap_err();
        let at_least: Result<u64, _> = size().at_least(1024).read(&text("1023"));
        at_least.unwrap_err();
    }

    #[test]
    fn written_value_is_read_back() {
        for bytes in [0, 1, 1000, 1024, 1_000_000, 10_000_000_000, 4 << 20, 5_000_001, 3 << 40, u64::MAX - 1]
        {
            let written = match size().write(&bytes) {
                TomlValue::String(written) => text(&written),
                TomlValue::Integer(number) => RawValue::Integer(number.into()),
                TomlValue::Boolean(_) | TomlValue::List(_) | TomlValue::Table(_) => unreachable!(),
            };
            assert_eq!(size().read(&written), Ok(bytes), "{written}");
        }
        for time in [0, 1, 999, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000, 31_557_600_000] {
            let time = Duration::from_millis(time);
            let TomlValue::String(written) = duration().write(&time) else { unreachable!() };
            assert_eq!(duration().or_none().read(&text(&written)), Ok(time), "{written}");
        }
        let TomlValue::String(day) = duration().write(&Duration::from_secs(86_400)) else { unreachable!() };
        assert_eq!(day, "24h");
    }

    #[test]
    fn times() {
        let read = |given: &str| duration().read(&string(given));
        assert_eq!(read("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(read("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(read("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(read("250ms"), Ok(Duration::from_millis(250)));
        for given in ["", "s", "soon", "-5s", "0s", "0"] {
            assert!(read(given).is_err(), "{given}");
        }
        assert_eq!(
            hint(duration().read(&RawValue::Integer(15))),
            r#"a number alone does not say its unit; for seconds write "15s""#
        );
        assert_eq!(duration().or_none().read(&RawValue::Integer(0)), Ok(Duration::ZERO));
        assert_eq!(duration().or_none().read(&text("0s")), Ok(Duration::ZERO));
        duration().at_least(Duration::from_secs(60)).read(&text("59s")).unwrap_err();
    }

    #[test]
    fn zero_limit_is_rejected() {
        let size = |given: RawValue| size_or_unlimited().read(&given);
        assert_eq!(size(string("unlimited")), Ok(None));
        assert_eq!(size(text("10GB")), Ok(Some(10_000_000_000)));
        size(string("none at all")).unwrap_err();
        assert_eq!(hint(size(RawValue::Integer(0))), r#"0 is not a limit; for no limit write "unlimited""#);
        for zero in ["0", "0B", "0GiB"] {
            let expected = format!(r#""{zero}" is not a limit; for no limit write "unlimited""#);
            assert_eq!(hint(size(text(zero))), expected);
        }
        let count = |given: RawValue| count_or_unlimited().read(&given);
        assert_eq!(count(string("unlimited")), Ok(None));
        assert_eq!(count(text("7")), Ok(Some(7)));
        assert_eq!(hint(count(RawValue::Integer(0))), r#"0 is not a limit; for no limit write "unlimited""#);
        count(RawValue::Integer(-1)).unwrap_err();
    }

    #[test]
    fn quoted_number_in_file_is_rejected() {
        assert_eq!(count().read(&RawValue::Integer(7)), Ok(7));
        assert_eq!(count().read(&text("7")), Ok(7));
        assert_eq!(hint(count().read(&string("7"))), "leave the quotes out");
        count().at_least(1).read(&RawValue::Integer(0)).unwrap_err();
        assert_eq!(switch().read(&RawValue::Boolean(true)), Ok(true));
        assert_eq!(switch().read(&text("false")), Ok(false));
        assert_eq!(hint(switch().read(&string("true"))), "leave the quotes out");
        switch().read(&text("yes")).unwrap_err();
    }
}
