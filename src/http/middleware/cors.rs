//! CORS middleware: lets pages of listed origins (`web.cors_origins`) use the registry (Fetch standard
//! section 3.2).
//!
//! It also refuses cross-site writes (CSRF). A browser sends stored passwords with requests that other sites'
//! pages make, and a simple POST needs no preflight. Browsers name the source in `Sec-Fetch-Site` and
//! `Origin`. Other clients send neither and are not affected.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, StatusCode, Uri};

use crate::config::WebOrigin;
use crate::http::error::Error;
use crate::http::response::{self, Response};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// Request headers that pages may set, for the protocol and docker-registry-ui.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Accept, Authorization, Cache-Control, Content-Range, Content-Type, If-Match, If-None-Match, Range, \
     X-Requested-With",
);
/// Response headers that pages may read, besides the safelisted ones.
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "Accept-Ranges, Content-Range, Docker-Content-Digest, Docker-Distribution-Api-Version, Docker-Upload-UUID, ETag, \
     Link, Location, OCI-Chunk-Min-Length, OCI-Filters-Applied, OCI-Subject, OCI-Tag, Range, Retry-After, \
     WWW-Authenticate, X-Request-Id",
);
/// The lifetime of a preflight result in the browser, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The allowed origins.
pub(crate) struct Cors {
    any: bool,
    exact: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Without stored credentials.
    Any,
    /// With stored credentials.
    Exact(HeaderValue),
}

impl Cors {
    pub(crate) fn new(origins: &[WebOrigin]) -> Self {
        let exact = origins.iter().filter_map(|origin| match origin {
            WebOrigin::Any => None,
            WebOrigin::Exact(origin) => Some(origin.clone()),
        });
        Self { any: origins.contains(&WebOrigin::Any), exact: exact.collect() }
    }

    fn is_on(&self) -> bool {
        self.any || !self.exact.is_empty()
    }

    /// Returns the origin of a request, if it is allowed.
    pub(crate) fn allowed(&self, headers: &HeaderMap) -> Option<Allowed> {
        if !self.is_on() {
            return None;
        }
        let origin = origin(headers)?;
        if self.exact.iter().any(|exact| exact.as_bytes() == origin.as_bytes()) {
            return Some(Allowed::Exact(origin.clone()));
        }
        self.any.then_some(Allowed::Any)
    }

    /// Answers a preflight request.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        if *method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        self.allowed(headers)?;
        let mut answer = response::status(StatusCode::NO_CONTENT);
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        Some(answer)
    }

    /// Adds the CORS headers to a response.
    pub(crate) fn label(&self, allowed: Option<&Allowed>, answer: &mut Response) {
        if !self.is_on() {
            return;
        }
        let headers = answer.headers_mut();
        headers.append(VARY, HeaderValue::from_static("Origin"));
        match allowed {
            None => return,
            Some(Allowed::Any) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Some(Allowed::Exact(origin)) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    }

    /// Refuses a cross-site write. `base` returns the registry's own URL.
    ///
    /// # Errors
    /// [`Error::CrossSite`].
    pub(crate) fn check_write(
        &self,
        method: &Method,
        headers: &HeaderMap,
        base: impl FnOnce() -> Option<String>,
    ) -> Result<(), Error> {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let is_own = match (headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes), headers.get(ORIGIN)) {
            (Some(b"same-origin" | b"none"), _) | (None, None) => true,
            (Some(_), _) => false,
            (None, Some(_)) => {
                let host = headers.get(HOST).and_then(|host| host.to_str().ok());
                origin(headers).is_some_and(|origin| is_of(origin, base().as_deref(), host))
            }
        };
        let is_allowed = match self.allowed(headers) {
            Some(Allowed::Exact(_)) => true,
            // A simple POST has no preflight, and has the stored password. Other methods have a preflight
            // that refuses credentials.
            Some(Allowed::Any) => *method != Method::POST,
            None => false,
        };
        if is_own || is_allowed {
            return Ok(());
        }
        let origin =
            headers.get(ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned());
        Err(Error::CrossSite { origin: origin.unwrap_or_else(|| "another site".to_owned()) })
    }
}

