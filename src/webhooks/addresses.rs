//! Address rules against SSRF: a webhook must not reach services of this machine or of private networks.
//!
//! The rules apply to the addresses that a name resolves to when the connection is made, so that a name whose
//! addresses change cannot get around them.

use std::error::Error;
use std::net::IpAddr;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use upstream::is_public;

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
