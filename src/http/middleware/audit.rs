//! Audit middleware: records changes, denied requests and sign-ins in the audit log.
//!
//! A registry without accounts records nothing. `registry::access` records changes of accounts, grants and
//! tokens, and aggregates repeats.

use std::net::IpAddr;

use accounts::Actor;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode, Uri};
use oci::TagOrDigest;
use registry::access::{AuditEvent, AuditOutcome, Identity, SIGN_IN, Via};

use crate::http::app::App;
use crate::http::audited_change::{AuditedChange, AuditedChanges};
use crate::http::endpoints::AuditAction;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::query::Query;
use crate::http::middleware::authorization::Rejection;
use crate::http::middleware::caller::Caller;
use crate::http::middleware::denied::{Denied, DenyReason};
use crate::http::response::Response;

/// The action and object of a request.
pub(crate) struct AuditedAction {
    action: &'static str,
    object: Option<String>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Change,
    Upload,
    /// A form of a page, which redirects once it has changed something.
    Form,
    Pull,
    /// Recorded only if denied.
    Look,
}

impl AuditedAction {
    /// Returns `None` for requests that change nothing, and for those that `registry::access` records.
    pub(crate) fn of(endpoint: &Endpoint, method: &Method, uri: &Uri) -> Option<Self> {
        if let AuditAction::Operate(action) = endpoint.audit(method) {
            if Query::new(uri.query()).get_filled("dry_run").is_some_and(|value| value == "true") {
                return None;
            }
            let object = match endpoint {
                Endpoint::ApiUpstreamCache(upstream) => Some(upstream.to_string()),
                // The options, such as `repair=true`. These endpoints take no secrets.
                _ => uri.query().filter(|query| !query.is_empty()).map(str::to_owned),
            };
            return Some(Self { action, object, kind: Kind::Change });
        }
        let repository = endpoint.repository()?;
        let (action, kind) = match endpoint.audit(method) {
            AuditAction::None | AuditAction::Operate(_) => return None,
            AuditAction::Change(action) => (action, Kind::Change),
            AuditAction::Form(action) => (action, Kind::Form),
            AuditAction::Pull(action) => (action, Kind::Pull),
            AuditAction::Look(action) => (action, Kind::Look),
            AuditAction::Upload => {
                let query = Query::new(uri.query());
                let digest = query.get_filled("digest").or_else(|| query.get_filled("mount"));
                let digest = digest.and_then(|digest| digest.parse::<oci::Digest>().ok());
                let (action, object, kind) = match digest {
                    Some(digest) => ("blob.push", format!("{repository}@{digest}"), Kind::Upload),
                    None => ("blob.upload", repository.to_string(), Kind::Look),
                };
                return Some(Self { action, object: Some(object), kind });
            }
        };
        let object = match endpoint {
            Endpoint::Manifest(_, TagOrDigest::Tag(tag)) | Endpoint::PageDelete(_, TagOrDigest::Tag(tag)) => {
                format!("{repository}:{tag}")
            }
            Endpoint::Manifest(_, TagOrDigest::Digest(digest))
            | Endpoint::PageDelete(_, TagOrDigest::Digest(digest))
            | Endpoint::Blob(_, digest) => {
                format!("{repository}@{digest}")
            }
            _ => repository.to_string(),
        };
        Some(Self { action, object: Some(object), kind })
    }
}

/// The parts of a response that the audit log needs.
pub(crate) struct Answered {
    status: StatusCode,
    changes: Option<AuditedChanges>,
}

impl Answered {
    pub(crate) fn of(response: &Response) -> Self {
        Self { status: response.status(), changes: response.extensions().get().cloned() }
    }
}

