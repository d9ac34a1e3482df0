//! The request pipeline: takes a request through the middleware to its handler, and finishes the response.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, StatusCode};
use registry::access::Identity;
use registry::mirror::{Item, Reach};
use tracing::{Instrument as _, Span};

use crate::http::app::App;
use crate::http::auth;
use crate::http::call::Call;
use crate::http::cluster::{Forwarder, Head, Role};
use crate::http::dispatch;
use crate::http::error::{Error, ErrorFormat};
use crate::http::extract::conditional::keep_private;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::namespace::{self, Named};
use crate::http::extract::path_part::PathError;
use crate::http::extract::request::Request;
use crate::http::links::Links;
use crate::http::live::LiveApp;
use crate::http::middleware::access_log::Exchange;
use crate::http::middleware::audit::{self, Answered, AuditedAction};
use crate::http::middleware::authorization::{self, Rejection};
use crate::http::middleware::body_budget::Payer;
use crate::http::middleware::caller::{Authorized, Caller};
use crate::http::middleware::client_info::ClientInfo;
use crate::http::middleware::compression::Compression;
use crate::http::middleware::cors::Allowed;
use crate::http::middleware::host_header;
use crate::http::middleware::open_pull;
use crate::http::middleware::rate_limit::{Client, client_network};
use crate::http::middleware::request_id::X_REQUEST_ID;
use crate::http::middleware::revocation::{AccountState, RevocationCheck};
use crate::http::response::{self, DOCKER_API_VERSION, Response};
use crate::http::server::connection::{Connection, Peer};
use crate::http::v2::manifests;
use crate::http::web;
use crate::traces;

const API_VERSION: HeaderValue = HeaderValue::from_static("registry/2.0");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'");

/// The hyper service of one connection.
pub(crate) struct Service {
    live: Arc<LiveApp>,
    connection: Arc<Connection>,
}

/// The path of one request.
struct Pipeline<'a> {
    app: &'a Arc<App>,
    connection: &'a Arc<Connection>,
}

/// A future for a response.
///
/// Responses from memory are ready at once, without a task or a boxed future. All others are boxed once, so
/// that a connection does not reserve the size of the largest handler.
#[allow(clippy::large_enum_variant, reason = "boxing the large variant costs what this enum saves")]
pub(crate) enum Answer {
    Now(Option<Response>),
    Later(Pin<Box<dyn Future<Output = Response> + Send>>),
}

impl Future for Answer {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(response) => {
                Poll::Ready(Ok(response.take().expect("a future is not polled after it was ready")))
            }
            Self::Later(response) => response.as_mut().poll(cx).map(Ok),
        }
    }
}

impl Service {
    pub(crate) fn new(live: Arc<LiveApp>, connection: Arc<Connection>) -> Self {
        Self { live, connection }
    }
}

impl hyper::service::Service<hyper::Request<Incoming>> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: hyper::Request<Incoming>) -> Answer {
        let app = self.live.get();
        if let Role::Replica(forwarder) = &*app.role
            && matches!(self.connection.peer(), Peer::Tcp { .. })
        {
            let forwarder = forwarder.clone();
            return Answer::Later(Box::pin(answer_as_replica(
                app.clone(),
                forwarder,
                self.connection.clone(),
                request,
            )));
        }
        if app.registry.is_shared() {
            return Answer::Later(Box::pin(answer_checked(app.clone(), self.connection.clone(), request)));
        }
        Pipeline { app: &app, connection: &self.connection }.run(request, Ok(()))
    }
}

