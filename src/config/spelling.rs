//! How the values of settings are spelled: what people write, what it becomes, and how it is written back.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::ValueEnum;
use hyper::header::HeaderName;
use hyper::http::Uri;
use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::mistake::Excerpt;
use crate::tls::host::{Host, NotAHost};

/// What someone wrote for a setting.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Given {
    /// A variable of the environment or a flag, where nothing tells text from numbers.
    Text(String),
    /// A quoted string of the file.
    String(String),
    /// An integer of the file.
    Integer(i128),
    /// `true` or `false` in the file.
    Boolean(bool),
    /// A list of the file.
    List(Vec<Given>),
    /// A table of the file.
    Table(Vec<Member>),
    /// Anything else that a file can hold: a float, a date. No setting takes those.
    Other,
}

/// A key of a table, and what it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) value: Given,
    /// Where it stands, if that is in a file.
    pub(super) place: Option<Excerpt>,
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} = {}", self.key, self.value)
    }
}

impl Given {
    /// The text, where there is text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::String(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// The whole number that was meant. A quoted one in a file is none: the quotes are a mistake to point out.
    fn number(&self) -> Option<i128> {
        match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

impl fmt::Display for Given {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::String(text) => Literal::String(text.clone()).fmt(formatter),
            Self::Integer(number) => number.fmt(formatter),
            Self::Boolean(value) => value.fmt(formatter),
            Self::List(items) => write_list(formatter, items),
            Self::Table(members) => write_table(formatter, members),
            Self::Other => formatter.write_str("of another kind"),
        }
    }
}

fn write_list(formatter: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    formatter.write_str("[")?;
    write_joined(formatter, items)?;
    formatter.write_str("]")
}

fn write_table(formatter: &mut fmt::Formatter<'_>, members: &[impl fmt::Display]) -> fmt::Result {
    formatter.write_str("{ ")?;
    write_joined(formatter, members)?;
    formatter.write_str(" }")
}

