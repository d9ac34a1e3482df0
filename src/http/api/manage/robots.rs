//! Robots.

use accounts::AccountName;
use api::{NewRobot, RobotChange, RobotSecret, Robots, Secret};

use super::{body, change, created, manage, map_error, no_content, ok, page_response, take_page};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let owner = call.query().parsed::<AccountName>("owner", "the name of a user or an organisation")?;
    let found = manage(&call).robots(owner.as_ref(), after.as_ref(), page.limit + 1).await;
    let (found, more) = take_page(map_error(&call, found)?, &page);
    let last = found.last().filter(|_| more).map(|robot| robot.name.clone());
    let list = Robots { robots: found.into_iter().map(convert::robot).collect(), more };
    let filters: Vec<_> = owner.iter().map(|owner| ("owner", owner.as_str())).collect();
    Ok(page_response(&call, &page, "/api/v1/robots", &filters, &list, last))
}

pub(crate) async fn add(mut call: Call<'_>) -> Result<Response, Error> {
    let NewRobot { name, description } = body(&mut call).await?;
    let manage = manage(&call);
    let (robot, secret) = change(&call, async move { manage.add_robot(&name, description).await }).await?;
    Ok(created(&RobotSecret { name: robot.name, secret: Secret::new(secret.reveal()) }))
}

pub(crate) async fn get(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    Ok(ok(&convert::robot(map_error(&call, manage(&call).robot(name).await)?)))
}

pub(crate) async fn change_robot(mut call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let RobotChange { disabled, description } = body(&mut call).await?;
    let manage = manage(&call);
    let name = name.clone();
    let work = async move { manage.change_robot(&name, disabled, description).await };
    Ok(ok(&convert::robot(change(&call, work).await?)))
}

pub(crate) async fn new_secret(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let manage = manage(&call);
    let robot = name.clone();
    let secret = change(&call, async move { manage.new_robot_secret(&robot).await }).await?;
    Ok(ok(&RobotSecret { name: name.clone(), secret: Secret::new(secret.reveal()) }))
}

pub(crate) async fn remove(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let manage = manage(&call);
    let name = name.clone();
    change(&call, async move { manage.remove_robot(&name).await }).await?;
    Ok(no_content())
}
