//! What the audit log is told of requests: what they changed, and what was refused to whom.
//!
//! Nothing is recorded while there are no accounts: there is nobody of whom it could be said. What
//! `registry::access` changes for a request (accounts, grants, tokens) it records itself.

use std::net::IpAddr;

use hyper::header::HeaderValue;
use hyper::{Method, StatusCode, Uri};
use registry::access::{AuditEvent, AuditVerdict};

use super::access::{Caller, Denied, Refused};
use super::app::App;
use super::endpoint::Endpoint;
use super::error::Error;
use super::query::Query;

/// What a request does, in the words of the audit log.
pub(crate) struct Deed {
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

impl Deed {
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
pub(crate) async fn done(app: &App, deed: Deed, caller: &Caller, status: StatusCode, id: &HeaderValue) {
    // An upload that only began is none yet.
    let is_worth_it = match deed.kind {
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
        action: deed.action,
        object: Some(deed.object),
        verdict: AuditVerdict::Allowed,
        status: Some(status.as_u16()),
        request_id: id.to_str().ok().map(str::to_owned),
        detail: None,
    };
    if deed.kind == Kind::Change {
        app.accounts.record_durably(event).await;
    } else {
        app.accounts.record(event).await;
    }
}

/// Records what was refused, if it says something about someone: wrong credentials, and what an account may not do.
/// That someone has yet to sign in, or needs another token, is how every push and pull begins.
pub(crate) async fn refused(
    app: &App,
    deed: Option<Deed>,
    refused: &Refused,
    from: IpAddr,
    id: &HeaderValue,
) {
    let (action, status) = match &refused.error {
        Error::Denied { denied: Denied::Wrong | Denied::Expired, .. } => {
            ("sign_in", StatusCode::UNAUTHORIZED)
        }
        Error::Denied { denied: Denied::Forbidden, .. } => {
            (deed.as_ref().map_or("request", |deed| deed.action), StatusCode::FORBIDDEN)
        }
        Error::Registry(error) if error.is_unknown() => {
            (deed.as_ref().map_or("request", |deed| deed.action), StatusCode::NOT_FOUND)
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
            object: deed.map(|deed| deed.object),
            verdict: AuditVerdict::Denied,
            status: Some(status.as_u16()),
            request_id: id.to_str().ok().map(str::to_owned),
            detail: None,
        })
        .await;
}
