//! `/token`: where clients get tokens (distribution, "Token Authentication Specification" and "OAuth2 Token
//! Authentication").
//!
//! With GET, credentials come as Basic, or there are none and the token is for nobody in particular: public images are
//! pulled with it. With POST, they come in a form: a password, or a refresh token that was issued instead of keeping
//! one; without a body POST is answered like GET. What the token allows is what was asked for, as far as the account
//! may do it. The `account` of the query is the client's remark: a backend may know the user by another name.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use registry::access::{Identity, Issued, ScopeRequest, SignInError};
use serde::Serialize;

use crate::http::app::App;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::query::Query;
use crate::http::extract::request::Request;
use crate::http::middleware::audit;
use crate::http::middleware::authorization::{self, AccessRequest, Caller, Rejection};
use crate::http::response::{self, Response};
use crate::rfc3339;

/// The longest form. The largest part of one is a list of scopes.
const FORM_BYTES: usize = 64 * 1024;

#[derive(Serialize)]
struct Answer {
    /// The same twice: distribution says `token`, OAuth says `access_token`, and each has clients that know it alone.
    token: String,
    access_token: String,
    token_type: &'static str,
    /// In seconds.
    expires_in: u64,
    issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// GET: for whoever the credentials of the request are of.
pub(crate) async fn get(app: &App, caller: &Caller, request: &Request) -> Result<Response, Error> {
    let query = request.query();
    check_service(app, query)?;
    // An engine that has a refresh token keeps it instead of the password, and then searches without signing in: its
    // search is the one request for which it knows passwords only.
    let is_engine = query.get("client_id").as_deref() == Some("docker");
    let offline = query.get("offline_token").as_deref() == Some("true") && !is_engine;
    let issued = app.accounts.issue(caller.identity(), &scopes(query), offline).await;
    match issued {
        Ok(issued) => Ok(answer(issued)),
        Err(error) => Err(refused(app, caller, &request.id, not_signed_in(app, error)).await),
    }
}

/// POST: for whoever the credentials in the form are of.
pub(crate) async fn post(app: &App, caller: &Caller, mut request: Request) -> Result<Response, Error> {
    if request.body.announced() == Some(0) {
        return get(app, caller, &request).await;
    }
    let is_form = request.header(CONTENT_TYPE).is_some_and(|kind| {
        kind.split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if !is_form {
        return Err(Error::NoForm);
    }
    let id = request.id.clone();
    let (method, uri) = (request.method.clone(), request.uri.clone());
    let bytes = request.short_body(FORM_BYTES, || Error::NoForm).await?;
    let form = Query::new(Some(std::str::from_utf8(&bytes).map_err(|_| Error::NoForm)?));
    check_service(app, form)?;
    let missing = |parameter, expected| Error::BadParameter { parameter, expected };
    let grant = form.get("grant_type").unwrap_or_default();
    let (signed_in, refresh_token) = match &*grant {
        "password" => {
            let name =
                form.get_filled("username").ok_or_else(|| missing("username", "the name of an account"))?;
            let password = form.get("password").ok_or_else(|| missing("password", "its password"))?;
            let basic = basic(&name, &password).ok_or_else(|| missing("username", "without a colon"))?;
            // The credentials of the form are all that there is: nothing else vouches for them.
            let headers = HeaderMap::from_iter([(AUTHORIZATION, basic)]);
            let endpoint = Some(&Endpoint::Token);
            let asked = AccessRequest {
                endpoint,
                method: &method,
                uri: &uri,
                headers: &headers,
                called: caller.called(),
            };
            (authorization::sign_in(app, asked, headers.get(AUTHORIZATION)).await, None)
        }
        "refresh_token" => {
            let token =
                form.get_filled("refresh_token").ok_or_else(|| missing("refresh_token", "such a token"))?;
            let refreshed = app.accounts.refresh(&token, caller.address()).await;
            let refreshed = refreshed.map_err(|error| not_signed_in(app, error));
            (refreshed.map(Some), Some(token.into_owned()))
        }
        _ => return Err(missing("grant_type", "password or refresh_token")),
    };
    let identity = match signed_in {
        Ok(identity) => identity.unwrap_or(Identity::Anonymous),
        Err(error) => return Err(refused(app, caller, &id, error).await),
    };
    audit::signed_in(app, &identity, caller.address(), &id).await;
    let offline = refresh_token.is_none() && form.get("access_type").as_deref() == Some("offline");
    let mut issued = match app.accounts.issue(&identity, &scopes(form), offline).await {
        Ok(issued) => issued,
        Err(error) => return Err(refused(app, caller, &id, not_signed_in(app, error)).await),
    };
    // Clients that send one expect one back, which may be the same.
    issued.refresh_token = issued.refresh_token.or(refresh_token);
    Ok(answer(issued))
}

/// Someone whose credentials do not do, which is recorded as it is where they come with any other request.
async fn refused(app: &App, caller: &Caller, id: &HeaderValue, refused: Box<Rejection>) -> Error {
    audit::refused(app, None, &refused, caller.address(), id).await;
    refused.error
}

fn not_signed_in(app: &App, error: SignInError) -> Box<Rejection> {
    Rejection::not_signed_in(error, |_| authorization::basic_challenge(app))
}

/// Every value of `scope`, each of which may hold several.
fn scopes(query: Query<'_>) -> Vec<ScopeRequest> {
    let values: Vec<Cow<'_, str>> = query.all("scope").collect();
    ScopeRequest::parse_all(values.iter().map(|value| &**value))
}

/// A token is made out for this registry and no other, so one for another cannot be had here.
fn check_service(app: &App, query: Query<'_>) -> Result<(), Error> {
    match query.get_filled("service") {
        Some(service) if service != app.service.as_str() => {
            Err(Error::BadParameter { parameter: "service", expected: "the one that the challenge names" })
        }
        _ => Ok(()),
    }
}

fn basic(name: &str, password: &str) -> Option<HeaderValue> {
    let text = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    HeaderValue::try_from(text).ok().filter(|_| !name.contains(':'))
}

fn answer(issued: Issued) -> Response {
    let mut response = response::json(&Answer {
        access_token: issued.token.clone(),
        token: issued.token,
        token_type: "Bearer",
        expires_in: issued.expires_in.as_secs(),
        issued_at: rfc3339::seconds(issued.issued_at),
        refresh_token: issued.refresh_token,
    });
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
