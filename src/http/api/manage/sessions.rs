//! Sessions of browsers.

use accounts::AccountName;
use api::Sessions;
use registry::access::manage::Manage;

use super::{change, list_page, no_content};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn list(call: Call<'_>, user: &AccountName) -> Result<Response, Error> {
    let read = async |manage: Manage, after, limit| manage.sessions(user, after, limit).await;
    let path = format!("/api/v1/users/{user}/sessions");
    list_page::<Sessions, i64, _>(&call, &path, &[], read, convert::session).await
}

pub(crate) async fn end(call: Call<'_>, user: &AccountName, id: &i64) -> Result<Response, Error> {
    let (user, id) = (user.clone(), *id);
    change(&call, |manage| async move { manage.revoke_session(&user, id).await }).await?;
    Ok(no_content())
}
