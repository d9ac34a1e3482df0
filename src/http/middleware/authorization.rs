//! Who sends a request, and whether it may be carried out. This is the one place that decides so, from the same
//! [`Endpoint`] that selects the handler: no handler can be reached without a [`Caller`], and callers are made here
//! alone.
//!
//! A repository that a caller may not see does not exist for it. Without a sign-in the answer is 401 and how to sign
//! in. Otherwise reading and deleting are answered as for an absent repository, and a push is denied in the same words
//! whether the repository is private, absent or only readable. Nothing here asks the store for repositories.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use accounts::{AccountName, PrefixRules, Right, Visible};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{Method, Uri};
use oci::RepositoryName;
use registry::access::{Identity, Permission, SignInError};

use crate::config::{Admits, Auth, Challenge as Kind};
use crate::http::app::App;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::query::Query;
use crate::http::links::Links;
use crate::http::middleware::client_info::ClientInfo;
use crate::http::middleware::rate_limit::Client;
use crate::http::response;
use crate::http::server::connection::{Connection, Peer};

/// Who sends a request that may be carried out.
pub(crate) struct Caller {
    identity: Identity,
    called: ClientInfo,
    reached: Option<SocketAddr>,
    visible: Option<Visible>,
    links: Links,
    base: Option<String>,
}

impl Caller {
    /// Who it is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The repositories that a list may show it. For endpoints that are lists; elsewhere none.
    pub(crate) fn visible(&self) -> Visible {
        self.visible.clone().unwrap_or_else(Visible::nothing)
    }

    /// How addresses are told to it.
    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    /// The address that it has, as far as it can be believed.
    pub(crate) fn address(&self) -> IpAddr {
        self.called.from
    }

    /// The client, and how it called.
    pub(crate) fn called(&self) -> &ClientInfo {
        &self.called
    }

    /// Where on this machine its connection ended; `None` for a command over the control socket.
    pub(crate) fn reached(&self) -> Option<SocketAddr> {
        self.reached
    }

    /// Whether it called by HTTPS.
    pub(crate) fn is_secure(&self) -> bool {
        self.called.secure
    }

    /// The beginning of every address of this registry, with scheme and host; empty if nobody said it.
    pub(crate) fn base(&self) -> &str {
        self.base.as_deref().unwrap_or_default()
    }
}

/// How clients are asked for credentials.
pub(crate) struct Challenges {
    everywhere: Scheme,
    locations: PrefixRules<Scheme>,
}

/// How clients are asked for credentials somewhere.
struct Scheme {
    kind: Kind,
    /// What a password is for, as clients are told where they are asked for one.
    realm: String,
}

impl Challenges {
    pub(crate) fn new(auth: &Auth) -> Self {
        let ways = auth.locations.iter().map(|location| {
            let kind = match location.auth {
                Admits::Open => auth.challenge,
                Admits::Basic => Kind::Basic,
                Admits::Token => Kind::Bearer,
            };
            let realm = location.realm.as_ref().unwrap_or(&auth.service).clone();
            (location.path.clone(), Scheme { kind, realm })
        });
        let everywhere = Scheme { kind: auth.challenge, realm: auth.service.clone() };
        Self { everywhere, locations: ways.collect() }
    }

    /// How they are asked by an endpoint. What belongs to no repository is asked for as all of them are.
    fn by(&self, endpoint: Option<&Endpoint>) -> &Scheme {
        let way = match endpoint.and_then(Endpoint::repository) {
            Some(repository) => self.locations.of(repository),
            None => self.locations.of_all(),
        };
        way.unwrap_or(&self.everywhere)
    }
}

/// What a request asks of whoever sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requirement<'e> {
    /// Nothing: whoever asks is answered. Credentials that are wrong are refused all the same.
    Nothing,
    /// Credentials that are right, be it a token for nobody in particular.
    Credentials,
    /// Nothing, and what is answered depends on who asks: it is a list. If it is `closed`, credentials are asked for,
    /// because clients of this endpoint send them only when they are asked.
    List {
        /// Whether credentials are needed.
        closed: bool,
    },
    /// What it takes depends on more than the path: `registry::access::manage` decides it for each operation.
    Own,
    /// A right on a repository.
    Repository(&'e RepositoryName, Right),
}

