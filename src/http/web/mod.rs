//! Pages for browsers: rendered on the server, a file for each page, the templates below `templates/`.
//!
//! A page is an endpoint like any other: its row in `endpoints` names the right that it needs, and
//! `authorize` checks it. Pages show what `registry` returns for the caller, so that a private repository is
//! in no list and in no count.
//!
//! - `page`: what all pages share: language, account, headers. `form`: forms with their tokens.
//! - `language`: the catalogue of texts, and dates, numbers and sizes in the language of the reader.
//! - `content`, `document`, `summary`, `about`: manifests and configs, as pages show them.
//! - `assets`: style sheet, script and icon.

mod about;
pub(crate) mod access;
pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod assets;
pub(crate) mod certificate;
mod clients;
pub(crate) mod compare;
mod confirmation;
mod content;
pub(crate) mod delete;
pub(crate) mod delete_tags;
mod document;
pub(crate) mod error;
mod explain;
pub(crate) mod file;
mod form;
pub(crate) mod grants;
pub(crate) mod history;
pub(crate) mod home;
mod language;
mod listed;
mod manage;
pub(crate) mod manifest;
mod markdown;
mod page;
mod preview;
pub(crate) mod reference;
pub(crate) mod repository;
pub(crate) mod retag;
mod robots;
pub(crate) mod sign_in;
mod summary;
pub(crate) mod switch;
mod tokens;
pub(crate) mod trash;
pub(crate) mod webhooks;

use std::sync::Arc;

use hyper::Method;
use hyper::header::{ACCEPT, HeaderMap};
use oci::Digest;

use crate::config::Config;

/// The state of the pages.
pub(crate) struct Web {
    /// Whether the certificate is self-signed, so that clients need to be told to trust it.
    self_signed: bool,
    summaries: quick_cache::sync::Cache<Digest, Arc<summary::Summary>>,
}

/// The number of manifests whose summary is cached.
const SUMMARIES: usize = 4096;

impl Web {
    /// Returns `None` if pages are switched off.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        config.web.enabled.then(|| Self {
            self_signed: !config.tls.self_signed.is_empty(),
            summaries: quick_cache::sync::Cache::new(SUMMARIES),
        })
    }
}

/// Whether a request is for a page: its path is below `/-/`, or it asks for HTML.
pub(crate) fn is_for_page(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    path.starts_with("/-/") || (matches!(*method, Method::GET | Method::HEAD) && accepts_html(headers))
}

/// Whether a request names HTML in `Accept`. `*/*` does not name it.
fn accepts_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let is_html =
            ["text/html", "application/xhtml+xml"].iter().any(|html| kind.eq_ignore_ascii_case(html));
        is_html && !parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_must_be_named_in_accept() {
        let accepts = |value: &'static str| {
            accepts_html(&HeaderMap::from_iter([(ACCEPT, hyper::header::HeaderValue::from_static(value))]))
        };
        assert!(accepts("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(accepts("application/json, Text/HTML;q=0.1"));
        for other in ["*/*", "application/json", "text/*", "text/html;q=0", "text/htmlx"] {
            assert!(!accepts(other), "{other}");
        }
        assert!(!accepts_html(&HeaderMap::new()));
    }
}
