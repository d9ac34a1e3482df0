//! Explains why the server of `--server` cannot be reached, and how to correct it.

use std::error::Error;
use std::io;
use std::net::IpAddr;

use reqwest::Url;
use rustls::{AlertDescription, CertificateError, OtherError};

use super::output::Failure;

/// Parses the URL of `--server`, and removes a slash at its end.
///
/// # Errors
/// The fault, and the correct notation.
pub(super) fn parse(text: &str) -> Result<Url, Failure> {
    let not_a_url = || Failure::usage(format!("`{text}` is not the address of a server"));
    if !text.contains("://") {
        let (scheme, host) = (likely_scheme(text), text.trim_matches('/'));
        return Err(not_a_url().help(format!("write it with its scheme: --server {scheme}://{host}")));
    }
    let mut url = Url::parse(text).map_err(|error| not_a_url().because(&error))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(not_a_url().help("it begins with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::usage("the address of the server contains a user name or a password")
            .help("others on this machine could read it there; log in with --user NAME"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(not_a_url().help("leave out everything after the path"));
    }
    let path = url.path().to_owned();
    if path.split('/').any(|part| matches!(part, "v1" | "v2" | "api")) {
        return Err(Failure::usage(format!("`{text}` has the path {path}, which commands add themselves"))
            .help(format!("leave it out: --server {}", url.origin().ascii_serialization())));
    }
    url.set_path(path.trim_end_matches('/'));
    Ok(url)
}

/// Plain HTTP for this machine, HTTPS for others.
fn likely_scheme(host: &str) -> &'static str {
    let is_local = ["localhost", "127.", "[::1]"].iter().any(|local| host.starts_with(local));
    if is_local { "http" } else { "https" }
}

/// Whether a server runs on this machine, and is reached without a proxy.
pub(super) fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Explains a request without a response.
pub(super) fn explain(url: &Url, error: &reqwest::Error) -> Failure {
    let server = url.as_str().trim_end_matches('/');
    let other = |scheme: &str| {
        let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
        format!("--server {scheme}://{rest}")
    };
    if let Some(tls) = cause::<rustls::Error>(error) {
        return explain_tls(server, &other("http"), tls);
    }
    let host = url.host_str().unwrap_or_default();
    let address = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
    let proxy = proxy_variable(url);
    let unreachable = Failure::new(format!("cannot reach {server}"));
    if let Some(variable) = proxy.filter(|_| error.is_connect()) {
        return unreachable.help(innermost(error)).help(format!(
            "the request goes through the proxy in ${variable}; to reach {host} directly, add it to $no_proxy"
        ));
    }
    if error.is_timeout() {
        return unreachable
            .help(format!("{address} did not answer in time"))
            .help("check the host and the port, and whether a firewall is between");
    }
    let io = cause::<io::Error>(error);
    let all = chain(error).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if all.contains("failed to lookup") || all.contains("dns error") {
        return unreachable
            .help(format!("there is no address for the name {host}"))
            .help("check its spelling, and the name server of this machine");
    }
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => unreachable
            .help(format!("nothing listens on {address}"))
            .help("check the port, and whether the server runs; `wharfinger serve` uses port 5000 unless --listen says otherwise"),
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => unreachable
            .help(format!("{address} closed the connection: {}", innermost(error)))
            .help(format!("if it speaks HTTPS: {}", other("https"))),
        _ if url.scheme() == "http" && (all.contains("invalid HTTP") || all.contains("connection closed before")) => unreachable
            .help(format!("{address} does not answer in HTTP"))
            .help(format!("if it speaks HTTPS: {}", other("https"))),
        _ => unreachable.because(error),
    }
}

/// Explains a request without a response from the server of a data directory. Its URL, and a text that has
/// it, tell the operator nothing.
pub(super) fn explain_local(directory: &str, error: &reqwest::Error) -> Failure {
    let unreachable = Failure::new(format!("the server of {directory} does not answer"));
    if error.is_timeout() {
        return unreachable.help("it took the request on its control socket, and did not answer in time");
    }
    unreachable.help(innermost(error))
}