/// Answers as a replica: alone, or by the primary. Without a primary, it answers all reads.
async fn answer_as_replica(
    app: Arc<App>,
    forwarder: Arc<Forwarder>,
    connection: Arc<Connection>,
    mut request: hyper::Request<Incoming>,
) -> Response {
    let pipeline = Pipeline { app: &app, connection: &connection };
    if host_header::check(&mut request).is_err() || app.role.is_from_replica(request.headers()).is_err() {
        return pipeline.answer_here(request, Ok(())).await;
    }
    let endpoint = Endpoint::parse(request.uri().path()).ok();
    let id = app.ids.of(request.headers());
    let head = Head::of(&request, &id);
    let client = app.client_info(&connection, head.headers());
    if let Some(endpoint) = &endpoint
        && forwarder.may_answer(endpoint, &head)
    {
        let checked = app.registry.check_versions().await;
        let is_checked = checked.is_ok();
        let mut response = pipeline.answer_here(request, checked).await;
        if is_checked && Forwarder::is_final(endpoint, response.status()) {
            return response;
        }
        return match forwarder.forward(head, None, &client).await {
            Ok(forwarded) => {
                let log = response.body_mut().take_exchange();
                pipeline.finish_forwarded(forwarded, log)
            }
            Err(_) => response,
        };
    }
    let mut log = Exchange::begin(
        connection.clone(),
        head.method(),
        head.uri(),
        &id,
        head.headers(),
        endpoint.as_ref(),
    );
    log.set_client(client.address);
    if head.is_read() && forwarder.may_read() {
        return match forwarder.forward(head, None, &client).await {
            Ok(forwarded) => pipeline.finish_forwarded(forwarded, Some(log)),
            Err(_) => {
                log.discard();
                let checked = app.registry.check_versions().await;
                pipeline.answer_here(request, checked).await
            }
        };
    }
    let format = ErrorFormat::of(head.uri().path());
    let forwarded = forwarder.forward(head, Some(request.into_body()), &client).await;
    let response = forwarded
        .unwrap_or_else(|error| error.into_response(format, endpoint.as_ref(), &app.links(&client), &id));
    pipeline.finish_forwarded(response, Some(log))
}

/// Answers after the changes of other servers count here.
async fn answer_checked(
    app: Arc<App>,
    connection: Arc<Connection>,
    request: hyper::Request<Incoming>,
) -> Response {
    let checked = app.registry.check_versions().await;
    Pipeline { app: &app, connection: &connection }.answer_here(request, checked).await
}

