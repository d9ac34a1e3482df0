//! Hosts that a certificate is made out for: names and addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use rustls::pki_types::DnsName;

/// A host as a certificate names it, without a port. Names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name, or all names of one more label (`*.example.com`).
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// A text is no host; what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAHost {
    /// It has a scheme or a path.
    #[error("leave out everything but the host")]
    Url,
    /// It has a port.
    #[error("leave out the port: a certificate is for all ports of a host")]
    Port,
    /// It is neither a name nor an address.
    #[error("write a name such as registry.example.com, or an address such as 192.0.2.7")]
    Other,
}

impl FromStr for Host {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let text = text.trim();
        if text.contains('/') {
            return Err(NotAHost::Url);
        }
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        if let Some((address, rest)) = bracketed {
            let address: Ipv6Addr = address.parse().map_err(|_| NotAHost::Other)?;
            return if rest.is_empty() { Ok(Self::Address(address.into())) } else { Err(NotAHost::Port) };
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        if text.contains(':') {
            return Err(NotAHost::Port);
        }
        let name = text.to_ascii_lowercase();
        let plain = name.strip_prefix("*.").unwrap_or(&name);
        // Four numbers that are no address are a slip, not a name.
        let numbers = plain.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match DnsName::try_from(plain) {
            Ok(_) if !numbers => Ok(Self::Name(name)),
            _ => Err(NotAHost::Other),
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
    /// Whether a certificate for this host is one for `host` (RFC 6125 section 6.4: a wildcard stands for one label).
    #[must_use]
    pub fn covers(&self, host: &Self) -> bool {
        match (self, host) {
            (Self::Name(mine), Self::Name(other)) => {
                mine == other
                    || mine.strip_prefix("*.").is_some_and(|suffix| {
                        other.split_once('.').is_some_and(|(label, rest)| label != "*" && rest == suffix)
                    })
            }
            _ => self == host,
        }
    }

    /// Whether it stands for all names of one more label.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Name(name) if name.starts_with("*."))
    }

    /// The host with a port, as image names and URLs have it.
    #[must_use]
    pub fn with_port(&self, port: u16) -> String {
        match self {
            Self::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            host => format!("{host}:{port}"),
        }
    }

    /// How `openssl` writes it in a subjectAltName: `DNS:…` or `IP:…`.
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
    fn names_and_addresses() {
        assert_eq!(host("Registry.Example.COM"), Host::Name("registry.example.com".to_owned()));
        assert_eq!(host("192.0.2.7"), Host::Address([192, 0, 2, 7].into()));
        assert_eq!(host("[::1]"), host("::1"));
        assert_eq!(host("*.example.com").as_openssl(), "DNS:*.example.com");
        assert_eq!(host("::1").with_port(5000), "[::1]:5000");
        assert_eq!(host("localhost").with_port(443), "localhost:443");
    }

    #[test]
    fn what_is_no_host() {
        for (text, why) in [
            ("https://a.example", NotAHost::Url),
            ("a.example/x", NotAHost::Url),
            ("a.example:5000", NotAHost::Port),
            ("[::1]:5000", NotAHost::Port),
            ("", NotAHost::Other),
            ("a b", NotAHost::Other),
            ("300.1.2.3", NotAHost::Other),
            ("*", NotAHost::Other),
            ("a.*.example", NotAHost::Other),
            ("[a]", NotAHost::Other),
        ] {
            assert_eq!(text.parse::<Host>(), Err(why), "{text}");
        }
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(host("*.example.com").covers(&host("a.example.com")));
        assert!(!host("*.example.com").covers(&host("a.b.example.com")));
        assert!(!host("*.example.com").covers(&host("example.com")));
        assert!(host("10.0.0.1").covers(&host("10.0.0.1")));
    }
}
