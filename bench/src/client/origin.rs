//! Where a server is, and how one comes to speak with it: plainly or through TLS, as nobody or with an
//! account.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::stream::{Stream, Tls};

/// A server as its clients see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Origin {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    authorization: Option<Arc<str>>,
}

impl Origin {
    /// A server that speaks plain HTTP to everyone.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, authorization: None }
    }

    /// The same server, spoken with through TLS.
    pub(crate) fn through(self, tls: Arc<ClientConfig>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The same server, with this value of `Authorization` in each request.
    pub(crate) fn with_authorization(self, authorization: impl Into<Arc<str>>) -> Self {
        Self { authorization: Some(authorization.into()), ..self }
    }

    /// The port that it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The value of `Authorization` for each request.
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// Connects, with the handshake if there is one, and with the time-outs and without the delays that suit
    /// a benchmark. `protocols` is what is offered in the handshake (ALPN, RFC 7301).
    pub(crate) fn connect(&self, patience: Duration, protocols: &[&[u8]]) -> Result<Stream> {
        let mut socket = TcpStream::connect_timeout(&self.address, patience.min(Duration::from_secs(10)))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))?;
        let Some(config) = &self.tls else { return Ok(Stream::Plain(socket)) };
        let name = ServerName::IpAddress(self.address.ip().into());
        let offered = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let mut session = ClientConnection::new_with_alpn(Arc::clone(config), name, offered)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket).context("the handshake of TLS")?;
        }
        Ok(Stream::Tls(Box::new(Tls::new(session, socket))))
    }
}
