//! Which handler answers which request. This is the one list of them.

use hyper::Method;

use crate::http::api;
use crate::http::app::App;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::request::Request;
use crate::http::health;
use crate::http::jwks;
use crate::http::middleware::authorization::Caller;
use crate::http::response::Response;
use crate::http::root;
use crate::http::token;
use crate::http::v1::{ping, search};
use crate::http::v2::{base, blobs, catalog, manifests, referrers, tags, uploads};

/// Answers a request. HEAD is answered like GET: the server leaves the body out, so that the headers are the same.
pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    endpoint: &Endpoint,
    request: Request,
) -> Result<Response, Error> {
    if !endpoint.methods().contains(&request.method) {
        return Err(Error::Method);
    }
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    if let Some(proxy) = &app.content_proxy
        && endpoint.is_content()
    {
        return proxy.answer(caller, endpoint, request).await;
    }
    match (endpoint, request.method.as_str()) {
        (Endpoint::Root, _) => Ok(root::get(caller)),
        (Endpoint::Health, _) => Ok(health::health()),
        (Endpoint::Ready, _) => health::ready(app).await,
        (Endpoint::Ping, _) => Ok(ping::get()),
        (Endpoint::Jwks, _) => Ok(jwks::get(app)),
        (Endpoint::Token, "POST") => token::post(app, caller, request).await,
        (Endpoint::Token, _) => token::get(app, caller, &request).await,
        (Endpoint::Search, _) => search::get(app, caller, &request).await,

        (Endpoint::Base, _) => Ok(base::get()),
        (Endpoint::Catalog, _) => catalog::get(app, caller, &request).await,
        (Endpoint::Tags(name), _) => tags::get(app, caller, &request, name).await,
        (Endpoint::Referrers(name, subject), _) => referrers::get(app, caller, &request, name, subject).await,
        (Endpoint::Manifest(name, target), _) if reads => manifests::get(app, &request, name, target).await,
        (Endpoint::Manifest(name, target), "PUT") => manifests::put(app, caller, request, name, target).await,
        (Endpoint::Manifest(name, target), "DELETE") => manifests::delete(app, name, target).await,
        (Endpoint::Blob(name, digest), _) if reads => blobs::get(app, &request, name, digest).await,
        (Endpoint::Blob(name, digest), "DELETE") => blobs::delete(app, name, digest).await,
        (Endpoint::Uploads(name), "POST") => uploads::post(app, caller, request, name).await,
        (Endpoint::Upload(name, id), _) if reads => uploads::get(app, caller, name, *id).await,
        (Endpoint::Upload(name, id), "PATCH") => uploads::patch(app, caller, request, name, *id).await,
        (Endpoint::Upload(name, id), "PUT") => uploads::put(app, caller, request, name, *id).await,
        (Endpoint::Upload(name, id), "DELETE") => uploads::delete(app, caller, name, *id).await,

        (Endpoint::ApiRepositories, _) => api::repositories::list(app, caller, &request).await,
        (Endpoint::ApiRepository(name), _) if reads => api::repositories::get(app, name).await,
        (Endpoint::ApiRepository(name), "DELETE") => api::repositories::delete(app, name).await,
        (Endpoint::ApiTags(name), _) => api::tags::get(app, caller, &request, name).await,
        (Endpoint::ApiUsage, _) => api::usage::get(app, caller).await,
        (Endpoint::ApiRepositoryUsage, _) => api::usage::repositories(app, caller, &request).await,

        // Boxed, so that rare management requests do not enlarge the future of every request.
        (Endpoint::Manage(management), _) => {
            Box::pin(api::manage::answer(app, caller, management, request)).await
        }

        // `/auth` is answered before anybody is judged: what it judges is another request.
        (
            Endpoint::Auth
            | Endpoint::Manifest(..)
            | Endpoint::Blob(..)
            | Endpoint::Uploads(..)
            | Endpoint::Upload(..)
            | Endpoint::ApiRepository(..),
            _,
        ) => Err(Error::Method),
    }
}
