//! A complete answer, and assertions about it.

use std::fmt::Display;

use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer with its complete body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    request: String,
}

/// Sends a request and reads the complete answer.
pub(crate) trait Ask {
    async fn ask(self) -> Answer;
    /// Returns an error if the answer is truncated.
    async fn try_ask(self) -> Result<Answer, reqwest::Error>;
}

impl Ask for RequestBuilder {
    async fn ask(self) -> Answer {
        self.try_ask().await.expect("the answer comes whole")
    }

    async fn try_ask(self) -> Result<Answer, reqwest::Error> {
        let (client, request) = self.build_split();
        let request = request?;
        let said = format!("{} {}", request.method(), request.url());
        let response = client.execute(request).await?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await?.to_vec(),
            request: said,
        })
    }
}

impl Answer {
    /// Asserts the status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} was answered with {}", self.request, self.text());
        self
    }

    /// Asserts the value of a header.
    #[track_caller]
    pub(crate) fn has(self, header: &str, value: impl Display) -> Self {
        assert_eq!(self.header(header), Some(value.to_string().as_str()), "{header} of {}", self.request);
        self
    }

    /// Asserts that a header is absent.
    #[track_caller]
    pub(crate) fn has_no(self, header: &str) -> Self {
        assert_eq!(self.header(header), None, "{header} of {}", self.request);
        self
    }

    /// Asserts the bytes of the body.
    #[track_caller]
    pub(crate) fn carries(self, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        assert_eq!(self.body.len(), body.len(), "length of the answer to {}", self.request);
        assert!(self.body == body, "the answer to {} has the right length and other bytes", self.request);
        self
    }

    /// Asserts an error with this status whose JSON items all have this code.
    #[track_caller]
    pub(crate) fn fails(self, status: u16, code: &str) -> Self {
        let answer = self.is(status);
        let codes = answer.codes();
        assert!(!codes.is_empty() && codes.iter().all(|found| found == code), "{codes:?} instead of {code}");
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("the header is text"))
    }

    /// Returns the `Location`, which must be present.
    #[track_caller]
    pub(crate) fn location(&self) -> String {
        self.header("location")
            .unwrap_or_else(|| panic!("no Location in the answer to {}", self.request))
            .to_owned()
    }

    /// Returns the URL of the next page from the `Link` header.
    pub(crate) fn next_page(&self) -> Option<String> {
        let link = self.header("link")?;
        let (address, relation) = link.split_once("; ").expect("an address and a relation");
        assert_eq!(relation, "rel=\"next\"");
        Some(address.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).expect("<address>").to_owned())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the answer to {}: {}", self.request, self.text()))
    }

    /// Returns the strings of a JSON list.
    #[track_caller]
    pub(crate) fn list(&self, field: &str) -> Vec<String> {
        let json = self.json();
        let items = json[field].as_array().unwrap_or_else(|| panic!("no list {field} in {json}"));
        items.iter().map(|item| item.as_str().expect("a string").to_owned()).collect()
    }

    /// Returns the codes of a protocol error.
    #[track_caller]
    pub(crate) fn codes(&self) -> Vec<String> {
        let json = self.json();
        let errors = json["errors"].as_array().unwrap_or_else(|| panic!("no errors in {json}"));
        errors.iter().map(|error| error["code"].as_str().expect("a code").to_owned()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]).into_owned()
    }
}
