//! `/-/admin/accounts/<user>`: a user with its tokens, sessions, robots and organisations.

use accounts::AccountName;
use askama::Template;
use hyper::Method;
use registry::records::{AccountRecord, MemberRecord};

use super::super::form::Form;
use super::super::listed::{LIMIT, Listed};
use super::super::manage::Outcome;
use super::super::page::Page;
use super::super::robots;
use super::super::tokens::{self, TokenLine};
use super::must_be_administrator;
use crate::http::api::manage::{manage, map_error};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

#[derive(Template)]
#[template(path = "admin/account.html")]
struct UserPage {
    page: Page,
    outcome: Outcome,
    user: AccountRecord,
    tokens: Listed<TokenLine>,
    sessions: Listed<TokenLine>,
    robots: Listed<AccountRecord>,
    memberships: Vec<MemberRecord>,
}

pub(crate) async fn answer(mut call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let outcome = if call.request.method == Method::POST {
        let form = Form::read(&mut call).await?;
        act(&call, &form, name).await?
    } else {
        Outcome::default()
    };
    let manage = manage(&call);
    let read = async {
        let user = manage.user(name).await?;
        let tokens = manage.tokens(name, None, LIMIT).await?;
        let sessions = manage.sessions(name, None, LIMIT).await?;
        let robots = manage.robots(Some(name), None, LIMIT).await?;
        Ok((user, tokens, sessions, robots, manage.memberships(name).await?))
    };
    let (user, tokens, sessions, robots, memberships) = map_error(&call, read.await)?;
    let body = UserPage {
        page: Page::of(&call),
        outcome,
        user,
        tokens: Listed::of(tokens).map(TokenLine::of),
        sessions: Listed::of(sessions).map(TokenLine::of),
        robots: Listed::of(robots),
        memberships,
    };
    body.page.render_as(body.outcome.status(), &body)
}

async fn act(call: &Call<'_>, form: &Form, name: &AccountName) -> Result<Outcome, Error> {
    let page = Page::of(call);
    if let Some(outcome) = tokens::act(call, &page, form, name).await? {
        return Ok(outcome);
    }
    robots::act(call, &page, form, name).await?.ok_or(Error::NoForm)
}
