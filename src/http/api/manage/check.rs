//! `/api/v1/check`: the check of all content, which answers while it goes on.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::{CheckLine, CheckProgress};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{Call, private};
use crate::http::api::convert;
use crate::http::body::Body;
use crate::http::error::Error;
use crate::http::gateway_error::GatewayError;
use crate::http::response::Response;

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// How often at most it is told how far the check is.
const PAUSE: Duration = Duration::from_millis(100);
/// So many lines wait for a client that is slow to read them.
const WAITING: usize = 16;

/// Begins the check. If the client leaves, it ends.
pub(super) fn run(call: Call<'_>) -> Result<Response, Error> {
    call.found(call.manage.must_be_administrator())?;
    if call.app.content_proxy.is_some() {
        return Err(GatewayError::Unsupported.into());
    }
    let read = call.query().truth("read")?;
    let registry = call.app.registry.clone();
    let (sender, lines) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let told = Mutex::new(Instant::now());
        let progress = |repositories, bytes| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.elapsed() >= PAUSE {
                *told = Instant::now();
                // The next one says it all if this one finds no room.
                let _ = sender.try_send(line(&CheckLine::Progress(CheckProgress { repositories, bytes })));
            }
            !sender.is_closed()
        };
        let last = match registry.check(read, progress).await {
            Ok(checked) => CheckLine::Report(convert::check_report(checked)),
            Err(error) => {
                tracing::error!(%error, "the check could not be finished");
                CheckLine::Failed(error.to_string())
            }
        };
        let _ = sender.send(line(&last)).await;
    });
    let mut response = Response::new(Body::made(lines));
    response.headers_mut().insert(CONTENT_TYPE, LINES);
    Ok(private(response))
}

fn line(line: &impl Serialize) -> Bytes {
    let mut json = serde_json::to_vec(line).expect("our own types have string keys and no custom code");
    json.push(b'\n');
    json.into()
}
