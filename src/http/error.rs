//! Errors: maps each error to status, code and JSON body. No other file does.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_RANGE, HeaderName, HeaderValue, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use oci::digest::DigestError;
use oci::tag::TagError;
use oci::{ErrorCode, ManifestError};
use registry::ReceiveError;
use registry::access::manage::ManageError;
use registry::mirror::{MirrorError, Reach};
use registry::records::StoreError;
use serde::Serialize;
use serde_json::{Value, json};
use upstream::error_chain;

use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::path_part::PathError;
use crate::http::gateway_error::GatewayError;
use crate::http::links::Links;
use crate::http::middleware::body_budget::RETRY;
use crate::http::middleware::denied::{Denied, DenyReason, NoRight};
use crate::http::middleware::forward_auth::ForwardError;
use crate::http::response::{self, DOCKER_UPLOAD_UUID, Response, upload_range};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error(transparent)]
    Path(#[from] PathError),
    /// The request has no host, two hosts or an invalid one.
    #[error("a request needs one Host header with a host and perhaps a port (RFC 9112 section 3.2)")]
    BadHost,
    /// A reload of a server that is stopping, or that is inside a command.
    #[error("this needs a running server; a command on a data directory without one cannot do it")]
    NotServing,
    /// A backup over the network.
    #[error(
        "a backup holds keys and password hashes: make it on the registry's machine, with --data instead of --server"
    )]
    LocalOnly,
    /// A move over the network.
    #[error(
        "a move sends the keys of the new places: run it on the registry's machine, with --data instead of --server"
    )]
    LocalMove,
    /// `/metrics` on a port for clients.
    #[error(
        "metrics are not served on this port: set `metrics.listen` (--metrics-listen) to an address of their own"
    )]
    MetricsElsewhere,
    #[error("the method of the request is not allowed on this path")]
    Method,
    /// A malformed query parameter.
    #[error("the parameter `{parameter}` must be {expected}")]
    BadParameter { parameter: &'static str, expected: &'static str },
    /// A query parameter that should be a digest or its algorithm.
    #[error("invalid parameter `{parameter}`: {error}")]
    BadDigest { parameter: &'static str, error: DigestError },
    #[error("invalid parameter `tag`: {0}")]
    BadTag(TagError),
    /// The request has no digest of the content that it is about.
    #[error("the parameter `digest` is missing: set it to the digest of {of}")]
    DigestMissing { of: &'static str },
    #[error("invalid Content-Range: expected <first>-<last>, such as 0-1023")]
    BadContentRange,
    #[error("the Content-Type is not the media type of a manifest")]
    BadContentType,
    /// An error of the upstream.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// An error of a pull through the cache.
    #[error("{0}")]
    Mirror(MirrorError, Reach),
    #[error("there is no upstream {0}; `wharfinger upstream ls` lists them")]
    NoUpstream(String),
    #[error("the registry's storage does not answer; its log has the cause")]
    NotReady(#[source] registry::Error),
    #[error("{0}")]
    Denied(Denied),
    /// The account lacks the right on the repository.
    #[error("{0}")]
    NoRight(NoRight),
    /// A cross-site write from a browser.
    #[error(
        "a page of {origin} may not change anything in this registry; if it should, the operator names its origin in \
         `web.cors_origins`"
    )]
    CrossSite { origin: String },
    /// A browser calls a registry without accounts by another host's name.
    #[error(
        "a browser may not use this registry as {host}: it has no accounts, and another site could lead that name here. \
         Use localhost or an address; or, if the name is the registry's own, the operator sets `external_url` to it"
    )]
    ForeignHost { host: String },
    /// An error of the management of accounts.
    #[error(transparent)]
    Manage(ManageError),
    #[error("the body must be JSON, with the Content-Type application/json")]
    NoJson,
    /// Invalid retention rules.
    #[error("invalid retention rules: {0}")]
    BadRetention(String),
    #[error("invalid JSON in the body: {0}")]
    BadJson(serde_json::Error),
    /// A body for an endpoint whose options are query parameters.
    #[error("this request takes no body: its options are query parameters, such as {example}")]
    UnexpectedBody { example: &'static str },
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge { limit: usize },
    /// The server of `auth.forward` did not answer.
    #[error(transparent)]
    Forward(ForwardError),
    #[error("the body must be a form (application/x-www-form-urlencoded) of less than 64 KiB")]
    NoForm,
    /// A template of a page failed.
    #[error("a page could not be made: {0}")]
    Template(askama::Error),
    /// A form of a page without the token of its browser.
    #[error("this form has expired or came from another site: load its page again, and repeat what you did")]
    FormExpired,
    /// The client exceeded its rate limit.
    #[error("too many requests; try again in {} s", seconds(wait))]
    TooMany { wait: Duration },
    /// The memory budget for request bodies is spent.
    #[error("too many requests with large bodies are under way; try again in {} s", RETRY.as_secs())]
    Overloaded,
    /// A condition of the management API does not hold (RFC 9110 section 13.2).
    #[error("the object is not as `If-Match` or `If-None-Match` says: read it again, and repeat the change")]
    PreconditionFailed,
    /// A replica takes this server for the primary.
    #[error("this server is not the primary of the registry; try again in {} s", RETRY.as_secs())]
    NotPrimary,
    /// [`registry::Error::Replica`] of a replica that knows the primary.
    #[error(
        "this server is a replica, and only the primary server of the registry, {primary}, does that: name any server with \
         --server URL"
    )]
    OnlyPrimary { primary: String },
    /// A replica cannot reach the primary.
    #[error("the primary server of the registry cannot be reached; try again in {} s", RETRY.as_secs())]
    NoPrimary,
    #[error("the content has {size} bytes, and none of them lies in the range")]
    RangeNotSatisfiable { size: u64 },
}

