//! HTTP client of the bucket. It follows no redirect, and signs a refused request again if the access key was
//! rotated.
//!
//! A redirect would take content and temporary credentials to a host that the operator has not named. The
//! library signs a request once, before its retries, so that a new key is used here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderName, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions, CredentialProvider};
use oci::Digest;
use reqwest::redirect::Policy;

use crate::object_settings::{AccessKey, Provider, SharedKey};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout for a connection to the metadata service of a machine.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// The timeout for the next bytes of an answer, and for the answer to a request with a part.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// The digest of a body, as the library has signed it.
const BODY_DIGEST: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// The state of a copy, in the answers of Azure.
const COPY_STATUS: HeaderName = HeaderName::from_static("x-ms-copy-status");
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Makes the clients of one bucket.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) key: Option<SharedKey>,
    pub(super) region: String,
    pub(super) provider: Provider,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // The library lowers it for the metadata service of a machine, which may not exist.
        let connect = |options: &ClientOptions| options.get_config_value(&ClientConfigKey::ConnectTimeout);
        let is_bucket = connect(options) == connect(&self::options());
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .http1_only()
            .connect_timeout(if is_bucket { CONNECT_TIMEOUT } else { METADATA_TIMEOUT })
            .read_timeout(READ_TIMEOUT)
            .user_agent(concat!("wharfinger/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })?;
        Ok(HttpClient::new(Client { http, connector: self.clone() }))
    }
}

/// The options of a client of the bucket.
pub(super) fn options() -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(true)
        .with_http1_only()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT)
        // A transfer may take as long as its client needs.
        .with_timeout_disabled()
        .with_default_content_type("application/octet-stream")
}

#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    connector: Connector,
}

/// The answer was a redirect.
#[derive(Debug, thiserror::Error)]
#[error("redirected to {0}")]
struct Redirected(String);

/// Whether a request failed because the server redirects it, which it will do again.
pub(super) fn is_redirect(error: &HttpError) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<Redirected>())
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.send(request).await?;
        Ok(hide_unfinished_copy(refuse_redirect(answer)?))
    }
}

impl Client {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Some(key) = self.connector.key.as_ref().filter(|_| request.headers().contains_key(AUTHORIZATION))
        else {
            return self.http.call(request).await;
        };
        let used = key.get();
        let mut again = request.clone();
        let answer = self.http.call(request).await?;
        if answer.status() == StatusCode::FORBIDDEN
            && let Some(now) = key.changed_since(&used).await
        {
            tracing::info!("the access key of the bucket was changed; repeating a request with the new one");
            sign(&mut again, &now, &self.connector)?;
            return self.http.call(again).await;
        }
        Ok(answer)
    }
}

/// Makes the answer for an object that Azure still copies an error, so that the library asks again. The
/// answer to the copy itself stays.
fn hide_unfinished_copy(mut answer: HttpResponse) -> HttpResponse {
    let is_copying = answer.headers().get(COPY_STATUS).is_some_and(|status| status == "pending");
    if is_copying && answer.status() == StatusCode::OK {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    answer
}

fn refuse_redirect(answer: HttpResponse) -> Result<HttpResponse, HttpError> {
    if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
        return Ok(answer);
    }
    let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let Some(location) = location else { return Ok(answer) };
    // The query may have a signature.
    let place = location.split(['?', '#']).next().unwrap_or_default().to_owned();
    Err(HttpError::new(HttpErrorKind::Unknown, Redirected(place)))
}

/// Replaces the signature of a request.
fn sign(request: &mut HttpRequest, key: &AccessKey, connector: &Connector) -> Result<(), HttpError> {
    request.headers_mut().remove(AUTHORIZATION);
    let failed = |error| HttpError::new(HttpErrorKind::Unknown, error);
    if connector.provider == Provider::Azure {
        let credential = azure_credential(key).map_err(failed)?;
        return AzureAuthorizer::new(&credential, &key.id).try_authorize(request).map_err(failed);
    }
    let credential = credential(key);
    let digest = request.headers().get(BODY_DIGEST).and_then(|digest| digest.to_str().ok());
    let is_signed = digest != Some(UNSIGNED);
    let digest = digest.and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
    let authorizer = AwsAuthorizer::new(&credential, "s3", &connector.region).with_sign_payload(is_signed);
    authorizer.try_authorize(request, digest.as_ref().map(Digest::hash)).map_err(failed)
}

fn credential(key: &AccessKey) -> AwsCredential {
    AwsCredential { key_id: key.id.clone(), secret_key: key.secret.clone(), token: None }
}

fn azure_credential(key: &AccessKey) -> object_store::Result<AzureCredential> {
    let key = AzureAccessKey::try_new(&key.secret)
        .map_err(|error| object_store::Error::Generic { store: "Azure", source: Box::new(error) })?;
    Ok(AzureCredential::AccessKey(key))
}

/// Gives the library the present key of an account of Azure.
#[derive(Debug)]
pub(super) struct AzureKey(pub(super) SharedKey);

#[async_trait]
impl CredentialProvider for AzureKey {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        azure_credential(&self.0.get()).map(Arc::new)
    }
}

/// Gives the library the present key.
#[derive(Debug)]
pub(super) struct Credentials(pub(super) SharedKey);

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Ok(Arc::new(credential(&self.0.get())))
    }
}
