//! Values that a type parses itself, optional values, and lists that may be written as one value.

use std::fmt::Display;
use std::str::FromStr;

use registry::Reserve;
use registry::rules::Schedule;

use super::{RawValue, Refused, TomlValue, ValueType, size};

/// A text that `T` parses. `expects` describes it.
pub(in crate::config) fn parsed(expects: &'static str) -> Parsed {
    Parsed(expects)
}

pub(in crate::config) struct Parsed(&'static str);

impl<T: FromStr<Err: Display> + Display> ValueType<T> for Parsed {
    fn read(&self, raw: &RawValue) -> Result<T, Refused> {
        let text = raw.text().ok_or_else(Refused::default)?;
        text.trim().parse().map_err(|error: T::Err| Refused::because(error.to_string()))
    }

    fn write(&self, value: &T) -> TomlValue {
        TomlValue::String(value.to_string())
    }

    fn expects(&self) -> String {
        self.0.to_owned()
    }
}

/// A value that may be left out.
pub(in crate::config) fn optional<S>(value: S) -> Optional<S> {
    Optional(value)
}

pub(in crate::config) struct Optional<S>(S);

impl<T, S: ValueType<T>> ValueType<Option<T>> for Optional<S> {
    fn read(&self, raw: &RawValue) -> Result<Option<T>, Refused> {
        self.0.read(raw).map(Some)
    }

    fn write(&self, value: &Option<T>) -> TomlValue {
        value.as_ref().map_or_else(|| TomlValue::String(String::new()), |value| self.0.write(value))
    }

    fn expects(&self) -> String {
        self.0.expects()
    }
}

/// A value, or a list of values.
pub(in crate::config) fn one_or_more<S>(item: S) -> OneOrMore<S> {
    OneOrMore(item)
}

pub(in crate::config) struct OneOrMore<S>(S);

impl<T, S: ValueType<T>> ValueType<Vec<T>> for OneOrMore<S> {
    fn read(&self, raw: &RawValue) -> Result<Vec<T>, Refused> {
        match raw {
            RawValue::List(items) => items.iter().map(|item| self.0.read(item)).collect(),
            one => Ok(vec![self.0.read(one)?]),
        }
    }

    fn write(&self, value: &Vec<T>) -> TomlValue {
        match &value[..] {
            [one] => self.0.write(one),
            items => TomlValue::List(items.iter().map(|item| self.0.write(item)).collect()),
        }
    }

    fn expects(&self) -> String {
        format!("{}, or a list of these", self.0.expects())
    }
}

/// A size, or a part of the disk in percent.
pub(in crate::config) fn reserve() -> ReserveSpelling {
    ReserveSpelling
}

pub(in crate::config) struct ReserveSpelling;

impl ValueType<Reserve> for ReserveSpelling {
    fn read(&self, raw: &RawValue) -> Result<Reserve, Refused> {
        let Some(percent) = raw.text().and_then(|text| text.trim().strip_suffix('%')) else {
            return size().read(raw).map(Reserve::Bytes);
        };
        let percent: f64 = percent.trim().parse().map_err(|_| Refused::default())?;
        if !(0.0..=99.0).contains(&percent) {
            return Err(Refused::because("write at most 99%"));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        let share = (percent * 100.0).round() as u16;
        Ok(if share == 0 { Reserve::Bytes(0) } else { Reserve::Share(share) })
    }

    fn write(&self, value: &Reserve) -> TomlValue {
        match value {
            Reserve::Bytes(bytes) => size().write(bytes),
            Reserve::Share(share) => TomlValue::String(format!("{}%", f64::from(*share) / 100.0)),
        }
    }

    fn expects(&self) -> String {
        r#"a size such as "10GB", or a part of the disk such as "5%""#.to_owned()
    }
}

/// A part of a whole, such as `"5%"`, in hundredths of a percent.
pub(in crate::config) fn percent() -> Percent {
    Percent
}

pub(in crate::config) struct Percent;

impl ValueType<u16> for Percent {
    fn read(&self, raw: &RawValue) -> Result<u16, Refused> {
        let text = raw.text().and_then(|text| text.trim().strip_suffix('%')).ok_or_else(Refused::default)?;
        let percent: f64 = text.trim().parse().map_err(|_| Refused::default())?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(Refused::because("write 0% to 100%"));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        Ok((percent * 100.0).round() as u16)
    }

    fn write(&self, value: &u16) -> TomlValue {
        TomlValue::String(format!("{}%", f64::from(*value) / 100.0))
    }

    fn expects(&self) -> String {
        r#"a part such as "100%" or "0.5%""#.to_owned()
    }
}

/// A schedule in the syntax of cron, or `""` for none.
pub(in crate::config) fn schedule() -> ScheduleSpelling {
    ScheduleSpelling
}

pub(in crate::config) struct ScheduleSpelling;

impl ValueType<Option<Schedule>> for ScheduleSpelling {
    fn read(&self, raw: &RawValue) -> Result<Option<Schedule>, Refused> {
        let text = raw.text().ok_or_else(Refused::default)?.trim();
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|error: registry::rules::ScheduleError| Refused::because(error.to_string()))
    }

    fn write(&self, value: &Option<Schedule>) -> TomlValue {
        TomlValue::String(value.as_ref().map(ToString::to_string).unwrap_or_default())
    }

    fn expects(&self) -> String {
        r#"a cron schedule such as "0 3 * * *" (daily at 3:00 UTC), or "" for none"#.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use registry::rules::TagSelector;

    use super::super::tests::{hint, string, text};
    use super::*;

    #[test]
    fn one_value_is_a_list_of_one() {
        let tags = one_or_more(parsed("tags"));
        let read = |raw: &RawValue| -> Result<Vec<TagSelector>, Refused> { tags.read(raw) };
        assert_eq!(read(&string("v*")).unwrap().len(), 1);
        assert_eq!(read(&RawValue::List(vec![string("v*"), string("/a|b/")])).unwrap().len(), 2);
        assert!(hint(read(&string("a b"))).contains("selects no tag"));
        assert_eq!(tags.write(&read(&string("v*")).unwrap()).to_string(), "\"v*\"");
    }

    #[test]
    fn reserve_is_a_size_or_a_share() {
        let read = |raw: &str| reserve().read(&text(raw));
        assert_eq!(read("10GB").unwrap(), Reserve::Bytes(10_000_000_000));
        assert_eq!(read("2.5%").unwrap(), Reserve::Share(250));
        assert_eq!(read("0").unwrap(), Reserve::Bytes(0));
        assert!(read("100%").is_err() && read("-1%").is_err());
        assert_eq!(reserve().write(&Reserve::Share(250)).to_string(), "\"2.5%\"");
        assert_eq!(percent().read(&text("0.5%")).unwrap(), 50);
        assert_eq!(percent().write(&10_000).to_string(), "\"100%\"");
        assert!(percent().read(&text("101%")).is_err() && percent().read(&text("1")).is_err());
    }

    #[test]
    fn schedule_is_written_like_cron() {
        let read = |raw: &str| schedule().read(&string(raw));
        assert_eq!(read("").unwrap(), None);
        assert_eq!(schedule().write(&read("30 2 * * 1").unwrap()).to_string(), "\"30 2 * * 1\"");
        assert!(!hint(read("every day")).is_empty());
    }
}
