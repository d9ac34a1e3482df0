//! `/-/admin/accounts`: users, and their creation, change and removal.

use accounts::AccountName;
use askama::Template;
use hyper::Method;
use registry::access::manage::UserChange;
use registry::records::AccountRecord;

use super::super::form::Form;
use super::super::manage::{Outcome, run};
use super::super::page::Page;
use super::must_be_administrator;
use crate::http::api::manage::{manage, map_error};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The accounts on a page.
const PAGE: usize = 100;

#[derive(Template)]
#[template(path = "admin/accounts.html")]
struct AccountsPage {
    page: Page,
    outcome: Outcome,
    users: Vec<AccountRecord>,
    next: Option<String>,
    /// The user that is to be removed, after a form without the right name.
    own: String,
}

pub(crate) async fn answer(mut call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let outcome = if call.request.method == Method::POST {
        let form = Form::read(&mut call).await?;
        act(&call, &form).await?
    } else {
        Outcome::default()
    };
    let after = call.query().parsed::<AccountName>("after", "the name of an account")?;
    let mut users = map_error(&call, manage(&call).users(after.as_ref(), PAGE + 1).await)?;
    let more = users.len() > PAGE;
    users.truncate(PAGE);
    let page = Page::of(&call);
    let body = AccountsPage {
        own: page.viewer.account.clone().unwrap_or_default(),
        next: users.last().filter(|_| more).map(|user| user.name.to_string()),
        page,
        users,
        outcome,
    };
    body.page.render_as(body.outcome.status(), &body)
}

async fn act(call: &Call<'_>, form: &Form) -> Result<Outcome, Error> {
    let page = Page::of(call);
    let Ok(name) = form.text("name").parse::<AccountName>() else {
        return Ok(Outcome::problem(page.t("problem-name")));
    };
    let change = |administrator, disabled| UserChange { administrator, disabled, ..UserChange::default() };
    let change = match &*form.text("action") {
        "add" => {
            let password = form.get("password").unwrap_or_default().into_owned();
            let administrator = form.get("administrator").is_some();
            let description = form.text("description");
            let added = run(call, |manage| async move {
                manage.add_user(&name, password, administrator, description).await.map(drop)
            });
            return Outcome::of(&page, added.await, "account-made");
        }
        "remove" => {
            if !form.confirms(&name) {
                return Ok(Outcome::mismatch(&page));
            }
            let force = form.get("force").is_some();
            let removed = run(call, |manage| async move { manage.remove_user(&name, force).await }).await;
            call.app.webhooks.changed();
            return Outcome::of(&page, removed, "account-removed");
        }
        "disable" | "demote" if !form.confirms(&name) => return Ok(Outcome::mismatch(&page)),
        "disable" => change(None, Some(true)),
        "enable" => change(None, Some(false)),
        "promote" => change(Some(true), None),
        "demote" => change(Some(false), None),
        "password" => UserChange {
            password: Some(form.get("password").unwrap_or_default().into_owned()),
            ..UserChange::default()
        },
        _ => return Err(Error::NoForm),
    };
    let changed = run(call, |manage| async move { manage.change_user(&name, change).await.map(drop) });
    Outcome::of(&page, changed.await, "account-changed")
}