impl Pipeline<'_> {
    /// `checked`: whether the changes of other servers count here.
    fn run(&self, mut request: hyper::Request<Incoming>, checked: Result<(), registry::Error>) -> Answer {
        let host = host_header::check(&mut request);
        let id = self.app.ids.of(request.headers());
        let peer = self.app.role.is_from_replica(request.headers()).map(|_| ());
        let is_v2 = request.uri().path().starts_with("/v2");
        let is_head = request.method() == Method::HEAD;
        let path = request.uri().path();
        let is_page = self.app.web.is_some()
            && !path.starts_with("/v2/")
            && web::is_for_page(request.method(), path, request.headers());
        let mut endpoint = if is_page { Endpoint::parse_page(path) } else { Endpoint::parse(path) };
        let known = endpoint.as_ref().ok();
        let mut log = Exchange::begin(
            self.connection.clone(),
            request.method(),
            request.uri(),
            &id,
            request.headers(),
            known,
        );
        let mut request =
            Request::new(request, self.connection.clone(), log.place(), self.app.limits.body_timeout, id);
        let client = self.app.client_info(self.connection, &request.headers);
        log.set_client(client.address);
        let origin = self.app.cors.allowed(&request.headers);
        let reply = Reply { log, is_v2, is_head, origin };

        if let Some(response) = self.answer_early(host.is_ok(), &endpoint, &client, &request) {
            return Answer::Now(Some(self.finish(response, reply, request.id)));
        }
        if let Err(error) = peer {
            return self.refuse(error, &endpoint, &client, request, reply);
        }
        if let Err(error) = checked
            && !endpoint.as_ref().is_ok_and(Endpoint::is_of_server)
        {
            return self.refuse(error.into(), &endpoint, &client, request, reply);
        }
        let mut default = None;
        if self.app.mirror.is_some()
            && let Ok(named) = &endpoint
        {
            match namespace::find(self.app, named, &request.uri, &request.headers) {
                Ok(Named::Local) => {}
                Ok(Named::Cached(cached, reach)) => {
                    endpoint = Ok(cached);
                    request.reach = Some(reach);
                }
                Ok(Named::Default(name)) => default = Some(name),
                Err(error) => return self.refuse(error, &endpoint, &client, request, reply),
            }
        }
        let mut authorized = None;
        if let Ok(Endpoint::Manifest(name, target)) = &endpoint
            && (request.method == Method::GET || is_head)
            && !self.app.audit_pulls
        {
            let span = traces::authorization_span(&reply.log.span).entered();
            authorized = authorization::authorize_cached(
                self.app,
                self.connection,
                request.for_access(endpoint.as_ref().ok(), &client),
            );
            drop(span);
            // A client of a mirror may mean the upstream, although there is such a repository here.
            let may_mean_default = |authorized: &Authorized| {
                default.is_some() && authorized.identity().is_anonymous() && self.app.accounts.in_force()
            };
            if let Some(Ok(authorized)) = &authorized
                && !may_mean_default(authorized)
            {
                let caller = Caller::new(authorized, &client, self.connection, &self.app.link_base);
                if let Some(response) = manifests::get_cached(self.app, caller, &request, name, target) {
                    let identity = Some(authorized.identity());
                    let response = self.throttled(response, &client, identity);
                    return Answer::Now(Some(self.finish_for(response, identity, reply, request.id)));
                }
            }
        }
        let is_page = is_page && endpoint.as_ref().map_or(true, Endpoint::is_page);
        let mut page = is_page.then(|| web::error::frame(self.app, &request, &client));
        let compression = match is_page {
            true => Compression::of(&request.headers, &client, endpoint.as_ref().ok()),
            false => Compression::Never,
        };
        let (app, connection) = (self.app.clone(), self.connection.clone());
        let span = reply.log.span.clone();
        let answer = async move {
            let service = Pipeline { app: &app, connection: &connection };
            if let Some(name) = default
                && let Ok(named) = &endpoint
                && (request.method == Method::GET || request.is_head())
                // The state of an upload belongs to a push.
                && !matches!(named, Endpoint::Uploads(..) | Endpoint::Upload(..))
            {
                let cached = named.with_repository(name);
                let (means_default, decision) =
                    service.means_default(named, &cached, &client, authorized, &request).await;
                authorized = decision;
                if means_default {
                    endpoint = Ok(cached);
                    request.reach = Some(Reach::Mirror);
                }
            }
            let (id, format) = (request.id.clone(), ErrorFormat::of(request.uri.path()));
            let (answer, identity) = service.answer(&endpoint, &client, authorized, request).await;
            if let (Some(page), Some(identity)) = (&mut page, &identity) {
                page.set_viewer(service.app, identity);
            }
            let mut response = answer.unwrap_or_else(|error| {
                let links = service.app.links(&client);
                match &page {
                    Some(page) => web::error::respond(page, error, &links, &id),
                    None => error.into_response(format, endpoint.as_ref().ok(), &links, &id),
                }
            });
            compression.apply(&mut response);
            let response = service.throttled(response, &client, identity.as_ref());
            service.finish_for(response, identity.as_ref(), reply, id)
        };
        Answer::Later(Box::pin(answer.instrument(span)))
    }
}

/// The state that the last steps of a response need.
struct Reply {
    log: Exchange,
    is_v2: bool,
    is_head: bool,
    /// The allowed origin, for CORS.
    origin: Option<Allowed>,
}

