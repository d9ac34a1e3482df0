//! The connection of a command to its registry, which explains errors and how to correct them.

use api::{Client, ClientError, Credentials, Page};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::output::Failure;
use super::unreachable;
use crate::serve::{LocalServer, ORIGIN};

pub(super) struct Connection {
    client: Client,
    /// The URL of `--server`.
    server: Option<Url>,
    /// Whether requests have a password or a token.
    has_credentials: bool,
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
        let name = server.as_str().trim_end_matches('/').to_owned();
        let has_credentials = !matches!(credentials, Credentials::None);
        let client = Client::new(http, &name, credentials);
        Self { client, server: Some(server), has_credentials, name, flags, local: None }
    }

    pub(super) fn to_data_directory(local: LocalServer, flags: String) -> Self {
        Self {
            client: Client::new(local.http.clone(), ORIGIN, Credentials::None),
            server: None,
            has_credentials: false,
            name: local.root.display().to_string(),
            flags,
            local: Some(local),
        }
    }

    /// Begins a request to the registry; `path` begins with a slash.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, path)
    }

    /// Sends a request, and returns a successful response.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        self.client.send(request).await.map_err(|error| self.explain(error))
    }

    /// Sends a request, and returns `None` if the response is 404.
    pub(super) async fn find(&self, request: RequestBuilder) -> Result<Option<Response>, Failure> {
        self.client.find(request).await.map_err(|error| self.explain(error))
    }

    /// Like [`find`](Self::find), but the response 404 about content that exists and is damaged is an error.
    pub(super) async fn find_intact(&self, request: RequestBuilder) -> Result<Option<Response>, Failure> {
        match self.client.send(request).await {
            Err(ClientError::Rejected { status: StatusCode::NOT_FOUND, body, .. }) if !is_damaged(&body) => {
                Ok(None)
            }
            answer => answer.map(Some).map_err(|error| self.explain(error)),
        }
    }

    /// Sends a request, and parses the response as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        self.client.json(request).await.map_err(|error| self.explain(error))
    }

    /// Sends a request, and parses the response as JSON. `None` if the server does not have the endpoint: a
    /// gateway, or an older version.
    pub(super) async fn supported<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Option<T>, Failure> {
        self.unless(&[StatusCode::NOT_FOUND, StatusCode::NOT_IMPLEMENTED], request).await
    }

    /// Like [`supported`](Self::supported), also `None` if the caller may not read it.
    pub(super) async fn permitted<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Option<T>, Failure> {
        let absent = [
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::NOT_FOUND,
            StatusCode::NOT_IMPLEMENTED,
        ];
        self.unless(&absent, request).await
    }

    /// Sends a request, and parses the response as JSON. `None` if it has one of the statuses `absent`.
    async fn unless<T: DeserializeOwned>(
        &self,
        absent: &[StatusCode],
        request: RequestBuilder,
    ) -> Result<Option<T>, Failure> {
        match self.client.json(request).await {
            Ok(found) => Ok(Some(found)),
            Err(ClientError::Rejected { status, .. }) if absent.contains(&status) => Ok(None),
            Err(error) => Err(self.explain(error)),
        }
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.client.get(path).await.map_err(|error| self.explain(error))
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.client.post(path, body).await.map_err(|error| self.explain(error))
    }

    pub(super) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.client.patch(path, body).await.map_err(|error| self.explain(error))
    }

    pub(super) async fn put(&self, path: &str, body: Option<&impl Serialize>) -> Result<(), Failure> {
        self.client.put(path, body).await.map_err(|error| self.explain(error))
    }

    pub(super) async fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<(), Failure> {
        self.client.delete(path, query).await.map_err(|error| self.explain(error))
    }

    /// Requests all pages of a list. `filters` are query parameters of every page.
    pub(super) async fn list<P: Page>(
        &self,
        path: &str,
        filters: &[(&str, &str)],
    ) -> Result<Vec<P::Entry>, Failure> {
        self.client.list::<P>(path, filters).await.map_err(|error| self.explain(error))
    }

    /// Formats a command for this registry, for a message.
    pub(super) fn command(&self, words: &str) -> String {
        format!("`wharfinger {words}{}`", self.flags)
    }

    /// Closes the connection. If the server runs inside this process, all changes are synced to the data
    /// directory.
    pub(super) async fn close(self) {
        drop(self.client);
        if let Some(local) = self.local {
            local.close().await;
        }
    }

    /// Explains the error of a request, and how to correct it.
    fn explain(&self, error: ClientError) -> Failure {
        let (status, messages, body) = match error {
            ClientError::Unreachable(error) => {
                return match &self.server {
                    Some(server) => unreachable::explain(server, &error),
                    None => unreachable::explain_local(&self.name, &error),
                };
            }
            ClientError::InvalidBody(error) => {
                let failure = Failure::new(format!("the response of {} is not the expected JSON", self.name));
                return failure.because(&error);
            }
            ClientError::Rejected { status, messages, body } => (status, messages, body),
        };
        let help = match status {
            StatusCode::UNAUTHORIZED if self.has_credentials => {
                "check the name and the password, or the token in WHARFINGER_TOKEN".to_owned()
            }
            StatusCode::UNAUTHORIZED if self.server.is_some() => LOG_IN.to_owned(),
            StatusCode::NOT_FOUND => self.path_hint().unwrap_or_default(),
            _ => String::new(),
        };
        let mut messages = messages.into_iter();
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

/// Whether an error of the distribution protocol is about damaged content. Damaged content is absent to a push,
/// so its status and code are those of a missing manifest. Its detail names the digest, which the detail of a
/// missing one does not.
fn is_damaged(body: &[u8]) -> bool {
    let error: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    error["errors"][0]["detail"]["digest"].is_string()
}
