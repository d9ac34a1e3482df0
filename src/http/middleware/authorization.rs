//! Authorization middleware: identifies the client and checks its rights, from the same [`Endpoint`] that
//! selects the handler. Only [`authorize`] and [`authorize_cached`] make an [`Authorized`], which the caller
//! of every handler needs.
//!
//! A repository that the caller may not see does not exist for it. An anonymous client gets 401 and a
//! challenge. Other callers get the answer for an absent repository to reads and deletes. A denied push has
//! one text, whether the repository is private, absent or read-only for the caller. No check here asks the
//! store for repositories.

use accounts::{AccountName, Right, Visible};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use oci::RepositoryName;
use registry::access::{Identity, Permission, SignInError};

use crate::http::app::App;
use crate::http::endpoints::Requirement;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::middleware::access_request::AccessRequest;
use crate::http::middleware::caller::Authorized;
use crate::http::middleware::cookies;
use crate::http::middleware::denied::{Denied, DenyReason, NoRight};
use crate::http::middleware::forward_auth::ForwardError;
use crate::http::middleware::open_pull;
use crate::http::middleware::rate_limit::Client;
use crate::http::response;
use crate::http::server::connection::{Connection, Peer};

/// An authenticated or anonymous client.
pub(crate) struct Identified {
    pub(crate) identity: Identity,
    pub(crate) by_credentials: bool,
}

/// A refused request.
pub(crate) struct Rejection {
    /// [`Error::Denied`], [`Error::TooMany`], the answer for an absent repository, or an internal error.
    pub(crate) error: Error,
    pub(crate) identity: Option<Identity>,
    /// The account that wrong credentials name.
    pub(crate) claimed: Option<AccountName>,
    /// The reason for the audit log.
    pub(crate) reason: Option<&'static str>,
}

impl Rejection {
    pub(crate) fn by(error: impl Into<Error>, identity: Option<Identity>) -> Box<Self> {
        Box::new(Self { error: error.into(), identity, claimed: None, reason: None })
    }

    /// Rejects failed credentials.
    pub(crate) fn of_sign_in(error: SignInError, deny: impl FnOnce(DenyReason) -> Denied) -> Box<Self> {
        let (claimed, reason) = (error.name().cloned(), error.reason());
        let error = match error {
            SignInError::TooMany { retry_after, .. } => Error::TooMany { wait: retry_after },
            SignInError::Store(error) => return Self::by(error, None),
            SignInError::Expired { .. } => Error::Denied(deny(DenyReason::Expired)),
            SignInError::Wrong { .. } => Error::Denied(deny(DenyReason::Wrong)),
        };
        Box::new(Self { error, identity: None, claimed, reason })
    }
}

/// Identifies the client, charges its rate limit and checks the [`Requirement`] of the endpoint.
pub(crate) async fn authorize(
    app: &App,
    connection: &Connection,
    request: AccessRequest<'_>,
) -> Result<Authorized, Box<Rejection>> {
    if let Some(cached) = authorize_cached(app, connection, request) {
        return cached;
    }
    let identified = identify(app, connection, request).await?;
    let visible = match allow(app, request, &identified).await {
        Ok(visible) => visible,
        Err(error) => return Err(Rejection::by(error, Some(identified.identity))),
    };
    Ok(Authorized { identity: identified.identity, visible })
}

/// The part of [`authorize`] that does not wait: reads of a repository whose credentials and permission are
/// cached.
///
/// A manifest in memory is then answered without a task or a boxed future, which is most of the speed of
/// `bench run manifest`.
pub(crate) fn authorize_cached(
    app: &App,
    connection: &Connection,
    request: AccessRequest<'_>,
) -> Option<Result<Authorized, Box<Rejection>>> {
    let endpoint = request.endpoint.filter(|endpoint| !endpoint.is_page())?;
    let (Requirement::Repository(Right::Pull), Some(repository)) =
        (endpoint.requirement(request.method), endpoint.repository())
    else {
        return None;
    };
    let identity = match credentials(request.headers) {
        _ if matches!(connection.peer(), Peer::Control) => Identity::Operator,
        _ if !app.accounts.in_force() => Identity::Anonymous,
        _ if open_pull::is_open(app, request) => {
            return Some(Ok(Authorized { identity: Identity::Anonymous, visible: None }));
        }
        // Forward authentication asks another server.
        _ if app.forward.is_some() => return None,
        Ok(None) => Identity::Anonymous,
        Ok(Some(authorization)) => {
            app.accounts.cached_identity(authorization.as_bytes(), request.client.address)?
        }
        Err(_) => return None,
    };
    if app.accounts.is_allowed_cached(&identity, repository, Right::Pull) != Some(true) {
        return None;
    }
    if let Err(rejection) = charge_rate_limit(app, &identity) {
        return Some(Err(rejection));
    }
    Some(Ok(Authorized { identity, visible: None }))
}

/// Identifies the client and charges its rate limit.
///
/// Wrong credentials are refused at every endpoint: otherwise `docker login` would accept them where
/// anonymous access is allowed. A registry without accounts ignores credentials, because clients send stored
/// ones unasked.
pub(crate) async fn identify(
    app: &App,
    connection: &Connection,
    request: AccessRequest<'_>,
) -> Result<Identified, Box<Rejection>> {
    if matches!(connection.peer(), Peer::Control) {
        return Ok(Identified { identity: Identity::Operator, by_credentials: true });
    }
    let anonymous = Identified { identity: Identity::Anonymous, by_credentials: false };
    if !app.accounts.in_force() || open_pull::is_open(app, request) {
        return Ok(anonymous);
    }
    let authorization = credentials(request.headers).map_err(|reason| {
        Box::new(Rejection {
            error: app.deny(request, reason).into(),
            identity: None,
            claimed: None,
            reason: Some("two Authorization headers"),
        })
    })?;
    match sign_in(app, request, authorization).await? {
        Some(identity) => {
            charge_rate_limit(app, &identity)?;
            Ok(Identified { identity, by_credentials: true })
        }
        None => Ok(with_session(app, request).await?.unwrap_or(anonymous)),
    }
}

