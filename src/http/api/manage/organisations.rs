//! Organisations, their members and their teams.

use accounts::{AccountName, TeamName};
use api::{MemberRole, Members, NewOrganisation, OrganisationChange, Organisations, TeamMembers, Teams};

use super::{body, change, created, manage, map_error, no_content, ok, page_response, take_page};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let found = map_error(&call, manage(&call).organisations(after.as_ref(), page.limit + 1).await)?;
    let (found, more) = take_page(found, &page);
    let last = found.last().filter(|_| more).map(|organisation| organisation.name.clone());
    let list = Organisations { organisations: found.into_iter().map(convert::organisation).collect(), more };
    Ok(page_response(&call, &page, "/api/v1/organisations", &[], &list, last))
}

pub(crate) async fn add(mut call: Call<'_>) -> Result<Response, Error> {
    let NewOrganisation { name, owner, description } = body(&mut call).await?;
    let manage = manage(&call);
    let work = async move { manage.add_organisation(&name, owner.as_ref(), description).await };
    Ok(created(&convert::organisation(change(&call, work).await?)))
}

pub(crate) async fn get(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    Ok(ok(&convert::organisation(map_error(&call, manage(&call).organisation(name).await)?)))
}

pub(crate) async fn change_organisation(mut call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let OrganisationChange { description } = body(&mut call).await?;
    let manage = manage(&call);
    let name = name.clone();
    let work = async move { manage.describe_organisation(&name, description).await };
    Ok(ok(&convert::organisation(change(&call, work).await?)))
}

pub(crate) async fn remove(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let (force, name) = (call.query().truth("force")?, name.clone());
    let manage = manage(&call);
    change(&call, async move { manage.remove_organisation(&name, force).await }).await?;
    Ok(no_content())
}

pub(crate) async fn members(call: Call<'_>, organisation: &AccountName) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let found = manage(&call).members(organisation, after.as_ref(), page.limit + 1).await;
    let (found, more) = take_page(map_error(&call, found)?, &page);
    let last = found.last().filter(|_| more).map(|member| member.account.clone());
    let list = Members { members: found.into_iter().map(convert::member).collect(), more };
    let path = format!("/api/v1/organisations/{organisation}/members");
    Ok(page_response(&call, &page, &path, &[], &list, last))
}

pub(crate) async fn set_member(
    mut call: Call<'_>,
    organisation: &AccountName,
    user: &AccountName,
) -> Result<Response, Error> {
    let MemberRole { role } = body(&mut call).await?;
    let manage = manage(&call);
    let (organisation, user) = (organisation.clone(), user.clone());
    change(&call, async move { manage.set_member(&organisation, &user, role).await }).await?;
    Ok(no_content())
}

pub(crate) async fn remove_member(
    call: Call<'_>,
    organisation: &AccountName,
    user: &AccountName,
) -> Result<Response, Error> {
    let manage = manage(&call);
    let (organisation, user) = (organisation.clone(), user.clone());
    change(&call, async move { manage.remove_member(&organisation, &user).await }).await?;
    Ok(no_content())
}

pub(crate) async fn teams(call: Call<'_>, organisation: &AccountName) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let found = manage(&call).teams(organisation, after.as_ref(), page.limit + 1).await;
    let (found, more) = take_page(map_error(&call, found)?, &page);
    let last = found.last().filter(|_| more).map(|team| team.name.clone());
    let list = Teams { teams: found.into_iter().map(convert::team).collect(), more };
    let path = format!("/api/v1/organisations/{organisation}/teams");
    Ok(page_response(&call, &page, &path, &[], &list, last))
}

pub(crate) async fn add_team(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
) -> Result<Response, Error> {
    let manage = manage(&call);
    let (organisation, team) = (organisation.clone(), team.clone());
    change(&call, async move { manage.add_team(&organisation, &team).await }).await?;
    Ok(no_content())
}

pub(crate) async fn remove_team(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
) -> Result<Response, Error> {
    let manage = manage(&call);
    let (organisation, team) = (organisation.clone(), team.clone());
    change(&call, async move { manage.remove_team(&organisation, &team).await }).await?;
    Ok(no_content())
}

pub(crate) async fn team_members(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let found = manage(&call).team_members(organisation, team, after.as_ref(), page.limit + 1).await;
    let (members, more) = take_page(map_error(&call, found)?, &page);
    let last = members.last().filter(|_| more).cloned();
    let path = format!("/api/v1/organisations/{organisation}/teams/{team}/members");
    Ok(page_response(&call, &page, &path, &[], &TeamMembers { members, more }, last))
}

pub(crate) async fn add_team_member(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
    user: &AccountName,
) -> Result<Response, Error> {
    let manage = manage(&call);
    let (organisation, team, user) = (organisation.clone(), team.clone(), user.clone());
    change(&call, async move { manage.add_team_member(&organisation, &team, &user).await }).await?;
    Ok(no_content())
}

pub(crate) async fn remove_team_member(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
    user: &AccountName,
) -> Result<Response, Error> {
    let manage = manage(&call);
    let (organisation, team, user) = (organisation.clone(), team.clone(), user.clone());
    change(&call, async move { manage.remove_team_member(&organisation, &team, &user).await }).await?;
    Ok(no_content())
}