/// Returns the `Origin` of a request that has exactly one.
fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(ORIGIN).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether an origin is the registry's own. The scheme does not count: a proxy may end TLS without saying so.
fn is_of(origin: &HeaderValue, base: Option<&str>, host: Option<&str>) -> bool {
    let Some((scheme, origin)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
        return false;
    };
    let base: Option<Uri> = base.and_then(|base| base.parse().ok());
    let base = base.as_ref().and_then(Uri::authority).map(hyper::http::uri::Authority::as_str);
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let plain = |text: &str| text.strip_suffix(usual).unwrap_or(text).to_ascii_lowercase();
    base.into_iter().chain(host).any(|own| plain(own) == plain(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn exact(origin: &str) -> Cors {
        Cors::new(&[WebOrigin::Exact(origin.to_owned())])
    }

    #[test]
    fn cross_site_write_is_refused() {
        let none = Cors::new(&[]);
        let base = Some("https://registry.example.com/hub");
        let write = |cors: &Cors, method: Method, pairs: &[(&'static str, &'static str)]| {
            cors.check_write(&method, &headers(pairs), || base.map(str::to_owned)).is_ok()
        };
        let ui = ("origin", "https://ui.example.com");
        let host = ("host", "backend:5000");
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            for pairs in [
                &[host][..],
                &[host, ("sec-fetch-site", "same-origin"), ("origin", "https://registry.example.com")],
                &[host, ("sec-fetch-site", "none")],
                &[host, ("origin", "https://registry.example.com")],
                &[host, ("origin", "http://backend:5000")],
                &[("host", "backend:80"), ("origin", "http://backend")],
            ] {
                assert!(write(&none, method.clone(), pairs), "{method} {pairs:?}");
            }
            for pairs in [
                &[host, ui][..],
                &[host, ("origin", "null")],
                &[host, ("origin", "http://backend")],
                &[host, ("origin", "http://backend:5000"), ("origin", "http://evil")],
                &[host, ("sec-fetch-site", "same-site"), ("origin", "http://backend:5000")],
                &[host, ("sec-fetch-site", "cross-site")],
                &[host, ("sec-fetch-site", "nonsense")],
            ] {
                let mut map = headers(&pairs[..1]);
                for (name, value) in &pairs[1..] {
                    map.append(*name, HeaderValue::from_static(value));
                }
                assert!(
                    none.check_write(&method, &map, || base.map(str::to_owned)).is_err(),
                    "{method} {pairs:?}"
                );
            }
            let site = ("sec-fetch-site", "cross-site");
            assert!(write(&exact("https://ui.example.com"), method.clone(), &[host, site, ui]));
            assert!(!write(&exact("https://other.example.com"), method.clone(), &[host, site, ui]));
            // A simple POST has the stored password, also if all origins are allowed.
            let any = Cors::new(&[WebOrigin::Any]);
            assert_eq!(write(&any, method.clone(), &[host, site, ui]), method != Method::POST);
        }
        assert!(write(&none, Method::GET, &[host, ui, ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn preflight_is_answered_for_listed_origins() {
        let asks = |cors: &Cors, pairs: &[(&'static str, &'static str)]| {
            cors.preflight(&Method::OPTIONS, &headers(pairs)).is_some()
        };
        let (ui, method) =
            (("origin", "https://ui.example.com"), ("access-control-request-method", "DELETE"));
        assert!(asks(&exact("https://ui.example.com"), &[ui, method]));
        assert!(asks(&Cors::new(&[WebOrigin::Any]), &[ui, method]));
        assert!(!asks(&exact("https://ui.example.com"), &[ui]));
        assert!(!asks(&exact("https://other.example.com"), &[ui, method]));
        assert!(!asks(&Cors::new(&[]), &[ui, method]));
    }
}
