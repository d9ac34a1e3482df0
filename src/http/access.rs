//! Who sends a request, and whether it may be carried out. This is the one place that decides so, from the same
//! [`Endpoint`](super::endpoint::Endpoint) that selects the handler: no handler can be reached without a [`Caller`],
//! and callers are made here alone.

use hyper::header::HeaderMap;

use super::app::App;
use super::forwarded::Called;
use super::links::Links;

/// Who sends a request that may be carried out.
pub(crate) struct Caller {
    links: Links,
    base: Option<String>,
}

impl Caller {
    /// How addresses are told to it.
    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    /// The beginning of every address of this registry, with scheme and host; empty if nobody said it.
    pub(crate) fn base(&self) -> &str {
        self.base.as_deref().unwrap_or_default()
    }
}

/// Judges a request.
pub(crate) fn judge(app: &App, called: &Called, headers: &HeaderMap) -> Caller {
    Caller { links: app.links(called), base: app.base(called, headers) }
}
