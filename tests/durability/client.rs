//! The HTTP client of these tests: each request has a timeout, and an error that names it.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};

/// The timeout of a request with its answer. It ends only a test that would hang.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns a client whose requests have a timeout.
pub(crate) fn client() -> Client {
    Client::builder().timeout(TIMEOUT).build().expect("a client")
}

/// A request that got no answer, or not all of it.
pub(crate) struct NoAnswer {
    request: String,
    error: reqwest::Error,
}

impl NoAnswer {
    /// Whether the time was over. Otherwise the connection has ended.
    pub(crate) fn is_timeout(&self) -> bool {
        self.error.is_timeout()
    }
}

impl From<reqwest::Error> for NoAnswer {
    /// An error of a body has the URL alone.
    fn from(error: reqwest::Error) -> Self {
        Self { request: error.url().map(ToString::to_string).unwrap_or_default(), error }
    }
}

impl fmt::Debug for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = if self.is_timeout() { format!(" within {TIMEOUT:?}") } else { String::new() };
        write!(f, "no answer{time} to {}: {:?}", self.request, self.error)
    }
}

/// Requests of a model.
pub(crate) trait Request {
    /// Sends the request, and waits for the head of the answer.
    fn answer(self) -> impl Future<Output = Result<Response, NoAnswer>> + Send;
}

impl Request for RequestBuilder {
    async fn answer(self) -> Result<Response, NoAnswer> {
        let (client, request) = self.build_split();
        let request = request?;
        let name = format!("{} {}", request.method(), request.url());
        client.execute(request).await.map_err(|error| NoAnswer { request: name, error })
    }
}