impl Error {
    /// Whether the sender lost its rights while the body of the request arrived.
    pub(crate) fn is_revoked(&self) -> bool {
        matches!(
            self,
            Self::Registry(registry::Error::Receive(ReceiveError::Revoked))
                | Self::Gateway(GatewayError::Receive(ReceiveError::Revoked))
        )
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

/// The number of missing parts that an error lists: an index of 8 MiB can name 74,000.
const LISTED_PARTS: usize = 100;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
// The protocol defines codes for client errors only. These are for server errors.
const PRECONDITION: &str = "PRECONDITION_FAILED";
const INTERNAL: &str = "UNKNOWN";
const UNAVAILABLE: &str = "UNAVAILABLE";
const FULL: &str = "INSUFFICIENT_STORAGE";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    /// `errors` alone, as the distribution specification says.
    Registry,
    /// Problem details (RFC 9457), with `errors` besides.
    Problem,
}

impl ErrorFormat {
    /// Returns the format of the errors below a path.
    pub(crate) fn of(path: &str) -> Self {
        if path.starts_with("/api/") { Self::Problem } else { Self::Registry }
    }
}

#[derive(Serialize)]
struct Errors {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
    errors: Vec<Item>,
}

/// The members of problem details. The code of the first error tells programs the kind, so that `type` is
/// `about:blank`, and the title the text of the status (RFC 9457 section 4.2.1).
#[derive(Serialize)]
struct Problem {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
}

#[derive(Serialize)]
struct Item {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

/// The `Retry-After` of an unavailable store, in seconds.
const UNAVAILABLE_SECONDS: u64 = 5;

impl Error {
    pub(crate) fn status(&self) -> StatusCode {
        self.classify().0
    }

