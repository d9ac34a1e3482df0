//! TLS handshakes of accepted connections, with a timeout, and a limit on concurrent ones in all and for a
//! network.

use registry::WarnLimit;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::server::Acceptor as Hello;
use rustls::{AlertDescription, Error as TlsError};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate_store::{CertificateStore, OpenError, Origin};
use crate::client_network::client_network;
use crate::config::Config;

/// A TLS connection. Its application protocol was negotiated with ALPN.
pub type Stream = TlsStream<TcpStream>;

/// The first byte of a TLS connection: a record of the handshake (RFC 8446 section 5.1).
pub(crate) const HANDSHAKE: u8 = 22;
/// The buffer for encrypted output: several records, so that one system call sends them.
const OUTPUT_BUFFER: usize = 64 * 1024;
/// How long a client with plain HTTP may take to read the error response.
const LINGER: Duration = Duration::from_secs(2);

/// The response to plain HTTP.
const PLAIN_HTTP_RESPONSE: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    connection: close\r\ncontent-length: 57\r\n\r\n\
    This port is for HTTPS: use https:// instead of http://\r\n";

/// Performs handshakes. Clones share the certificate and the limit.
#[derive(Clone)]
pub struct Acceptor {
    store: Arc<CertificateStore>,
    handshakes: Arc<Semaphore>,
    networks: Arc<Networks>,
    timeout: Duration,
    /// Limits the warning about clients that do not trust the certificate.
    distrusted: Arc<WarnLimit>,
}

/// The handshakes under way by client network, so that slow ones of one client do not keep out all others.
struct Networks {
    limit: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

struct Counted {
    networks: Arc<Networks>,
    network: IpAddr,
}

impl Networks {
    /// Counts a handshake; `None` if the network is at its limit.
    fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Counted> {
        let network = client_network(client);
        let mut counts = self.lock();
        let count = counts.entry(network).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Counted { networks: self.clone(), network })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.networks.lock();
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

impl Acceptor {
    /// Opens the certificate of the configuration; `None` without TLS. Certificates that the server creates
    /// or orders are in [`super::DIRECTORY`] below `directory`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: &Config, directory: &Path) -> Result<Option<Self>, OpenError> {
        let Some(store) = CertificateStore::open(config, &directory.join(super::DIRECTORY))? else {
            return Ok(None);
        };
        // A handshake takes about 20 KiB of memory. The limit of a quarter of all connections keeps slow
        // handshakes from displacing established connections.
        let handshakes = (config.limits.connections / 4).clamp(16, Semaphore::MAX_PERMITS);
        Ok(Some(Self {
            store: Arc::new(store),
            handshakes: Arc::new(Semaphore::new(handshakes)),
            networks: Arc::new(Networks { limit: (handshakes / 2).max(8), counts: Mutex::default() }),
            timeout: config.tls.handshake_timeout,
            distrusted: Arc::new(WarnLimit::new()),
        }))
    }

    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.store.origin()
    }

    /// The time at which the certificate in use expires, in seconds since 1970; `None` without a certificate
    /// yet.
    #[must_use]
    pub fn expiry(&self) -> Option<i64> {
        self.store.expiry()
    }

    /// Keeps the certificate up to date while it is polled.
    pub async fn maintain(&self) -> std::convert::Infallible {
        self.store.maintain().await
    }

    /// Reloads the certificate if it is in files of the operator.
    ///
    /// # Errors
    /// The reason why the new one cannot be used. It is logged, and the last valid one stays.
    pub(crate) async fn reload(&self) -> Result<(), String> {
        let store = self.store.clone();
        // The task fails only if the runtime shuts down.
        tokio::task::spawn_blocking(move || store.reload()).await.unwrap_or(Ok(()))
    }

    /// The response to `/.well-known/acme-challenge/TOKEN` in plain HTTP (HTTP-01, RFC 8555 section 8.3);
    /// `None` for an unknown token.
    #[must_use]
    pub fn challenge_text(&self, token: &str) -> Option<String> {
        self.store.challenge_text(token)
    }

    /// Performs the handshake with a client; `None` if it fails, which is logged. `is_proxy` exempts a
    /// trusted proxy from the network's limit.
    pub async fn accept(&self, stream: TcpStream, client: IpAddr, is_proxy: bool) -> Option<Stream> {
        let counted = self.networks.enter(client);
        if counted.is_none() && !is_proxy {
            tracing::debug!(%client, "a client has too many TLS handshakes under way; closed a connection");
            return None;
        }
        match tokio::time::timeout(self.timeout, self.handshake(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                match certificate_alert(&error) {
                    Some(alert) if self.distrusted.allows() => tracing::warn!(
                        ?alert,
                        "a client does not trust the certificate; `wharfinger cert show` prints how to make clients trust it"
                    ),
                    _ => tracing::debug!(%error, "a TLS handshake failed"),
                }
                None
            }
            Err(_) => {
                tracing::debug!("a TLS handshake timed out");
                None
            }
        }
    }

    async fn handshake(&self, mut stream: TcpStream) -> io::Result<Option<Stream>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        if first != [HANDSHAKE] {
            refuse_plain(&mut stream).await?;
            return Ok(None);
        }
        let _permit = self.handshakes.acquire().await.expect("this semaphore is never closed");
        let start = LazyConfigAcceptor::new(Hello::default(), stream).await?;
        if let Some(config) = self.store.challenge_config(&start.client_hello()) {
            // The handshake itself is the validation, so that no data follows (RFC 8737 section 3).
            start.into_stream(config).await?.shutdown().await?;
            tracing::info!("an authority validated a host of the certificate");
            return Ok(None);
        }
        let config = self.store.current();
        start.into_stream_with(config, |tls| tls.set_buffer_limit(Some(OUTPUT_BUFFER))).await.map(Some)
    }
}

/// The alert with which a client rejected the certificate.
fn certificate_alert(error: &io::Error) -> Option<AlertDescription> {
    use AlertDescription as A;
    match error.get_ref()?.downcast_ref::<TlsError>()? {
        TlsError::AlertReceived(
            alert @ (A::UnknownCA | A::BadCertificate | A::CertificateUnknown | A::CertificateExpired),
        ) => Some(*alert),
        _ => None,
    }
}

/// Answers plain HTTP with an error response.
async fn refuse_plain(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(PLAIN_HTTP_RESPONSE.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing a socket with unread input resets the connection, and the client would lose the response.
    let discard = async {
        let mut discarded = [0; 4096];
        loop {
            stream.readable().await?;
            match stream.try_read(&mut discarded) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    tokio::time::timeout(LINGER, discard).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_at_its_limit_leaves_room_for_others() {
        let networks = Arc::new(Networks { limit: 2, counts: Mutex::default() });
        let (here, there) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let held: Vec<_> = (0..2).map(|_| networks.enter(here).unwrap()).collect();
        assert!(networks.enter(here).is_none());
        assert!(networks.enter(there).is_some());
        drop(held);
        assert!(networks.enter(here).is_some());
        assert!(networks.lock().is_empty(), "no entry is left");
    }

    #[test]
    fn plain_http_response_has_its_content_length() {
        let (head, body) = PLAIN_HTTP_RESPONSE.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
