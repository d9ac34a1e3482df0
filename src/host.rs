//! Hosts of certificates: DNS names and IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use rustls::pki_types::DnsName;

/// A host without a port. Names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A DNS name, or a wildcard such as `*.example.com`.
    Name(String),
    Address(IpAddr),
}

/// Why a text is not a host. The message says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("leave out everything but the host")]
    Url,
    #[error("leave out the port: a certificate is for all ports of a host")]
    Port,
    #[error("write a name such as registry.example.com, or an address such as 192.0.2.7")]
    Other,
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let text = text.trim();
        if text.contains('/') {
            return Err(HostError::Url);
        }
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        if let Some((address, rest)) = bracketed {
            let address: Ipv6Addr = address.parse().map_err(|_| HostError::Other)?;
            return if rest.is_empty() { Ok(Self::Address(address.into())) } else { Err(HostError::Port) };
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        if text.contains(':') {
            return Err(HostError::Port);
        }
        let name = text.to_ascii_lowercase();
        let plain = name.strip_prefix("*.").unwrap_or(&name);
        // Digits and dots that are not an address are a mistyped address.
        let numbers = plain.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match DnsName::try_from(plain) {
            Ok(_) if !numbers => Ok(Self::Name(name)),
            _ => Err(HostError::Other),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Host {
    /// Whether a certificate for this host is valid for `host`. A wildcard stands for one label (RFC 6125
    /// section 6.4).
    #[must_use]
    pub fn covers(&self, host: &Self) -> bool {
        match (self, host) {
            (Self::Name(own), Self::Name(other)) => {
                own == other
                    || own.strip_prefix("*.").is_some_and(|suffix| {
                        other.split_once('.').is_some_and(|(label, rest)| label != "*" && rest == suffix)
                    })
            }
            _ => self == host,
        }
    }

    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Name(name) if name.starts_with("*."))
    }

    /// The host with a port, in the syntax of URLs.
    #[must_use]
    pub fn with_port(&self, port: u16) -> String {
        match self {
            Self::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            host => format!("{host}:{port}"),
        }
    }

    /// The subjectAltName in the syntax of `openssl`: `DNS:…` or `IP:…`.
    #[must_use]
    pub fn as_openssl(&self) -> String {
        match self {
            Self::Name(name) => format!("DNS:{name}"),
            Self::Address(address) => format!("IP:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn host_is_a_name_or_an_address() {
        assert_eq!(host("Registry.Example.COM"), Host::Name("registry.example.com".to_owned()));
        assert_eq!(host("192.0.2.7"), Host::Address([192, 0, 2, 7].into()));
        assert_eq!(host("[::1]"), host("::1"));
        assert_eq!(host("*.example.com").as_openssl(), "DNS:*.example.com");
        assert_eq!(host("::1").with_port(5000), "[::1]:5000");
        assert_eq!(host("localhost").with_port(443), "localhost:443");
    }

    #[test]
    fn host_rejects_urls_and_ports() {
        for (text, why) in [
            ("https://a.example", HostError::Url),
            ("a.example/x", HostError::Url),
            ("a.example:5000", HostError::Port),
            ("[::1]:5000", HostError::Port),
            ("", HostError::Other),
            ("a b", HostError::Other),
            ("300.1.2.3", HostError::Other),
            ("*", HostError::Other),
            ("a.*.example", HostError::Other),
            ("[a]", HostError::Other),
        ] {
            assert_eq!(text.parse::<Host>(), Err(why), "{text}");
        }
    }

    #[test]
    fn wildcard_covers_one_label() {
        assert!(host("*.example.com").covers(&host("a.example.com")));
        assert!(!host("*.example.com").covers(&host("a.b.example.com")));
        assert!(!host("*.example.com").covers(&host("example.com")));
        assert!(host("10.0.0.1").covers(&host("10.0.0.1")));
    }
}