    /// Returns the status and the code.
    fn classify(&self) -> (StatusCode, &'static str) {
        let (status, code) = match self {
            Self::Registry(error) => return classify_registry(error),
            Self::Gateway(error) => return classify_gateway(error),
            Self::Mirror(error, reach) => return classify_mirror(error, *reach),
            Self::Path(misread) => match misread {
                PathError::NoSuchPath => (StatusCode::NOT_FOUND, ErrorCode::Unsupported),
                PathError::Encoding | PathError::Name(_) | PathError::Account(_) | PathError::Team(_) => {
                    (StatusCode::BAD_REQUEST, ErrorCode::NameInvalid)
                }
                PathError::Digest(_) => (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
                PathError::Tag(_) => (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid),
                PathError::Upload => (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
            },
            Self::NoUpstream(_) => (StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported),
            Self::BadHost | Self::BadParameter { .. } => (StatusCode::BAD_REQUEST, ErrorCode::Unsupported),
            Self::BadDigest { .. } | Self::DigestMissing { .. } => {
                (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid)
            }
            Self::BadTag(_) => (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid),
            Self::NotReady(_) => return (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
            Self::BadContentRange => (StatusCode::BAD_REQUEST, ErrorCode::BlobUploadInvalid),
            Self::BadContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::ManifestInvalid),
            Self::Denied(Denied { reason: DenyReason::Forbidden, .. }) | Self::NoRight(_) => {
                (StatusCode::FORBIDDEN, ErrorCode::Denied)
            }
            Self::CrossSite { .. } | Self::ForeignHost { .. } | Self::FormExpired => {
                (StatusCode::FORBIDDEN, ErrorCode::Denied)
            }
            Self::NotServing => (StatusCode::CONFLICT, ErrorCode::Unsupported),
            Self::LocalOnly | Self::LocalMove => (StatusCode::FORBIDDEN, ErrorCode::Denied),
            Self::MetricsElsewhere => (StatusCode::NOT_FOUND, ErrorCode::Unsupported),
            Self::Denied(_) => (StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized),
            Self::Template(_) => return (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL),
            Self::Overloaded | Self::NotPrimary | Self::OnlyPrimary { .. } | Self::NoPrimary => {
                return (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE);
            }
            Self::Forward(_) => return (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
            Self::Manage(error) => return classify_manage(error),
            Self::NoJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::Unsupported),
            Self::BadJson(_) | Self::BadRetention(_) | Self::UnexpectedBody { .. } => {
                (StatusCode::BAD_REQUEST, ErrorCode::Unsupported)
            }
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::Unsupported),
            Self::NoForm => (StatusCode::BAD_REQUEST, ErrorCode::Unsupported),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests),
            Self::PreconditionFailed => return (StatusCode::PRECONDITION_FAILED, PRECONDITION),
            Self::RangeNotSatisfiable { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::Unsupported),
        };
        (status, code.as_str())
    }