impl<'e> Requirement<'e> {
    /// What a request needs. A method that the endpoint does not take needs what the most demanding one does, so that
    /// whoever may not see a repository does not hear 405 of it either.
    pub(crate) fn of(endpoint: &'e Endpoint, method: &Method) -> Self {
        let reads = method == Method::GET || method == Method::HEAD;
        match endpoint {
            Endpoint::Root
            | Endpoint::Health
            | Endpoint::Ready
            | Endpoint::Ping
            | Endpoint::Token
            | Endpoint::Jwks
            | Endpoint::Auth => Self::Nothing,
            Endpoint::Base => Self::Credentials,
            Endpoint::Catalog => Self::List { closed: true },
            Endpoint::Search
            | Endpoint::ApiRepositories
            | Endpoint::ApiUsage
            | Endpoint::ApiRepositoryUsage => Self::List { closed: false },
            Endpoint::Tags(name) | Endpoint::Referrers(name, _) | Endpoint::ApiTags(name) => {
                Self::Repository(name, Right::Pull)
            }
            Endpoint::Manifest(name, _) if method == Method::PUT => Self::Repository(name, Right::Push),
            Endpoint::Manifest(name, _) | Endpoint::Blob(name, _) | Endpoint::ApiRepository(name) => {
                Self::Repository(name, if reads { Right::Pull } else { Right::Delete })
            }
            // An upload is its pusher's, to look at and to cancel as well.
            Endpoint::Uploads(name) | Endpoint::Upload(name, _) => Self::Repository(name, Right::Push),
            Endpoint::Manage(_) => Self::Own,
        }
    }
}

/// Why a request is refused to whoever sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DenyReason {
    /// Nobody has signed in.
    #[error("authentication required: log in first, as with docker login")]
    SignIn,
    /// The credentials are wrong. Whether there is such an account is not said.
    #[error("authentication required: wrong user name, password or token")]
    Wrong,
    /// They were right once.
    #[error("authentication required: the token has expired or was revoked")]
    Expired,
    /// Another token would do.
    #[error("authentication required: the token was not issued for this")]
    Scope,
    /// It may not do this.
    #[error("requested access to the resource is denied: your account may not do this")]
    Forbidden,
}

/// A right on a repository that the caller does not have. The text is the same for a repository that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoRight {
    right: Right,
    repository: RepositoryName,
    /// The namespace that the account owns.
    own: Option<AccountName>,
    /// Whether the token in use allows less than its account may do.
    is_narrowed: bool,
}

impl NoRight {
    fn of(identity: &Identity, right: Right, repository: &RepositoryName) -> Self {
        Self {
            right,
            repository: repository.clone(),
            own: identity.name().filter(|name| name.has_namespace()).cloned(),
            is_narrowed: identity.scope().is_some(),
        }
    }

    /// The right that is missing.
    pub(crate) fn right(&self) -> Right {
        self.right
    }
}

impl fmt::Display for NoRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, .. } = self;
        f.write_str("requested access to the resource is denied: you may not ")?;
        match self.right {
            Right::Pull => write!(f, "pull from {repository}")?,
            Right::Push => write!(f, "push to {repository}")?,
            Right::Delete => write!(f, "delete in {repository}")?,
            Right::Administer => write!(f, "administer {repository}")?,
        }
        if self.is_narrowed {
            f.write_str("; the token in use allows less than its account may do")?;
        }
        if let Some(own) = &self.own {
            write!(f, "; {own}/... is yours")?;
        }
        f.write_str("; an administrator can grant more")
    }
}

/// A request as far as it matters here.
#[derive(Clone, Copy)]
pub(crate) struct AccessRequest<'a> {
    /// What it asks for, if that could be read.
    pub(crate) endpoint: Option<&'a Endpoint>,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) called: &'a ClientInfo,
}

/// Who sends a request, and whether credentials came with it.
pub(crate) struct Identified {
    pub(crate) identity: Identity,
    pub(crate) by_credentials: bool,
}

/// A request that is refused.
pub(crate) struct Rejection {
    /// [`Error::Denied`], [`Error::TooMany`], what a request for something absent is answered with, or what broke.
    pub(crate) error: Error,
    /// Who sent it, if that is known.
    pub(crate) identity: Option<Identity>,
    /// Whose credentials they should have been, if they are wrong.
    pub(crate) claimed: Option<AccountName>,
    /// Why credentials are refused, for the audit log.
    pub(crate) reason: Option<&'static str>,
}

impl Rejection {
    pub(crate) fn by(error: impl Into<Error>, identity: Option<Identity>) -> Box<Self> {
        Box::new(Self { error: error.into(), identity, claimed: None, reason: None })
    }

