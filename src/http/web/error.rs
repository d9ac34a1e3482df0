//! Errors as pages.

use askama::Template;
use hyper::header::RETRY_AFTER;

use super::form::encode_path;
use super::page::{Page, Viewer};
use crate::http::app::App;
use crate::http::error::{Error, ErrorFormat};
use crate::http::extract::request::Request;
use crate::http::links::Links;
use crate::http::middleware::client_info::ClientInfo;
use crate::http::middleware::denied::{Denied, DenyReason};
use crate::http::response::Response;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    page: &'a Page,
    title: String,
    /// Its meaning, in the language of the page.
    explanation: String,
    message: String,
    /// Whether it is in English, as in the API, on a page in any language.
    is_english: bool,
    /// The repository of missing content, which the caller may see.
    repository: Option<oci::RepositoryName>,
    request_id: String,
}

/// Returns the frame of an error page, before the request is consumed.
pub(crate) fn frame(app: &App, request: &Request, client: &ClientInfo) -> Page {
    let url = app.base(client, request.headers.get(hyper::header::HOST));
    Page::for_client(request, client, url, app.links(client).absolute(""), Viewer::default())
}

/// Renders an error. A page that needs a sign-in redirects to it.
pub(crate) fn respond(page: &Page, error: Error, links: &Links, id: &hyper::header::HeaderValue) -> Response {
    if let Error::Denied(Denied {
        reason: DenyReason::SignIn | DenyReason::Expired | DenyReason::Scope,
        ..
    }) = &error
    {
        let to = form_urlencoded::Serializer::new(String::new()).append_pair("to", &page.here).finish();
        return page.redirect(&format!("/-/sign-in?{}", encode_path(&to)));
    }
    let status = error.status();
    let key = match status.as_u16() {
        401 | 403 => "error-forbidden",
        404 => "error-not-found",
        429 => "error-too-many",
        500.. => "error-server",
        _ => "error-request",
    };
    let title = page.t(key).into_owned();
    let explanation = page.t(&format!("{key}-text")).into_owned();
    let translated = super::explain::explain(page, &error);
    let repository = super::explain::repository_of(&error).cloned();
    // The JSON response has logged the error, and hides internal causes.
    let json = error.into_response(ErrorFormat::Registry, None, links, id);
    let retry_after = json.headers().get(RETRY_AFTER).cloned();
    let is_english = translated.is_none();
    let message = translated.or_else(|| json.body().text().and_then(message)).unwrap_or_default();
    let request_id = id.to_str().unwrap_or_default().to_owned();
    let body = ErrorPage { page, title, explanation, message, is_english, repository, request_id };
    let rendered = page.render_as(status, &body);
    let Ok(mut response) = rendered else { return json };
    if let Some(retry_after) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, retry_after);
    }
    response
}

/// Returns the first message of an error in JSON.
fn message(json: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(json).ok()?;
    Some(json.get("errors")?.get(0)?.get("message")?.as_str()?.to_owned())
}
