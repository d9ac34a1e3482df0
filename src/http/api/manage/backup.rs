//! `/api/v1/backup`: streams a backup to a command on the machine.
//!
//! The archive holds password hashes and signing keys, so it is not sent over the network.

use std::io::{self, Write};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use registry::access::Identity;
use registry::records::StoreError;
use tokio::sync::{mpsc, oneshot};

use super::private;
use crate::http::body::Body;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");
/// Pieces that wait for a slow client.
const QUEUED_PIECES: usize = 16;

/// Starts the backup. It ends if the client disconnects. A cut archive fails the verification of the command.
pub(crate) async fn backup(call: Call<'_>) -> Result<Response, Error> {
    if !matches!(call.caller.identity(), Identity::Operator) {
        super::must_be_administrator(&call)?;
        return Err(Error::LocalOnly);
    }
    let (sender, pieces) = mpsc::channel(QUEUED_PIECES);
    let (begin, begun) = oneshot::channel();
    let (registry, configuration) = (call.app.registry.clone(), call.app.configuration.clone());
    let made = tokio::spawn(async move {
        let made = registry.backup(configuration, Pieces { sender, begin: Some(begin) }).await;
        if let Err(error) = &made {
            tracing::error!(%error, "the backup could not be made");
        }
        made
    });
    // The first piece follows the snapshot, for which the disk may be full.
    if begun.await.is_err() {
        let made = made.await.unwrap_or(Err(StoreError::Closed));
        return Err(registry::Error::from(made.err().unwrap_or(StoreError::Closed)).into());
    }
    let mut response = Response::new(Body::channel(pieces));
    response.headers_mut().insert(CONTENT_TYPE, TAR);
    Ok(private(response))
}

/// Sends what is written to the body of the response.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    /// Taken by the first write.
    begin: Option<oneshot::Sender<()>>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        if let Some(begin) = self.begin.take() {
            // The handler may be gone, as the client is.
            let _ = begin.send(());
        }
        self.sender.blocking_send(Bytes::copy_from_slice(bytes)).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
