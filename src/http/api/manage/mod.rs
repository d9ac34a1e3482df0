//! What `/api/v1/` answers about accounts. Who may do what is decided by `registry::access::manage`, for each operation;
//! here requests are read and answers written.
//!
//! Bodies are JSON and say so in their Content-Type: a form of another site, sent by the browser of somebody who is
//! signed in, does not get that far.

mod adopt;
mod audit;
mod check;
mod grants;
mod organisations;
mod robots;
mod tokens;
mod users;

use std::fmt::Display;
use std::future::Future;

use api::{Me, MeKind};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use registry::access::Identity;
use registry::access::manage::{Manage, ManageError, Requester};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::StoreError;

use super::management::Management;
use super::openapi;
use crate::http::app::App;
use crate::http::error::Error;
use crate::http::extract::page::PageRequest;
use crate::http::extract::query::Query;
use crate::http::extract::request::Request;
use crate::http::middleware::authorization::{self, Caller, DenyReason};
use crate::http::response::{self, Response};

/// The longest body. The largest is a token for a hundred repositories.
const BODY_BYTES: usize = 64 * 1024;

/// Answers a request whose method the endpoint takes.
pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    management: &Management,
    request: Request,
) -> Result<Response, Error> {
    use Management as M;
    let call = Call { app, caller, manage: manage(app, caller, &request), request };
    let method = &call.request.method;
    let reads = *method == Method::GET || *method == Method::HEAD;
    let removes = *method == Method::DELETE;
    match management {
        M::OpenApi => Ok(openapi::get()),
        M::Me => Ok(me(app, caller)),
        M::Registration => users::register(call).await,
        M::Users if reads => users::list(call).await,
        M::Users => users::add(call).await,
        M::User(name) if reads => users::get(call, name).await,
        M::User(name) if removes => users::remove(call, name).await,
        M::User(name) => users::change_user(call, name).await,
        M::Tokens(user) if reads => tokens::list(call, user).await,
        M::Tokens(user) => tokens::add(call, user).await,
        M::Token(user, id) if removes => tokens::revoke(call, user, *id).await,
        M::Token(user, id) => tokens::change_token(call, user, *id).await,
        M::Organisations if reads => organisations::list(call).await,
        M::Organisations => organisations::add(call).await,
        M::Organisation(name) if reads => organisations::get(call, name).await,
        M::Organisation(name) if removes => organisations::remove(call, name).await,
        M::Organisation(name) => organisations::change_organisation(call, name).await,
        M::Members(organisation) => organisations::members(call, organisation).await,
        M::Member(organisation, user) if removes => {
            organisations::remove_member(call, organisation, user).await
        }
        M::Member(organisation, user) => organisations::set_member(call, organisation, user).await,
        M::Teams(organisation) => organisations::teams(call, organisation).await,
        M::Team(organisation, team) if removes => organisations::remove_team(call, organisation, team).await,
        M::Team(organisation, team) => organisations::add_team(call, organisation, team).await,
        M::TeamMembers(organisation, team) => organisations::team_members(call, organisation, team).await,
        M::TeamMember(organisation, team, user) if removes => {
            organisations::remove_team_member(call, organisation, team, user).await
        }
        M::TeamMember(organisation, team, user) => {
            organisations::add_team_member(call, organisation, team, user).await
        }
        M::Robots if reads => robots::list(call).await,
        M::Robots => robots::add(call).await,
        M::Robot(name) if reads => robots::get(call, name).await,
        M::Robot(name) if removes => robots::remove(call, name).await,
        M::Robot(name) => robots::change_robot(call, name).await,
        M::RobotSecret(name) => robots::new_secret(call, name).await,
        M::Grants if reads => grants::list(call).await,
        M::Grants if removes => grants::remove(call).await,
        M::Grants => grants::set(call).await,
        M::Check => check::run(call),
        M::Audit => audit::read(call).await,
        M::Adopt => adopt::adopt(call).await,
    }
}

/// A request, and accounts in the hands of whoever sent it.
struct Call<'a> {
    app: &'a App,
    caller: &'a Caller,
    manage: Manage,
    request: Request,
}

impl Call<'_> {
    fn query(&self) -> Query<'_> {
        self.request.query()
    }

    fn page(&self) -> Result<PageRequest<'_>, Error> {
        PageRequest::read(self.query(), self.app.limits.page_entries)
    }

    /// What a look at something found.
    fn found<T>(&self, found: Result<T, ManageError>) -> Result<T, Error> {
        found.map_err(|error| refused(self.app, error))
    }
}

/// Reads the body of a request.
async fn body<T: DeserializeOwned>(mut request: Request) -> Result<T, Error> {
    let is_json = request.header(CONTENT_TYPE).is_some_and(|kind| {
        kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    });
    if !is_json {
        return Err(Error::NoJson);
    }
    let bytes = request.short_body(BODY_BYTES, || Error::BodyTooLarge { limit: BODY_BYTES }).await?;
    serde_json::from_slice(&bytes).map_err(Error::BadJson)
}

/// Carries out a change in a task of its own: it comes to its end even if the client goes away in the middle, and with
/// it what has to follow a change.
async fn change<T: Send + 'static>(
    app: &App,
    work: impl Future<Output = Result<T, ManageError>> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(StoreError::Closed.into())).map_err(|error| refused(app, error))
}

/// A refusal as an answer.
fn refused(app: &App, error: ManageError) -> Error {
    match error {
        ManageError::Registry(error) => Error::Registry(error),
        ManageError::SignIn(_) if app.accounts.in_force() => {
            Error::Denied { denied: DenyReason::SignIn, challenge: authorization::basic_challenge(app) }
        }
        error => Error::Manage(error),
    }
}

fn manage(app: &App, caller: &Caller, request: &Request) -> Manage {
    let identity = caller.identity().clone();
    app.accounts.manage(Requester {
        address: (!matches!(identity, Identity::Operator)).then(|| caller.address()),
        identity,
        request_id: request.id.to_str().unwrap_or_default().to_owned(),
    })
}

/// Who asks.
fn me(app: &App, caller: &Caller) -> Response {
    let identity = caller.identity();
    let (kind, name, administrator) = match identity {
        Identity::Anonymous => (MeKind::Anonymous, None, false),
        Identity::Operator => (MeKind::Operator, None, true),
        Identity::Account(account) => {
            let kind = if account.name.is_robot() { MeKind::Robot } else { MeKind::User };
            (kind, Some(account.name.clone()), account.administrator && account.scope.is_none())
        }
    };
    private(response::json(&Me { kind, name, administrator, accounts_in_force: app.accounts.in_force() }))
}

/// One entry more than a page has says whether there are more; it is not shown.
fn cut<T>(mut found: Vec<T>, page: &PageRequest<'_>) -> (Vec<T>, bool) {
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    (found, more)
}

/// A page of a list, with the address of the next one.
fn listed(
    caller: &Caller,
    page: &PageRequest<'_>,
    path: &str,
    filters: &[(&str, &str)],
    list: &impl Serialize,
    last: Option<impl Display>,
) -> Response {
    let mut response = private(response::json(list));
    let last = last.map(|last| last.to_string());
    page.link_next(&mut response, caller.links(), path, filters, last.as_deref());
    response
}

fn made(what: &impl Serialize) -> Response {
    let mut response = private(response::json(what));
    *response.status_mut() = StatusCode::CREATED;
    response
}

fn shown(what: &impl Serialize) -> Response {
    private(response::json(what))
}

fn done() -> Response {
    response::status(StatusCode::NO_CONTENT)
}

/// What is about accounts, or even holds a secret, is for nobody's cache.
fn private(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
