//! `/auth`: what a proxy asks before it passes a request on, as nginx does with `auth_request`. It judges the request
//! that the proxy has, by its address, its method and its credentials, as if it had come here.
//!
//! The method counts only if the proxy is trusted (`proxy.trusted`). Many a proxy does not tell it, as
//! opendns/nginx-auth-proxy does not, and passes on what its client wrote in the header; from such a one each request
//! is judged as the most that it could be.
//!
//! 200 says yes, and who it is; 401 says how to sign in; 403 says no. There is no 404, because nginx makes 500 of it.
//! Only the registry protocol may pass: every other path, and every method that its endpoint does not have, is 403.
//! Anyone may ask: who does learns only what its own credentials are good for.
//!
//! What is behind the proxy may be another registry, so that nothing here may count on what our own handlers would
//! do besides: a list is only for who sees everything, since nothing filters it, and a blob is mounted only out of
//! what may be pulled.

use accounts::{Right, Visible};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Uri};

use crate::http::app::App;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::query::{Query, has_form};
use crate::http::extract::request::Request;
use crate::http::middleware::audit::{self, AuditedAction};
use crate::http::middleware::authorization::{
    self, AccessRequest, DenyReason, Identified, Rejection, mounted_from,
};
use crate::http::middleware::client_info::ClientInfo;
use crate::http::response::{self, Response};
use crate::http::server::connection::Connection;

const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const ACCOUNT: HeaderName = HeaderName::from_static("x-wharfinger-account");
const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");
/// What the addresses of repositories and lists begin with, here and in other registries.
const TREES: [&str; 3] = ["v2", "v1", "api"];

/// The request that the proxy has.
struct Original {
    uri: Uri,
    endpoint: Endpoint,
    /// With which methods it could have been sent.
    methods: Vec<Method>,
}

/// Answers with whatever method it is asked.
pub(crate) async fn answer(
    app: &App,
    connection: &Connection,
    called: &ClientInfo,
    request: &Request,
) -> Result<Response, Error> {
    let original = read(called, request)?;
    if let Some(original) = &original {
        for method in &original.methods {
            app.check_write(called, method, &request.headers)?;
        }
    }
    let judged = match &original {
        Some(original) => authorize(app, connection, called, request, original).await,
        None => signed_in(app, connection, called, request).await,
    };
    match judged {
        Ok(who) => {
            if let Some(who) = &who {
                audit::signed_in(app, &who.identity, called.from, &request.id).await;
            }
            Ok(yes(who.as_ref()))
        }
        Err(refused) => {
            let audited = original.as_ref().and_then(Original::audited);
            audit::refused(app, audited, &refused, called.from, &request.id).await;
            Err(refused.error)
        }
    }
}

impl Original {
    /// What it does, if the proxy says with which method.
    fn audited(&self) -> Option<AuditedAction> {
        let [method] = self.methods.as_slice() else { return None };
        AuditedAction::of(&self.endpoint, method, &self.uri)
    }
}

fn forbidden() -> Error {
    Error::Denied { denied: DenyReason::Forbidden, challenge: None }
}

/// What the proxy says of the request that it has, if anything.
fn read(called: &ClientInfo, request: &Request) -> Result<Option<Original>, Error> {
    // A proxy writes one of the two, and passes on what its client wrote in the other.
    let told = |name: HeaderName, other: HeaderName| match (request.header(name), request.header(other)) {
        (Some(one), Some(other)) if one != other => Err(forbidden()),
        (one, other) => Ok(one.or(other)),
    };
    let Some(original) = told(ORIGINAL_URI, FORWARDED_URI)? else { return Ok(None) };
    let uri = read_uri(original, &called.prefix).ok_or_else(forbidden)?;
    // A path that means nothing here may mean anything there. Nor is anything passed on but the registry protocol:
    // the root, `/token` or `/api/` of another server are not the registry's to open.
    let endpoint = Endpoint::parse(uri.path()).map_err(|_| forbidden())?;
    if !endpoint.is_protocol() {
        return Err(forbidden());
    }
    // Whoever may pull could push as well, if they themselves could say through the proxy that they only pull.
    let method = if called.by_proxy { told(ORIGINAL_METHOD, FORWARDED_METHOD)? } else { None };
    let methods = match method {
        Some(method) => vec![Method::from_bytes(method.as_bytes()).map_err(|_| forbidden())?],
        // A proxy that does not say which it is gets leave only where it makes no difference.
        None => endpoint.methods().to_vec(),
    };
    let is_known = methods.iter().all(|method| endpoint.methods().contains(method));
    if !is_known || is_ambiguous_mount(&endpoint, &methods, &uri, request) {
        return Err(forbidden());
    }
    Ok(Some(Original { uri, endpoint, methods }))
}

/// Whether a request reads a blob, or could bring one into a repository.
fn is_blob_or_push(endpoint: &Endpoint, method: &Method) -> bool {
    match endpoint {
        Endpoint::Blob(..) | Endpoint::Uploads(..) | Endpoint::Upload(..) => true,
        Endpoint::Manifest(..) => method == Method::PUT,
        _ => false,
    }
}