    /// Someone whose credentials did not do.
    pub(crate) fn not_signed_in(
        error: SignInError,
        challenge: impl FnOnce(DenyReason) -> Option<HeaderValue>,
    ) -> Box<Self> {
        let (claimed, reason) = (error.name().cloned(), error.reason());
        let denied = match error {
            SignInError::TooMany { retry_after, .. } => {
                let error = Error::TooMany { wait: retry_after };
                return Box::new(Self { error, identity: None, claimed, reason });
            }
            SignInError::Store(error) => return Self::by(error, None),
            SignInError::Expired { .. } => DenyReason::Expired,
            SignInError::Wrong { .. } => DenyReason::Wrong,
        };
        let error = Error::Denied { denied, challenge: challenge(denied) };
        Box::new(Self { error, identity: None, claimed, reason })
    }
}

/// Judges a request.
///
/// # Errors
/// That it is refused.
pub(crate) async fn authorize(
    app: &App,
    connection: &Connection,
    asked: AccessRequest<'_>,
) -> Result<Caller, Box<Rejection>> {
    let identified = identify(app, connection, asked).await?;
    let visible = match allow(app, asked, &identified).await {
        Ok(visible) => visible,
        Err(error) => return Err(Rejection::by(error, Some(identified.identity))),
    };
    Ok(Caller {
        identity: identified.identity,
        called: asked.called.clone(),
        reached: connection.reached(),
        visible,
        links: app.links(asked.called),
        base: app.base(asked.called, asked.headers),
    })
}

/// Who sends a request, if it may read from a repository and both can be told without waiting.
pub(crate) fn reads_at_once(
    app: &App,
    connection: &Connection,
    called: &ClientInfo,
    headers: &HeaderMap,
    repository: &RepositoryName,
) -> Option<Identity> {
    let identity = match credentials(headers) {
        _ if matches!(connection.peer(), Peer::Control) => Identity::Operator,
        _ if !app.accounts.in_force() => Identity::Anonymous,
        // The operator's backend is asked by who can wait.
        _ if app.forward.is_some() => return None,
        Ok(None) => Identity::Anonymous,
        Ok(Some(authorization)) => app.accounts.cached_identity(authorization.as_bytes(), called.from)?,
        Err(_) => return None,
    };
    (app.accounts.is_allowed_cached(&identity, repository, Right::Pull) == Some(true)).then_some(identity)
}

/// Finds out who sends a request. Wrong credentials are refused whatever is asked for, or `docker login` would
/// succeed with them wherever anyone is let in. Without accounts credentials are ignored: clients send what they have
/// stored.
pub(crate) async fn identify(
    app: &App,
    connection: &Connection,
    asked: AccessRequest<'_>,
) -> Result<Identified, Box<Rejection>> {
    if matches!(connection.peer(), Peer::Control) {
        return Ok(Identified { identity: Identity::Operator, by_credentials: true });
    }
    let nobody = Identified { identity: Identity::Anonymous, by_credentials: false };
    if !app.accounts.in_force() {
        return Ok(nobody);
    }
    let authorization = credentials(asked.headers).map_err(|denied| {
        let error = Error::Denied { denied, challenge: challenge(app, asked, Some(denied)) };
        Box::new(Rejection {
            error,
            identity: None,
            claimed: None,
            reason: Some("two Authorization headers"),
        })
    })?;
    match sign_in(app, asked, authorization).await? {
        Some(identity) => counted(app, Identified { identity, by_credentials: true }),
        None => Ok(nobody),
    }
}

/// Signs a client in: with the operator's backend, and then with the registry's own accounts. `None` if it brings
/// nothing to sign in with.
pub(crate) async fn sign_in(
    app: &App,
    asked: AccessRequest<'_>,
    authorization: Option<&HeaderValue>,
) -> Result<Option<Identity>, Box<Rejection>> {
    if let Some(forward) = &app.forward
        && let Some(identity) =
            forward.identify(app, asked).await.map_err(|error| Rejection::by(error, None))?
    {
        return Ok(Some(identity));
    }
    let Some(authorization) = authorization else { return Ok(None) };
    let signed_in = app.accounts.sign_in(authorization.as_bytes(), asked.called.from).await;
    signed_in
        .map(Some)
        .map_err(|error| Rejection::not_signed_in(error, |denied| challenge(app, asked, Some(denied))))
}

/// What docker sends, over HTTPS, with a search for somebody who has not signed in: neither a name nor a password.
const NOBODY: &[u8] = b"Basic Og==";

/// The credentials of a request. One that brings two is refused: whoever reads only the first and whoever reads only
/// the last would not mean the same.
fn credentials(headers: &HeaderMap) -> Result<Option<&HeaderValue>, DenyReason> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(DenyReason::Wrong),
        (Some(value), None) if !value.is_empty() && value.as_bytes() != NOBODY => Ok(Some(value)),
        _ => Ok(None),
    }
}

