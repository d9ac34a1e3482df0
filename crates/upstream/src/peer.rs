//! The client for another server of the same registry. It sends requests as they are: without credentials of
//! its own, fail-over or a check of the address, which the operator has set.

use std::time::Duration;

use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::body::OutgoingBody;
use crate::client::{POOL_IDLE_TIMEOUT, READ_BUFFER};
use crate::connector::{Connector, Guard, Network};
use crate::error::BoxError;

/// The time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A pool of connections.
pub struct PeerClient(Pool<HttpsConnector<Connector>, OutgoingBody>);

impl PeerClient {
    /// Makes the client. Connections are made when a request needs one.
    #[must_use]
    pub fn new(tls: rustls::ClientConfig) -> Self {
        let network = Network::default();
        let guard = Guard::new(&network, std::iter::empty());
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector::new(&guard, &network, CONNECT_TIMEOUT));
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .http1_max_buf_size(READ_BUFFER)
            .build(connector);
        Self(pool)
    }

    /// Sends a request, and returns the head of its response.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn send(
        &self,
        request: hyper::Request<OutgoingBody>,
    ) -> Result<hyper::Response<Incoming>, BoxError> {
        Ok(self.0.request(request).await?)
    }
}
