//! Address rules against SSRF: a webhook must not reach services of this machine or of private networks.
//!
//! The rules apply to the addresses that a name resolves to when the connection is made, so that a name whose addresses
//! change cannot get around them.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether an address is in the public internet.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_protocol = a == 192 && b == 0 && c == 0;
    let is_benchmark = a == 198 && (b == 18 || b == 19);
    !(a == 0
        || a >= 224
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || is_shared
        || is_protocol
        || is_benchmark)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // NAT64 and 6to4 lead to the IPv4 address inside.
    let embedded = match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    if let Some((high, low)) = embedded {
        return is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    }
    // Global unicast is 2000::/3. Teredo and the documentation prefix are in it.
    let is_teredo = segments[0] == 0x2001 && segments[1] == 0;
    let is_documentation = segments[0] == 0x2001 && segments[1] == 0xdb8;
    segments[0] >> 13 == 1 && !is_teredo && !is_documentation
}

/// The reason to refuse the host of a URL, as far as its spelling tells.
pub(crate) fn refused_host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_refused = match bare.parse::<IpAddr>() {
        Ok(address) => !is_public(address),
        Err(_) => {
            let name = bare.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    };
    is_refused.then(|| format!("{host} is this machine, or in a private network"))
}

/// Resolves names to public addresses only.
pub(crate) struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<_> = match tokio::net::lookup_host((host, 0)).await {
                Ok(found) => found.collect(),
                Err(error) => {
                    tracing::info!(host, %error, "cannot resolve the host of a webhook");
                    Vec::new()
                }
            };
            let public: Vec<_> = found.iter().copied().filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                if let Some(private) = found.first() {
                    tracing::info!(host, address = %private.ip(), "the host of a webhook has a private address");
                }
                // The owner of a webhook reads this text, and must not learn the names of a private network.
                return Err(Box::<dyn Error + Send + Sync>::from(format!("{host} has no public address")));
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_not_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "::7f00:1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn refused_host_is_seen_in_the_url() {
        let refused = |url: &str| refused_host(&url.parse().unwrap()).is_some();
        for url in [
            "http://127.0.0.1/",
            "http://[::1]:80/",
            "http://localhost/",
            "http://a.LOCALHOST./",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://017700000001/",
        ] {
            assert!(refused(url), "{url}");
        }
        assert!(!refused("https://example.com/") && !refused("https://1.1.1.1/"));
    }
}
