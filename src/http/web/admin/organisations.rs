//! `/-/organisations` and `/-/organisations/<name>`: organisations with their members, teams and robots.
//! Owners manage their own.

use accounts::{AccountName, Role, TeamName};
use askama::Template;
use hyper::Method;
use registry::access::manage::{Grants, Manage};
use registry::records::{AccountRecord, GrantRecord, MemberRecord, TeamRecord};

use super::super::form::Form;
use super::super::listed::{LIMIT, Listed};
use super::super::manage::{Outcome, run};
use super::super::page::Page;
use super::super::robots;
use crate::http::api::manage::{manage, map_error};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The organisations on a page.
const PAGE: usize = 200;

#[derive(Template)]
#[template(path = "admin/organisations.html")]
struct OrganisationsPage {
    page: Page,
    outcome: Outcome,
    organisations: Vec<AccountRecord>,
    next: Option<String>,
}

pub(crate) async fn list(mut call: Call<'_>) -> Result<Response, Error> {
    let outcome = if call.request.method == Method::POST {
        let form = Form::read(&mut call).await?;
        add(&call, &form).await?
    } else {
        Outcome::default()
    };
    let after = call.query().parsed::<AccountName>("after", "the name of an organisation")?;
    let found = manage(&call).organisations(after.as_ref(), PAGE + 1).await;
    let mut organisations = map_error(&call, found)?;
    let more = organisations.len() > PAGE;
    organisations.truncate(PAGE);
    let next = organisations.last().filter(|_| more).map(|last| last.name.to_string());
    let body = OrganisationsPage { page: Page::of(&call), outcome, organisations, next };
    body.page.render_as(body.outcome.status(), &body)
}

async fn add(call: &Call<'_>, form: &Form) -> Result<Outcome, Error> {
    let page = Page::of(call);
    let (Ok(name), owner) = (form.text("name").parse::<AccountName>(), form.text("owner")) else {
        return Ok(Outcome::problem(page.t("problem-name")));
    };
    let owner = if owner.is_empty() { None } else { Some(owner.parse::<AccountName>()) };
    let Ok(owner) = owner.transpose() else { return Ok(Outcome::problem(page.t("problem-name"))) };
    let description = form.text("description");
    let added = run(call, |manage| async move {
        manage.add_organisation(&name, owner.as_ref(), description).await.map(drop)
    });
    Outcome::of(&page, added.await, "organisation-made")
}

/// A team with its members.
struct Team {
    record: TeamRecord,
    members: Listed<AccountName>,
}

#[derive(Template)]
#[template(path = "admin/organisation.html")]
struct OrganisationPage {
    page: Page,
    outcome: Outcome,
    organisation: AccountRecord,
    members: Listed<MemberRecord>,
    teams: Listed<Team>,
    robots: Listed<AccountRecord>,
    grants: Listed<GrantRecord>,
    is_owner: bool,
}

pub(crate) async fn answer(mut call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let outcome = if call.request.method == Method::POST {
        let form = Form::read(&mut call).await?;
        if form.text("action") == "remove" {
            return remove(&call, &form, name).await;
        }
        act(&call, &form, name).await?
    } else {
        Outcome::default()
    };
    show(&call, name, outcome).await
}

async fn show(call: &Call<'_>, name: &AccountName, outcome: Outcome) -> Result<Response, Error> {
    let manage = manage(call);
    let organisation = map_error(call, manage.organisation(name).await)?;
    let members = map_error(call, manage.members(name, None, LIMIT).await)?;
    let found = Listed::of(map_error(call, manage.teams(name, None, LIMIT).await)?);
    let mut teams = Listed { items: Vec::with_capacity(found.items.len()), is_cut: found.is_cut };
    for record in found.items {
        let members = map_error(call, manage.team_members(name, &record.name, None, LIMIT).await)?;
        teams.items.push(Team { record, members: Listed::of(members) });
    }
    // Members who do not own the organisation see neither.
    let robots = manage.robots(Some(name), None, LIMIT).await;
    let is_owner = robots.is_ok();
    let grants = manage.grants(Grants::Below(name.clone()), None, LIMIT).await;
    let body = OrganisationPage {
        page: Page::of(call),
        outcome,
        organisation,
        members: Listed::of(members),
        teams,
        robots: Listed::of(robots.unwrap_or_default()),
        grants: Listed::of(grants.unwrap_or_default()),
        is_owner,
    };
    body.page.render_as(body.outcome.status(), &body)
}

