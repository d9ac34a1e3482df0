//! The summary of a start: a log line, and a greeting on standard output.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use registry::Registry;

use super::error::ServeError;
use super::startup::absolute;
use crate::config::Config;
use crate::host::Host;
use crate::http::server::Server;
use crate::tls::trust::{self, Trust};
use crate::tls::{self, Acceptor};

/// The log line of a start. It shows a wrong data directory or a registry without accounts. The greeting
/// lacks it, because a terminal and the journal of systemd show both outputs.
pub(super) struct Summary {
    data: PathBuf,
    blobs: String,
    metadata: String,
    accounts: String,
    scheme: &'static str,
    file: String,
}

impl Summary {
    pub(super) async fn of(
        registry: &Registry,
        server: &Server,
        file: Option<&Path>,
    ) -> Result<Self, ServeError> {
        let accounts = registry.accounts();
        let accounts = match accounts.count_users().await? {
            0 if !accounts.in_force() => {
                "no accounts: anyone who reaches this port may pull, push, overwrite and delete".to_owned()
            }
            1 => "1 account".to_owned(),
            users => format!("{users} accounts"),
        };
        Ok(Self {
            data: registry.directory().root().to_owned(),
            blobs: registry
                .directory()
                .objects()
                .map_or_else(String::new, |objects| format!("blobs {}; ", objects.url)),
            metadata: registry
                .directory()
                .database()
                .map_or_else(String::new, |database| format!("metadata {}; ", database.place())),
            accounts,
            scheme: if server.tls().is_some() { "HTTPS" } else { "HTTP" },
            file: file.map_or("none".to_owned(), |file| absolute(file).display().to_string()),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data, blobs, metadata, accounts, scheme, file } = self;
        let (version, data) = (env!("CARGO_PKG_VERSION"), data.display());
        write!(
            f,
            "wharfinger {version}: data {data}; {blobs}{metadata}{scheme}; configuration {file}; {accounts}"
        )
    }
}

/// The text on standard output: addresses and first commands, in whole lines.
pub(super) fn greeting(server: &Server, config: &Config) -> String {
    let address = server.address();
    let origin = server.tls().map(Acceptor::origin);
    let host = address_for_clients(address, origin, config);
    let mut greeting = format!(
        "listening on {}://{address}\n  push    docker push {host}/official/ubuntu:14.04\n  pull    docker pull \
         {host}/official/ubuntu:14.04\n  search  docker search {host}/ubuntu\n",
        server.scheme()
    );
    if let Some(tls::Origin::SelfSigned { certificate, hosts }) = origin {
        let url = config.external_url.as_ref().map(|url| url.as_str());
        let (hosts, port) = trust::seen_by_clients(url, hosts, address.port());
        let trust = Trust { certificate, hosts: &hosts, port };
        greeting.push_str(&format!("\n{trust}"));
    }
    greeting
}

/// Returns host and port as clients write them before a repository name.
fn address_for_clients(address: SocketAddr, origin: Option<&tls::Origin>, config: &Config) -> String {
    if let Some(url) = &config.external_url {
        return url.as_str().split_once("://").map_or(url.as_str(), |(_, host)| host).to_owned();
    }
    let hosts = match origin {
        Some(tls::Origin::SelfSigned { hosts, .. } | tls::Origin::Authority { hosts }) => hosts.clone(),
        Some(tls::Origin::Files) => {
            let chain = config.tls.certificate.as_ref().and_then(|file| tls::pair::certificates(file).ok());
            chain.and_then(|chain| chain.into_iter().next()).map(|first| first.hosts).unwrap_or_default()
        }
        None => Vec::new(),
    };
    match hosts.first() {
        Some(host @ Host::Name(name)) if !name.starts_with("*.") => trust::registry(host, address.port()),
        Some(host @ Host::Address(_)) => trust::registry(host, address.port()),
        _ if address.ip().is_loopback() || address.ip().is_unspecified() => {
            format!("localhost:{}", address.port())
        }
        _ => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(address: &str, hosts: &[&str]) -> String {
        let origin = tls::Origin::SelfSigned {
            certificate: "self-signed.pem".into(),
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        };
        address_for_clients(address.parse().unwrap(), Some(&origin), &Config::default())
    }

    #[test]
    fn greeting_has_the_host_that_docker_needs() {
        assert_eq!(clients("127.0.0.1:5001", &[]), "localhost:5001");
        assert_eq!(clients("192.168.1.2:80", &[]), "192.168.1.2:80");
        assert_eq!(clients("0.0.0.0:443", &["registry.example.com", "10.0.0.1"]), "registry.example.com");
        assert_eq!(clients("0.0.0.0:5000", &["registry.example.com"]), "registry.example.com:5000");
        assert_eq!(clients("0.0.0.0:5000", &["*.example.com"]), "localhost:5000");
    }
}
