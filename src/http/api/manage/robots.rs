//! Robots.

use accounts::AccountName;
use api::{NewRobot, RobotChange, RobotSecret, Robots, Secret};

use super::{Call, body, change, cut, done, listed, made, shown};
use crate::http::api::convert;
use crate::http::error::Error;
use crate::http::response::Response;

pub(super) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let owner = call.query().parsed::<AccountName>("owner", "the name of a user or an organisation")?;
    let found = call.manage.robots(owner.as_ref(), after.as_ref(), page.limit + 1).await;
    let (found, more) = cut(call.found(found)?, &page);
    let last = found.last().filter(|_| more).map(|robot| robot.name.clone());
    let list = Robots { robots: found.into_iter().map(convert::robot).collect(), more };
    let filters: Vec<_> = owner.iter().map(|owner| ("owner", owner.as_str())).collect();
    Ok(listed(call.caller, &page, "/api/v1/robots", &filters, &list, last))
}

pub(super) async fn add(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, manage, request, .. } = call;
    let NewRobot { name, description } = body(request).await?;
    let (robot, secret) = change(app, async move { manage.add_robot(&name, description).await }).await?;
    Ok(made(&RobotSecret { name: robot.name, secret: Secret::new(secret.reveal()) }))
}

pub(super) async fn get(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    Ok(shown(&convert::robot(call.found(call.manage.robot(name).await)?)))
}

pub(super) async fn change_robot(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let Call { app, manage, request, .. } = call;
    let RobotChange { disabled, description } = body(request).await?;
    let name = name.clone();
    let work = async move { manage.change_robot(&name, disabled, description).await };
    Ok(shown(&convert::robot(change(app, work).await?)))
}

pub(super) async fn new_secret(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let Call { app, manage, .. } = call;
    let robot = name.clone();
    let secret = change(app, async move { manage.new_robot_secret(&robot).await }).await?;
    Ok(shown(&RobotSecret { name: name.clone(), secret: Secret::new(secret.reveal()) }))
}

pub(super) async fn remove(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let Call { app, manage, .. } = call;
    let name = name.clone();
    change(app, async move { manage.remove_robot(&name).await }).await?;
    Ok(done())
}
