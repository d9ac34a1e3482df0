//! Conditional requests of the management API (RFC 9110 section 13).
//!
//! The entity tag of an answer is the digest of its bytes. `If-None-Match` saves a client the body of an
//! unchanged answer. `If-Match` prevents lost updates: the change takes place if the GET of the same address
//! still has this tag. Handlers do not implement it.

use std::future::Future;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use hyper::{Method, StatusCode};
use oci::Algorithm;
use tokio::sync::Mutex;

use super::manage::BODY_BYTES;
use crate::http::body::Body;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::conditional::{Comparison, names};
use crate::http::response::Response;

/// The turn of a conditional change. Without it, two changes could both find the state that one of them
/// replaces. Changes without a condition do not wait for it: their clients replace any state.
static TURN: Mutex<()> = Mutex::const_new(());

/// The answers differ by account, and every use asks whether they have changed.
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Calls the handler of a request under the conditions of the request.
pub(crate) async fn answer<'a, F>(
    mut call: Call<'a>,
    handler: impl Fn(Call<'a>) -> F,
) -> Result<Response, Error>
where
    F: Future<Output = Result<Response, Error>>,
{
    let conditions = Conditions::of(&call.request.headers);
    if call.request.method == Method::GET || call.request.is_head() {
        return Ok(conditions.validate(handler(call).await?));
    }
    if conditions.0.is_empty() {
        return handler(call).await;
    }
    // A slow body must not make other changes wait.
    call.request.read_ahead(BODY_BYTES, || Error::BodyTooLarge { limit: BODY_BYTES }).await?;
    let _turn = TURN.lock().await;
    let present = match handler(call.as_get()).await {
        Ok(response) => entity_tag(&response),
        // The object does not exist or has no GET.
        Err(error) if matches!(error.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
            None
        }
        Err(error) => return Err(error),
    };
    if conditions.allow(present.as_ref()) { handler(call).await } else { Err(Error::PreconditionFailed) }
}

/// The headers `If-Match` and `If-None-Match` of a request.
struct Conditions(HeaderMap);

impl Conditions {
    fn of(headers: &HeaderMap) -> Self {
        let mut found = HeaderMap::new();
        for name in [IF_MATCH, IF_NONE_MATCH] {
            for value in headers.get_all(&name) {
                found.append(name.clone(), value.clone());
            }
        }
        Self(found)
    }

    /// Whether a change may take place. `present` is the entity tag of the object, if there is one.
    fn allow(&self, present: Option<&HeaderValue>) -> bool {
        let is_named =
            |header, comparison| present.is_some_and(|tag| names(&self.0, header, tag, comparison));
        (!self.0.contains_key(IF_MATCH) || is_named(IF_MATCH, Comparison::Strong))
            && !is_named(IF_NONE_MATCH, Comparison::Weak)
    }

    /// Adds the entity tag to an answer, and removes the body if the client has it already.
    fn validate(&self, mut response: Response) -> Response {
        let Some(tag) = entity_tag(&response) else { return response };
        if names(&self.0, IF_NONE_MATCH, &tag, Comparison::Weak) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::default();
            response.headers_mut().remove(CONTENT_TYPE);
        }
        response.headers_mut().insert(ETAG, tag);
        response.headers_mut().insert(CACHE_CONTROL, REVALIDATE);
        response
    }
}

/// Returns the entity tag of a successful answer. A stream has none.
fn entity_tag(response: &Response) -> Option<HeaderValue> {
    let bytes = response.body().text().filter(|_| response.status() == StatusCode::OK)?;
    let digest = Algorithm::Sha256.digest(bytes).to_string();
    let (_, hex) = digest.split_once(':')?;
    HeaderValue::try_from(format!("\"{}\"", hex.get(..32)?)).ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;
    use crate::http::response;

    fn conditions(headers: &[(HeaderName, &'static str)]) -> Conditions {
        Conditions::of(&headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect())
    }

    #[test]
    fn change_needs_the_named_state() {
        let tag = HeaderValue::from_static("\"a\"");
        let allows = |name: &HeaderName, value, present| conditions(&[(name.clone(), value)]).allow(present);
        assert!(conditions(&[]).allow(None) && conditions(&[]).allow(Some(&tag)));
        for (value, if_match, if_none_match) in
            [("\"a\"", true, false), ("*", true, false), ("\"b\"", false, true), ("W/\"a\"", false, false)]
        {
            assert_eq!(allows(&IF_MATCH, value, Some(&tag)), if_match, "{value}");
            assert_eq!(allows(&IF_NONE_MATCH, value, Some(&tag)), if_none_match, "{value}");
            assert!(!allows(&IF_MATCH, value, None), "{value}: there is no object");
            assert!(allows(&IF_NONE_MATCH, value, None), "{value}: there is no object");
        }
    }

    #[test]
    fn known_answer_has_no_body() {
        let first = conditions(&[]).validate(response::json(&[1, 2]));
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        assert_eq!(first.status(), StatusCode::OK);
        let again = Conditions(HeaderMap::from_iter([(IF_NONE_MATCH, tag.parse().unwrap())]));
        let known = again.validate(response::json(&[1, 2]));
        assert_eq!((known.status(), known.body().len()), (StatusCode::NOT_MODIFIED, Some(0)));
        assert_eq!(known.headers()[ETAG], tag.as_str());
        assert_eq!(again.validate(response::json(&[1, 3])).status(), StatusCode::OK);
    }
}