impl Pipeline<'_> {
    async fn answer_here(
        &self,
        request: hyper::Request<Incoming>,
        checked: Result<(), registry::Error>,
    ) -> Response {
        match self.run(request, checked).await {
            Ok(response) => response,
        }
    }

    /// Logs a response of the primary when it ends.
    fn finish_forwarded(&self, mut response: Response, log: Option<Exchange>) -> Response {
        if let Some(mut log) = log {
            log.answered(response.status(), http_body::Body::size_hint(response.body()).lower());
            response.body_mut().on_end(log);
        }
        if !self.connection.is_multiplexed() && self.connection.is_receiving() {
            // The rest of the body stays unread, so that the connection cannot take another request.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Answers with an error before the request is authorized.
    fn refuse(
        &self,
        error: Error,
        endpoint: &Result<Endpoint, PathError>,
        client: &ClientInfo,
        request: Request,
        reply: Reply,
    ) -> Answer {
        let format = ErrorFormat::of(request.uri.path());
        let links = self.app.links(client);
        let response = error.into_response(format, endpoint.as_ref().ok(), &links, &request.id);
        Answer::Now(Some(self.finish(response, reply, request.id)))
    }

    /// Answers a request without an account: a bad host, too many requests, a CORS preflight, a redirect.
    fn answer_early(
        &self,
        has_valid_host: bool,
        endpoint: &Result<Endpoint, PathError>,
        client: &ClientInfo,
        request: &Request,
    ) -> Option<Response> {
        let app = &**self.app;
        let address = Client::Address(client_network(client.address));
        // The operator of this machine is not limited: a reload may be what lifts a limit.
        let is_command = matches!(self.connection.peer(), Peer::Control);
        let error = if is_command && has_valid_host {
            None
        } else if has_valid_host && let Err(error) = app.check_host(self.connection, &request.headers) {
            Some(error)
        } else if has_valid_host {
            app.rate_limits.request(address).err().map(|wait| {
                app.metrics.rate_limited.of("address").inc();
                Error::TooMany { wait }
            })
        } else {
            Some(Error::BadHost)
        };
        if let Some(error) = error {
            let format = ErrorFormat::of(request.uri.path());
            return Some(error.into_response(
                format,
                endpoint.as_ref().ok(),
                &app.links(client),
                &request.id,
            ));
        }
        if let Some(response) = app.cors.preflight(&request.method, &request.headers) {
            return Some(response);
        }
        if endpoint.is_err() { redirect_to_clean_path(request, &app.links(client)) } else { None }
    }

    /// Decides whether a request for a name without an upstream means the default one: the caller may not
    /// pull a repository of this name here, or there is none. Both cases look the same, so that private names
    /// stay hidden. Also returns the authorization, as far as it is known.
    async fn means_default(
        &self,
        local: &Endpoint,
        cached: &Endpoint,
        client: &ClientInfo,
        authorized: Option<Result<Authorized, Box<Rejection>>>,
        request: &Request,
    ) -> (bool, Option<Result<Authorized, Box<Rejection>>>) {
        let authorize = async |endpoint| {
            authorization::authorize(self.app, self.connection, request.for_access(Some(endpoint), client))
                .await
        };
        let is_here = async || match local.repository() {
            // An error shows when the local name is read.
            Some(name) => self.app.registry.has_repository(name).await.unwrap_or(true),
            None => true,
        };
        if open_pull::is_open(self.app, request.for_access(Some(cached), client)) {
            // Credentials may be those of another registry, and are tried only where they can matter.
            if is_here().await
                && let Ok(allowed) = authorize(local).await
                && (!allowed.identity().is_anonymous() || !self.precedes_local(local, cached).await)
            {
                return (false, Some(Ok(allowed)));
            }
            return (true, None);
        }
        let authorized = match authorized {
            Some(authorized) => authorized,
            None => authorize(local).await,
        };
        match &authorized {
            Ok(_) if !is_here().await => (true, None),
            Ok(allowed) if allowed.identity().is_anonymous() && self.app.accounts.in_force() => {
                // A client without an account may be one of a mirror, if it may fetch.
                let may_fill = match (&self.app.mirror, cached.repository()) {
                    (Some(mirror), Some(name)) => {
                        mirror.may_fill(allowed.identity(), name, client.address).await.unwrap_or(false)
                    }
                    _ => false,
                };
                match authorize(cached).await {
                    Ok(other) if may_fill && self.precedes_local(local, cached).await => {
                        (true, Some(Ok(other)))
                    }
                    _ => (false, Some(authorized)),
                }
            }
            Ok(_) => (false, Some(authorized)),
            // Wrong credentials count as one guess.
            Err(rejection) if rejection.identity.is_none() => (false, Some(authorized)),
            Err(_) => match authorize(cached).await {
                Ok(allowed) => (true, Some(Ok(allowed))),
                Err(_) => (false, Some(authorized)),
            },
        }
    }

    /// Whether a client of a mirror gets the content of the upstream and not the local one of the same name.
    async fn precedes_local(&self, local: &Endpoint, cached: &Endpoint) -> bool {
        let (Some(mirror), Some(local_name), Some(cached_name)) =
            (&self.app.mirror, local.repository(), cached.repository())
        else {
            return false;
        };
        let item = match cached {
            Endpoint::Manifest(_, target) => Item::Manifest(target),
            Endpoint::Blob(_, digest) => Item::Blob(digest),
            Endpoint::Referrers(_, digest) => Item::Referrers(digest),
            _ => Item::Tags,
        };
        mirror.precedes_local(local_name, cached_name, item).await
    }

    /// Authorizes a request, unless that is done, and calls its handler. Returns the client's identity too,
    /// if it is known.
    async fn answer(
        &self,
        endpoint: &Result<Endpoint, PathError>,
        client: &ClientInfo,
        authorized: Option<Result<Authorized, Box<Rejection>>>,
        mut request: Request,
    ) -> (Result<Response, Error>, Option<Identity>) {
        let (app, connection) = (&**self.app, &**self.connection);
        if let Ok(Endpoint::Auth) = endpoint {
            // `/auth` authorizes the proxied request instead.
            return (auth::answer(app, connection, client, &request).await, None);
        }
        if let Err(error) = app.check_write(client, &request.method, &request.headers) {
            return (Err(error), None);
        }
        let id = request.id.clone();
        let known = endpoint.as_ref().ok();
        let audited = known.and_then(|endpoint| AuditedAction::of(endpoint, &request.method, &request.uri));
        // Before the authorization, so that no change is missed.
        let before = AccountState::of(&app.accounts);
        let authorized = match authorized {
            Some(authorized) => authorized,
            None => {
                let span = traces::authorization_span(&Span::current());
                let access = request.for_access(known, client);
                authorization::authorize(app, connection, access).instrument(span).await
            }
        };
        let authorized = match authorized {
            Ok(authorized) => authorized,
            Err(rejection) => {
                audit::refused(app, audited, &rejection, client.address, &id).await;
                return (Err(rejection.error), rejection.identity);
            }
        };
        let caller = Caller::new(&authorized, client, connection, &app.link_base);
        let identity = authorized.identity().clone();
        audit::signed_in(app, &identity, client.address, &id).await;
        let answer = match endpoint {
            Err(error) => Err(Error::from(*error)),
            Ok(endpoint) => {
                if request.body.is_awaited()
                    && let Some(check) =
                        RevocationCheck::new(&app.registry, before, &identity, endpoint, &request.method)
                {
                    request.body.end_on_revocation(check);
                }
                let account = identity.account().map(|account| account.id);
                if let Some(throttle) = app.rate_limits.throttle(client.address, account) {
                    request.body.throttle(throttle);
                }
                let payer = Payer {
                    client: account.map_or(Client::Address(client_network(client.address)), Client::Account),
                    is_unverified: identity.is_anonymous() && app.accounts.in_force(),
                };
                request.charge_to(app.body_budget.clone(), payer);
                let answer = dispatch::answer(Call { app, caller: &caller, request }, endpoint).await;
                answer.map_err(|error| app.role.name_primary(error))
            }
        };
        let is_revoked = answer.as_ref().is_err_and(|error| error.is_revoked());
        let answered = answer.as_ref().ok().map(Answered::of);
        match answered {
            Some(answered) => audit::answered(app, audited, &caller, answered, &id).await,
            None if is_revoked => audit::revoked(app, audited, &caller, &id).await,
            None => {}
        }
        (answer, Some(identity))
    }

    /// Throttles the body of a response to the client's bandwidth limit.
    fn throttled(
        &self,
        mut response: Response,
        client: &ClientInfo,
        identity: Option<&Identity>,
    ) -> Response {
        let account = identity.and_then(Identity::account).map(|account| account.id);
        if let Some(throttle) = self.app.rate_limits.throttle(client.address, account) {
            response.body_mut().throttle(throttle);
        }
        response
    }

    fn finish_for(
        &self,
        mut response: Response,
        identity: Option<&Identity>,
        mut reply: Reply,
        id: HeaderValue,
    ) -> Response {
        if let Some(identity) = identity {
            reply.log.set_account(identity);
            if !identity.is_anonymous() {
                keep_private(response.headers_mut());
            }
        }
        self.finish(response, reply, id)
    }

    /// Adds the headers that all responses have, and logs the request when the body ends.
    fn finish(&self, mut response: Response, reply: Reply, id: HeaderValue) -> Response {
        let Reply { mut log, is_v2, is_head, origin } = reply;
        self.app.cors.label(origin.as_ref(), &mut response);
        if is_head {
            remove_body(&mut response);
        }
        log.answered(response.status(), http_body::Body::size_hint(response.body()).lower());
        response.body_mut().on_end(log);
        let headers = response.headers_mut();
        if is_v2 {
            headers.insert(DOCKER_API_VERSION, API_VERSION);
            // Pushers and upstreams choose the content and its type. A browser must not run it beside the
            // pages.
            headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
            headers.insert(CONTENT_SECURITY_POLICY, SANDBOX);
        }
        if self.connection.is_multiplexed() {
            // HTTP/2 forbids this header (RFC 9113 section 8.2.2).
            headers.remove(CONNECTION);
        } else if self.connection.is_receiving() {
            // The rest of the body stays unread, so that the connection cannot take another request.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers.insert(X_REQUEST_ID, id);
        response
    }
}

/// Turns the response to GET into the one to HEAD (RFC 9110 section 9.3.2). hyper does so for HTTP/1.1 only.
fn remove_body(response: &mut Response) {
    let body = std::mem::take(response.body_mut());
    if let Some(length @ 1..) = body.len() {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
}

/// Redirects a read of a path with empty components to the clean path, as distribution does: some clients
/// join URLs carelessly. Access control and handlers see the clean path only. `None` if the clean path is no
/// endpoint.
fn redirect_to_clean_path(request: &Request, links: &Links) -> Option<Response> {
    if request.method != Method::GET && !request.is_head() {
        return None;
    }
    let path = clean_path(request.uri.path())?;
    Endpoint::parse(&path).ok()?;
    let query = request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = links.absolute(&format!("{path}{query}")).try_into().ok()?;
    let mut response = response::status(StatusCode::MOVED_PERMANENTLY);
    response.headers_mut().insert(LOCATION, location);
    Some(response)
}

/// Removes empty components from a path. `None` if it has none.
fn clean_path(path: &str) -> Option<String> {
    let mut clean = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        clean.push('/');
        clean.push_str(part);
    }
    // Clients expect `/v2/`, not `/v2`.
    if clean.is_empty() || clean == "/v2" {
        clean.push('/');
    }
    (clean != path).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_path_has_no_empty_components() {
        let clean = |path| clean_path(path);
        assert_eq!(clean("//v2/"), Some("/v2/".to_owned()));
        assert_eq!(clean("//"), Some("/".to_owned()));
        assert_eq!(clean("/v2//a///tags/list/"), Some("/v2/a/tags/list".to_owned()));
        assert_eq!(clean("/v2/../a/"), Some("/v2/../a".to_owned()));
        assert_eq!(clean("/v2/%2f/a"), None);
        assert_eq!(clean("/v2/"), None);
        assert_eq!(clean("*"), Some("/*".to_owned()));
    }
}
