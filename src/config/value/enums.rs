//! Names: header names, choices, log levels, and words.

use clap::ValueEnum;
use hyper::header::HeaderName;

use super::{RawValue, Refused, TomlValue, ValueType};

pub(in crate::config) fn header_name() -> HeaderNameSpelling {
    HeaderNameSpelling
}

pub(in crate::config) struct HeaderNameSpelling;

impl ValueType<HeaderName> for HeaderNameSpelling {
    fn read(&self, given: &RawValue) -> Result<HeaderName, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        text.parse().map_err(|_| Refused::default())
    }

    fn write(&self, value: &HeaderName) -> TomlValue {
        TomlValue::String(value.as_str().to_owned())
    }

    fn expects(&self) -> String {
        r#"the name of a header, such as "cookie""#.to_owned()
    }
}

/// A word that needs no quotes in headers and URLs.
pub(in crate::config) fn word() -> Word {
    Word
}

pub(in crate::config) struct Word;

impl ValueType<String> for Word {
    fn read(&self, given: &RawValue) -> Result<String, Refused> {
        let fits = |char: char| char.is_ascii_alphanumeric() || ".-_:".contains(char);
        let text = given.text().filter(|text| !text.is_empty() && text.chars().all(fits));
        text.map(str::to_owned).ok_or_else(Refused::default)
    }

    fn write(&self, value: &String) -> TomlValue {
        TomlValue::String(value.clone())
    }

    fn expects(&self) -> String {
        r#"a word of letters, digits, ".", "-", "_" and ":", such as "registry.example.com""#.to_owned()
    }
}

/// Any text without spaces, or `""` for none.
pub(in crate::config) fn text_or_none() -> TextOrNone {
    TextOrNone
}

pub(in crate::config) struct TextOrNone;

impl ValueType<String> for TextOrNone {
    fn read(&self, given: &RawValue) -> Result<String, Refused> {
        let text = given.text().filter(|text| text.chars().all(|char| char.is_ascii_graphic()));
        text.map(str::to_owned).ok_or_else(Refused::default)
    }

    fn write(&self, value: &String) -> TomlValue {
        TomlValue::String(value.clone())
    }

    fn expects(&self) -> String {
        r#"a text without spaces, or "" for none"#.to_owned()
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// For machines: one JSON object per line
    Json,
}

/// The challenge for credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Challenge {
    /// The token protocol
    Bearer,
    /// A password on each request
    Basic,
}

/// The proof to an ACME authority that a host leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AcmeChallenge {
    /// On the port of HTTPS (RFC 8737)
    #[value(name = "tls-alpn-01")]
    TlsAlpn01,
    /// On the port of plain HTTP (RFC 8555 section 8.3)
    #[value(name = "http-01")]
    Http01,
}

/// The Host header for an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UpstreamHost {
    /// The host that the client requested
    Client,
    /// The upstream's own
    Upstream,
}

/// One of the names of an enum.
pub(in crate::config) fn choice<T: ValueEnum>() -> Choice {
    let names = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    Choice { names: names.map(|value| value.get_name().to_owned()).collect() }
}

pub(in crate::config) struct Choice {
    names: Vec<String>,
}

impl<T: ValueEnum> ValueType<T> for Choice {
    fn read(&self, given: &RawValue) -> Result<T, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        T::from_str(text, false).map_err(|_| {
            match crate::config::nearest(text, self.names.iter().map(String::as_str)) {
                Some(name) => Refused::because(format!(r#"did you mean "{name}"?"#)),
                None => Refused::default(),
            }
        })
    }

    fn write(&self, value: &T) -> TomlValue {
        let name = value.to_possible_value().map(|value| value.get_name().to_owned());
        TomlValue::String(name.unwrap_or_default())
    }

    fn expects(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| format!(r#""{name}""#)).collect();
        names.join(" or ")
    }
}

/// A level, or levels for parts of the program, in the syntax of [`tracing_subscriber::EnvFilter`].
pub(in crate::config) fn log_filter() -> LogFilter {
    LogFilter
}

pub(in crate::config) struct LogFilter;

const LOG_LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

impl ValueType<String> for LogFilter {
    fn read(&self, given: &RawValue) -> Result<String, Refused> {
        let text = given.text().filter(|text| !text.is_empty()).ok_or_else(Refused::default)?;
        for directive in text.split(',') {
            // A filter takes a word that is no level for a module, and would silently log almost nothing for
            // `level = "inof"`.
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
            if !LOG_LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                return Err(match crate::config::nearest(level, LOG_LEVELS) {
                    Some(known) => Refused::because(format!(r#"did you mean "{known}"?"#)),
                    None => Refused::default(),
                });
            }
        }
        tracing_subscriber::EnvFilter::try_new(text).map_err(|error| Refused::because(error.to_string()))?;
        Ok(text.to_owned())
    }

    fn write(&self, value: &String) -> TomlValue {
        TomlValue::String(value.clone())
    }

    fn expects(&self) -> String {
        r#"a level ("error", "warn", "info", "debug", "trace" or "off"), or one for each part of the program, such as "info,wharfinger::http=debug""#
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hint, string};
    use super::*;

    #[test]
    fn choice_suggests_the_nearest() {
        let read = |given: &str| -> Result<LogFormat, Refused> { choice::<LogFormat>().read(&string(given)) };
        assert_eq!(read("json"), Ok(LogFormat::Json));
        assert_eq!(hint(read("jsn")), r#"did you mean "json"?"#);
        assert_eq!(hint(read("xml")), "");
    }

    #[test]
    fn mistyped_level_is_rejected() {
        let read = |given: &str| log_filter().read(&string(given));
        for given in ["info", "WARN", "off", "info,wharfinger::http=debug", "hyper=trace, info"] {
            assert_eq!(read(given), Ok(given.to_owned()), "{given}");
        }
        assert_eq!(hint(read("inof")), r#"did you mean "info"?"#);
        assert_eq!(hint(read("info,hyper=debgu")), r#"did you mean "debug"?"#);
        for given in ["", "hyper", "info,", "loud"] {
            assert!(read(given).is_err(), "{given}");
        }
    }

    #[test]
    fn header_names_and_words_are_checked() {
        header_name().read(&string("X-Docker-Token")).unwrap();
        header_name().read(&string("two words")).unwrap_err();
        word().read(&string("registry.example.com:5000")).unwrap();
        for given in ["", "a b", "a\"b", "a,b"] {
            assert!(word().read(&string(given)).is_err(), "{given}");
        }
    }
}
