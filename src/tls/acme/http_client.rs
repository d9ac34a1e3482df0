//! The HTTP client for an authority: HTTPS only, with timeouts, a size limit, and the trust store of the
//! operator.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use hyper::header::{HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};

use crate::byte_order_mark;
use crate::config;
use crate::operator_file;
use upstream::error_chain;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a whole response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// The size limit of a response, in bytes. Certificate chains have a few KiB.
const RESPONSE_BYTES: usize = 1 << 20;
/// Required by RFC 8555 section 6.1.
const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("wharfinger/", env!("CARGO_PKG_VERSION")));

/// Why no HTTP client can be made for an authority.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot read {}, which tls.acme.ca names: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{}, which tls.acme.ca names, contains no certificate: it should begin with -----BEGIN CERTIFICATE-----",
        .0.display()
    )]
    NoCertificate(PathBuf),
    #[error(
        "cannot create the HTTPS client for the authority: {0}; install the system's trust store (ca-certificates), or \
         name the authority's root certificate in tls.acme.ca"
    )]
    Tls(String),
}

/// The client. Clones share it.
#[derive(Clone)]
pub(super) struct AuthorityClient {
    client: reqwest::Client,
    /// The last `Retry-After` since [`Self::reset_retry_after`].
    retry_after: Arc<Mutex<Option<SystemTime>>>,
}

impl AuthorityClient {
    /// Creates the client with the trust store of the settings. Sends no request.
    pub(super) fn new(settings: &config::Acme) -> Result<Self, ClientError> {
        let mut client = reqwest::Client::builder()
            .https_only(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(RESPONSE_TIMEOUT);
        if let Some(path) = &settings.ca {
            let pem = operator_file::read(path)
                .map_err(|source| ClientError::Read { path: path.clone(), source })?;
            let roots =
                reqwest::Certificate::from_pem_bundle(byte_order_mark::strip(&pem)).unwrap_or_default();
            if roots.is_empty() {
                return Err(ClientError::NoCertificate(path.clone()));
            }
            client = client.tls_certs_only(roots);
        }
        let client = client.build().map_err(|error| ClientError::Tls(error_chain(&error)))?;
        Ok(Self { client, retry_after: Arc::default() })
    }

    pub(super) fn reset_retry_after(&self) {
        *self.lock() = None;
    }

    /// The wait that the authority asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let time = *self.lock();
        time.and_then(|time| time.duration_since(SystemTime::now()).ok())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<SystemTime>> {
        self.retry_after.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpClient for AuthorityClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            parts.headers.insert(USER_AGENT, USER_AGENT_VALUE);
            let request = Request::from_parts(parts, reqwest::Body::wrap(body));
            let mut response =
                this.client.execute(request.try_into().map_err(other)?).await.map_err(other)?;
            if !response.status().is_success()
                && let Some(time) = response.headers().get(RETRY_AFTER).and_then(parse_retry_after)
            {
                *this.lock() = Some(time);
            }
            let mut bytes = BytesMut::new();
            while let Some(chunk) = response.chunk().await.map_err(other)? {
                if bytes.len() + chunk.len() > RESPONSE_BYTES {
                    return Err(other("its response is larger than 1 MiB"));
                }
                bytes.extend_from_slice(&chunk);
            }
            let (parts, _) = Response::<reqwest::Body>::from(response).into_parts();
            Ok(BytesResponse { parts, body: Box::new(bytes.freeze()) })
        })
    }
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> instant_acme::Error {
    instant_acme::Error::Other(error.into())
}

/// Parses a `Retry-After` in seconds (RFC 9110 section 10.2.3), the form that authorities use.
fn parse_retry_after(value: &HeaderValue) -> Option<SystemTime> {
    let seconds: u32 = value.to_str().ok()?.trim().parse().ok()?;
    Some(SystemTime::now() + Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ca_file_must_contain_a_certificate() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let open = |path: &std::path::Path| {
            let settings = config::Acme { ca: Some(path.to_owned()), ..config::Acme::default() };
            AuthorityClient::new(&settings).map(drop)
        };
        assert!(matches!(open(&path), Err(ClientError::Read { .. })));
        std::fs::write(&path, "nothing").unwrap();
        assert!(matches!(open(&path), Err(ClientError::NoCertificate(_))));
        let made = crate::tls::self_signed::create(&["ca.example".parse().unwrap()], 1).unwrap();
        std::fs::write(&path, made.certificate).unwrap();
        open(&path).unwrap();
    }

    #[test]
    fn retry_after_is_in_seconds() {
        let parse = |value| parse_retry_after(&HeaderValue::from_static(value));
        let wait = parse("120").unwrap().duration_since(SystemTime::now()).unwrap();
        assert!(wait > Duration::from_secs(100) && wait <= Duration::from_secs(120));
        assert_eq!(parse("-1"), None);
        assert_eq!(parse("soon"), None);
    }
}
