//! Users, and people who make an account for themselves.

use accounts::AccountName;
use api::{self as types, NewUser, Registration, Users};
use registry::access::manage::UserChange;

use super::{Call, body, change, cut, done, listed, made, shown};
use crate::http::api::convert;
use crate::http::error::Error;
use crate::http::response::Response;

pub(super) async fn register(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, manage, request, .. } = call;
    manage.must_be_open_for_registration().map_err(Error::Manage)?;
    let wish: Registration = body(request).await?;
    let user = change(app, async move { manage.register(&wish.name, wish.password.into_text()).await });
    Ok(made(&convert::user(user.await?)))
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let (users, more) = cut(call.found(call.manage.users(after.as_ref(), page.limit + 1).await)?, &page);
    let last = users.last().filter(|_| more).map(|user| user.name.clone());
    let users = Users { users: users.into_iter().map(convert::user).collect(), more };
    Ok(listed(call.caller, &page, "/api/v1/users", &[], &users, last))
}

pub(super) async fn add(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, manage, request, .. } = call;
    let NewUser { name, password, administrator, description } = body(request).await?;
    let work = async move { manage.add_user(&name, password.into_text(), administrator, description).await };
    Ok(made(&convert::user(change(app, work).await?)))
}

pub(super) async fn get(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    Ok(shown(&convert::user(call.found(call.manage.user(name).await)?)))
}

pub(super) async fn change_user(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let Call { app, manage, request, .. } = call;
    let types::UserChange { password, administrator, disabled, description } = body(request).await?;
    let password = password.map(types::Secret::into_text);
    let (name, wish) = (name.clone(), UserChange { password, administrator, disabled, description });
    let user = change(app, async move { manage.change_user(&name, wish).await }).await?;
    Ok(shown(&convert::user(user)))
}

pub(super) async fn remove(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let (force, name) = (call.query().truth("force")?, name.clone());
    let Call { app, manage, .. } = call;
    change(app, async move { manage.remove_user(&name, force).await }).await?;
    Ok(done())
}