    /// Makes the response. `id` names the request in the log.
    pub(crate) fn into_response(
        self,
        format: ErrorFormat,
        endpoint: Option<&Endpoint>,
        links: &Links,
        id: &HeaderValue,
    ) -> Response {
        let (status, code) = self.classify();
        if let Self::Gateway(error) = &self
            && status.is_server_error()
        {
            tracing::error!(id = id.to_str().unwrap_or_default(), error = %error.reason(), "a request could not be passed on");
        }
        // Clients read the message about the upstream. Hosts and causes are in the log only.
        let is_passed_on = match &self {
            Self::Gateway(_)
            | Self::Overloaded
            | Self::NotPrimary
            | Self::OnlyPrimary { .. }
            | Self::NoPrimary => true,
            Self::Mirror(error, _) => !matches!(error, MirrorError::Registry(_)),
            _ => false,
        };
        let is_logged = !is_passed_on
            && matches!(status, StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE);
        if is_logged {
            let id = id.to_str().unwrap_or_default();
            tracing::error!(id, error = %self, causes = %std::error::Error::source(&self).map(error_chain).unwrap_or_default(), "a request failed");
        }
        // Causes are for the operator only: they may name paths and queries.
        let message = match &self {
            Self::Registry(registry::Error::Store(StoreError::Closed)) => {
                "the registry is being stopped; try again later".to_owned()
            }
            Self::Forward(ForwardError::Name(name)) => {
                format!(
                    "the server that checks logins answered, but its account name {name:?} cannot be used here"
                )
            }
            Self::Forward(_) => "the server that checks logins does not answer; try again later".to_owned(),
            _ if is_logged && status == StatusCode::INTERNAL_SERVER_ERROR => {
                let id = id.to_str().unwrap_or_default();
                format!("internal error: the registry's log has the cause under the request id {id}")
            }
            _ => self.to_string(),
        };
        let errors = match &self {
            Self::Registry(registry::Error::PartsMissing { repository, missing }) => missing
                .iter()
                .take(LISTED_PARTS)
                .map(|digest| Item {
                    code,
                    message: format!(
                        "the manifest refers to {digest}, which is not in {repository}: push it first"
                    ),
                    detail: Some(json!({ "digest": digest })),
                })
                .chain((missing.len() > LISTED_PARTS).then(|| Item {
                    code,
                    message: format!("{} more parts are not in {repository}", missing.len() - LISTED_PARTS),
                    detail: None,
                }))
                .collect(),
            _ => vec![Item { code, message, detail: self.detail() }],
        };
        let mut response = match format {
            ErrorFormat::Registry => response::json(&Errors { problem: None, errors }),
            ErrorFormat::Problem => {
                let problem = Problem {
                    r#type: "about:blank",
                    title: status.canonical_reason().unwrap_or_default(),
                    status: status.as_u16(),
                    detail: errors.first().map(|first| first.message.clone()).unwrap_or_default(),
                    code,
                };
                response::json_as(PROBLEM_JSON, &Errors { problem: Some(problem), errors })
            }
        };
        *response.status_mut() = status;
        for (name, value) in self.headers(endpoint, links) {
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// Returns the `detail` of the error, for programs.
    fn detail(&self) -> Option<Value> {
        use registry::Error as E;
        let Self::Registry(error) = self else { return None };
        match error {
            E::NameUnknown(name) => Some(json!({ "name": name })),
            E::ManifestUnknown { repository, target } => {
                Some(json!({ "name": repository, "reference": target.to_string() }))
            }
            E::BlobUnknown { repository, digest }
            | E::BlobDamaged { repository, digest }
            | E::ManifestDamaged { repository, digest } => {
                Some(json!({ "name": repository, "digest": digest }))
            }
            E::PartSize { digest, claimed, actual } => {
                Some(json!({ "digest": digest, "size": claimed, "actual": actual }))
            }
            E::DigestMismatch { expected, actual } => Some(json!({ "expected": expected, "actual": actual })),
            E::TagRefused { repository, tag, refusal } => {
                Some(json!({ "name": repository, "tag": tag, "rule": refusal.pattern }))
            }
            E::ContentRefused(refusal) => Some(json!({
                "name": refusal.repository, "digest": refusal.digest, "tag": refusal.tag, "rule": refusal.rule.pattern
            })),
            E::QuotaExceeded(excess) => Some(json!({
                "quota": excess.scope, "used": excess.used, "limit": excess.limit, "unfinished": excess.unfinished,
                "deleted": excess.deleted
            })),
            E::ManifestTooLarge { limit } => Some(json!({ "limit": limit })),
            E::BlobTooLarge { limit } => Some(json!({ "limit": limit })),
            E::ChunkLength { expected, actual } => Some(json!({ "expected": expected, "actual": actual })),
            E::OutOfOrder { offset, .. } => Some(json!({ "offset": offset })),
            _ => None,
        }
    }

    /// Returns headers that help the client to continue.
    fn headers(&self, endpoint: Option<&Endpoint>, links: &Links) -> Vec<(HeaderName, HeaderValue)> {
        match (self, endpoint) {
            (Self::Method, Some(endpoint)) => vec![(ALLOW, allow(endpoint, false))],
            (Self::Registry(registry::Error::DeleteDisabled), Some(endpoint)) => {
                vec![(ALLOW, allow(endpoint, true))]
            }
            (Self::RangeNotSatisfiable { size }, _) => {
                vec![(CONTENT_RANGE, value(format!("bytes */{size}")))]
            }
            (Self::Denied(Denied { challenge, .. }), _) => {
                challenge.iter().map(|challenge| (WWW_AUTHENTICATE, challenge.clone())).collect()
            }
            (
                Self::Registry(
                    registry::Error::Unavailable(_)
                    | registry::Error::Receive(ReceiveError::Unchecked)
                    | registry::Error::ReadOnly
                    | registry::Error::Moving
                    | registry::Error::Replica,
                ),
                _,
            ) => {
                vec![(RETRY_AFTER, HeaderValue::from(UNAVAILABLE_SECONDS))]
            }
            (Self::Mirror(MirrorError::Limited { retry_after, .. }, _), _) => {
                vec![(RETRY_AFTER, HeaderValue::from(seconds(retry_after).max(1)))]
            }
            (Self::Overloaded | Self::NotPrimary | Self::OnlyPrimary { .. } | Self::NoPrimary, _) => {
                vec![(RETRY_AFTER, HeaderValue::from(RETRY.as_secs()))]
            }
            (Self::TooMany { wait }, _) | (Self::Manage(ManageError::TooMany { retry_after: wait }), _) => {
                vec![(RETRY_AFTER, HeaderValue::from(seconds(wait)))]
            }
            // The state of the upload saves the client a request.
            (
                Self::Registry(registry::Error::OutOfOrder { id, offset }),
                Some(Endpoint::Upload(repository, _)),
            ) => vec![
                (LOCATION, links.upload(repository, *id)),
                (RANGE, upload_range(*offset)),
                (DOCKER_UPLOAD_UUID, value(id.to_string())),
            ],
            (Self::Registry(registry::Error::Receive(_)) | Self::Gateway(GatewayError::Receive(_)), _) => {
                vec![(CONNECTION, HeaderValue::from_static("close"))]
            }
            _ => Vec::new(),
        }
    }
}

/// Returns status and code of an error of the cache. A client that uses this registry as a mirror goes on to
/// its next endpoint after 404 and 503 at once, while 429 makes it try again here.
fn classify_mirror(error: &MirrorError, reach: Reach) -> (StatusCode, &'static str) {
    use MirrorError as E;
    let (status, code) = match (error, reach) {
        (E::NotAllowed { .. }, Reach::Mirror) | (E::UnknownNamespace(_), _) => {
            (StatusCode::NOT_FOUND, ErrorCode::NameUnknown)
        }
        (E::NotAllowed { .. } | E::MayNotFill { .. } | E::Quarantined { .. } | E::PushRefused { .. }, _) => {
            (StatusCode::FORBIDDEN, ErrorCode::Denied)
        }
        (E::ManifestAbsent { .. }, _) => (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
        (E::BlobAbsent { .. }, _) => (StatusCode::NOT_FOUND, ErrorCode::BlobUnknown),
        (E::Limited { .. }, Reach::Name) => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests),
        (E::Limited { .. } | E::Down { .. }, _) => return (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
        (E::Invalid { .. }, _) => return (StatusCode::BAD_GATEWAY, UNAVAILABLE),
        (E::Registry(error), _) => return classify_registry(error),
    };
    (status, code.as_str())
}

/// Returns status and code of a registry error.
fn classify_registry(error: &registry::Error) -> (StatusCode, &'static str) {
    use registry::Error as E;
    let (status, code) = match error {
        E::NameUnknown(_) => (StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
        // Damaged content is absent to a push, so that the client sends it again.
        E::ManifestUnknown { .. } | E::ManifestDamaged { .. } => {
            (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown)
        }
        E::BlobUnknown { .. } | E::BlobDamaged { .. } | E::ContentUnknown { .. } => {
            (StatusCode::NOT_FOUND, ErrorCode::BlobUnknown)
        }
        E::UploadUnknown(_) => (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
        E::UploadBusy(_) => (StatusCode::CONFLICT, ErrorCode::BlobUploadInvalid),
        E::ManifestInvalid(ManifestError::UnsupportedMediaType(_)) => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::ManifestInvalid)
        }
        E::ManifestInvalid(_) | E::PartSize { .. } | E::PartMediaType { .. } | E::TooManyParts { .. } => {
            (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid)
        }
        E::PartsMissing { .. } => (StatusCode::BAD_REQUEST, ErrorCode::ManifestBlobUnknown),
        E::ManifestTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::ManifestInvalid),
        E::BlobTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::BlobUploadInvalid),
        E::DigestMismatch { .. } => (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
        E::OutOfOrder { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid),
        E::ChunkLength { .. } => (StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid),
        // The body is shorter than announced.
        E::Receive(ReceiveError::Torn(_)) => (StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid),
        E::Receive(ReceiveError::Revoked) => (StatusCode::FORBIDDEN, ErrorCode::Denied),
        E::Receive(ReceiveError::Unchecked) => return (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
        E::Receive(ReceiveError::Idle(_) | ReceiveError::Slow(_)) => {
            (StatusCode::REQUEST_TIMEOUT, ErrorCode::SizeInvalid)
        }
        E::NotAdopted { .. } | E::NothingToUndo { .. } => (StatusCode::CONFLICT, ErrorCode::Denied),
        E::TagRefused { .. } | E::ContentRefused(_) | E::QuotaExceeded(_) | E::TooManyUploads { .. } => {
            (StatusCode::FORBIDDEN, ErrorCode::Denied)
        }
        E::NoHistory { .. } | E::ManifestGone { .. } | E::NotInHistory { .. } | E::NoRun(_) => {
            (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown)
        }
        E::DeleteDisabled => (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported),
        E::Busy => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests),
        E::PasswordRefused(_) | E::NameUnfit(_) => (StatusCode::BAD_REQUEST, ErrorCode::Unsupported),
        E::Full | E::ReserveReached { .. } => return (StatusCode::INSUFFICIENT_STORAGE, FULL),
        E::Unavailable(_) | E::ReadOnly | E::Moving | E::Replica | E::Store(StoreError::Closed) => {
            return (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE);
        }
        E::Store(_) | E::Htpasswd(_) => return (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL),
    };
    (status, code.as_str())
}

/// Returns status and code of an error in the management of accounts.
fn classify_manage(error: &ManageError) -> (StatusCode, &'static str) {
    use ManageError as E;
    let (status, code) = match error {
        E::Registry(error) => return classify_registry(error),
        E::Random(_) => return (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL),
        E::SignIn(_) | E::Denied(_) | E::RegistrationClosed => (StatusCode::FORBIDDEN, ErrorCode::Denied),
        E::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests),
        E::NotFound { .. } => (StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
        E::NameTaken(_)
        | E::TeamTaken(_)
        | E::NamespaceInUse(_)
        | E::NameReserved(_)
        | E::LastAdministrator
        | E::LastUser
        | E::LastOwner { .. }
        | E::HasRepositories { .. }
        | E::LimitReached { .. }
        | E::NotOfThisKind(_)
        | E::PasswordElsewhere(_)
        | E::InTheFile(_) => (StatusCode::CONFLICT, ErrorCode::Denied),
        E::Name(_) | E::NameUnfit { .. } => (StatusCode::BAD_REQUEST, ErrorCode::NameInvalid),
        E::OwnerUnknown(_)
        | E::SubjectUnknown(_)
        | E::NoRights
        | E::PatternUnfit(_)
        | E::NotAMember { .. }
        | E::Password(_)
        | E::TextTooLong
        | E::Token(_) => (StatusCode::BAD_REQUEST, ErrorCode::Unsupported),
    };
    (status, code.as_str())
}

/// Returns status and code of an upstream error.
fn classify_gateway(error: &GatewayError) -> (StatusCode, &'static str) {
    use GatewayError as E;
    match error {
        E::Unreachable(_) | E::AccessDenied(_) | E::InvalidResponse(_) => {
            (StatusCode::BAD_GATEWAY, UNAVAILABLE)
        }
        E::UpstreamFailed(status, _) => (*status, UNAVAILABLE),
        E::TimedOut => (StatusCode::GATEWAY_TIMEOUT, UNAVAILABLE),
        E::Unproven { .. } => (StatusCode::NOT_FOUND, ErrorCode::BlobUnknown.as_str()),
        E::Unsupported => (StatusCode::NOT_IMPLEMENTED, ErrorCode::Unsupported.as_str()),
        E::NoTagDeletion { .. } => (StatusCode::BAD_REQUEST, ErrorCode::Unsupported.as_str()),
        E::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::BlobUploadInvalid.as_str()),
        E::Receive(ReceiveError::Torn(_)) => (StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid.as_str()),
        E::Receive(ReceiveError::Revoked) => (StatusCode::FORBIDDEN, ErrorCode::Denied.as_str()),
        E::Receive(ReceiveError::Unchecked) => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
        E::Receive(ReceiveError::Idle(_) | ReceiveError::Slow(_)) => {
            (StatusCode::REQUEST_TIMEOUT, ErrorCode::SizeInvalid.as_str())
        }
    }
}

/// Returns the `Allow` header, without DELETE if `registry.delete` is off.
fn allow(endpoint: &Endpoint, no_delete: bool) -> HeaderValue {
    let methods: Vec<&str> = endpoint
        .methods()
        .iter()
        .filter(|method| !(no_delete && **method == hyper::Method::DELETE))
        .map(hyper::Method::as_str)
        .collect();
    value(methods.join(", "))
}

/// Rounds a wait up to whole seconds.
fn seconds(wait: &Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("methods, numbers and UUIDs are visible ASCII")
}

#[cfg(test)]
mod snapshots;

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use oci::{Algorithm, RepositoryName};
    use uuid::Uuid;

