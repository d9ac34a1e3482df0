//! Asking an authority: over HTTPS alone, within bounds of time and size, trusting whom the operator says.

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

/// How long a connection to an authority may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a whole answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// The most that an authority may answer: chains of certificates have a few KiB.
const ANSWER_BYTES: usize = 1 << 20;
/// Who asks (RFC 8555 section 6.1).
const WHO: HeaderValue = HeaderValue::from_static(concat!("wharfinger/", env!("CARGO_PKG_VERSION")));

/// Why an authority cannot be asked whatever it answers. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum NoDirectory {
    /// The file of `tls.acme.ca` cannot be read.
    #[error("cannot read {}, which tls.acme.ca names: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds no certificate.
    #[error(
        "{}, which tls.acme.ca names, holds no certificate: it should begin with -----BEGIN CERTIFICATE-----",
        .0.display()
    )]
    NoCertificate(PathBuf),
    /// There is nothing to trust it by.
    #[error(
        "cannot ask an authority over HTTPS: {0}; install the certificates of the system (ca-certificates), or name \
         those of the authority in tls.acme.ca"
    )]
    Client(String),
}

/// What asks an authority. Clones are of the same one.
#[derive(Clone)]
pub(super) struct Directory {
    client: reqwest::Client,
    /// When the authority last said that it may be asked again, of all it said since [`Self::begin`].
    later: Arc<Mutex<Option<SystemTime>>>,
}

impl Directory {
    /// Reads whom to trust. Nothing is asked yet.
    ///
    /// # Errors
    /// [`NoDirectory`].
    pub(super) fn new(settings: &config::Acme) -> Result<Self, NoDirectory> {
        let mut client = reqwest::Client::builder().https_only(true).connect_timeout(CONNECT).timeout(ANSWER);
        if let Some(path) = &settings.ca {
            let pem =
                std::fs::read(path).map_err(|source| NoDirectory::Read { path: path.clone(), source })?;
            let roots =
                reqwest::Certificate::from_pem_bundle(byte_order_mark::strip(&pem)).unwrap_or_default();
            if roots.is_empty() {
                return Err(NoDirectory::NoCertificate(path.clone()));
            }
            client = client.tls_certs_only(roots);
        }
        let client = client.build().map_err(|error| NoDirectory::Client(with_causes(&error)))?;
        Ok(Self { client, later: Arc::default() })
    }

    /// Forgets what was said before.
    pub(super) fn begin(&self) {
        *self.later() = None;
    }

    /// How long the authority wants to be left in peace, if it said so.
    pub(super) fn told_to_wait(&self) -> Option<Duration> {
        let later = *self.later();
        later.and_then(|later| later.duration_since(SystemTime::now()).ok())
    }

    fn later(&self) -> std::sync::MutexGuard<'_, Option<SystemTime>> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpClient for Directory {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            parts.headers.insert(USER_AGENT, WHO);
            let request = Request::from_parts(parts, reqwest::Body::wrap(body));
            let mut answer = this.client.execute(request.try_into().map_err(other)?).await.map_err(other)?;
            if !answer.status().is_success()
                && let Some(later) = answer.headers().get(RETRY_AFTER).and_then(retry_after)
            {
                *this.later() = Some(later);
            }
            let mut bytes = BytesMut::new();
            while let Some(piece) = answer.chunk().await.map_err(other)? {
                if bytes.len() + piece.len() > ANSWER_BYTES {
                    return Err(other("its answer is too long"));
                }
                bytes.extend_from_slice(&piece);
            }
            let (parts, _) = Response::<reqwest::Body>::from(answer).into_parts();
            Ok(BytesResponse { parts, body: Box::new(bytes.freeze()) })
        })
    }
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> instant_acme::Error {
    instant_acme::Error::Other(error.into())
}

/// When to ask again (RFC 9110 section 10.2.3), where it is said in seconds, as authorities do.
fn retry_after(value: &HeaderValue) -> Option<SystemTime> {
    let seconds: u32 = value.to_str().ok()?.trim().parse().ok()?;
    Some(SystemTime::now() + Duration::from_secs(seconds.into()))
}

/// An error with what lies below it: reqwest's own words leave out what happened.
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let of = |path: &std::path::Path| {
            let settings = config::Acme { ca: Some(path.to_owned()), ..config::Acme::default() };
            Directory::new(&settings).map(drop)
        };
        assert!(matches!(of(&path), Err(NoDirectory::Read { .. })));
        std::fs::write(&path, "nothing").unwrap();
        assert!(matches!(of(&path), Err(NoDirectory::NoCertificate(_))));
        let made = crate::tls::self_signed::make(&["ca.example".parse().unwrap()], 1).unwrap();
        std::fs::write(&path, made.certificate).unwrap();
        assert!(of(&path).is_ok());
    }

    #[test]
    fn when_to_ask_again() {
        let said = |value| retry_after(&HeaderValue::from_static(value));
        let wait = said("120").unwrap().duration_since(SystemTime::now()).unwrap();
        assert!(wait > Duration::from_secs(100) && wait <= Duration::from_secs(120));
        assert_eq!(said("-1"), None);
        assert_eq!(said("soon"), None);
    }
}
