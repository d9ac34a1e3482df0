//! Makes connections of TCP ones of TLS, within bounds: so many at once, each in so much time.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor as Hello;
use rustls::{AlertDescription, Error as TlsError};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate_store::{CertificateStore, OpenError, Origin};
use crate::config::Config;

/// A connection of TLS. What it speaks was agreed on in the handshake (ALPN, RFC 7301).
pub type Stream = TlsStream<TcpStream>;

/// The first byte of a TLS connection: a record of the handshake (RFC 8446 section 5.1).
pub(crate) const HANDSHAKE: u8 = 22;
/// So much of what is to be sent may wait in encrypted form: a few records, so that one system call sends many.
const BUFFER: usize = 64 * 1024;
/// How long a client that speaks plain HTTP may take to read why it is not answered.
const LINGER: Duration = Duration::from_secs(2);

/// What someone is told who speaks plain HTTP to it.
const PLAIN: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    connection: close\r\ncontent-length: 73\r\n\r\n\
    This port speaks HTTPS: call it by https:// instead of http://, please.\r\n";

/// Makes connections of TLS. One for a whole server; clones are of the same one.
#[derive(Clone)]
pub struct Acceptor {
    source: Arc<CertificateStore>,
    handshakes: Arc<Semaphore>,
    timeout: Duration,
}

impl Acceptor {
    /// What the configuration asks for, if it asks for TLS at all. `directory` is where the server keeps files of its
    /// own; certificates that it makes or obtains lie in [`super::DIRECTORY`] below it.
    ///
    /// # Errors
    /// [`OpenError`] if there is no certificate to begin with.
    pub fn open(config: &Config, directory: &Path) -> Result<Option<Self>, OpenError> {
        let Some(source) = CertificateStore::open(config, &directory.join(super::DIRECTORY))? else {
            return Ok(None);
        };
        // Each has some 20 KiB in memory. With a quarter of the connections in a handshake, those who only knock
        // cannot take the room of those who are served.
        let handshakes = (config.limits.connections / 4).clamp(16, Semaphore::MAX_PERMITS);
        Ok(Some(Self {
            source: Arc::new(source),
            handshakes: Arc::new(Semaphore::new(handshakes)),
            timeout: config.tls.handshake_timeout,
        }))
    }

    /// Where the certificate comes from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.source.origin()
    }

    /// Keeps the certificate up to date for as long as it is polled.
    pub async fn maintain(&self) -> std::convert::Infallible {
        self.source.maintain().await
    }

    /// Reads the certificate again, if it is in files of the operator.
    pub(crate) async fn reload(&self) {
        let source = self.source.clone();
        // A failure of the task is one of the runtime, which is ending then.
        let _ = tokio::task::spawn_blocking(move || source.reload()).await;
    }

    /// What an authority is answered that asks for `/.well-known/acme-challenge/TOKEN`, in plain HTTP, to see whether a
    /// name leads here (RFC 8555 section 8.3). `None` if nobody expects it to.
    #[must_use]
    pub fn challenge_text(&self, token: &str) -> Option<String> {
        self.source.challenge_text(token)
    }

    /// The handshake. `None` if it came to nothing, which is logged as far as it is of interest.
    pub async fn accept(&self, stream: TcpStream) -> Option<Stream> {
        match tokio::time::timeout(self.timeout, self.handshake(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                match refusal(&error) {
                    Some(alert) => tracing::info!(
                        ?alert,
                        "a client does not trust the certificate; `wharfinger cert show` prints how clients come to trust it"
                    ),
                    None => tracing::debug!(%error, "a TLS handshake failed"),
                }
                None
            }
            Err(_) => {
                tracing::debug!("a TLS handshake took too long");
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
        if let Some(config) = self.source.challenge(&start.client_hello()) {
            // The authority has seen what it looks for; there is nothing to talk about (RFC 8737 section 3).
            start.into_stream(config).await?.shutdown().await?;
            tracing::info!(
                "an authority looked whether the name of the certificate leads here, and was answered"
            );
            return Ok(None);
        }
        let config = self.source.current();
        start.into_stream_with(config, |tls| tls.set_buffer_limit(Some(BUFFER))).await.map(Some)
    }
}

/// What the client said, if it said that it does not trust the certificate.
fn refusal(error: &io::Error) -> Option<AlertDescription> {
    use AlertDescription as A;
    match error.get_ref()?.downcast_ref::<TlsError>()? {
        TlsError::AlertReceived(
            alert @ (A::UnknownCA | A::BadCertificate | A::CertificateUnknown | A::CertificateExpired),
        ) => Some(*alert),
        _ => None,
    }
}

/// Says that this port is for TLS, to someone who speaks HTTP without it.
async fn refuse_plain(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(PLAIN.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing while the request is unread would reset the connection, and take the answer from the client.
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
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let (head, body) = PLAIN.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
