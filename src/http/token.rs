//! `/token`: the token server (distribution, "Token Authentication Specification" and "OAuth2 Token
//! Authentication").
//!
//! - GET takes Basic credentials, or none for an anonymous token, which pulls public images.
//! - POST takes a form with a password or a refresh token. POST without a body is answered like GET.
//!
//! The token gets the requested scopes, as far as the account's rights go. The `account` of the query is
//! ignored.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use registry::access::{Action, Identity, Issued, ScopeRequest, SignInError};
use registry::mirror::{Mirror, Target};
use serde::Serialize;

use crate::http::app::App;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::query::Query;
use crate::http::middleware::access_request::AccessRequest;
use crate::http::middleware::audit;
use crate::http::middleware::authorization::{self, Rejection};
use crate::http::middleware::caller::Caller;
use crate::http::middleware::open_pull;
use crate::http::response::{self, Response};
use crate::rfc3339;

/// The maximum length of a form. Most of it is a list of scopes.
const FORM_BYTES: usize = 64 * 1024;

#[derive(Serialize)]
struct Answer {
    /// The token twice: distribution's clients read `token`, OAuth's read `access_token`.
    token: String,
    access_token: String,
    token_type: &'static str,
    /// In seconds.
    expires_in: u64,
    issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// Issues a token for the credentials of the request.
pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, caller, request } = &call;
    let query = request.query();
    check_service(app, query)?;
    // Docker stores a refresh token instead of the password. Its search needs the password, and would be
    // anonymous.
    let is_engine = query.get("client_id").as_deref() == Some("docker");
    let offline = query.get("offline_token").as_deref() == Some("true") && !is_engine;
    let scopes = scopes(app, &request.headers, query);
    let issued = app.accounts.issue(caller.identity(), &scopes, offline).await;
    match issued {
        Ok(issued) => Ok(answer(issued)),
        Err(error) => {
            let rejection = not_signed_in(app, call.base().as_deref(), error);
            Err(refused(app, caller, &request.id, rejection).await)
        }
    }
}

/// Issues a token for the credentials in a form.
pub(crate) async fn post(call: Call<'_>) -> Result<Response, Error> {
    if call.request.body.announced() == Some(0) {
        return get(call).await;
    }
    let base = call.base();
    let Call { app, caller, mut request } = call;
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
            // Only the credentials of the form count.
            let headers = HeaderMap::from_iter([(AUTHORIZATION, basic)]);
            let endpoint = Some(&Endpoint::Token);
            let access = AccessRequest {
                endpoint,
                method: &method,
                uri: &uri,
                headers: &headers,
                client: caller.client(),
            };
            if open_pull::is_open_token(app, AccessRequest { headers: &request.headers, ..access }, form) {
                (Ok(None), None)
            } else {
                (authorization::sign_in(app, access, headers.get(AUTHORIZATION)).await, None)
            }
        }
        "refresh_token" => {
            let token =
                form.get_filled("refresh_token").ok_or_else(|| missing("refresh_token", "such a token"))?;
            let refreshed = app.accounts.refresh(&token, caller.address()).await;
            let refreshed = refreshed.map_err(|error| not_signed_in(app, base.as_deref(), error));
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
    let scopes = scopes(app, &request.headers, form);
    let mut issued = match app.accounts.issue(&identity, &scopes, offline).await {
        Ok(issued) => issued,
        Err(error) => {
            return Err(refused(app, caller, &id, not_signed_in(app, base.as_deref(), error)).await);
        }
    };
    // A client that sends a refresh token expects one in the answer. It may be the same.
    issued.refresh_token = issued.refresh_token.or(refresh_token);
    Ok(answer(issued))
}

/// Records wrong credentials in the audit log, as authorization does for other requests.
async fn refused(app: &App, caller: &Caller<'_>, id: &HeaderValue, rejection: Box<Rejection>) -> Error {
    audit::refused(app, None, &rejection, caller.address(), id).await;
    rejection.error
}

fn not_signed_in(app: &App, base: Option<&str>, error: SignInError) -> Box<Rejection> {
    Rejection::of_sign_in(error, |reason| app.challenges.deny_with_basic(base, reason))
}

/// Parses all `scope` parameters. Each may have several scopes.
///
/// Clients derive the scope from the name that they pull, and ignore that of the challenge. So a name that
/// may mean cached content of an upstream stands for the cached repository too.
fn scopes(app: &App, headers: &HeaderMap, query: Query<'_>) -> Vec<ScopeRequest> {
    let values: Vec<Cow<'_, str>> = query.all("scope").collect();
    let mut scopes = ScopeRequest::parse_all(values.iter().map(|value| &**value));
    if let Some(mirror) = &app.mirror {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let cached: Vec<_> = scopes.iter().filter_map(|scope| cached_scope(mirror, host, scope)).collect();
        scopes.extend(cached);
    }
    scopes
}

/// The scope of the cached repository that a requested name may mean, if it has another name.
fn cached_scope(mirror: &Mirror, host: Option<&str>, scope: &ScopeRequest) -> Option<ScopeRequest> {
    let ScopeRequest::Repository { name, class, actions } = scope else { return None };
    match mirror.resolve(name, None, host) {
        Target::Cached(cached, _) if cached != *name => {
            Some(ScopeRequest::Repository { name: cached, class: class.clone(), actions: actions.clone() })
        }
        // A push to such a name is a push to this registry's own repository.
        Target::Default(cached) if actions.contains(&Action::Pull) => {
            Some(ScopeRequest::Repository { name: cached, class: class.clone(), actions: vec![Action::Pull] })
        }
        _ => None,
    }
}

/// Refuses a `service` other than this registry: tokens are valid here only.
fn check_service(app: &App, query: Query<'_>) -> Result<(), Error> {
    match query.get_filled("service") {
        Some(service) if service != app.service.as_str() => Err(Error::BadParameter {
            parameter: "service",
            expected: "the service that the challenge names",
        }),
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
