//! `/api/v1/check`: checks and repairs all content, and streams its progress.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::{CheckLine, CheckProgress};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use registry::check::Options;
use serde::Serialize;
use tokio::sync::mpsc;

use super::{manage, map_error, private};
use crate::http::api::convert;
use crate::http::body::Body;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::gateway_error::GatewayError;
use crate::http::response::Response;

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// The minimum time between two progress lines.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Lines that wait for a slow client.
const QUEUED_LINES: usize = 16;

/// Starts the check. It ends if the client disconnects.
pub(crate) async fn run(call: Call<'_>) -> Result<Response, Error> {
    map_error(&call, manage(&call).must_be_administrator())?;
    if call.app.content_proxy.is_some() {
        return Err(GatewayError::Unsupported.into());
    }
    let options = Options { read: call.query().truth("read")?, repair: call.query().truth("repair")? };
    let registry = call.registry();
    let (sender, lines) = mpsc::channel(QUEUED_LINES);
    tokio::spawn(async move {
        let reported = Mutex::new(Instant::now());
        let progress = |repositories, bytes| {
            let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
            if reported.elapsed() >= PROGRESS_INTERVAL {
                *reported = Instant::now();
                // A full queue drops this line; the next one has newer figures.
                let _ = sender.try_send(line(&CheckLine::Progress(CheckProgress { repositories, bytes })));
            }
            !sender.is_closed()
        };
        let last = match registry.check_with(options, progress).await {
            Ok(checked) => CheckLine::Report(convert::check_report(checked)),
            Err(error) => {
                tracing::error!(%error, "the check could not be finished");
                CheckLine::Failed(error.to_string())
            }
        };
        let _ = sender.send(line(&last)).await;
    });
    let mut response = Response::new(Body::channel(lines));
    response.headers_mut().insert(CONTENT_TYPE, LINES);
    Ok(private(response))
}

fn line(line: &impl Serialize) -> Bytes {
    let mut json = serde_json::to_vec(line).expect("our own types have string keys and no custom code");
    json.push(b'\n');
    json.into()
}
