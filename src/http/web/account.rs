//! `/-/account`: the caller's own password, sessions, tokens, robots, organisations and grants.

use std::time::Duration;

use accounts::{AccountName, Pattern, Right, Rights, Subject};
use askama::Template;
use hyper::Method;
use registry::access::Password;
use registry::access::manage::{Grants, ManageError, TokenRequest, UserChange};
use registry::records::{AccountRecord, GrantRecord, MemberRecord};

use super::form::Form;
use super::listed::{LIMIT, Listed};
use super::manage::{Outcome, run};
use super::page::Page;
use super::robots;
use super::tokens::{self, TokenLine};
use crate::http::api::manage::{manage, map_error};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

const DAY: u64 = 24 * 60 * 60;

struct RightLine {
    repositories: String,
    rights: Rights,
    why: String,
    /// The organisation that the reason names.
    organisation: Option<String>,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    page: Page,
    outcome: Outcome,
    user: AccountRecord,
    sessions: Listed<TokenLine>,
    tokens: Listed<TokenLine>,
    robots: Listed<AccountRecord>,
    rights: Vec<RightLine>,
    has_more_grants: bool,
    has_password: bool,
}

pub(crate) async fn answer(mut call: Call<'_>) -> Result<Response, Error> {
    let outcome = if call.request.method == Method::POST {
        let form = Form::read(&mut call).await?;
        let name = own_name(&call)?;
        act(&call, &form, name).await?
    } else {
        Outcome::default()
    };
    show(&call, outcome).await
}

/// Returns the name of the caller's account.
fn own_name(call: &Call<'_>) -> Result<AccountName, Error> {
    let own = call.caller.identity().name().cloned();
    map_error(call, own.ok_or(ManageError::SignIn("authentication required: log in first")))
}

async fn show(call: &Call<'_>, outcome: Outcome) -> Result<Response, Error> {
    let name = own_name(call)?;
    let manage = manage(call);
    let read = async {
        let user = manage.user(&name).await?;
        let sessions = manage.sessions(&name, None, LIMIT).await?;
        let tokens = manage.tokens(&name, None, LIMIT).await?;
        let robots = manage.robots(Some(&name), None, LIMIT).await?;
        let members = manage.memberships(&name).await?;
        let grants = manage.grants(Grants::Reaching(name.clone()), None, LIMIT).await?;
        Ok((user, sessions, tokens, robots, members, grants))
    };
    let (user, sessions, tokens, robots, members, grants) = map_error(call, read.await)?;
    let (page, grants) = (Page::of(call), Listed::of(grants));
    let body = AccountPage {
        rights: rights(&page, &user, &members, &grants.items),
        has_more_grants: grants.is_cut,
        page,
        has_password: user.password.is_some(),
        user,
        sessions: Listed::of(sessions).map(TokenLine::of),
        tokens: Listed::of(tokens).map(TokenLine::of),
        robots: Listed::of(robots),
        outcome,
    };
    body.page.render_as(body.outcome.status(), &body)
}

/// Lists what an account may do, with the reason of each right.
fn rights(
    page: &Page,
    user: &AccountRecord,
    members: &[MemberRecord],
    grants: &[GrantRecord],
) -> Vec<RightLine> {
    let line = |repositories: String, rights: Rights, why: String, organisation| RightLine {
        repositories,
        rights,
        why,
        organisation,
    };
    let mut lines = Vec::new();
    if user.administrator {
        lines.push(line("**".to_owned(), Rights::ALL, page.t("why-administrator").into_owned(), None));
    }
    lines.push(line(format!("{}/**", user.name), Rights::ALL, page.t("why-owner").into_owned(), None));
    for member in members {
        let (organisation, role) = (member.organisation.to_string(), page.role(&member.role));
        let why = page.language.text_with("why-member", &[("organisation", &organisation), ("role", &role)]);
        lines.push(line(format!("{organisation}/**"), member.role.rights(), why, Some(organisation)));
    }
    for grant in grants {
        let why = match &grant.subject {
            Subject::Everyone => page.t("why-everyone").into_owned(),
            Subject::Accounts => page.t("why-accounts").into_owned(),
            Subject::Account(_) => page.t("why-grant").into_owned(),
            Subject::Team(..) => page.with("why-team", &grant.subject),
        };
        lines.push(line(grant.pattern.to_string(), grant.rights, why, None));
    }
    lines
}

async fn act(call: &Call<'_>, form: &Form, name: AccountName) -> Result<Outcome, Error> {
    let page = Page::of(call);
    if let Some(outcome) = tokens::act(call, &page, form, &name).await? {
        return Ok(outcome);
    }
    if let Some(outcome) = robots::act(call, &page, form, &name).await? {
        return Ok(outcome);
    }
    match &*form.text("action") {
        "password" => change_password(call, form, &page, name).await,
        "add-token" => {
            let request = match token_request(form) {
                Ok(request) => request,
                Err(key) => return Ok(Outcome::problem(page.t(key))),
            };
            let made = run(call, |manage| async move { manage.add_token(&name, request).await });
            Outcome::secret(&page, made.await.map(|(_, secret)| secret), "token-made")
        }
        _ => Err(Error::NoForm),
    }
}

/// Changes the password. The form asks for the old one, because a browser may be left alone.
async fn change_password(
    call: &Call<'_>,
    form: &Form,
    page: &Page,
    name: AccountName,
) -> Result<Outcome, Error> {
    let (new, again) = (form.get("new").unwrap_or_default(), form.get("again").unwrap_or_default());
    if new != again {
        return Ok(Outcome::problem(page.t("problem-passwords-differ")));
    }
    let user = map_error(call, manage(call).user(&name).await)?;
    let old = Password::received(form.get("old").unwrap_or_default());
    match call.app.accounts.is_password_of(&user, old, call.caller.address()).await {
        Ok(true) => {}
        Ok(false) => return Ok(Outcome::problem(page.t("problem-old-password"))),
        Err(registry::access::SignInError::TooMany { retry_after, .. }) => {
            return Ok(Outcome::problem(page.counted("sign-in-too-many", retry_after.as_secs().max(1))));
        }
        Err(registry::access::SignInError::Store(error)) => return Err(error.into()),
        Err(_) => return Ok(Outcome::problem(page.t("problem-old-password"))),
    }
    let change = UserChange { password: Some(new.into_owned()), ..UserChange::default() };
    let changed = run(call, |manage| async move { manage.change_user(&name, change).await });
    // A new password ends all sessions, this one too.
    Outcome::of(page, changed.await.map(drop), "password-changed")
}

fn token_request(form: &Form) -> Result<TokenRequest, &'static str> {
    let rights: Vec<Right> = form.all("rights").iter().filter_map(|right| right.parse().ok()).collect();
    let patterns = form.text("repositories");
    let patterns: Result<Vec<Pattern>, _> =
        patterns.split([',', ' ', '\n', '\r']).filter(|text| !text.is_empty()).map(str::parse).collect();
    let patterns = patterns.map_err(|_| "problem-pattern")?;
    let days: u64 = form.text("days").parse().map_err(|_| "problem-days")?;
    Ok(TokenRequest {
        label: form.text("label"),
        rights: (!rights.is_empty()).then(|| Rights::of(rights)),
        patterns: (!patterns.is_empty()).then_some(patterns),
        lifetime: (days > 0).then(|| Duration::from_secs(days.saturating_mul(DAY))),
    })
}
