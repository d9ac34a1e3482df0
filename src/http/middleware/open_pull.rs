//! Open pulls: the networks whose clients pull from the cache of an upstream without an account.
//!
//! Clients of a mirror often cannot sign in, or send the credentials of the registry that they think they
//! call. Such credentials are neither verified nor counted as guesses.

use accounts::Right;
use hyper::header::HOST;
use oci::RepositoryName;
use registry::mirror::Target;

use crate::http::app::App;
use crate::http::endpoints::Requirement;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::query::Query;
use crate::http::middleware::access_request::AccessRequest;

/// Whether a request is a pull that the operator opened to the client's network.
pub(crate) fn is_open(app: &App, request: AccessRequest<'_>) -> bool {
    let (Some(mirror), Some(endpoint)) = (&app.mirror, request.endpoint) else { return false };
    match endpoint {
        Endpoint::Token => is_open_token(app, request, Query::new(request.uri.query())),
        _ => {
            endpoint.is_v2()
                && endpoint.requirement(request.method) == Requirement::Repository(Right::Pull)
                && endpoint
                    .repository()
                    .is_some_and(|repository| mirror.is_open_to(repository, request.client.address))
        }
    }
}

/// Whether the requested token is for open pulls only. A login names no scope, so it is not.
pub(crate) fn is_open_token(app: &App, request: AccessRequest<'_>, form: Query<'_>) -> bool {
    let Some(mirror) = &app.mirror else { return false };
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_open = |scope: &str| {
        let mut parts = scope.rsplitn(2, ':');
        let (Some("pull"), Some(name)) = (parts.next(), parts.next()) else { return false };
        let Some(name) = name.strip_prefix("repository:") else { return false };
        let Ok(name) = name.parse::<RepositoryName>() else { return false };
        match mirror.resolve(&name, None, host) {
            Target::Cached(name, _) | Target::Default(name) => {
                mirror.is_open_to(&name, request.client.address)
            }
            Target::Local | Target::UnknownNamespace => false,
        }
    };
    let scopes: Vec<_> = form.all("scope").collect();
    let mut scopes =
        scopes.iter().flat_map(|scopes| scopes.split(' ')).filter(|scope| !scope.is_empty()).peekable();
    scopes.peek().is_some() && scopes.all(is_open)
}
