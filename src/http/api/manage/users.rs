//! Users and self-registration.

use accounts::AccountName;
use api::{self as types, NewUser, Registration, Users};
use registry::access::manage::{Manage, UserChange};

use super::{body, change, created, list_page, manage, map_error, no_content, ok};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn register(mut call: Call<'_>) -> Result<Response, Error> {
    manage(&call).must_be_open_for_registration().map_err(Error::Manage)?;
    let wish: Registration = body(&mut call).await?;
    let user =
        change(&call, |manage| async move { manage.register(&wish.name, wish.password.into_text()).await });
    Ok(created(&convert::user(user.await?)))
}

pub(crate) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let read =
        async |manage: Manage, after: Option<AccountName>, limit| manage.users(after.as_ref(), limit).await;
    list_page::<Users, _, _>(&call, "/api/v1/users", &[], read, convert::user).await
}

pub(crate) async fn add(mut call: Call<'_>) -> Result<Response, Error> {
    let NewUser { name, password, administrator, description } = body(&mut call).await?;
    let work = |manage: Manage| async move {
        manage.add_user(&name, password.into_text(), administrator, description).await
    };
    Ok(created(&convert::user(change(&call, work).await?)))
}

pub(crate) async fn get(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    Ok(ok(&convert::user(map_error(&call, manage(&call).user(name).await)?)))
}

pub(crate) async fn change_user(mut call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let types::UserChange { password, administrator, disabled, description } = body(&mut call).await?;
    let password = password.map(types::Secret::into_text);
    let (name, wish) = (name.clone(), UserChange { password, administrator, disabled, description });
    let user = change(&call, |manage| async move { manage.change_user(&name, wish).await }).await?;
    Ok(ok(&convert::user(user)))
}

pub(crate) async fn remove(call: Call<'_>, name: &AccountName) -> Result<Response, Error> {
    let (force, name) = (call.query().truth("force")?, name.clone());
    change(&call, |manage| async move { manage.remove_user(&name, force).await }).await?;
    call.app.webhooks.changed();
    Ok(no_content())
}
