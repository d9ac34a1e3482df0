//! Organisations, their members and their teams.

use accounts::{AccountName, TeamName};
use api::{MemberRole, Members, NewOrganisation, OrganisationChange, Organisations, TeamMembers, Teams};
use registry::access::manage::Manage;

use super::{body, change, created, list_page, manage, map_error, no_content, ok};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let read = async |manage: Manage, after: Option<AccountName>, limit| {
        manage.organisations(after.as_ref(), limit).await
    };
    list_page::<Organisations, _, _>(&call, "/api/v1/organisations", &[], read, convert::organisation).await
}

pub(crate) async fn add(mut call: Call<'_>) -> Result<Response, Error> {
    let NewOrganisation { name, owner, description } = body(&mut call).await?;
    let work =
        |manage: Manage| async move { manage.add_organisation(&name, owner.as_ref(), description).await };
    Ok(created(&convert::organisation(change(&call, work).await?)))
}

pub(crate) async fn get(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    Ok(ok(&convert::organisation(map_error(&call, manage(&call).organisation(name).await)?)))
}

pub(crate) async fn change_organisation(mut call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let OrganisationChange { description } = body(&mut call).await?;
    let name = name.clone();
    let work = |manage: Manage| async move { manage.describe_organisation(&name, description).await };
    Ok(ok(&convert::organisation(change(&call, work).await?)))
}

pub(crate) async fn remove(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let (force, name) = (call.query().truth("force")?, name.clone());
    change(&call, |manage| async move { manage.remove_organisation(&name, force).await }).await?;
    call.app.webhooks.changed();
    Ok(no_content())
}

pub(crate) async fn members(call: Call<'_>, organisation: &AccountName) -> Result<Response, Error> {
    let path = format!("/api/v1/organisations/{organisation}/members");
    let read = async |manage: Manage, after: Option<AccountName>, limit| {
        manage.members(organisation, after.as_ref(), limit).await
    };
    list_page::<Members, _, _>(&call, &path, &[], read, convert::member).await
}

pub(crate) async fn set_member(
    mut call: Call<'_>,
    organisation: &AccountName,
    user: &AccountName,
) -> Result<Response, Error> {
    let MemberRole { role } = body(&mut call).await?;
    let (organisation, user) = (organisation.clone(), user.clone());
    change(&call, |manage| async move { manage.set_member(&organisation, &user, role).await }).await?;
    Ok(no_content())
}

pub(crate) async fn remove_member(
    call: Call<'_>,
    organisation: &AccountName,
    user: &AccountName,
) -> Result<Response, Error> {
    let (organisation, user) = (organisation.clone(), user.clone());
    change(&call, |manage| async move { manage.remove_member(&organisation, &user).await }).await?;
    Ok(no_content())
}

pub(crate) async fn teams(call: Call<'_>, organisation: &AccountName) -> Result<Response, Error> {
    let path = format!("/api/v1/organisations/{organisation}/teams");
    let read = async |manage: Manage, after: Option<TeamName>, limit| {
        manage.teams(organisation, after.as_ref(), limit).await
    };
    list_page::<Teams, _, _>(&call, &path, &[], read, convert::team).await
}

pub(crate) async fn add_team(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
) -> Result<Response, Error> {
    let (organisation, team) = (organisation.clone(), team.clone());
    change(&call, |manage| async move { manage.add_team(&organisation, &team).await }).await?;
    Ok(no_content())
}

pub(crate) async fn remove_team(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
) -> Result<Response, Error> {
    let (organisation, team) = (organisation.clone(), team.clone());
    change(&call, |manage| async move { manage.remove_team(&organisation, &team).await }).await?;
    Ok(no_content())
}

pub(crate) async fn team_members(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
) -> Result<Response, Error> {
    let path = format!("/api/v1/organisations/{organisation}/teams/{team}/members");
    let read = async |manage: Manage, after: Option<AccountName>, limit| {
        manage.team_members(organisation, team, after.as_ref(), limit).await
    };
    list_page::<TeamMembers, _, _>(&call, &path, &[], read, |member| member).await
}

pub(crate) async fn add_team_member(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
    user: &AccountName,
) -> Result<Response, Error> {
    let (organisation, team, user) = (organisation.clone(), team.clone(), user.clone());
    change(&call, |manage| async move { manage.add_team_member(&organisation, &team, &user).await }).await?;
    Ok(no_content())
}

pub(crate) async fn remove_team_member(
    call: Call<'_>,
    organisation: &AccountName,
    team: &TeamName,
    user: &AccountName,
) -> Result<Response, Error> {
    let (organisation, team, user) = (organisation.clone(), team.clone(), user.clone());
    change(&call, |manage| async move { manage.remove_team_member(&organisation, &team, &user).await })
        .await?;
    Ok(no_content())
}
