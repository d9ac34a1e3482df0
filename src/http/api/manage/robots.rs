//! Robots.

use accounts::AccountName;
use api::{NewRobot, RobotChange, RobotSecret, Robots, Secret};
use registry::access::manage::Manage;

use super::{body, change, created, list_page, manage, map_error, no_content, ok};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let owner = call.query().parsed::<AccountName>("owner", "the name of a user or an organisation")?;
    let filters: Vec<_> = owner.iter().map(|owner| ("owner", owner.as_str())).collect();
    let read = async |manage: Manage, after: Option<AccountName>, limit| {
        manage.robots(owner.as_ref(), after.as_ref(), limit).await
    };
    list_page::<Robots, _, _>(&call, "/api/v1/robots", &filters, read, convert::robot).await
}

pub(crate) async fn add(mut call: Call<'_>) -> Result<Response, Error> {
    let NewRobot { name, description } = body(&mut call).await?;
    let (robot, secret) =
        change(&call, |manage| async move { manage.add_robot(&name, description).await }).await?;
    Ok(created(&RobotSecret { name: robot.name, secret: Secret::new(secret.reveal()) }))
}

pub(crate) async fn get(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    Ok(ok(&convert::robot(map_error(&call, manage(&call).robot(name).await)?)))
}

pub(crate) async fn change_robot(mut call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let RobotChange { disabled, description } = body(&mut call).await?;
    let name = name.clone();
    let work = |manage: Manage| async move { manage.change_robot(&name, disabled, description).await };
    Ok(ok(&convert::robot(change(&call, work).await?)))
}

pub(crate) async fn new_secret(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let robot = name.clone();
    let secret = change(&call, |manage| async move { manage.new_robot_secret(&robot).await }).await?;
    Ok(ok(&RobotSecret { name: name.clone(), secret: Secret::new(secret.reveal()) }))
}

pub(crate) async fn remove(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let name = name.clone();
    change(&call, |manage| async move { manage.remove_robot(&name).await }).await?;
    Ok(no_content())
}