/// Records an allowed request that succeeded. A change is in the log before its client gets the answer.
pub(crate) async fn answered(
    app: &App,
    audited: Option<AuditedAction>,
    caller: &Caller<'_>,
    answered: Answered,
    id: &HeaderValue,
) {
    let Answered { status, changes } = answered;
    let (mut entries, kind) = match (changes, audited) {
        (Some(AuditedChanges(changes)), _) => (changes, Kind::Change),
        (None, Some(AuditedAction { action, object, kind })) => {
            (vec![AuditedChange { action, object, detail: None }], kind)
        }
        (None, None) => return,
    };
    let is_recorded = match kind {
        Kind::Change => status.is_success() || status == StatusCode::SEE_OTHER,
        Kind::Form => status == StatusCode::SEE_OTHER,
        // The request that begins an upload pushes no blob yet.
        Kind::Upload => status == StatusCode::CREATED,
        // A bucket sends the content to which a response redirects.
        Kind::Pull => app.audit_pulls && (status.is_success() || status == StatusCode::TEMPORARY_REDIRECT),
        Kind::Look => false,
    };
    if !is_recorded || !app.accounts.in_force() {
        return;
    }
    let event = |AuditedChange { action, object, detail }| AuditEvent {
        account: AuditEvent::account_of(caller.identity()),
        address: Some(caller.address()),
        action,
        object,
        verdict: AuditOutcome::Allowed,
        status: Some(status.as_u16()),
        request_id: id.to_str().ok().map(str::to_owned),
        detail,
    };
    // The log is in order: once the last entry is durable, all are.
    let last = entries.pop();
    for entry in entries {
        app.accounts.record(event(entry)).await;
    }
    match (last.map(event), kind) {
        (Some(event), Kind::Change | Kind::Form) => app.accounts.record_durably(event).await,
        (Some(event), Kind::Upload | Kind::Pull | Kind::Look) => app.accounts.record(event).await,
        (None, _) => {}
    }
}

/// Records a sign-in. A bearer token is the result of an earlier one.
pub(crate) async fn signed_in(app: &App, identity: &Identity, from: IpAddr, id: &HeaderValue) {
    let Some(account) = identity.account() else { return };
    let detail = match account.via {
        Via::Password => "with a password",
        Via::PersonalToken => "with a personal token",
        Via::RobotSecret => "with a robot's secret",
        Via::RefreshToken => "with a refresh token",
        Via::Forward => "by auth.forward",
        // The session began with a recorded sign-in.
        Via::Bearer | Via::Session => return,
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
            detail: Some(detail.to_owned()),
        })
        .await;
}

/// Records a refused request: wrong credentials, or a missing right. Every push and pull begins with a
/// request that is refused for lack of a token, so these are not recorded.
pub(crate) async fn refused(
    app: &App,
    audited: Option<AuditedAction>,
    rejection: &Rejection,
    from: IpAddr,
    id: &HeaderValue,
) {
    let action = || audited.as_ref().map_or("request", |audited| audited.action);
    let reason = rejection.reason.map(str::to_owned);
    let (action, status, detail) = match &rejection.error {
        Error::Denied(Denied { reason: DenyReason::Wrong | DenyReason::Expired, .. }) => {
            (SIGN_IN, StatusCode::UNAUTHORIZED, reason)
        }
        Error::TooMany { .. } if reason.is_some() => (SIGN_IN, StatusCode::TOO_MANY_REQUESTS, reason),
        Error::NoRight(no_right) => {
            (action(), StatusCode::FORBIDDEN, Some(format!("without the right to {}", no_right.right())))
        }
        Error::Denied(Denied { reason: DenyReason::Forbidden, .. }) => {
            (action(), StatusCode::FORBIDDEN, reason)
        }
        Error::Registry(error) if error.is_unknown() => {
            (action(), StatusCode::NOT_FOUND, Some("without the right to pull".to_owned()))
        }
        _ => return,
    };
    if !app.accounts.in_force() {
        return;
    }
    let account = rejection.identity.as_ref().and_then(AuditEvent::account_of);
    if action == SIGN_IN {
        let account = account.clone().or_else(|| rejection.claimed.as_ref().map(ToString::to_string));
        let request_id = id.to_str().ok().map(str::to_owned);
        let actor = Actor { account, request_id, address: Some(from), ..Actor::default() };
        app.registry.note_failed_sign_in(actor, detail.as_deref());
    }
    app.accounts
        .record(AuditEvent {
            account: account.or_else(|| rejection.claimed.as_ref().map(ToString::to_string)),
            address: Some(from),
            action,
            object: audited.and_then(|audited| audited.object),
            verdict: AuditOutcome::Denied,
            status: Some(status.as_u16()),
            request_id: id.to_str().ok().map(str::to_owned),
            detail,
        })
        .await;
}

/// Records a request whose sender lost its rights while the body arrived.
pub(crate) async fn revoked(
    app: &App,
    audited: Option<AuditedAction>,
    caller: &Caller<'_>,
    id: &HeaderValue,
) {
    app.accounts
        .record(AuditEvent {
            account: AuditEvent::account_of(caller.identity()),
            address: Some(caller.address()),
            action: audited.as_ref().map_or("request", |audited| audited.action),
            object: audited.and_then(|audited| audited.object),
            verdict: AuditOutcome::Denied,
            status: Some(StatusCode::FORBIDDEN.as_u16()),
            request_id: id.to_str().ok().map(str::to_owned),
            detail: Some("its rights have changed while the body arrived".to_owned()),
        })
        .await;
}
