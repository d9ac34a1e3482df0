//! Streams the response of a long request: a JSON object on each line, with progress first and the result
//! last. A list is a line for each entry.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use tokio::sync::mpsc;

use super::private;
use crate::http::body::Body;
use crate::http::response::Response;

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// The minimum time between two progress lines.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Lines that wait for a slow client.
const QUEUED_LINES: usize = 16;

/// The lines of a response.
pub(super) struct Lines {
    sender: mpsc::Sender<Bytes>,
    reported: Mutex<Instant>,
}

/// Starts a task that writes the lines of a response.
pub(super) fn stream<W>(work: impl FnOnce(Arc<Lines>) -> W) -> Response
where
    W: Future<Output = ()> + Send + 'static,
{
    let (sender, lines) = mpsc::channel(QUEUED_LINES);
    tokio::spawn(work(Arc::new(Lines { sender, reported: Mutex::new(Instant::now()) })));
    let mut response = Response::new(Body::channel(lines));
    response.headers_mut().insert(CONTENT_TYPE, LINES);
    private(response)
}

impl Lines {
    /// Sends a progress line if the last one is old enough.
    pub(super) fn progress<L: Serialize>(&self, line: impl FnOnce() -> L) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.elapsed() >= PROGRESS_INTERVAL {
            *reported = Instant::now();
            // A full queue drops this line; the next one has newer figures.
            let _ = self.sender.try_send(json(&line()));
        }
    }

    /// Sends the last line.
    pub(super) async fn end(&self, line: &impl Serialize) {
        let _ = self.sender.send(json(line)).await;
    }

    /// Sends a line for each entry. Returns whether the client takes more.
    pub(super) async fn send(&self, entries: &[impl Serialize]) -> bool {
        let lines = entries.iter().flat_map(json).collect::<Vec<u8>>();
        self.sender.send(lines.into()).await.is_ok()
    }

    /// Whether the client has disconnected.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until the client disconnects.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}

fn json(line: &impl Serialize) -> Bytes {
    let mut json = serde_json::to_vec(line).expect("our own types have string keys and no custom code");
    json.push(b'\n');
    json.into()
}
