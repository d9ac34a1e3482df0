//! Organisations, their members and their teams.

use accounts::{AccountName, TeamName};
use api::{MemberRole, Members, NewOrganisation, OrganisationChange, Organisations, TeamMembers, Teams};

use super::{Call, body, change, cut, done, listed, made, shown};
use crate::http::api::convert;
use crate::http::error::Error;
use crate::http::response::Response;

pub(super) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let found = call.found(call.manage.organisations(after.as_ref(), page.limit + 1).await)?;
    let (found, more) = cut(found, &page);
    let last = found.last().filter(|_| more).map(|organisation| organisation.name.clone());
    let list = Organisations { organisations: found.into_iter().map(convert::organisation).collect(), more };
    Ok(listed(call.caller, &page, "/api/v1/organisations", &[], &list, last))
}

pub(super) async fn add(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, manage, request, .. } = call;
    let NewOrganisation { name, owner, description } = body(request).await?;
    let work = async move { manage.add_organisation(&name, owner.as_ref(), description).await };
    Ok(made(&convert::organisation(change(app, work).await?)))
}

pub(super) async fn get(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    Ok(shown(&convert::organisation(call.found(call.manage.organisation(name).await)?)))
}

pub(super) async fn change_organisation(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let Call { app, manage, request, .. } = call;
    let OrganisationChange { description } = body(request).await?;
    let name = name.clone();
    let work = async move { manage.describe_organisation(&name, description).await };
    Ok(shown(&convert::organisation(change(app, work).await?)))
}

pub(super) async fn remove(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let (force, name) = (call.query().truth("force")?, name.clone());
    let Call { app, manage, .. } = call;
    change(app, async move { manage.remove_organisation(&name, force).await }).await?;
    Ok(done())
}

pub(super) async fn members(call: Call<'_>, organisation: &AccountName) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let found = call.manage.members(organisation, after.as_ref(), page.limit + 1).await;
    let (found, more) = cut(call.found(found)?, &page);
    let last = found.last().filter(|_| more).map(|member| member.account.clone());
    let list = Members { members: found.into_iter().map(convert::member).collect(), more };
    let path = format!("/api/v1/organisations/{organisation}/members");
    Ok(listed(call.caller, &page, &path, &[], &list, last))
}

pub(super) async fn set_member(
    call: Call<'_>,
    organisation: &AccountName,
    user: &AccountName,
) -> Result<Response, Error> {
    let Call { app, manage, request, .. } = call;
    let MemberRole { role } = body(request).await?;
    let (organisation, user) = (organisation.clone(), user.clone());
    change(app, async move { manage.set_member(&organisation, &user, role).await }).await?;
    Ok(done())
}

pub(super) async fn remove_member(
    call: Call<'_>,
    organisation: &AccountName,
    user: &AccountName,
) -> Result<Response, Error> {
    let Call { app, manage, .. } = call;
    let (organisation, user) = (organisation.clone(), user.clone());
    change(app, async move { manage.remove_member(&organisation, &user).await }).await?;
    Ok(done())
}

pub(super) async fn teams(call: Call<'_>, organisation: &AccountName) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let found = call.manage.teams(organisation, after.as_ref(), page.limit + 1).await;
    let (found, more) = cut(call.found(found)?, &page);
    let last = found.last().filter(|_| more).map(|team| team.name.clone());
    let list = Teams { teams: found.into_iter().map(convert::team).collect(), more };
    let path = format!("/api/v1/organisations/{organisation}/teams");
    Ok(listed(call.caller, &page, &path, &[], &list, last))
}

pub(super) async fn add_team(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
) -> Result<Response, Error> {
    let Call { app, manage, .. } = call;
    let (organisation, team) = (organisation.clone(), team.clone());
    change(app, async move { manage.add_team(&organisation, &team).await }).await?;
    Ok(done())
}

pub(super) async fn remove_team(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
) -> Result<Response, Error> {
    let Call { app, manage, .. } = call;
    let (organisation, team) = (organisation.clone(), team.clone());
    change(app, async move { manage.remove_team(&organisation, &team).await }).await?;
    Ok(done())
}

pub(super) async fn team_members(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let found = call.manage.team_members(organisation, team, after.as_ref(), page.limit + 1).await;
    let (members, more) = cut(call.found(found)?, &page);
    let last = members.last().filter(|_| more).cloned();
    let path = format!("/api/v1/organisations/{organisation}/teams/{team}/members");
    Ok(listed(call.caller, &page, &path, &[], &TeamMembers { members, more }, last))
}

pub(super) async fn add_team_member(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
    user: &AccountName,
) -> Result<Response, Error> {
    let Call { app, manage, .. } = call;
    let (organisation, team, user) = (organisation.clone(), team.clone(), user.clone());
    change(app, async move { manage.add_team_member(&organisation, &team, &user).await }).await?;
    Ok(done())
}

pub(super) async fn remove_team_member(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
    user: &AccountName,
) -> Result<Response, Error> {
    let Call { app, manage, .. } = call;
    let (organisation, team, user) = (organisation.clone(), team.clone(), user.clone());
    change(app, async move { manage.remove_team_member(&organisation, &team, &user).await }).await?;
    Ok(done())
}
