//! What the audit log is told of requests: what they changed, and what was refused to whom.
//!
//! Nothing is recorded while there are no accounts: there is nobody of whom it could be said. What
//! `registry::access` changes for a request (accounts, grants, tokens) it records itself, and it aggregates repeats.

use std::net::IpAddr;

use hyper::header::HeaderValue;
use hyper::{Method, StatusCode, Uri};
use registry::access::{AuditEvent, AuditOutcome, Identity, SIGN_IN, Via};

use crate::http::app::App;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::query::Query;
use crate::http::middleware::authorization::{Caller, DenyReason, Rejection};

/// What a request does, in the words of the audit log.
pub(crate) struct AuditedAction {
    action: &'static str,
    object: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It changes what others see.
    Change,
    /// It adds content that nobody sees yet.
    Upload,
    /// It takes content out.
    Pull,
    /// It only looks.
    Look,
}

impl AuditedAction {
    /// `None` if it does nothing with a repository, or if that is recorded elsewhere.
    pub(crate) fn of(endpoint: &Endpoint, method: &Method, uri: &Uri) -> Option<Self> {
        let query = Query::new(uri.query());
        let gets = method == Method::GET;
        let looks = gets || method == Method::HEAD;
        let (action, object, kind) = match endpoint {
            Endpoint::Manifest(name, target) => {
                let object = match target {
                    oci::TagOrDigest::Tag(tag) => format!("{name}:{tag}"),
                    oci::TagOrDigest::Digest(digest) => format!("{name}@{digest}"),
                };
                match method.as_str() {
                    "PUT" => ("manifest.push", object, Kind::Change),
                    "DELETE" => ("manifest.delete", object, Kind::Change),
                    _ if gets => ("manifest.pull", object, Kind::Pull),
                    _ => ("manifest.look", object, Kind::Look),
                }
            }
            Endpoint::Blob(name, digest) => {
                let object = format!("{name}@{digest}");
                match method.as_str() {
                    "DELETE" => ("blob.delete", object, Kind::Change),
                    _ if gets => ("blob.pull", object, Kind::Pull),
                    _ => ("blob.look", object, Kind::Look),
                }
            }
            Endpoint::Uploads(name) | Endpoint::Upload(name, _) => {
                let digest = query.get_filled("digest").or_else(|| query.get_filled("mount"));
                let digest = digest.and_then(|digest| digest.parse::<oci::Digest>().ok());
                match digest {
                    Some(digest) => ("blob.push", format!("{name}@{digest}"), Kind::Upload),
                    None => ("blob.upload", name.to_string(), Kind::Look),
                }
            }
            Endpoint::ApiRepository(name) if !looks => ("repository.delete", name.to_string(), Kind::Change),
            Endpoint::Tags(name)
            | Endpoint::Referrers(name, _)
            | Endpoint::ApiRepository(name)
            | Endpoint::ApiTags(name) => ("repository.look", name.to_string(), Kind::Look),
            Endpoint::Root
            | Endpoint::Health
            | Endpoint::Ready
            | Endpoint::Ping
            | Endpoint::Search
            | Endpoint::Token
            | Endpoint::Jwks
            | Endpoint::Auth
            | Endpoint::Base
            | Endpoint::Catalog
            | Endpoint::ApiRepositories
            | Endpoint::ApiUsage
            | Endpoint::ApiRepositoryUsage
            | Endpoint::Manage(_) => return None,
        };
        Some(Self { action, object, kind })
    }
}

/// Records what was done. What is a change is in the log before its client hears of it.
pub(crate) async fn done(
    app: &App,
    audited: AuditedAction,
    caller: &Caller,
    status: StatusCode,
    id: &HeaderValue,
) {
    // An upload that only began is none yet.
    let is_worth_it = match audited.kind {
        Kind::Change => true,
        Kind::Upload => status == StatusCode::CREATED,
        Kind::Pull => app.audit_pulls,
        Kind::Look => false,
    };
    if !is_worth_it || !app.accounts.in_force() {
        return;
    }
    let event = AuditEvent {
        account: AuditEvent::account_of(caller.identity()),
        address: Some(caller.address()),
        action: audited.action,
        object: Some(audited.object),
        verdict: AuditOutcome::Allowed,
        status: Some(status.as_u16()),
        request_id: id.to_str().ok().map(str::to_owned),
        detail: None,
    };
    if audited.kind == Kind::Change {
        app.accounts.record_durably(event).await;
    } else {
        app.accounts.record(event).await;
    }
}

/// Records that an account has signed in. Bearer tokens are no sign-in: they were issued for one.
pub(crate) async fn signed_in(app: &App, identity: &Identity, from: IpAddr, id: &HeaderValue) {
    let Some(account) = identity.account() else { return };
    let way = match account.via {
        Via::Password => "with a password",
        Via::PersonalToken => "with a personal token",
        Via::RobotSecret => "with a robot's secret",
        Via::RefreshToken => "with a refresh token",
        Via::Forward => "by auth.forward",
        Via::Bearer => return,
    };
    app.accounts
        .record(AuditEvent {
            account: AuditEvent::account_of(identity),
            address: Some(from),
            action: SIGN_IN,
            object: None,
            verdict: AuditOutcome::Allowed,
            status: None,
            request_id: id.to_str().ok().map(str::to_owned),
            detail: Some(way.to_owned()),
        })
        .await;
}

/// Records what was refused, if it says something about someone: wrong credentials, and what an account may not do.
/// That someone has yet to sign in, or needs another token, is how every push and pull begins.
pub(crate) async fn refused(
    app: &App,
    audited: Option<AuditedAction>,
    refused: &Rejection,
    from: IpAddr,
    id: &HeaderValue,
) {
    let action = || audited.as_ref().map_or("request", |audited| audited.action);
    let reason = refused.reason.map(str::to_owned);
    let (action, status, detail) = match &refused.error {
        Error::Denied { denied: DenyReason::Wrong | DenyReason::Expired, .. } => {
            (SIGN_IN, StatusCode::UNAUTHORIZED, reason)
        }
        Error::TooMany { .. } if reason.is_some() => (SIGN_IN, StatusCode::TOO_MANY_REQUESTS, reason),
        Error::NoRight(no_right) => {
            (action(), StatusCode::FORBIDDEN, Some(format!("without the right to {}", no_right.right())))
        }
        Error::Denied { denied: DenyReason::Forbidden, .. } => (action(), StatusCode::FORBIDDEN, reason),
        Error::Registry(error) if error.is_unknown() => {
            (action(), StatusCode::NOT_FOUND, Some("without the right to pull".to_owned()))
        }
        _ => return,
    };
    if !app.accounts.in_force() {
        return;
    }
    let account = refused.identity.as_ref().and_then(AuditEvent::account_of);
    app.accounts
        .record(AuditEvent {
            account: account.or_else(|| refused.claimed.as_ref().map(ToString::to_string)),
            address: Some(from),
            action,
            object: audited.map(|audited| audited.object),
            verdict: AuditOutcome::Denied,
            status: Some(status.as_u16()),
            request_id: id.to_str().ok().map(str::to_owned),
            detail,
        })
        .await;
}
