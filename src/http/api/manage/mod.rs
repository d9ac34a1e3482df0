//! The management API of accounts. `registry::access::manage` checks the rights for each operation.
//!
//! Bodies need the Content-Type `application/json`, so that a form of another site cannot use the credentials
//! that a browser stores.

pub(crate) mod access;
pub(crate) mod adopt;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod gc;
pub(crate) mod grants;
pub(crate) mod jobs;
mod json_lines;
pub(crate) mod organisations;
pub(crate) mod reload;
pub(crate) mod relocation;
pub(crate) mod retention;
pub(crate) mod robots;
pub(crate) mod rules;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod tokens;
pub(crate) mod upstreams;
pub(crate) mod users;
pub(crate) mod webhooks;

use std::future::Future;
use std::str::FromStr;

use api::{Me, MeKind, Page, Version};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use registry::access::Identity;
use registry::access::manage::{Manage, ManageError, Requester};
use registry::records::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument as _;

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::page::PageRequest;
use crate::http::middleware::denied::DenyReason;
use crate::http::response::{self, Response};

/// The maximum length of a body. The largest is a token for a hundred repositories.
pub(super) const BODY_BYTES: usize = 64 * 1024;

/// Reads a JSON body.
pub(super) async fn body<T: DeserializeOwned>(call: &mut Call<'_>) -> Result<T, Error> {
    let request = &mut call.request;
    let is_json = request.header(CONTENT_TYPE).is_some_and(|kind| {
        kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    });
    if !is_json {
        return Err(Error::NoJson);
    }
    let bytes = request.short_body(BODY_BYTES, || Error::BodyTooLarge { limit: BODY_BYTES }).await?;
    serde_json::from_slice(&bytes).map_err(Error::BadJson)
}

/// Refuses a body, because the options of the endpoint are query parameters such as `example`. Without this, a
/// client that sends its options as JSON would get a run without them. `{}` has no options.
async fn no_body(call: &mut Call<'_>, example: &'static str) -> Result<(), Error> {
    let refused = || Error::UnexpectedBody { example };
    let bytes = call.request.short_body(BODY_BYTES, refused).await?;
    let options: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&bytes).ok();
    let is_empty = bytes.trim_ascii().is_empty() || options.is_some_and(|options| options.is_empty());
    if is_empty { Ok(()) } else { Err(refused()) }
}

/// Runs a change in its own task, so that a client that disconnects does not cancel it half-way.
async fn change<T: Send + 'static, W>(call: &Call<'_>, work: impl FnOnce(Manage) -> W) -> Result<T, Error>
where
    W: Future<Output = Result<T, ManageError>> + Send + 'static,
{
    let result = tokio::spawn(work(manage(call)).in_current_span()).await;
    map_error(call, result.unwrap_or_else(|_| Err(StoreError::Closed.into())))
}

/// Answers a list with the page that the request asks for. `read` gets the key that the page follows, and the
/// number of entries to read: one more than the page holds. `filters` are query parameters of every page.
async fn list_page<P: Page + From<(Vec<P::Entry>, bool)>, K: FromStr, T>(
    call: &Call<'_>,
    path: &str,
    filters: &[(&str, &str)],
    read: impl AsyncFnOnce(Manage, Option<K>, usize) -> Result<Vec<T>, ManageError>,
    convert: impl Fn(T) -> P::Entry,
) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let found = read(manage(call), after, page.limit + 1).await;
    let (found, more) = take_page(map_error(call, found)?, &page);
    let entries: Vec<_> = found.into_iter().map(convert).collect();
    let last = entries.last().filter(|_| more).map(P::key);
    let mut response = ok(&P::from((entries, more)));
    page.link_next(&mut response, &call.caller.links(), path, filters, last.as_deref());
    Ok(response)
}

/// Converts the error of an operation.
pub(crate) fn map_error<T>(call: &Call<'_>, result: Result<T, ManageError>) -> Result<T, Error> {
    result.map_err(|error| match error {
        ManageError::Registry(error) => Error::Registry(error),
        ManageError::SignIn(_) if call.app.accounts.in_force() => {
            let base = call.base();
            call.app.challenges.deny_with_basic(base.as_deref(), DenyReason::SignIn).into()
        }
        error => Error::Manage(error),
    })
}

/// Refuses callers who are not administrators.
pub(crate) fn must_be_administrator(call: &Call<'_>) -> Result<(), Error> {
    map_error(call, manage(call).must_be_administrator())
}

/// Refuses work on a replica before it begins.
fn must_be_on_primary(call: &Call<'_>) -> Result<(), Error> {
    if call.app.registry.is_replica() { Err(registry::Error::Replica.into()) } else { Ok(()) }
}

/// The accounts, as the caller may manage them.
pub(crate) fn manage(call: &Call<'_>) -> Manage {
    let identity = call.caller.identity().clone();
    call.app.accounts.manage(Requester {
        address: (!matches!(identity, Identity::Operator)).then(|| call.caller.address()),
        identity,
        request_id: call.request.id.to_str().unwrap_or_default().to_owned(),
    })
}

/// `/api/v1/version`: the versions of the program and of its database schema.
pub(crate) async fn version(_call: Call<'_>) -> Result<Response, Error> {
    Ok(ok(&Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema_version: registry::SCHEMA_VERSION,
    }))
}

/// `/api/v1/me`: the caller.
pub(crate) async fn me(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, caller, .. } = call;
    let identity = caller.identity();
    let (kind, name, administrator) = match identity {
        Identity::Anonymous => (MeKind::Anonymous, None, false),
        Identity::Operator => (MeKind::Operator, None, true),
        Identity::Account(account) => {
            let kind = if account.name.is_robot() { MeKind::Robot } else { MeKind::User };
            (kind, Some(account.name.clone()), account.administrator && account.scope.is_none())
        }
    };
    Ok(ok(&Me { kind, name, administrator, accounts_in_force: app.accounts.in_force() }))
}

/// Cuts a result of one entry more than the page to the page. Returns whether there are more entries.
fn take_page<T>(mut found: Vec<T>, page: &PageRequest<'_>) -> (Vec<T>, bool) {
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    (found, more)
}

fn created(body: &impl Serialize) -> Response {
    let mut response = private(response::json(body));
    *response.status_mut() = StatusCode::CREATED;
    response
}

fn ok(body: &impl Serialize) -> Response {
    private(response::json(body))
}

fn no_content() -> Response {
    response::status(StatusCode::NO_CONTENT)
}

/// Forbids caching: the body is about accounts, and may hold a secret.
fn private(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