/// Whether a request may mount a blob from a repository that it does not name here.
///
/// Without `from` a registry looks everywhere. Of a parameter that is given twice it may read the other one. And Go's
/// `FormValue`, which distribution reads both parameters with, prefers a form in the body to the query.
fn is_ambiguous_mount(endpoint: &Endpoint, methods: &[Method], uri: &Uri, request: &Request) -> bool {
    if !matches!(endpoint, Endpoint::Uploads(_)) || !methods.contains(&Method::POST) {
        return false;
    }
    let query = Query::new(uri.query());
    let (mounts, sources) = (query.all("mount").count(), query.all("from").count());
    let is_named = mounts == 1 && sources == 1 && mounted_from(endpoint, uri).is_some();
    (mounts + sources > 0 && !is_named) || has_form(&request.headers)
}

/// Who sends the request that the proxy has, if it may be passed on.
async fn authorize(
    app: &App,
    connection: &Connection,
    called: &ClientInfo,
    request: &Request,
    original: &Original,
) -> Result<Option<Identified>, Box<Rejection>> {
    let Original { uri, endpoint, methods } = original;
    let mut identified = None;
    for method in methods {
        let asked =
            AccessRequest { endpoint: Some(endpoint), method, uri, headers: &request.headers, called };
        let who = match &mut identified {
            Some(who) => who,
            slot @ None => slot.insert(authorization::identify(app, connection, asked).await?),
        };
        if let Err(error) = allow(app, asked, endpoint, who).await {
            return Err(Rejection::by(error, Some(who.identity.clone())));
        }
    }
    Ok(identified)
}

/// Whether a request may be passed on to something that does not judge requests itself.
async fn allow(
    app: &App,
    asked: AccessRequest<'_>,
    endpoint: &Endpoint,
    who: &Identified,
) -> Result<(), Error> {
    let outcome = authorization::allow(app, asked, who).await;
    match outcome {
        Ok(None) => {}
        Ok(Some(Visible::Everything)) => {}
        Ok(Some(_)) if who.by_credentials => return Err(forbidden()),
        Ok(Some(_)) => {
            let challenge = authorization::challenge(app, asked, Some(DenyReason::SignIn));
            return Err(Error::Denied { denied: DenyReason::SignIn, challenge });
        }
        // What it may not see: there is no other word for it here.
        Err(Error::Registry(error)) if error.is_unknown() => return Err(forbidden()),
        Err(error) => return Err(error),
    }
    if app.content_proxy.as_ref().is_some_and(|proxy| proxy.shares_blobs())
        && is_blob_or_push(endpoint, asked.method)
    {
        return Err(forbidden());
    }
    if let Some(from) = mounted_from(endpoint, asked.uri)
        && !app.accounts.is_allowed(&who.identity, &from, Right::Pull).await?
    {
        return Err(forbidden());
    }
    Ok(())
}

/// Who it is, if it is anybody, where the proxy says nothing of the request.
async fn signed_in(
    app: &App,
    connection: &Connection,
    called: &ClientInfo,
    request: &Request,
) -> Result<Option<Identified>, Box<Rejection>> {
    let asked = AccessRequest {
        endpoint: Some(&Endpoint::Auth),
        method: &request.method,
        uri: &request.uri,
        headers: &request.headers,
        called,
    };
    let who = authorization::identify(app, connection, asked).await?;
    if app.accounts.in_force() && who.identity.is_anonymous() {
        let challenge = authorization::challenge(app, asked, Some(DenyReason::SignIn));
        return Err(Rejection::by(
            Error::Denied { denied: DenyReason::SignIn, challenge },
            Some(who.identity),
        ));
    }
    Ok(Some(who))
}

fn yes(who: Option<&Identified>) -> Response {
    let mut response = response::empty();
    let name = who.and_then(|who| who.identity.name());
    if let Some(name) = name.and_then(|name| HeaderValue::from_str(name.as_str()).ok()) {
        response.headers_mut().insert(ACCOUNT, name.clone());
        response.headers_mut().insert(REMOTE_USER, name);
    }
    response
}

/// The address of the request that the proxy has, without the path below which the proxy shows the registry.
///
/// A proxy that does not set `X-Forwarded-Prefix` for this request passes on what its client wrote there, and that
/// must not make one repository out of another (`bob/v2/ann/app` out of `bob/v2` and `ann/app`), nor something that
/// is open to all out of either. So no part of the registry's own addresses is ever taken off, and what is left must
/// be one of them.
fn read_uri(original: &str, prefix: &str) -> Option<Uri> {
    // A fragment is left out here, and may be read as a part of the path elsewhere.
    let uri: Uri = original.parse().ok().filter(|_| !original.contains('#'))?;
    let path = uri.path_and_query()?.as_str();
    let is_ours = |path: &str| {
        TREES.iter().any(|tree| {
            path.strip_prefix('/')
                .is_some_and(|path| path.strip_prefix(tree).is_some_and(|rest| rest.starts_with('/')))
        })
    };
    let holds_ours = prefix.split('/').any(|part| TREES.contains(&part));
    let path = path.strip_prefix(prefix).filter(|rest| !holds_ours && is_ours(rest)).unwrap_or(path);
    if path.starts_with('/') { path.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_address_is_read_without_the_prefix() {
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