    use super::*;

    fn name() -> RepositoryName {
        "team/app".parse().unwrap()
    }

    async fn answer(error: impl Into<Error>, endpoint: Option<&Endpoint>) -> (u16, Value, hyper::HeaderMap) {
        let id = HeaderValue::from_static("id7");
        let response = error.into().into_response(ErrorFormat::Registry, endpoint, &Links::new(""), &id);
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), serde_json::from_slice(&bytes).unwrap(), head.headers)
    }

    #[tokio::test]
    async fn missing_parts_are_separate_errors() {
        let missing = vec![Algorithm::Sha256.digest(b"a"), Algorithm::Sha512.digest(b"b")];
        let error = registry::Error::PartsMissing { repository: name(), missing: missing.clone() };
        let (status, body, _) = answer(error, None).await;
        assert_eq!(status, 400);
        let errors = body["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 2);
        for (error, digest) in errors.iter().zip(missing) {
            assert_eq!(error["code"], "MANIFEST_BLOB_UNKNOWN");
            assert_eq!(error["detail"]["digest"], digest.to_string());
        }
    }

    #[tokio::test]
    async fn api_errors_are_problem_details() {
        let id = HeaderValue::from_static("id7");
        let format = ErrorFormat::of("/api/v1/users");
        let response = Error::PreconditionFailed.into_response(format, None, &Links::new(""), &id);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body: Value = serde_json::from_slice(response.body().text().unwrap()).unwrap();
        assert_eq!((&body["type"], &body["title"]), (&json!("about:blank"), &json!("Precondition Failed")));
        assert_eq!((&body["status"], &body["code"]), (&json!(412), &json!("PRECONDITION_FAILED")));
        assert_eq!(body["detail"], body["errors"][0]["message"]);
        // The registry protocol has its own format.
        let (_, body, headers) = answer(Error::PreconditionFailed, None).await;
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["errors"]);
    }

