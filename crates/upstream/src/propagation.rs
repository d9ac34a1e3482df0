//! Propagation of traces: adds the context of the current span (`traceparent`) to requests.

use std::sync::OnceLock;

use hyper::header::HeaderMap;

static INJECT: OnceLock<fn(&mut HeaderMap)> = OnceLock::new();

/// Has a function add the context of the current span to all later requests to upstreams. Only the first call
/// counts.
pub fn propagate_traces(inject: fn(&mut HeaderMap)) {
    let _ = INJECT.set(inject);
}

pub(crate) fn inject(headers: &mut HeaderMap) {
    if let Some(inject) = INJECT.get() {
        inject(headers);
    }
}
