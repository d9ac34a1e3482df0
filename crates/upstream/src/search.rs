//! Search of an upstream by the old protocol of docker (`/v1/search`), which Docker Hub still answers.

use hyper::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::client::{Client, UpstreamRequest, read_to_end};
use crate::error::Error;

/// The size limit of an answer, in bytes.
const ANSWER_BYTES: usize = 1 << 20;

/// A repository that an upstream found.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct SearchHit {
    /// Its name on the upstream.
    pub name: String,
    #[serde(default, deserialize_with = "text_or_null")]
    pub description: String,
    #[serde(default)]
    pub star_count: u64,
    #[serde(default)]
    pub is_official: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<SearchHit>,
}

fn text_or_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Client {
    /// Searches for repositories; at most `limit` are returned.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn search(&self, query: &str, limit: usize) -> Result<Vec<SearchHit>, Error> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let request = UpstreamRequest::get(format!("/v1/search?q={query}&n={limit}"), String::new());
        let fetched = self.fetch(&request, 0).await?;
        let upstream = fetched.upstream.to_string();
        let invalid = |reason: String| Error::InvalidResponse(format!("the search of {upstream}: {reason}"));
        if fetched.response.status() != StatusCode::OK {
            return Err(invalid(fetched.response.status().to_string()));
        }
        let body = read_to_end(fetched.response.into_body(), ANSWER_BYTES, self.read_timeout()).await;
        let answer: Answer =
            serde_json::from_slice(&body.map_err(&invalid)?).map_err(|error| invalid(error.to_string()))?;
        let mut hits = answer.results;
        hits.truncate(limit);
        Ok(hits)
    }
}
