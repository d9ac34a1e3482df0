//! `/auth`: authorization for reverse proxies, as nginx asks with `auth_request`. It authorizes the proxied
//! request by its URI, method and credentials, as if this registry had received it.
//!
//! The method counts only from a trusted proxy (`proxy.trusted`). Other proxies, such as
//! opendns/nginx-auth-proxy, pass on a method header that their client wrote. Their requests need the
//! strongest right of the endpoint.
//!
//! The answer is 200 with the account, 401 with a challenge, or 403. It is never 404, because nginx turns
//! that into 500. Only the registry protocol may pass: every other path, and every method that its endpoint
//! does not take, gets 403. A client that calls `/auth` itself learns only its own rights.
//!
//! The server behind the proxy may be another registry, without our handlers' checks. So lists are only for
//! callers that see everything, since nothing filters them, and a blob is mounted only from a repository that
//! the caller may pull.

use accounts::{Right, Visible};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Uri};

use crate::http::app::App;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::query::{Query, has_form};
use crate::http::extract::request::Request;
use crate::http::middleware::access_request::AccessRequest;
use crate::http::middleware::audit::{self, AuditedAction};
use crate::http::middleware::authorization::{self, Identified, Rejection};
use crate::http::middleware::challenge::mount_source;
use crate::http::middleware::client_info::ClientInfo;
use crate::http::middleware::denied::{Denied, DenyReason};
use crate::http::response::{self, Response};
use crate::http::server::connection::Connection;

const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const ACCOUNT: HeaderName = HeaderName::from_static("x-wharfinger-account");
const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");
/// The first components of registry paths, here and in other registries.
const ROOTS: [&str; 3] = ["v2", "v1", "api"];

/// The proxied request.
struct Original {
    uri: Uri,
    endpoint: Endpoint,
    /// The possible methods: one from a trusted proxy, else all of the endpoint.
    methods: Vec<Method>,
}

/// The handler in the endpoint table. The service calls [`answer`] before, without authorizing `/auth`
/// itself.
pub(crate) async fn answered_earlier(_call: Call<'_>) -> Result<Response, Error> {
    Err(Error::Method)
}

pub(crate) async fn answer(
    app: &App,
    connection: &Connection,
    client: &ClientInfo,
    request: &Request,
) -> Result<Response, Error> {
    let original = read(client, request)?;
    if let Some(original) = &original {
        for method in &original.methods {
            app.check_write(client, method, &request.headers)?;
        }
    }
    let authorized = match &original {
        Some(original) => authorize(app, connection, client, request, original).await,
        None => signed_in(app, connection, client, request).await,
    };
    match authorized {
        Ok(identified) => {
            if let Some(identified) = &identified {
                audit::signed_in(app, &identified.identity, client.address, &request.id).await;
            }
            Ok(admitted(identified.as_ref()))
        }
        Err(rejection) => {
            let audited = original.as_ref().and_then(Original::audited);
            audit::refused(app, audited, &rejection, client.address, &request.id).await;
            Err(rejection.error)
        }
    }
}

impl Original {
    /// The audited action, if the method is known.
    fn audited(&self) -> Option<AuditedAction> {
        let [method] = self.methods.as_slice() else { return None };
        AuditedAction::of(&self.endpoint, method, &self.uri)
    }
}

fn forbidden() -> Error {
    Denied::FORBIDDEN.into()
}

/// Reads the headers that describe the proxied request. `None` without them.
fn read(client: &ClientInfo, request: &Request) -> Result<Option<Original>, Error> {
    // A proxy sets one of the two headers, and passes on the other one from its client.
    let header = |name: HeaderName, other: HeaderName| match (request.header(name), request.header(other)) {
        (Some(one), Some(other)) if one != other => Err(forbidden()),
        (one, other) => Ok(one.or(other)),
    };
    let Some(original) = header(ORIGINAL_URI, FORWARDED_URI)? else { return Ok(None) };
    let uri = read_uri(original, &client.prefix).ok_or_else(forbidden)?;
    // A path that is unknown here may have a meaning there. Only the registry protocol may pass: this
    // registry cannot grant access to `/`, `/token` or `/api/` of another server.
    let endpoint = Endpoint::parse(uri.path()).map_err(|_| forbidden())?;
    if !endpoint.is_protocol() {
        return Err(forbidden());
    }
    // A client that could choose the method would push with the right to pull.
    let method = if client.by_proxy { header(ORIGINAL_METHOD, FORWARDED_METHOD)? } else { None };
    let methods = match method {
        Some(method) => vec![Method::from_bytes(method.as_bytes()).map_err(|_| forbidden())?],
        // Without a trusted method, all methods of the endpoint must be allowed.
        None => endpoint.methods().to_vec(),
    };
    let is_known = methods.iter().all(|method| endpoint.methods().contains(method));
    if !is_known || is_ambiguous_mount(&endpoint, &methods, &uri, request) {
        return Err(forbidden());
    }
    Ok(Some(Original { uri, endpoint, methods }))
}

/// Whether a request reads a blob or may add one to a repository.
fn is_blob_or_push(endpoint: &Endpoint, method: &Method) -> bool {
    match endpoint {
        Endpoint::Blob(..) | Endpoint::Uploads(..) | Endpoint::Upload(..) => true,
        Endpoint::Manifest(..) => method == Method::PUT,
        _ => false,
    }
}

