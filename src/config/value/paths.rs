//! Paths, addresses, networks and hosts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::{RawValue, Refused, TomlValue, ValueType};
use crate::host::{Host, HostError};

pub(in crate::config) fn path() -> Path {
    Path
}

pub(in crate::config) struct Path;

impl ValueType<PathBuf> for Path {
    fn read(&self, given: &RawValue) -> Result<PathBuf, Refused> {
        match given {
            RawValue::Text(text) | RawValue::String(text) if !text.trim().is_empty() => {
                Ok(PathBuf::from(text))
            }
            _ => Err(Refused::default()),
        }
    }

    fn write(&self, value: &PathBuf) -> TomlValue {
        TomlValue::String(value.display().to_string())
    }

    fn expects(&self) -> String {
        r#"a path such as "/var/lib/wharfinger""#.to_owned()
    }
}

/// A path, or `""` for none.
pub(in crate::config) fn optional_path() -> OptionalPath {
    OptionalPath
}

pub(in crate::config) struct OptionalPath;

impl ValueType<Option<PathBuf>> for OptionalPath {
    fn read(&self, given: &RawValue) -> Result<Option<PathBuf>, Refused> {
        if given.text() == Some("") { Ok(None) } else { path().read(given).map(Some) }
    }

    fn write(&self, value: &Option<PathBuf>) -> TomlValue {
        TomlValue::String(value.as_ref().map(|path| path.display().to_string()).unwrap_or_default())
    }

    fn expects(&self) -> String {
        r#"a path such as "/etc/wharfinger/users", or "" for none"#.to_owned()
    }
}

/// An address, or a network of addresses: `"10.0.0.0/8"`.
pub(in crate::config) fn network() -> Network {
    Network
}

pub(in crate::config) struct Network;

impl ValueType<IpNet> for Network {
    fn read(&self, given: &RawValue) -> Result<IpNet, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.to_canonical().into());
        }
        text.parse().map(|network: IpNet| network.trunc()).map_err(|_| match text {
            "localhost" => Refused::because(r#"write "127.0.0.1" and "::1""#),
            _ => Refused::default(),
        })
    }

    fn write(&self, value: &IpNet) -> TomlValue {
        let whole = value.prefix_len() == value.max_prefix_len();
        TomlValue::String(if whole { value.addr().to_string() } else { value.to_string() })
    }

    fn expects(&self) -> String {
        r#"an address or a network, such as "127.0.0.1" or "10.0.0.0/8""#.to_owned()
    }
}

/// A host of a certificate.
pub(in crate::config) fn host() -> HostSpelling {
    HostSpelling
}

pub(in crate::config) struct HostSpelling;

impl ValueType<Host> for HostSpelling {
    fn read(&self, given: &RawValue) -> Result<Host, Refused> {
        let text = given.text().ok_or_else(Refused::default)?;
        text.parse().map_err(|error: HostError| Refused::because(error.to_string()))
    }

    fn write(&self, value: &Host) -> TomlValue {
        TomlValue::String(value.to_string())
    }

    fn expects(&self) -> String {
        r#"a name or an address, such as "registry.example.com" or "192.0.2.7""#.to_owned()
    }
}

/// An address of this machine with a port.
pub(in crate::config) fn address() -> Address {
    Address
}

pub(in crate::config) struct Address;

impl ValueType<SocketAddr> for Address {
    fn read(&self, given: &RawValue) -> Result<SocketAddr, Refused> {
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

    fn write(&self, value: &SocketAddr) -> TomlValue {
        TomlValue::String(value.to_string())
    }

    fn expects(&self) -> String {
        r#"an address with a port, such as "127.0.0.1:5000", ":5000" or "[::1]:5000""#.to_owned()
    }
}

/// An address of this machine with a port, or `""` for none.
pub(in crate::config) fn optional_address() -> OptionalAddress {
    OptionalAddress
}

pub(in crate::config) struct OptionalAddress;

impl ValueType<Option<SocketAddr>> for OptionalAddress {
    fn read(&self, given: &RawValue) -> Result<Option<SocketAddr>, Refused> {
        if given.text() == Some("") { Ok(None) } else { address().read(given).map(Some) }
    }

    fn write(&self, value: &Option<SocketAddr>) -> TomlValue {
        TomlValue::String(value.as_ref().map(ToString::to_string).unwrap_or_default())
    }

    fn expects(&self) -> String {
        r#"an address with a port, such as ":80", or "" for none"#.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hint, string, text};
    use super::*;

    #[test]
    fn address_accepts_all_notations() {
        let read = |given: &str| address().read(&string(given)).unwrap().to_string();
        assert_eq!(read("127.0.0.1:5000"), "127.0.0.1:5000");
        assert_eq!(read(":5000"), "0.0.0.0:5000");
        assert_eq!(read("*:5000"), "0.0.0.0:5000");
        assert_eq!(read("localhost:5000"), "127.0.0.1:5000");
        assert_eq!(read("[::1]:5000"), "[::1]:5000");
        assert_eq!(read("[::]:0"), "[::]:0");
    }

    #[test]
    fn optional_address_may_be_empty() {
        let read = |given: &str| optional_address().read(&string(given));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read(":80"), Ok(Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)))));
        read("80").unwrap_err();
    }

    #[test]
    fn invalid_address_gets_a_suggestion() {
        let hinted = |given: RawValue| hint(address().read(&given));
        let port = r#"for this machine only write "127.0.0.1:5000", for others too ":5000""#;
        assert_eq!(hinted(RawValue::Integer(5000)), port);
        assert_eq!(hinted(string("5000")), port);
        assert_eq!(hinted(text("5000")), port);
        assert_eq!(hinted(string("10.0.0.1")), r#"add the port: "10.0.0.1:5000""#);
        assert_eq!(hinted(string("::1")), r#"add the port: "[::1]:5000""#);
        assert_eq!(hinted(string("fe80::1:99999")), "a port is a number up to 65535");
        assert!(hinted(string("http://127.0.0.1:5000")).contains("leave out"));
        assert!(hinted(string("registry.example.com:5000")).contains("names are not looked up"));
        assert_eq!(hinted(string("127.0.0.1:99999")), "a port is a number up to 65535");
        address().read(&RawValue::Boolean(true)).unwrap_err();
    }

    #[test]
    fn optional_path_may_be_empty() {
        assert_eq!(optional_path().read(&string("")), Ok(None));
        assert_eq!(optional_path().read(&text("x")), Ok(Some(PathBuf::from("x"))));
        optional_path().read(&RawValue::Boolean(true)).unwrap_err();
    }

    #[test]
    fn paths() {
        assert_eq!(path().read(&string("/var/lib/x y")), Ok(PathBuf::from("/var/lib/x y")));
        path().read(&string(" ")).unwrap_err();
        path().read(&RawValue::Integer(1)).unwrap_err();
    }
}
