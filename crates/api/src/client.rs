//! Client of the management API, and of the registry protocol where a command needs it: requests, paged
//! lists, errors.
//!
//! It knows no flags and formats no messages. The caller builds the HTTP client with its certificates and
//! timeouts.

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Page, Secret};

/// The credentials of every request.
#[derive(Clone, Debug)]
pub enum Credentials {
    None,
    Password { user: String, password: Secret },
    Token(Secret),
}

/// A client of one registry. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// The beginning of every URL, without a slash at the end.
    base: String,
    credentials: Credentials,
}

/// A request without a result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server did not answer.
    #[error("no answer")]
    Unreachable(#[source] reqwest::Error),
    /// The server answered with an error. `messages` are those of its body, in their order; empty if the body
    /// is not an error of a registry.
    #[error("the answer is {status}")]
    Rejected { status: StatusCode, messages: Vec<String>, body: Bytes },
    /// The body of a successful answer is not the expected JSON.
    #[error("the answer is not the expected JSON")]
    InvalidBody(#[source] reqwest::Error),
}

impl Client {
    /// A client of the registry at `base`, such as `https://registry.example.com`.
    #[must_use]
    pub fn new(http: reqwest::Client, base: &str, credentials: Credentials) -> Self {
        Self { http, base: base.trim_end_matches('/').to_owned(), credentials }
    }

    /// Begins a request; `path` begins with a slash.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.credentials {
            Credentials::None => request,
            Credentials::Password { user, password } => request.basic_auth(user, Some(password.reveal())),
            Credentials::Token(token) => request.bearer_auth(token.reveal()),
        }
    }

    /// Sends a request, and returns a successful answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(ClientError::Unreachable)?;
        if response.status().is_success() { Ok(response) } else { Err(rejected(response).await) }
    }

    /// Sends a request, and returns `None` if the answer is 404.
    pub async fn find(&self, request: RequestBuilder) -> Result<Option<Response>, ClientError> {
        match self.send(request).await {
            Err(ClientError::Rejected { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Sends a request, and parses the answer as JSON.
    pub async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        self.send(request).await?.json().await.map_err(ClientError::InvalidBody)
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json(self.request(Method::GET, path)).await
    }

    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    pub async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.json(self.request(Method::PATCH, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: Option<&impl Serialize>) -> Result<(), ClientError> {
        let request = self.request(Method::PUT, path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.send(request).await.map(drop)
    }

    pub async fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, path).query(query)).await.map(drop)
    }

    /// Requests all pages of a list. `filters` are query parameters of every page.
    pub async fn list<P: Page>(
        &self,
        path: &str,
        filters: &[(&str, &str)],
    ) -> Result<Vec<P::Entry>, ClientError> {
        let mut all: Vec<P::Entry> = Vec::new();
        loop {
            let mut request = self.request(Method::GET, path).query(filters);
            if let Some(last) = all.last() {
                request = request.query(&[("last", P::key(last))]);
            }
            let (entries, more) = self.json::<P>(request).await?.split();
            let more = more && !entries.is_empty();
            all.extend(entries);
            if !more {
                return Ok(all);
            }
        }
    }
}

/// Reads the errors of an answer. A body that breaks off has none.
async fn rejected(response: Response) -> ClientError {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<ErrorEntry>,
    }
    #[derive(Deserialize)]
    struct ErrorEntry {
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    let errors = serde_json::from_slice::<Errors>(&body).map_or_else(|_| Vec::new(), |errors| errors.errors);
    let messages = errors.into_iter().map(|error| error.message).filter(|text| !text.is_empty()).collect();
    ClientError::Rejected { status, messages, body }
}