    #[tokio::test]
    async fn internal_causes_are_hidden() {
        let error = registry::Error::Store(StoreError::Damaged("/secret/path".to_owned()));
        let (status, body, _) = answer(error, None).await;
        assert_eq!(status, 500);
        let text = body.to_string();
        assert!(!text.contains("secret") && text.contains("id7"), "{text}");
        for (error, expected) in [
            (registry::Error::Store(StoreError::Closed), "is being stopped"),
            (
                registry::Error::Unavailable(StoreError::ContentGone("/secret/path".into())),
                "cannot reach its storage at the moment; its log has the cause",
            ),
        ] {
            let (status, body, _) = answer(error, None).await;
            let text = body.to_string();
            assert_eq!(status, 503);
            assert!(text.contains(expected) && text.contains("try again later"), "{text}");
            assert!(!text.contains("secret") && !text.contains("internal error"), "{text}");
        }
        let (status, ..) = answer(registry::Error::Full, None).await;
        assert_eq!(status, 507);
    }

    #[tokio::test]
    async fn out_of_order_chunk_gets_the_offset() {
        let id = Uuid::new_v4();
        let endpoint = Endpoint::Upload(name(), id);
        let (status, _, headers) =
            answer(registry::Error::OutOfOrder { id, offset: 1000 }, Some(&endpoint)).await;
        assert_eq!(status, 416);
        assert_eq!(headers[LOCATION], format!("/v2/team/app/blobs/uploads/{id}").as_str());
        assert_eq!(headers[RANGE], "0-999");
    }

    #[tokio::test]
    async fn wrong_method_gets_the_allowed_ones() {
        let (status, body, headers) = answer(Error::Method, Some(&Endpoint::Uploads(name()))).await;
        assert_eq!((status, &headers[ALLOW]), (405, &HeaderValue::from_static("POST")));
        assert_eq!(body["errors"][0]["code"], "UNSUPPORTED");
        let blob = Endpoint::Blob(name(), Algorithm::Sha256.digest(b""));
        let (status, _, headers) = answer(registry::Error::DeleteDisabled, Some(&blob)).await;
        assert_eq!((status, &headers[ALLOW]), (405, &HeaderValue::from_static("GET, HEAD")));
    }

    #[tokio::test]
    async fn range_beyond_the_end_gets_the_size() {
        let (status, _, headers) = answer(Error::RangeNotSatisfiable { size: 10 }, None).await;
        assert_eq!((status, &headers[CONTENT_RANGE]), (416, &HeaderValue::from_static("bytes */10")));
    }
}