fn write_joined(formatter: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        write!(formatter, "{}{item}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}

/// A value was not understood; with what to do about it where more can be said than what was expected.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Refused {
    /// What of the value is wrong, where it has parts.
    pub(super) part: Option<Part>,
    pub(super) hint: Option<String>,
}

/// A part of a value that was not understood.
#[derive(Debug, PartialEq)]
pub(super) struct Part {
    /// What is wrong with it, to be read after the name of the setting.
    pub(super) wrong: String,
    /// Where it stands, if that is in a file.
    pub(super) place: Option<Excerpt>,
}

impl Refused {
    pub(super) fn because(hint: impl Into<String>) -> Self {
        Self { part: None, hint: Some(hint.into()) }
    }
}

/// A value as the configuration file spells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Literal {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(u64),
    /// Text, in quotes.
    String(String),
    /// A list.
    List(Vec<Literal>),
    /// A table.
    #[serde(serialize_with = "serialize_table")]
    Table(Vec<(&'static str, Literal)>),
}

fn serialize_table<S: Serializer>(
    members: &[(&'static str, Literal)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(members.iter().map(|(key, value)| (key, value)))
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(formatter, "{value}"),
            Self::Integer(value) => write!(formatter, "{value}"),
            Self::String(text) => write!(formatter, "{}", toml::Value::from(text.as_str())),
            Self::List(items) => write_list(formatter, items),
            Self::Table(members) => {
                let members: Vec<String> =
                    members.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                write_table(formatter, &members)
            }
        }
    }
}

/// One way of spelling values of type `T`.
pub(super) trait Spelling<T> {
    /// What was given as a value, if it is one.
    fn read(&self, given: &Given) -> Result<T, Refused>;
    /// A value as it would be given.
    fn write(&self, value: &T) -> Literal;
    /// What is taken, with an example: the end of the sentence "expected …".
    fn expects(&self) -> String;
}

/// `true` or `false`.
pub(super) fn switch() -> Switch {
    Switch
}

pub(super) struct Switch;

impl Spelling<bool> for Switch {
    fn read(&self, given: &Given) -> Result<bool, Refused> {
        match given {
            Given::Boolean(value) => Ok(*value),
            Given::Text(text) => text.trim().parse().map_err(|_| Refused::default()),
            Given::String(text) if text == "true" || text == "false" => {
                Err(Refused::because("leave the quotes out"))
            }
            _ => Err(Refused::default()),
        }
    }

    fn write(&self, value: &bool) -> Literal {
        Literal::Boolean(*value)
    }

    fn expects(&self) -> String {
        "true or false".to_owned()
    }
}

/// A whole number of things.
pub(super) fn count() -> Count {
    Count { least: 0 }
}

pub(super) struct Count {
    least: usize,
}

impl Count {
    /// Refuses smaller numbers.
    pub(super) fn at_least(self, least: usize) -> Self {
        Self { least }
    }
}

impl Spelling<usize> for Count {
    fn read(&self, given: &Given) -> Result<usize, Refused> {
        let number = given.number().ok_or_else(|| match given {
            Given::String(text) if text.parse::<u64>().is_ok() => Refused::because("leave the quotes out"),
            _ => Refused::default(),
        })?;
        usize::try_from(number).ok().filter(|number| *number >= self.least).ok_or_else(Refused::default)
    }

    fn write(&self, value: &usize) -> Literal {
        Literal::Integer(*value as u64)
    }

    fn expects(&self) -> String {
        format!("a whole number of at least {}, such as {}", self.least, self.least.max(100))
    }
}

/// A number of bytes: `8388608`, `"8MiB"`, `"10GB"`.
pub(super) fn size() -> Size {
    Size { least: 0 }
}

pub(super) struct Size {
    least: u64,
}

impl Size {
    /// Refuses smaller sizes.
    pub(super) fn at_least(self, least: u64) -> Self {
        Self { least }
    }
}

impl<T> Spelling<T> for Size
where
    T: Copy + TryFrom<u64> + TryInto<u64>,
{
    fn read(&self, given: &Given) -> Result<T, Refused> {
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

    fn write(&self, value: &T) -> Literal {
        let bytes = (*value).try_into().unwrap_or(u64::MAX);
        if bytes == 0 {
            return Literal::Integer(0);
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
            Some((unit, name)) => Literal::String(format!("{}{name}", bytes / unit)),
            None => Literal::Integer(bytes),
        }
    }

    fn expects(&self) -> String {
        match self.least {
            0 => r#"a size such as "8MiB", "512KiB" or "10GB""#.to_owned(),
            least => {
                let least: Literal = Spelling::<u64>::write(&Size { least }, &least);
                format!(r#"a size of at least {least}, such as "8MiB", "64MiB" or "10GB""#)
            }
        }
    }
}

/// A size, or `"unlimited"`, for which 0 can be written too.
pub(super) fn size_or_unlimited() -> SizeOrUnlimited {
    SizeOrUnlimited
}

pub(super) struct SizeOrUnlimited;

impl Spelling<Option<u64>> for SizeOrUnlimited {
    fn read(&self, given: &Given) -> Result<Option<u64>, Refused> {
        if given.text() == Some("unlimited") {
            return Ok(None);
        }
        let bytes: u64 = size().read(given)?;
        Ok(Some(bytes).filter(|bytes| *bytes > 0))
    }

    fn write(&self, value: &Option<u64>) -> Literal {
        match value {
            Some(bytes) => size().write(bytes),
            None => Literal::String("unlimited".to_owned()),
        }
    }

    fn expects(&self) -> String {
        r#"a size such as "10GB" or "512MiB", or "unlimited""#.to_owned()
    }
}

/// A length of time with its unit: `"30s"`, `"5m"`, `"24h"`, `"1h 30m"`.
pub(super) fn duration() -> DurationSpelling {
    DurationSpelling { least: Duration::from_millis(1) }
}

pub(super) struct DurationSpelling {
    least: Duration,
}

impl DurationSpelling {
    /// Refuses shorter times.
    pub(super) fn at_least(self, least: Duration) -> Self {
        Self { least }
    }

    /// Takes no time at all, too.
    pub(super) fn or_none(self) -> Self {
        Self { least: Duration::ZERO }
    }
}

impl Spelling<Duration> for DurationSpelling {
    fn read(&self, given: &Given) -> Result<Duration, Refused> {
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

    fn write(&self, value: &Duration) -> Literal {
        const UNITS: [(u64, &str); 3] = [(60 * 60, "h"), (60, "m"), (1, "s")];
        let seconds = value.as_secs();
        let whole = value.subsec_nanos() == 0;
        let unit = UNITS.iter().find(|(unit, _)| whole && seconds > 0 && seconds.is_multiple_of(*unit));
        Literal::String(match unit {
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

/// A path of this machine.
pub(super) fn path() -> Path {
    Path
}

pub(super) struct Path;

impl Spelling<PathBuf> for Path {
    fn read(&self, given: &Given) -> Result<PathBuf, Refused> {
        match given {
            Given::Text(text) | Given::String(text) if !text.trim().is_empty() => Ok(PathBuf::from(text)),
            _ => Err(Refused::default()),
        }
    }

    fn write(&self, value: &PathBuf) -> Literal {
        Literal::String(value.display().to_string())
    }

    fn expects(&self) -> String {
        r#"a path such as "/var/lib/wharfinger""#.to_owned()
    }
}

/// A path of this machine, or `""` for none.
pub(super) fn optional_path() -> OptionalPath {
    OptionalPath
}

pub(super) struct OptionalPath;

impl Spelling<Option<PathBuf>> for OptionalPath {
    fn read(&self, given: &Given) -> Result<Option<PathBuf>, Refused> {
        if given.text() == Some("") { Ok(None) } else { path().read(given).map(Some) }
    }

    fn write(&self, value: &Option<PathBuf>) -> Literal {
        Literal::String(value.as_ref().map(|path| path.display().to_string()).unwrap_or_default())
    }

    fn expects(&self) -> String {
        r#"a path such as "/etc/wharfinger/users", or "" for none"#.to_owned()
    }
}

/// A list, each of its items spelled in one way: `["a", "b"]` in the file, and with commas between them where there
/// is only text.
pub(super) fn list_of<S>(item: S) -> List<S> {
    List(item)
}

pub(super) struct List<S>(S);

impl<T, S: Spelling<T>> Spelling<Vec<T>> for List<S> {
    fn read(&self, given: &Given) -> Result<Vec<T>, Refused> {
        match given {
            Given::List(items) => items.iter().map(|item| self.0.read(item)).collect(),
            Given::Text(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(|item| self.0.read(&Given::Text(item.to_owned()))).collect()
            }
            Given::String(text) => {
                let list = Literal::List(vec![Literal::String(text.clone())]);
                Err(Refused::because(format!("write a list: {list}")))
            }
            _ => Err(Refused::default()),
        }
    }

    fn write(&self, value: &Vec<T>) -> Literal {
        Literal::List(value.iter().map(|item| self.0.write(item)).collect())
    }

    fn expects(&self) -> String {
        format!("a list, each of its items {}", self.0.expects())
    }
}

/// An address, or a network of addresses: `"10.0.0.0/8"`.
pub(super) fn network() -> Network {
    Network
}

pub(super) struct Network;

impl Spelling<IpNet> for Network {
    fn read(&self, given: &Given) -> Result<IpNet, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.to_canonical().into());
        }
        text.parse().map(|network: IpNet| network.trunc()).map_err(|_| match text {
            "localhost" => Refused::because(r#"write "127.0.0.1" and "::1""#),
            _ => Refused::default(),
        })
    }

    fn write(&self, value: &IpNet) -> Literal {
        let whole = value.prefix_len() == value.max_prefix_len();
        Literal::String(if whole { value.addr().to_string() } else { value.to_string() })
    }

    fn expects(&self) -> String {
        r#"an address or a network, such as "127.0.0.1" or "10.0.0.0/8""#.to_owned()
    }
}

/// The name of a header field.
pub(super) fn header_name() -> HeaderNameSpelling {
    HeaderNameSpelling
}

pub(super) struct HeaderNameSpelling;

impl Spelling<HeaderName> for HeaderNameSpelling {
    fn read(&self, given: &Given) -> Result<HeaderName, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        text.parse().map_err(|_| Refused::default())
    }

    fn write(&self, value: &HeaderName) -> Literal {
        Literal::String(value.as_str().to_owned())
    }

    fn expects(&self) -> String {
        r#"the name of a header, such as "cookie""#.to_owned()
    }
}

/// A host of a certificate.
pub(super) fn host() -> HostSpelling {
    HostSpelling
}

pub(super) struct HostSpelling;

impl Spelling<Host> for HostSpelling {
    fn read(&self, given: &Given) -> Result<Host, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        text.parse().map_err(|error: NotAHost| Refused::because(error.to_string()))
    }

    fn write(&self, value: &Host) -> Literal {
        Literal::String(value.to_string())
    }

    fn expects(&self) -> String {
        r#"a name or an address, such as "registry.example.com" or "192.0.2.7""#.to_owned()
    }
}

/// A word that stands in headers and addresses without quotes.
pub(super) fn word() -> Word {
    Word
}

pub(super) struct Word;

impl Spelling<String> for Word {
    fn read(&self, given: &Given) -> Result<String, Refused> {
        let fits = |char: char| char.is_ascii_alphanumeric() || ".-_:".contains(char);
        let text = given.text().filter(|text| !text.is_empty() && text.chars().all(fits));
        text.map(str::to_owned).ok_or_else(Refused::default)
    }

    fn write(&self, value: &String) -> Literal {
        Literal::String(value.clone())
    }

    fn expects(&self) -> String {
        r#"a word of letters, digits, ".", "-", "_" and ":", such as "registry.example.com""#.to_owned()
    }
}

/// An address of this machine with a port.
pub(super) fn address() -> Address {
    Address
}

pub(super) struct Address;

impl Spelling<SocketAddr> for Address {
    fn read(&self, given: &Given) -> Result<SocketAddr, Refused> {
        let port_alone = |port: &dyn fmt::Display| {
            Refused::because(format!(
                r#"for this machine only write "127.0.0.1:{port}", for others too ":{port}""#
            ))
        };
        if let Some(number) = given.number() {
            return Err(port_alone(&number));
        }
        let text = given.text().ok_or_else(Refused::default)?;
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        if text.parse::<u16>().is_ok() {
            return Err(port_alone(&text));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Err(Refused::because(format!(r#"add the port: "{}""#, SocketAddr::new(ip, 5000))));
        }
        if text.contains("://") {
            return Err(Refused::because("leave out everything before the address and after the port"));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(Refused::default)?;
        let port: u16 = port.parse().map_err(|_| Refused::because("a port is a number up to 65535"))?;
        match host {
            "" | "*" => Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
            "localhost" => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            _ if host.parse::<IpAddr>().is_ok() => {
                Err(Refused::because(format!(r#"an IPv6 address stands in brackets: "[{host}]:{port}""#)))
            }
            _ => Err(Refused::because("names are not looked up; write an address of this machine")),
        }
    }

    fn write(&self, value: &SocketAddr) -> Literal {
        Literal::String(value.to_string())
    }

    fn expects(&self) -> String {
        r#"an address with a port, such as "127.0.0.1:5000", ":5000" or "[::1]:5000""#.to_owned()
    }
}

/// An address of this machine with a port, or `""` for none.
pub(super) fn optional_address() -> OptionalAddress {
    OptionalAddress
}

pub(super) struct OptionalAddress;

impl Spelling<Option<SocketAddr>> for OptionalAddress {
    fn read(&self, given: &Given) -> Result<Option<SocketAddr>, Refused> {
        if given.text() == Some("") { Ok(None) } else { address().read(given).map(Some) }
    }

    fn write(&self, value: &Option<SocketAddr>) -> Literal {
        Literal::String(value.as_ref().map(ToString::to_string).unwrap_or_default())
    }

    fn expects(&self) -> String {
        r#"an address with a port, such as ":80", or "" for none"#.to_owned()
    }
}

/// The way a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// For machines: one JSON object a line
    Json,
}

/// How clients are asked for credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Challenge {
    /// With the token protocol
    Bearer,
    /// With a password on each request
    Basic,
}

/// How an authority sees that a host leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AcmeChallenge {
    /// On the port of HTTPS (RFC 8737)
    #[value(name = "tls-alpn-01")]
    TlsAlpn01,
    /// On the port of plain HTTP (RFC 8555 section 8.3)
    #[value(name = "http-01")]
    Http01,
}

/// Which host an upstream is told that clients call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UpstreamHost {
    /// The one that the client called
    Client,
    /// The upstream's own
    Upstream,
}

/// One of the names of an enum.
pub(super) fn choice<T: ValueEnum>() -> Choice {
    let names = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    Choice { names: names.map(|value| value.get_name().to_owned()).collect() }
}

pub(super) struct Choice {
    names: Vec<String>,
}

impl<T: ValueEnum> Spelling<T> for Choice {
    fn read(&self, given: &Given) -> Result<T, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        T::from_str(text, false).map_err(|_| {
            match super::nearest(text, self.names.iter().map(String::as_str)) {
                Some(name) => Refused::because(format!(r#"did you mean "{name}"?"#)),
                None => Refused::default(),
            }
        })
    }

    fn write(&self, value: &T) -> Literal {
        let name = value.to_possible_value().map(|value| value.get_name().to_owned());
        Literal::String(name.unwrap_or_default())
    }

    fn expects(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| format!(r#""{name}""#)).collect();
        names.join(" or ")
    }
}

/// A level, or levels for parts of the program, in the syntax of [`tracing_subscriber::EnvFilter`].
pub(super) fn log_filter() -> LogFilter {
    LogFilter
}

pub(super) struct LogFilter;

const LOG_LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

impl Spelling<String> for LogFilter {
    fn read(&self, given: &Given) -> Result<String, Refused> {
        let text = given.text().filter(|text| !text.is_empty()).ok_or_else(Refused::default)?;
        for directive in text.split(',') {
            // A filter takes a lone word that is no level for the name of a module, of which it then logs
            // everything: `level = "inof"` would log next to nothing, and nobody would be told.
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
            if !LOG_LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                return Err(match super::nearest(level, LOG_LEVELS) {
                    Some(known) => Refused::because(format!(r#"did you mean "{known}"?"#)),
                    None => Refused::default(),
                });
            }
        }
        tracing_subscriber::EnvFilter::try_new(text).map_err(|error| Refused::because(error.to_string()))?;
        Ok(text.to_owned())
    }

    fn write(&self, value: &String) -> Literal {
        Literal::String(value.clone())
    }

    fn expects(&self) -> String {
        r#"a level ("error", "warn", "info", "debug", "trace" or "off"), or one for each part of the program, such as "info,wharfinger::http=debug""#
            .to_owned()
    }
}

/// The beginning of every address under which the registry is reached: scheme, host, port and perhaps a path,
/// without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// The address, to which a path that begins with a slash can be added.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A [`BaseUrl`], or nothing.
pub(super) fn base_url() -> BaseUrlSpelling {
    BaseUrlSpelling
}

pub(super) struct BaseUrlSpelling;

impl Spelling<Option<BaseUrl>> for BaseUrlSpelling {
    fn read(&self, given: &Given) -> Result<Option<BaseUrl>, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        if text.is_empty() {
            return Ok(None);
        }
        let url: Uri = text.parse().map_err(|_| Refused::default())?;
        let authority = url.authority().ok_or_else(Refused::default)?;
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(Refused::because("it begins with https:// or http://"));
        }
        if authority.as_str().contains('@') || url.query().is_some() || text.contains('#') {
            return Err(Refused::because("leave out everything but scheme, host, port and path"));
        }
        Ok(Some(BaseUrl(text.trim_end_matches('/').to_owned())))
    }

    fn write(&self, value: &Option<BaseUrl>) -> Literal {
        Literal::String(value.as_ref().map(|url| url.0.clone()).unwrap_or_default())
    }

    fn expects(&self) -> String {
        r#"an address such as "https://registry.example.com", or "" for none"#.to_owned()
    }
}

/// The address of a server, which must be one.
pub(super) fn url() -> Url {
    Url
}

pub(super) struct Url;

impl Spelling<BaseUrl> for Url {
    fn read(&self, given: &Given) -> Result<BaseUrl, Refused> {
        base_url().read(given)?.ok_or_else(Refused::default)
    }

    fn write(&self, value: &BaseUrl) -> Literal {
        Literal::String(value.0.clone())
    }

    fn expects(&self) -> String {
        r#"an address such as "http://registry:5000""#.to_owned()
    }
}

/// Where an authority's directory is (RFC 8555 section 7.1.1), as it was written: authorities choose their paths, and
/// one with a slash at its end may be another than one without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryUrl(String);

impl DirectoryUrl {
    /// The address; it begins with `https://`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A [`DirectoryUrl`], or nothing.
pub(super) fn directory_url() -> DirectoryUrlSpelling {
    DirectoryUrlSpelling
}

pub(super) struct DirectoryUrlSpelling;

impl Spelling<Option<DirectoryUrl>> for DirectoryUrlSpelling {
    fn read(&self, given: &Given) -> Result<Option<DirectoryUrl>, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        if text.is_empty() {
            return Ok(None);
        }
        let url: Uri = text.parse().map_err(|_| Refused::default())?;
        let authority = url.authority().ok_or_else(Refused::default)?;
        if url.scheme_str() != Some("https") {
            return Err(Refused::because("authorities are asked over HTTPS alone: it begins with https://"));
        }
        if authority.as_str().contains('@') {
            return Err(Refused::because("leave out the user and the password"));
        }
        Ok(Some(DirectoryUrl(text.to_owned())))
    }

    fn write(&self, value: &Option<DirectoryUrl>) -> Literal {
        Literal::String(value.as_ref().map(|url| url.0.clone()).unwrap_or_default())
    }

    fn expects(&self) -> String {
        r#"an address such as "https://acme-v02.api.letsencrypt.org/directory", or "" for none"#.to_owned()
    }
}

/// An address of mail, as a URL (RFC 6068).
pub(super) fn contact() -> Contact {
    Contact
}

pub(super) struct Contact;

impl Spelling<String> for Contact {
    fn read(&self, given: &Given) -> Result<String, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        let address = text.strip_prefix("mailto:").unwrap_or(text);
        // One address and nothing else in the URL (RFC 8555 section 7.3).
        let plain = |char: char| char.is_ascii_graphic() && !",?/<>\"".contains(char);
        match address.split_once('@') {
            Some((name, host)) if !name.is_empty() && host.contains('.') && address.chars().all(plain) => {
                Ok(format!("mailto:{address}"))
            }
            _ => Err(Refused::default()),
        }
    }

    fn write(&self, value: &String) -> Literal {
        Literal::String(value.clone())
    }

    fn expects(&self) -> String {
        r#"an address of mail, such as "mailto:ann@example.com""#.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Given {
        Given::Text(text.to_owned())
    }

    fn string(text: &str) -> Given {
        Given::String(text.to_owned())
    }

    fn hint<T: fmt::Debug>(result: Result<T, Refused>) -> String {
        result.unwrap_err().hint.unwrap_or_default()
    }

    #[test]
    fn addresses_in_every_way_people_write_them() {
        let read = |given: &str| address().read(&string(given)).unwrap().to_string();
        assert_eq!(read("127.0.0.1:5000"), "127.0.0.1:5000");
        assert_eq!(read(":5000"), "0.0.0.0:5000");
        assert_eq!(read("*:5000"), "0.0.0.0:5000");
        assert_eq!(read("localhost:5000"), "127.0.0.1:5000");
        assert_eq!(read("[::1]:5000"), "[::1]:5000");
        assert_eq!(read("[::]:0"), "[::]:0");
    }

    #[test]
    fn an_address_may_be_none() {
        let read = |given: &str| optional_address().read(&string(given));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read(":80"), Ok(Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)))));
        assert!(read("80").is_err());
    }

    #[test]
    fn an_address_that_is_none_is_told_what_to_write() {
        let hinted = |given: Given| hint(address().read(&given));
        let port = r#"for this machine only write "127.0.0.1:5000", for others too ":5000""#;
        assert_eq!(hinted(Given::Integer(5000)), port);
        assert_eq!(hinted(string("5000")), port);
        assert_eq!(hinted(text("5000")), port);
        assert_eq!(hinted(string("10.0.0.1")), r#"add the port: "10.0.0.1:5000""#);
        assert_eq!(hinted(string("::1")), r#"add the port: "[::1]:5000""#);
        assert_eq!(hinted(string("fe80::1:99999")), "a port is a number up to 65535");
        assert!(hinted(string("http://127.0.0.1:5000")).contains("leave out"));
        assert!(hinted(string("registry.example.com:5000")).contains("names are not looked up"));
        assert_eq!(hinted(string("127.0.0.1:99999")), "a port is a number up to 65535");
        assert!(address().read(&Given::Boolean(true)).is_err());
    }

    #[test]
    fn sizes() {
        let read = |given: Given| -> Result<u64, Refused> { size().read(&given) };
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
        assert_eq!(read(Given::Integer(8_388_608)), Ok(8 << 20));
        for given in ["", "-1", "-4MiB", "8 megs", "many", "MiB", "1e400", "99999999999999999999TB"] {
            assert!(read(text(given)).is_err(), "{given}");
        }
        assert!(read(Given::Integer(-1)).is_err());
        assert!(read(Given::Integer(i128::MAX)).is_err());
        let at_least: Result<u64, _> = size().at_least(1024).read(&text("1023"));
        assert!(at_least.is_err());
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for bytes in [0, 1, 1000, 1024, 1_000_000, 10_000_000_000, 4 << 20, 5_000_001, 3 << 40, u64::MAX - 1]
        {
            let written = match size().write(&bytes) {
                Literal::String(written) => text(&written),
                Literal::Integer(number) => Given::Integer(number.into()),
                Literal::Boolean(_) | Literal::List(_) | Literal::Table(_) => unreachable!(),
            };
            assert_eq!(size().read(&written), Ok(bytes), "{written}");
        }
        for time in [0, 1, 999, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000, 31_557_600_000] {
            let time = Duration::from_millis(time);
            let Literal::String(written) = duration().write(&time) else { unreachable!() };
            assert_eq!(duration().or_none().read(&text(&written)), Ok(time), "{written}");
        }
        let Literal::String(day) = duration().write(&Duration::from_secs(86_400)) else { unreachable!() };
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
            hint(duration().read(&Given::Integer(15))),
            r#"a number alone does not say its unit; for seconds write "15s""#
        );
        assert_eq!(duration().or_none().read(&Given::Integer(0)), Ok(Duration::ZERO));
        assert_eq!(duration().or_none().read(&text("0s")), Ok(Duration::ZERO));
        assert!(duration().at_least(Duration::from_secs(60)).read(&text("59s")).is_err());
    }

    #[test]
    fn a_size_can_be_unlimited() {
        let read = |given: Given| size_or_unlimited().read(&given);
        assert_eq!(read(string("unlimited")), Ok(None));
        assert_eq!(read(Given::Integer(0)), Ok(None));
        assert_eq!(read(text("0")), Ok(None));
        assert_eq!(read(text("10GB")), Ok(Some(10_000_000_000)));
        assert!(read(string("none at all")).is_err());
    }

    #[test]
    fn numbers_and_switches_of_a_file_have_no_quotes() {
        assert_eq!(count().read(&Given::Integer(7)), Ok(7));
        assert_eq!(count().read(&text("7")), Ok(7));
        assert_eq!(hint(count().read(&string("7"))), "leave the quotes out");
        assert!(count().at_least(1).read(&Given::Integer(0)).is_err());
        assert_eq!(switch().read(&Given::Boolean(true)), Ok(true));
        assert_eq!(switch().read(&text("false")), Ok(false));
        assert_eq!(hint(switch().read(&string("true"))), "leave the quotes out");
        assert!(switch().read(&text("yes")).is_err());
    }

    #[test]
    fn a_choice_names_the_nearest() {
        let read = |given: &str| -> Result<LogFormat, Refused> { choice::<LogFormat>().read(&string(given)) };
        assert_eq!(read("json"), Ok(LogFormat::Json));
        assert_eq!(hint(read("jsn")), r#"did you mean "json"?"#);
        assert_eq!(hint(read("xml")), "");
    }

    #[test]
    fn a_level_with_a_slip_is_refused() {
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
    fn base_urls() {
        let read = |given: &str| base_url().read(&string(given));
        let url = |given: &str| read(given).unwrap().unwrap().as_str().to_owned();
        assert_eq!(read(""), Ok(None));
        assert_eq!(url("https://registry.example.com/"), "https://registry.example.com");
        assert_eq!(url("http://localhost:5000/registry/"), "http://localhost:5000/registry");
        for given in [
            "registry.example.com",
            "//x",
            "ftp://x",
            "https://a:b@x",
            "https://x/?q",
            "https://x/#f",
            "https://",
        ] {
            assert!(read(given).is_err(), "{given}");
        }
    }

    #[test]
    fn directories_are_kept_as_they_are_written() {
        let read = |given: &str| directory_url().read(&string(given));
        assert_eq!(read(""), Ok(None));
        for given in ["https://ca.internal/acme/acme/directory", "https://ca.internal:9000/dir/?a=b"] {
            assert_eq!(read(given).unwrap().unwrap().as_str(), given);
        }
        assert!(hint(read("http://ca.internal/dir")).contains("https://"));
        for given in ["ca.internal/dir", "https://a:b@ca.internal/dir", "https://"] {
            assert!(read(given).is_err(), "{given}");
        }
    }

    #[test]
    fn contacts_are_addresses_of_mail() {
        let read = |given: &str| contact().read(&string(given));
        assert_eq!(read("mailto:ann@example.com").as_deref(), Ok("mailto:ann@example.com"));
        assert_eq!(read("ann@example.com").as_deref(), Ok("mailto:ann@example.com"));
        for given in ["", "ann", "tel:+31", "a@b.c,d@e.f", "mailto:a@b.c?subject=x", "Ann <a@b.c>", "@b.c"] {
            assert!(read(given).is_err(), "{given}");
        }
    }

    #[test]
    fn lists() {
        let networks = list_of(network());
        let read = |given: &Given| networks.read(given).map(|found| networks.write(&found).to_string());
        let file = Given::List(vec![string("127.0.0.1"), string("10.1.2.3/8"), string("::ffff:1.2.3.4")]);
        let same = r#"["127.0.0.1", "10.0.0.0/8", "1.2.3.4"]"#;
        assert_eq!(read(&file).as_deref(), Ok(same));
        assert_eq!(read(&text("127.0.0.1, 10.0.0.0/8,1.2.3.4")).as_deref(), Ok(same));
        assert_eq!(read(&text("")).as_deref(), Ok("[]"));
        assert_eq!(read(&Given::List(Vec::new())).as_deref(), Ok("[]"));
        assert_eq!(hint(networks.read(&string("10.0.0.0/8"))), r#"write a list: ["10.0.0.0/8"]"#);
        assert!(networks.read(&Given::List(vec![string("10.0.0.0/40")])).is_err());
        assert!(networks.read(&Given::List(vec![Given::Integer(1)])).is_err());
    }

    #[test]
    fn a_path_may_be_none() {
        assert_eq!(optional_path().read(&string("")), Ok(None));
        assert_eq!(optional_path().read(&text("x")), Ok(Some(PathBuf::from("x"))));
        assert!(optional_path().read(&Given::Boolean(true)).is_err());
    }

    #[test]
    fn headers_and_words() {
        assert!(header_name().read(&string("X-Docker-Token")).is_ok());
        assert!(header_name().read(&string("two words")).is_err());
        assert!(word().read(&string("registry.example.com:5000")).is_ok());
        for given in ["", "a b", "a\"b", "a,b"] {
            assert!(word().read(&string(given)).is_err(), "{given}");
        }
    }

    #[test]
    fn paths() {
        assert_eq!(path().read(&string("/var/lib/x y")), Ok(PathBuf::from("/var/lib/x y")));
        assert!(path().read(&string(" ")).is_err());
        assert!(path().read(&Given::Integer(1)).is_err());
    }
}
