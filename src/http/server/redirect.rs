//! The plain HTTP port beside HTTPS (`tls.redirect`): redirects browsers, and answers ACME challenges (RFC
//! 8555 section 8.3).
//!
//! A request with a password or token is refused instead of redirected: its credentials crossed the network
//! in clear text, and the user should know.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, HOST, HeaderMap, HeaderValue, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::Gauge;
use tokio::net::{TcpListener, TcpStream};

use crate::config::Config;
use crate::host::Host;
use crate::http::middleware::host_header;
use crate::http::response::{self, Response};
use crate::http::server::connection_table::ConnectionTable;
use crate::http::server::listener::after_failed_accept;
use crate::tls;

/// The connection limits, in all and per client network. Each connection serves one request.
const CONNECTIONS: usize = 256;
const CONNECTIONS_PER_NETWORK: usize = 32;
/// The maximum size of a request head.
const HEAD_BYTES: usize = 16 * 1024;
/// The path of ACME challenges (RFC 8555 section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// A plain HTTP listener. Connections wait in the backlog until it runs.
pub(crate) struct Redirect {
    listener: TcpListener,
    target: Arc<Target>,
    connections: ConnectionTable,
    idle_timeout: Duration,
}

struct Target {
    /// The external URL, if it is one of HTTPS.
    base: Option<String>,
    /// Otherwise the HTTPS port, on the host that the client called.
    port: u16,
    tls: tls::Acceptor,
}

impl Redirect {
    /// Makes the listener for a server with HTTPS on `port`.
    pub(crate) fn new(
        listener: TcpListener,
        port: u16,
        tls: tls::Acceptor,
        config: &Config,
        open: Gauge,
    ) -> Self {
        let base = config.external_url.as_ref().map(|url| url.as_str());
        let base = base.filter(|url| url.starts_with("https://")).map(str::to_owned);
        Self {
            listener,
            target: Arc::new(Target { base, port, tls }),
            connections: ConnectionTable::new("tls.redirect", CONNECTIONS, CONNECTIONS_PER_NETWORK, open),
            idle_timeout: config.limits.header_timeout,
        }
    }

    pub(crate) fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// Serves for ever.
    pub(crate) async fn run(&self) -> Infallible {
        loop {
            match self.listener.accept().await {
                Ok((stream, client)) => {
                    let Ok(held) = self.connections.enter(client.ip(), false).await else { continue };
                    let (target, idle_timeout) = (self.target.clone(), self.idle_timeout);
                    tokio::spawn(async move {
                        // One timeout for the head and one for the response.
                        let conversation =
                            tokio::time::timeout(idle_timeout * 2, converse(stream, target, idle_timeout));
                        tokio::select! {
                            _ = conversation => {}
                            () = held.slot().evicted() => {}
                        }
                    });
                }
                Err(error) => after_failed_accept(&error).await,
            }
        }
    }
}

async fn converse(stream: TcpStream, target: Arc<Target>, idle_timeout: Duration) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&target, request.method(), request.uri(), request.headers());
        async move { Ok::<_, Infallible>(answer) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = conversation.await {
        tracing::debug!(%error, "a connection of plain HTTP broke");
    }
}

fn answer(target: &Target, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response {
    let reads = method == Method::GET || method == Method::HEAD;
    if !host_header::is_unambiguous(headers) {
        return plain_text(StatusCode::BAD_REQUEST, "A request needs one Host header.");
    }
    if let Some(token) = uri.path().strip_prefix(CHALLENGES).filter(|_| reads) {
        return match target.tls.challenge_text(token) {
            Some(text) => response::text(text),
            None => plain_text(StatusCode::NOT_FOUND, "There is no such challenge."),
        };
    }
    if headers.contains_key(AUTHORIZATION) {
        return plain_text(
            StatusCode::FORBIDDEN,
            "Passwords and tokens are not taken here: this one was readable on its way. Have it changed, and call \
             https:// instead of http://.",
        );
    }
    match location(target, uri, headers).filter(|_| reads) {
        Some(location) => {
            let mut answer = plain_text(StatusCode::PERMANENT_REDIRECT, "This is spoken over HTTPS.");
            answer.headers_mut().insert(LOCATION, location);
            answer
        }
        None => plain_text(StatusCode::BAD_REQUEST, "Call https:// instead of http://, please."),
    }
}

/// Returns the same path over HTTPS. `None` if the request has no host.
fn location(target: &Target, uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // The target may be `*`.
    let path = if path.starts_with('/') { path } else { "/" };
    let location = match &target.base {
        Some(base) => format!("{base}{path}"),
        None => {
            let authority = match uri.authority() {
                Some(authority) => authority.clone(),
                None => headers.get(HOST)?.to_str().ok()?.parse().ok()?,
            };
            let host: Host = authority.host().parse().ok().filter(|host: &Host| !host.is_wildcard())?;
            let host = host.with_port(target.port);
            format!("https://{}{path}", host.strip_suffix(":443").unwrap_or(&host))
        }
    };
    location.try_into().ok()
}

/// Returns a sentence for people. Forbids caching: the HTTPS port may change.
fn plain_text(status: StatusCode, sentence: &str) -> Response {
    let mut answer = response::text(format!("{sentence}\n"));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the status and the location.
    fn asked(
        port: u16,
        base: Option<&str>,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
    ) -> (u16, String) {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.tls.self_signed = vec!["a.example".parse().unwrap()];
        let tls = tls::Acceptor::open(&config, directory.path()).unwrap().unwrap();
        let target = Target { base: base.map(str::to_owned), port, tls };
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let answer = answer(&target, &method, &url.parse().unwrap(), &headers);
        let location = answer.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), location.unwrap_or_default())
    }

    #[test]
    fn reads_are_redirected_to_https() {
        let sent = |port, base, url, host: &str| asked(port, base, Method::GET, url, &[("host", host)]);
        let to = |text: &str| (308, text.to_owned());
        assert_eq!(sent(443, None, "/v2/?n=1", "A.example"), to("https://a.example/v2/?n=1"));
        assert_eq!(sent(5000, None, "/", "a.example:80"), to("https://a.example:5000/"));
        assert_eq!(sent(443, None, "/x", "[::1]:80"), to("https://[::1]/x"));
        assert_eq!(sent(443, None, "http://b.example/x", "a.example"), to("https://b.example/x"));
        assert_eq!(sent(443, Some("https://c.example/r"), "/x", "a.example"), to("https://c.example/r/x"));
        for host in ["", "a b", "*.example", "a.example/x", "user@"] {
            assert_eq!(sent(443, None, "/", host).0, 400, "{host}");
        }
        assert_eq!(asked(443, None, Method::GET, "/", &[]).0, 400);
    }

    #[test]
    fn credentials_and_writes_are_refused() {
        let host = ("host", "a.example");
        let basic = ("authorization", "Basic YTpi");
        assert_eq!(asked(443, None, Method::GET, "/v2/", &[host, basic]), (403, String::new()));
        assert_eq!(asked(443, None, Method::POST, "/v2/", &[host, basic]), (403, String::new()));
        assert_eq!(asked(443, None, Method::POST, "/v2/a/blobs/uploads/", &[host]), (400, String::new()));
        assert_eq!(
            asked(443, None, Method::GET, "/.well-known/acme-challenge/x", &[host]),
            (404, String::new())
        );
    }
}