async fn remove(call: &Call<'_>, form: &Form, name: &AccountName) -> Result<Response, Error> {
    let page = Page::of(call);
    if form.text("confirmation") != name.as_str() {
        return show(call, name, Outcome::problem(page.t("delete-mismatch"))).await;
    }
    let organisation = name.clone();
    let removed = run(call, |manage| async move { manage.remove_organisation(&organisation, false).await });
    let removed = removed.await;
    call.app.webhooks.changed();
    match Outcome::of(&page, removed, "organisation-removed")? {
        outcome if outcome.problem.is_some() => show(call, name, outcome).await,
        _ => Ok(page.redirect("/-/organisations?done=organisation-removed")),
    }
}

async fn act(call: &Call<'_>, form: &Form, name: &AccountName) -> Result<Outcome, Error> {
    let page = Page::of(call);
    if let Some(outcome) = robots::act(call, &page, form, name).await? {
        return Ok(outcome);
    }
    let organisation = name.clone();
    let user = form.text("user").parse::<AccountName>();
    let team = form.text("team").parse::<TeamName>();
    let refused = |key: &str| Ok(Outcome::problem(page.t(key)));
    match &*form.text("action") {
        "describe" => {
            let text = form.text("description");
            let work =
                |manage: Manage| async move { manage.describe_organisation(&organisation, text).await };
            Outcome::of(&page, run(call, work).await.map(drop), "organisation-changed")
        }
        "set-member" => {
            let (Ok(user), Ok(role)) = (user, form.text("role").parse::<Role>()) else {
                return refused("problem-name");
            };
            let set = run(call, |manage| async move { manage.set_member(&organisation, &user, role).await });
            Outcome::of(&page, set.await, "member-set")
        }
        "remove-member" => {
            let Ok(user) = user else { return refused("problem-name") };
            if !form.confirms(&user) {
                return Ok(Outcome::mismatch(&page));
            }
            let removed = run(call, |manage| async move { manage.remove_member(&organisation, &user).await });
            Outcome::of(&page, removed.await, "member-removed")
        }
        "add-team" => {
            let Ok(team) = team else { return refused("problem-name") };
            let added = run(call, |manage| async move { manage.add_team(&organisation, &team).await });
            Outcome::of(&page, added.await, "team-made")
        }
        "remove-team" => {
            let Ok(team) = team else { return refused("problem-name") };
            if !form.confirms(&team) {
                return Ok(Outcome::mismatch(&page));
            }
            let removed = run(call, |manage| async move { manage.remove_team(&organisation, &team).await });
            Outcome::of(&page, removed.await, "team-removed")
        }
        "add-team-member" => {
            let (Ok(team), Ok(user)) = (team, user) else { return refused("problem-name") };
            let added =
                run(call, |manage| async move { manage.add_team_member(&organisation, &team, &user).await });
            Outcome::of(&page, added.await, "member-set")
        }
        "remove-team-member" => {
            let (Ok(team), Ok(user)) = (team, user) else { return refused("problem-name") };
            if !form.confirms(&user) {
                return Ok(Outcome::mismatch(&page));
            }
            let removed =
                run(
                    call,
                    |manage| async move { manage.remove_team_member(&organisation, &team, &user).await },
                );
            Outcome::of(&page, removed.await, "member-removed")
        }
        _ => Err(Error::NoForm),
    }
}