/// Explains a failed TLS handshake.
fn explain_tls(server: &str, plain: &str, error: &rustls::Error) -> Failure {
    let untrusted = Failure::new(format!("the certificate of {server} is not trusted"));
    match error {
        rustls::Error::InvalidMessage(_) => {
            Failure::new(format!("{server} does not speak HTTPS on this port"))
                .help(format!("if it speaks plain HTTP: {plain}"))
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            untrusted.help("neither the system nor --ca knows who signed it").help(
                "name the certificate, or that of its authority, with --ca FILE; \
                   `wharfinger cert show` on the server prints how a whole machine trusts it",
            )
        }
        rustls::Error::InvalidCertificate(CertificateError::Other(reason)) if is_authority(reason) => {
            untrusted
                .help("it is self-signed, and neither the system nor --ca names it")
                .help("name it with --ca FILE")
        }
        rustls::Error::InvalidCertificate(
            reason @ (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
        ) => Failure::new(format!("the certificate of {server} is for another name"))
            .help(reason)
            .help("use a name of the certificate in --server, or give the server a certificate for this one"),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => Failure::new(format!("the certificate of {server} has expired"))
            .help("renew it on the server; `wharfinger cert show` prints its dates"),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => Failure::new(format!("the certificate of {server} is not valid yet"))
            .help("check the clocks of this machine and of the server"),
        rustls::Error::InvalidCertificate(reason) => untrusted.help(reason),
        rustls::Error::AlertReceived(
            AlertDescription::InternalError | AlertDescription::UnrecognisedName,
        ) => Failure::new(format!("{server} has no certificate for this connection yet"))
            .help("its log says what keeps it from obtaining one"),
        _ => Failure::new(format!("no secure connection to {server}")).because(error),
    }
}

/// Whether a certificate is rejected because it is a CA certificate, for which rustls has no type.
fn is_authority(reason: &OtherError) -> bool {
    reason.to_string().contains("CaUsedAsEndEntity")
}

/// The environment variable that names a proxy for this server, if any.
fn proxy_variable(url: &Url) -> Option<&'static str> {
    let is_set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = url.host_str().unwrap_or_default();
    let excepted = ["no_proxy", "NO_PROXY"].iter().filter_map(|name| is_set(name)).any(|list| {
        list.split(',')
            .map(|entry| entry.trim().trim_start_matches('.'))
            .any(|entry| entry == "*" || (!entry.is_empty() && host.ends_with(entry)))
    });
    if excepted || is_local(url) {
        return None;
    }
    let names: &[&'static str] = match url.scheme() {
        "https" => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        _ => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
    };
    names.iter().copied().find(|name| is_set(name).is_some())
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| below(*error))
}

/// The cause of an error. An I/O error returns the source of its inner error instead of that error.
fn below<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => error.source(),
    }
}

/// The first cause of a type.
fn cause<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The text of the innermost cause, which is the most specific.
fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_server_url_gets_a_suggestion() {
        let told = |text: &str| parse(text).unwrap_err().to_string();
        assert!(told("localhost:5000").contains("--server http://localhost:5000"));
        assert!(told("registry.example.com/").contains("--server https://registry.example.com\n"));
        assert!(told("http://localhost:5000/v2/").contains("--server http://localhost:5000\n"));
        assert!(told("https://ann:secret@registry.example.com").contains("--user NAME"));
        assert!(!told("https://ann:secret@registry.example.com").contains("secret@"));
        assert!(told("ftp://localhost").contains("https:// or http://"));
        assert!(told("http://").contains("not the address"));
        assert_eq!(
            parse("https://registry.example.com/hub/").unwrap().as_str(),
            "https://registry.example.com/hub"
        );
        assert_eq!(parse("http://localhost:5000").unwrap().as_str(), "http://localhost:5000/");
    }

    #[test]
    fn local_server_is_reached_without_proxy() {
        let local = |text: &str| is_local(&Url::parse(text).unwrap());
        assert!(local("http://localhost:5000") && local("http://127.0.0.2") && local("http://[::1]:5000"));
        assert!(!local("http://registry.example.com") && !local("http://10.0.0.1"));
    }
}