/// Whether a request may mount a blob from a repository other than the one in its query.
///
/// Without `from`, a registry searches all repositories. It may read the other value of a repeated parameter.
/// distribution uses Go's `FormValue`, which prefers a form in the body to the query.
fn is_ambiguous_mount(endpoint: &Endpoint, methods: &[Method], uri: &Uri, request: &Request) -> bool {
    if !matches!(endpoint, Endpoint::Uploads(_)) || !methods.contains(&Method::POST) {
        return false;
    }
    let query = Query::new(uri.query());
    let (mounts, sources) = (query.all("mount").count(), query.all("from").count());
    let is_named = mounts == 1 && sources == 1 && mount_source(endpoint, uri).is_some();
    (mounts + sources > 0 && !is_named) || has_form(&request.headers)
}

/// Authorizes the proxied request, with each possible method.
async fn authorize(
    app: &App,
    connection: &Connection,
    client: &ClientInfo,
    request: &Request,
    original: &Original,
) -> Result<Option<Identified>, Box<Rejection>> {
    let Original { uri, endpoint, methods } = original;
    let mut identified = None;
    for method in methods {
        let access =
            AccessRequest { endpoint: Some(endpoint), method, uri, headers: &request.headers, client };
        let identified = match &mut identified {
            Some(identified) => identified,
            slot @ None => slot.insert(authorization::identify(app, connection, access).await?),
        };
        if let Err(error) = allow(app, access, endpoint, identified).await {
            return Err(Rejection::by(error, Some(identified.identity.clone())));
        }
    }
    Ok(identified)
}

/// Checks a request for a server without access control of its own.
async fn allow(
    app: &App,
    request: AccessRequest<'_>,
    endpoint: &Endpoint,
    identified: &Identified,
) -> Result<(), Error> {
    match authorization::allow(app, request, identified).await {
        Ok(None | Some(Visible::Everything)) => {}
        Ok(Some(_)) if identified.by_credentials => return Err(forbidden()),
        Ok(Some(_)) => return Err(app.deny(request, DenyReason::SignIn).into()),
        // The repository is hidden from the caller.
        Err(Error::Registry(error)) if error.is_unknown() => return Err(forbidden()),
        Err(error) => return Err(error),
    }
    if app.content_proxy.as_ref().is_some_and(|proxy| proxy.shares_blobs())
        && is_blob_or_push(endpoint, request.method)
    {
        return Err(forbidden());
    }
    if let Some(from) = mount_source(endpoint, request.uri)
        && !app.accounts.is_allowed(&identified.identity, &from, Right::Pull).await?
    {
        return Err(forbidden());
    }
    Ok(())
}

/// Identifies the client, for a proxy that does not describe the request.
async fn signed_in(
    app: &App,
    connection: &Connection,
    client: &ClientInfo,
    request: &Request,
) -> Result<Option<Identified>, Box<Rejection>> {
    let access = request.for_access(Some(&Endpoint::Auth), client);
    let identified = authorization::identify(app, connection, access).await?;
    if app.accounts.in_force() && identified.identity.is_anonymous() {
        return Err(Rejection::by(app.deny(access, DenyReason::SignIn), Some(identified.identity)));
    }
    Ok(Some(identified))
}

fn admitted(identified: Option<&Identified>) -> Response {
    let mut response = response::empty();
    let name = identified.and_then(|identified| identified.identity.name());
    if let Some(name) = name.and_then(|name| HeaderValue::from_str(name.as_str()).ok()) {
        response.headers_mut().insert(ACCOUNT, name.clone());
        response.headers_mut().insert(REMOTE_USER, name);
    }
    response
}

/// Parses the URI of the proxied request and removes the path prefix of the registry.
///
/// A proxy that does not set `X-Forwarded-Prefix` passes it on from its client, who must not turn one
/// repository into another (`bob/v2/ann/app` into `ann/app`). So a prefix with a component of registry paths
/// is never removed, and the rest must be a registry path.
fn read_uri(original: &str, prefix: &str) -> Option<Uri> {
    // `Uri` drops a fragment, but another parser may read it as a part of the path.
    let uri: Uri = original.parse().ok().filter(|_| !original.contains('#'))?;
    let path = uri.path_and_query()?.as_str();
    let is_ours = |path: &str| {
        ROOTS.iter().any(|root| {
            path.strip_prefix('/')
                .is_some_and(|path| path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/')))
        })
    };
    let holds_ours = prefix.split('/').any(|part| ROOTS.contains(&part));
    let path = path.strip_prefix(prefix).filter(|rest| !holds_ours && is_ours(rest)).unwrap_or(path);
    if path.starts_with('/') { path.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn original_uri_loses_the_prefix() {
        let read = |original: &str, prefix: &str| read_uri(original, prefix).map(|uri| uri.to_string());
        assert_eq!(read("/v2/a/tags/list?n=1", "").as_deref(), Some("/v2/a/tags/list?n=1"));
        assert_eq!(read("/registry/v2/", "/registry").as_deref(), Some("/v2/"));
        assert_eq!(read("/v2/", "/registry").as_deref(), Some("/v2/"));
        assert_eq!(read("http://host/v2/", "").as_deref(), Some("/v2/"));
        assert_eq!(read("/v2/a/v2/b/tags/list", "/v2/a").as_deref(), Some("/v2/a/v2/b/tags/list"));
        assert_eq!(
            read("/hub/v2/a/v2/b/tags/list", "/hub/v2/a").as_deref(),
            Some("/hub/v2/a/v2/b/tags/list")
        );
        assert_eq!(read("/metrics/", "/metrics").as_deref(), Some("/metrics/"));
        for bad in ["", "host:80", "v2/", "/a b", "*", "/v2/#/../ann/secret/manifests/1"] {
            assert_eq!(read(bad, ""), None, "{bad}");
        }
    }
}
