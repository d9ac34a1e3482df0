//! The HTTP client of the commands: requests, paged lists, and errors.

use api::Page;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::output::Failure;
use super::password::Password;
use super::unreachable;
use crate::serve::{LocalServer, ORIGIN};

/// The credentials for a server. A data directory needs none: access to its files is enough.
pub(super) enum Credentials {
    None,
    Password { user: String, password: Password },
    Token(String),
}

/// A connection to a registry.
pub(super) struct Connection {
    http: reqwest::Client,
    credentials: Credentials,
    /// The URL of `--server`.
    server: Option<Url>,
    /// The beginning of every URL, without a slash at the end.
    base: String,
    /// The registry's name in messages.
    name: String,
    /// The flags that select this registry, for commands in messages.
    flags: String,
    /// The server of the data directory, without `--server`.
    local: Option<LocalServer>,
}

/// The hint for a request that needs an account.
const LOG_IN: &str = "log in with --user NAME, or with a token in WHARFINGER_TOKEN";

/// Encodes a name as one segment of a URL path.
pub(super) fn segment(name: impl ToString) -> String {
    const PLAIN: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'+').remove(b'@');
    utf8_percent_encode(&name.to_string(), PLAIN).to_string()
}

impl Connection {
    pub(super) fn to_server(
        server: Url,
        http: reqwest::Client,
        credentials: Credentials,
        flags: String,
    ) -> Self {
        let base = server.as_str().trim_end_matches('/').to_owned();
        Self { http, credentials, server: Some(server), name: base.clone(), base, flags, local: None }
    }

    pub(super) fn to_data_directory(local: LocalServer, flags: String) -> Self {
        Self {
            http: local.http.clone(),
            credentials: Credentials::None,
            server: None,
            base: ORIGIN.to_owned(),
            name: local.root.display().to_string(),
            flags,
            local: Some(local),
        }
    }

    /// Begins a request to the registry; `path` begins with a slash.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.credentials {
            Credentials::None => request,
            Credentials::Password { user, password } => request.basic_auth(user, Some(password.reveal())),
            Credentials::Token(token) => request.bearer_auth(token),
        }
    }

    /// Sends a request, and returns a successful response.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = self.try_send(request).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.explain_error(response).await) }
    }

    /// Sends a request, and returns `None` if the response is 404.
    pub(super) async fn find(&self, request: RequestBuilder) -> Result<Option<Response>, Failure> {
        let response = self.try_send(request).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(response)),
            _ => Err(self.explain_error(response).await),
        }
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(self.request(Method::GET, path)).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    pub(super) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.json(self.request(Method::PATCH, path).json(body)).await
    }

    pub(super) async fn put(&self, path: &str, body: Option<&impl Serialize>) -> Result<(), Failure> {
        let request = self.request(Method::PUT, path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.send(request).await.map(drop)
    }

    pub(super) async fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, path).query(query)).await.map(drop)
    }

    /// Sends a request, and parses the response as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = self.send(request).await?;
        response.json().await.map_err(|error| {
            Failure::new(format!("the response of {} is not the expected JSON", self.name)).because(&error)
        })
    }

    /// Formats a command for this registry, for a message.
    pub(super) fn command(&self, words: &str) -> String {
        format!("`wharfinger {words}{}`", self.flags)
    }

    /// Requests all pages of a list. `filters` are query parameters of every page.
    pub(super) async fn list<P: Page>(
        &self,
        path: &str,
        filters: &[(&str, &str)],
    ) -> Result<Vec<P::Entry>, Failure> {
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

    /// Closes the connection. If the server runs inside this process, all changes are synced to the data directory.
    pub(super) async fn close(self) {
        drop(self.http);
        if let Some(local) = self.local {
            local.close().await;
        }
    }

    async fn try_send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|error| match &self.server {
            Some(server) => unreachable::explain(server, &error),
            None => Failure::new(format!("the server of {} does not answer", self.name)).because(&error),
        })
    }

    /// Reads the errors in a response.
    async fn explain_error(&self, response: Response) -> Failure {
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
        let help = match status {
            StatusCode::UNAUTHORIZED if self.server.is_some() => LOG_IN.to_owned(),
            StatusCode::NOT_FOUND => self.path_hint().unwrap_or_default(),
            _ => String::new(),
        };
        let body = response.bytes().await.unwrap_or_default();
        let Ok(Errors { errors }) = serde_json::from_slice(&body) else {
            return self.unknown_response(status, &body);
        };
        let mut messages = errors.into_iter().map(|error| error.message).filter(|text| !text.is_empty());
        let Some(first) = messages.next() else { return self.unknown_response(status, &body) };
        messages.fold(Failure::new(first), Failure::help).help(help)
    }

    /// Explains a response that is not an error of a registry.
    fn unknown_response(&self, status: StatusCode, body: &[u8]) -> Failure {
        let Self { server: Some(server), name, .. } = self else {
            return Failure::new(format!("the server of {} answers {status}", self.name));
        };
        // nginx, Go and Wharfinger itself mention HTTPS in this response.
        let speaks_https = String::from_utf8_lossy(body).contains("HTTPS");
        if server.scheme() == "http" && status == StatusCode::BAD_REQUEST && speaks_https {
            let (_, rest) = name.split_once("://").unwrap_or_default();
            return Failure::new(format!("{name} speaks HTTPS on this port"))
                .help(format!("write --server https://{rest}"));
        }
        let hint = self.path_hint();
        Failure::new(format!("{name} answers {status}, which Wharfinger never does here")).help(
            hint.unwrap_or_else(|| "check the host and the port: another server may listen there".to_owned()),
        )
    }

    /// The hint for a server URL with a path.
    fn path_hint(&self) -> Option<String> {
        let server = self.server.as_ref().filter(|server| server.path() != "/")?;
        let (path, origin) = (server.path(), server.origin().ascii_serialization());
        Some(format!(
            "the address has the path {path}; unless a proxy has the registry there, write --server {origin}"
        ))
    }
}
