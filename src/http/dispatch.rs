//! Routing: calls the handler of an endpoint and method, as the table in `endpoints` says.

use accounts::Right;
use hyper::Method;
use registry::mirror::{MirrorError, Reach};
use tokio::sync::Semaphore;

use crate::http::api::{conditional, manage};
use crate::http::call::Call;
use crate::http::endpoints::{Requirement, endpoints};
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::response::Response;
use crate::http::v2::mirrored;
use crate::http::{api, auth, health, jwks, root, scrape, token, v1, v2, web};

/// The pages that may read documents of pushers at the same time. Each holds some MiB for a moment. A gateway
/// has no limit, because its pages wait for the upstream.
static PAGES_OF_CONTENT: Semaphore = Semaphore::const_new(8);

/// Answers an authorized request. HEAD is answered like GET; the service drops the body.
pub(crate) async fn answer(call: Call<'_>, endpoint: &Endpoint) -> Result<Response, Error> {
    if !endpoint.methods().contains(&call.request.method) {
        return Err(Error::Method);
    }
    if let Some(proxy) = &call.app.content_proxy
        && endpoint.is_content()
    {
        return proxy.answer(call.caller, endpoint, call.request).await;
    }
    if let (Some(mirror), Some(repository)) = (&call.app.mirror, endpoint.repository())
        && !endpoint.is_v2()
        && endpoint.requirement(&call.request.method) == Requirement::Repository(Right::Push)
        && call.request.method != Method::GET
        && !call.request.is_head()
        && !mirror.takes_pushes(repository)
        && let Some(upstream) = mirror.upstream_name(repository)
    {
        // Moving a tag is a push by another way.
        let (upstream, repository) = (upstream.to_owned(), repository.clone());
        return Err(Error::Mirror(MirrorError::PushRefused { upstream, repository }, Reach::Name));
    }
    if let (Some(mirror), Some(reach)) = (&call.app.mirror, call.request.reach)
        && mirrored::is_mirrored(endpoint, &call.request.method)
        && let Some(answered) = Box::pin(mirrored::answer(&call, endpoint, mirror, reach)).await
    {
        return answered;
    }
    // Boxed: rare requests must not enlarge the future of every request.
    if endpoint.shows_content() && call.app.content_proxy.is_none() {
        return Box::pin(async {
            let _slot = PAGES_OF_CONTENT.acquire().await;
            call_handler(call, endpoint).await
        })
        .await;
    }
    if endpoint.is_api() {
        must_be_known_for_body(&call, endpoint)?;
        return Box::pin(conditional::answer(call, |call| call_handler(call, endpoint))).await;
    }
    call_handler(call, endpoint).await
}

/// Refuses the body of an anonymous client before it is read, unless it makes an account.
fn must_be_known_for_body(call: &Call<'_>, endpoint: &Endpoint) -> Result<(), Error> {
    let is_checked = call.app.accounts.in_force()
        && call.caller.identity().is_anonymous()
        && call.request.body.is_awaited()
        && endpoint.requirement(&call.request.method) == Requirement::Own
        && !matches!(endpoint, Endpoint::ApiRegistration);
    if is_checked { manage::map_error(call, manage::manage(call).must_be_known()) } else { Ok(()) }
}

macro_rules! define_call_handler {
    ($(
        $(#[$doc:meta])* $variant:ident $parts:tt $label:literal $path:literal $area:ident {
            $($($method:ident)|+: $requirement:expr, $audit:expr => $($handler:ident)::+ $({$($openapi:tt)*})?;)+
        }
    )+) => {
        async fn call_handler(call: Call<'_>, endpoint: &Endpoint) -> Result<Response, Error> {
            match (endpoint, &call.request.method) {
                $($(
                    (define_call_handler!(@pattern $variant $parts), $(&Method::$method)|+) => {
                        define_call_handler!(@call $area $($handler)::+, call, $parts).await
                    }
                )+)+
                _ => Err(Error::Method),
            }
        }
    };
    (@pattern $variant:ident []) => { Endpoint::$variant };
    (@pattern $variant:ident [$($part:ident: $type:ty),+]) => { Endpoint::$variant($($part),+) };
    // Boxed: rare requests must not enlarge the future of every request.
    (@call Server $handler:path, $call:ident, [$($($part:ident: $type:ty),+)?]) => {
        Box::pin($handler($call $($(, $part)+)?))
    };
    (@call Page $handler:path, $call:ident, [$($($part:ident: $type:ty),+)?]) => {
        Box::pin($handler($call $($(, $part)+)?))
    };
    (@call $area:ident $handler:path, $call:ident, [$($($part:ident: $type:ty),+)?]) => {
        $handler($call $($(, $part)+)?)
    };
}

endpoints!(define_call_handler);