/// Counts a request of somebody whom [`reads_at_once`] named, last of all: what is not answered at once is counted where
/// it is judged. `false` if they have sent too many, which is said there as well.
pub(crate) fn charge_rate_limit(app: &App, identity: &Identity) -> bool {
    identity.account().is_none_or(|account| app.rate_limits.request(Client::Account(account.id)).is_ok())
}

fn counted(app: &App, identified: Identified) -> Result<Identified, Box<Rejection>> {
    let allowed = match identified.identity.account() {
        Some(account) => app.rate_limits.request(Client::Account(account.id)),
        None => Ok(()),
    };
    match allowed {
        Ok(()) => Ok(identified),
        Err(wait) => Err(Rejection::by(Error::TooMany { wait }, Some(identified.identity))),
    }
}

/// Whether someone may do what a request asks; if it is a list, of what.
pub(crate) async fn allow(
    app: &App,
    asked: AccessRequest<'_>,
    identified: &Identified,
) -> Result<Option<Visible>, Error> {
    let identity = &identified.identity;
    let refused = |denied| Error::Denied { denied, challenge: challenge(app, asked, Some(denied)) };
    let Some(endpoint) = asked.endpoint else { return Ok(None) };
    match Requirement::of(endpoint, asked.method) {
        Requirement::Nothing | Requirement::Own => Ok(None),
        Requirement::Credentials | Requirement::List { closed: true }
            if app.accounts.in_force() && !identified.by_credentials =>
        {
            Err(refused(DenyReason::SignIn))
        }
        Requirement::Credentials => Ok(None),
        Requirement::List { .. }
            if app.accounts.in_force()
                && !identified.by_credentials
                && keeps_credentials(endpoint, asked) =>
        {
            Err(refused(DenyReason::SignIn))
        }
        Requirement::List { .. } => match app.accounts.listable(identity).await? {
            Some(visible) => Ok(Some(visible)),
            None => Err(refused(DenyReason::Scope)),
        },
        Requirement::Repository(repository, right) => {
            match app.accounts.permission(identity, repository, right).await? {
                Permission::Allowed => Ok(None),
                Permission::OutOfScope => Err(refused(DenyReason::Scope)),
                // A token for nobody in particular is none that could be widened without signing in.
                Permission::Denied | Permission::Hidden if identity.is_anonymous() => {
                    Err(refused(DenyReason::SignIn))
                }
                Permission::Hidden if right != Right::Push => Err(absent(endpoint, repository).into()),
                Permission::Denied | Permission::Hidden => {
                    Err(Error::NoRight(NoRight::of(identity, right, repository)))
                }
            }
        }
    }
}

/// Whether a search comes from a client that has not sent the credentials it may have: podman never sends any with the
/// old search, would take what is public for all there is, and where it is refused looks into the catalog, signed in. It
/// is known by saying which version of the registry's protocol it speaks, which docker's search does not.
fn keeps_credentials(endpoint: &Endpoint, asked: AccessRequest<'_>) -> bool {
    matches!(endpoint, Endpoint::Search) && asked.headers.contains_key(response::DOCKER_API_VERSION)
}

/// What is said of a repository that is not there.
fn absent(endpoint: &Endpoint, repository: &RepositoryName) -> registry::Error {
    match endpoint {
        Endpoint::Blob(_, digest) => {
            registry::Error::BlobUnknown { repository: repository.clone(), digest: *digest }
        }
        _ => registry::Error::NameUnknown(repository.clone()),
    }
}