/// Identifies a browser by its session. Only pages take sessions: a page of another site that makes a browser
/// send its cookies reaches neither the registry protocol nor the API. A session that has ended is as good as
/// none.
async fn with_session(app: &App, request: AccessRequest<'_>) -> Result<Option<Identified>, Box<Rejection>> {
    let is_page = request.endpoint.is_some_and(Endpoint::is_page);
    let secret = cookies::session(request.headers, request.client).filter(|_| is_page);
    let Some(secret) = secret else { return Ok(None) };
    let Some(identity) = app.accounts.session(secret).await.map_err(|error| Rejection::by(error, None))?
    else {
        return Ok(None);
    };
    charge_rate_limit(app, &identity)?;
    Ok(Some(Identified { identity, by_credentials: true }))
}

/// Authenticates a client with the forward-auth server first, then with the registry's accounts. Returns
/// `None` for a request without credentials.
pub(crate) async fn sign_in(
    app: &App,
    request: AccessRequest<'_>,
    authorization: Option<&HeaderValue>,
) -> Result<Option<Identity>, Box<Rejection>> {
    if let Some(forward) = &app.forward {
        match forward.identify(&app.accounts, request).await {
            Ok(None) => {}
            Ok(identity) => return Ok(identity),
            Err(ForwardError::Forbidden) => return Err(Rejection::by(Denied::FORBIDDEN, None)),
            Err(ForwardError::Registry(error)) => return Err(Rejection::by(error, None)),
            Err(error) => return Err(Rejection::by(Error::Forward(error), None)),
        }
    }
    let Some(authorization) = authorization else { return Ok(None) };
    let signed_in = app.accounts.sign_in(authorization.as_bytes(), request.client.address).await;
    signed_in.map(Some).map_err(|error| Rejection::of_sign_in(error, |reason| app.deny(request, reason)))
}

/// Empty Basic credentials (`:`), which docker sends over HTTPS with an anonymous search.
const EMPTY_BASIC: &[u8] = b"Basic Og==";

/// Returns the credentials of a request. Two `Authorization` headers are refused: a proxy may have read the
/// other one.
fn credentials(headers: &HeaderMap) -> Result<Option<&HeaderValue>, DenyReason> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(DenyReason::Wrong),
        (Some(value), None) if !value.is_empty() && value.as_bytes() != EMPTY_BASIC => Ok(Some(value)),
        _ => Ok(None),
    }
}

fn charge_rate_limit(app: &App, identity: &Identity) -> Result<(), Box<Rejection>> {
    let Some(account) = identity.account() else { return Ok(()) };
    let charged = app.rate_limits.request(Client::Account(account.id));
    charged.map_err(|wait| {
        app.metrics.rate_limited.of("account").inc();
        Rejection::by(Error::TooMany { wait }, Some(identity.clone()))
    })
}

/// Checks the [`Requirement`] of a request. Returns the visible repositories for a list.
pub(crate) async fn allow(
    app: &App,
    request: AccessRequest<'_>,
    identified: &Identified,
) -> Result<Option<Visible>, Error> {
    let identity = &identified.identity;
    let refused = |reason| Err(app.deny(request, reason).into());
    let Some(endpoint) = request.endpoint else { return Ok(None) };
    let must_sign_in = app.accounts.in_force() && !identified.by_credentials;
    match endpoint.requirement(request.method) {
        Requirement::Nothing | Requirement::Own => Ok(None),
        Requirement::Credentials | Requirement::List { closed: true } if must_sign_in => {
            refused(DenyReason::SignIn)
        }
        Requirement::Credentials => Ok(None),
        Requirement::List { .. } if must_sign_in && is_podman_search(endpoint, request) => {
            refused(DenyReason::SignIn)
        }
        Requirement::List { .. } => match app.accounts.listable(identity).await? {
            Some(visible) => Ok(Some(visible)),
            None => refused(DenyReason::Scope),
        },
        Requirement::Repository(right) => {
            let repository = endpoint.repository().expect("a test checks that the path names a repository");
            match app.accounts.permission(identity, repository, right).await? {
                Permission::Allowed => Ok(None),
                Permission::OutOfScope => refused(DenyReason::Scope),
                // A wider anonymous token does not exist: the client has to log in.
                Permission::Denied | Permission::Hidden if identity.is_anonymous() => {
                    refused(DenyReason::SignIn)
                }
                Permission::Hidden if right != Right::Push => Err(absent(endpoint, repository).into()),
                Permission::Denied | Permission::Hidden => {
                    Err(Error::NoRight(NoRight::of(identity, right, repository)))
                }
            }
        }
    }
}

/// Whether podman sends this search. Podman never sends credentials with `/v1/search` and would show public
/// repositories only. After a 401 it reads the catalog with credentials. Unlike docker it sends the API
/// version.
fn is_podman_search(endpoint: &Endpoint, request: AccessRequest<'_>) -> bool {
    matches!(endpoint, Endpoint::Search) && request.headers.contains_key(response::DOCKER_API_VERSION)
}

/// Returns the error of an absent repository.
fn absent(endpoint: &Endpoint, repository: &RepositoryName) -> registry::Error {
    match endpoint {
        Endpoint::Blob(_, digest) => {
            registry::Error::BlobUnknown { repository: repository.clone(), digest: *digest }
        }
        _ => registry::Error::NameUnknown(repository.clone()),
    }
}
