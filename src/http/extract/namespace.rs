//! Namespaces: finds out whether a request means this registry, or an upstream whose content it caches.
//!
//! Clients name an upstream in the repository name, by the parameter `ns`, by a host name, or not at all. The
//! endpoint gets the full name before authorization, so that rights, limits and the audit log know one name
//! only.

use hyper::Uri;
use hyper::header::{HOST, HeaderMap};
use oci::RepositoryName;
use registry::mirror::{MirrorError, Reach, Target};

use crate::http::app::App;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::query::Query;

/// The result for a request.
pub(crate) enum Named {
    /// The registry's own content.
    Local,
    /// Cached content. The endpoint has its full name.
    Cached(Endpoint, Reach),
    /// Cached content of this name, unless the registry has a repository of the requested name.
    Default(RepositoryName),
}

/// Finds the repository that a request means.
pub(crate) fn find(app: &App, endpoint: &Endpoint, uri: &Uri, headers: &HeaderMap) -> Result<Named, Error> {
    let (Some(mirror), Some(repository), true) = (&app.mirror, endpoint.repository(), endpoint.is_v2())
    else {
        return Ok(Named::Local);
    };
    let namespace = Query::new(uri.query()).get_filled("ns");
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match mirror.resolve(repository, namespace.as_deref(), host) {
        Target::Local => Ok(Named::Local),
        Target::Cached(name, reach) => Ok(Named::Cached(endpoint.with_repository(name), reach)),
        Target::Default(name) => Ok(Named::Default(name)),
        Target::UnknownNamespace => {
            let namespace = namespace.unwrap_or_default().into_owned();
            Err(Error::Mirror(MirrorError::UnknownNamespace(namespace), Reach::Mirror))
        }
    }
}