/// How to sign in, for the `WWW-Authenticate` of a 401 (RFC 6750, section 3, and distribution's "Token Authentication
/// Specification").
pub(crate) fn challenge(
    app: &App,
    asked: AccessRequest<'_>,
    denied: Option<DenyReason>,
) -> Option<HeaderValue> {
    // Only the protocol of registries has tokens for a purpose.
    let is_protocol = matches!(
        asked.endpoint,
        Some(
            Endpoint::Base
                | Endpoint::Catalog
                | Endpoint::Tags(_)
                | Endpoint::Manifest(..)
                | Endpoint::Blob(..)
                | Endpoint::Uploads(_)
                | Endpoint::Upload(..)
                | Endpoint::Referrers(..)
        )
    );
    let base = app.base(asked.called, asked.headers);
    let way = app.asking.by(asked.endpoint);
    let service = &app.service;
    let challenge = match base {
        Some(base) if is_protocol && way.kind == Kind::Bearer => {
            let mut challenge = format!(r#"Bearer realm="{base}/token",service="{service}""#);
            let scope = asked.endpoint.map(|endpoint| scope(endpoint, asked)).unwrap_or_default();
            if !scope.is_empty() {
                challenge += &format!(r#",scope="{scope}""#);
            }
            match denied {
                Some(DenyReason::Wrong | DenyReason::Expired) => challenge += r#",error="invalid_token""#,
                Some(DenyReason::Scope) => challenge += r#",error="insufficient_scope""#,
                _ => {}
            }
            challenge
        }
        _ => return for_passwords(way),
    };
    HeaderValue::try_from(challenge).ok()
}

/// How to sign in where there is nothing but passwords, and no repository.
pub(crate) fn basic_challenge(app: &App) -> Option<HeaderValue> {
    for_passwords(app.asking.by(None))
}

/// RFC 7617.
fn for_passwords(way: &Scheme) -> Option<HeaderValue> {
    HeaderValue::try_from(format!(r#"Basic realm="{}", charset="UTF-8""#, way.realm)).ok()
}

/// What a token would have to be issued for.
fn scope(endpoint: &Endpoint, asked: AccessRequest<'_>) -> String {
    match Requirement::of(endpoint, asked.method) {
        Requirement::List { .. } => "registry:catalog:*".to_owned(),
        Requirement::Repository(repository, right) => {
            let actions = match right {
                Right::Pull => "pull",
                Right::Push => "pull,push",
                Right::Delete => "delete",
                Right::Administer => "*",
            };
            let scope = format!("repository:{repository}:{actions}");
            match mounted_from(endpoint, asked.uri) {
                Some(from) if from != *repository => format!("{scope} repository:{from}:pull"),
                _ => scope,
            }
        }
        Requirement::Nothing | Requirement::Own | Requirement::Credentials => String::new(),
    }
}

/// The repository out of which a request wants to mount a blob.
pub(crate) fn mounted_from(endpoint: &Endpoint, uri: &Uri) -> Option<RepositoryName> {
    let Endpoint::Uploads(_) = endpoint else { return None };
    let query = Query::new(uri.query());
    query.get_filled("mount")?;
    query.get_filled("from")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use oci::{Algorithm, TagOrDigest};
    use uuid::Uuid;

    use super::*;

    fn name() -> RepositoryName {
        "team/app".parse().unwrap()
    }

    #[test]
    fn reading_writing_and_deleting_need_what_they_say() {
        let digest = Algorithm::Sha256.digest(b"x");
        let manifest = Endpoint::Manifest(name(), TagOrDigest::Digest(digest));
        let blob = Endpoint::Blob(name(), digest);
        let upload = Endpoint::Upload(name(), Uuid::nil());
        let name = name();
        for (endpoint, method, right) in [
            (&manifest, "GET", Right::Pull),
            (&manifest, "HEAD", Right::Pull),
            (&manifest, "PUT", Right::Push),
            (&manifest, "DELETE", Right::Delete),
            (&blob, "GET", Right::Pull),
            (&blob, "DELETE", Right::Delete),
            (&Endpoint::Tags(name.clone()), "GET", Right::Pull),
            (&Endpoint::Referrers(name.clone(), digest), "GET", Right::Pull),
            (&Endpoint::Uploads(name.clone()), "POST", Right::Push),
            (&upload, "GET", Right::Push),
            (&upload, "PATCH", Right::Push),
            (&upload, "PUT", Right::Push),
            (&upload, "DELETE", Right::Push),
            (&Endpoint::ApiRepository(name.clone()), "GET", Right::Pull),
            (&Endpoint::ApiRepository(name.clone()), "DELETE", Right::Delete),
            (&Endpoint::ApiTags(name.clone()), "GET", Right::Pull),
            // Methods that mean nothing tell nothing.
            (&manifest, "PATCH", Right::Delete),
            (&blob, "TRACE", Right::Delete),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(
                Requirement::of(endpoint, &method),
                Requirement::Repository(&name, right),
                "{method} {endpoint:?}"
            );
        }
    }

    #[test]
    fn what_is_mounted_is_read_from_the_query_of_uploads_alone() {
        let uploads = Endpoint::Uploads(name());
        let from = |endpoint: &Endpoint, query: &str| {
            mounted_from(endpoint, &format!("/x?{query}").parse().unwrap())
        };
        assert_eq!(from(&uploads, "mount=sha256:x&from=a/b"), Some("a/b".parse().unwrap()));
        assert_eq!(from(&uploads, "from=a/b"), None);
        assert_eq!(from(&uploads, "mount=x&from=../b"), None);
        assert_eq!(from(&Endpoint::Tags(name()), "mount=x&from=a/b"), None);
    }
}
