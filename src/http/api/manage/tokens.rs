//! Personal tokens.

use std::time::Duration;

use accounts::AccountName;
use api::{MadeToken, NewToken, Secret, TokenChange, Tokens};
use registry::access::manage::{Manage, TokenChangeRequest, TokenRequest};

use super::{body, change, created, list_page, no_content, ok};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn list(call: Call<'_>, user: &AccountName) -> Result<Response, Error> {
    let path = format!("/api/v1/users/{user}/tokens");
    let read = async |manage: Manage, after: Option<i64>, limit| manage.tokens(user, after, limit).await;
    list_page::<Tokens, _, _>(&call, &path, &[], read, convert::token).await
}

pub(crate) async fn add(mut call: Call<'_>, user: &AccountName) -> Result<Response, Error> {
    let NewToken { label, rights, repositories, expires_in } = body(&mut call).await?;
    let lifetime = expires_in.map(Duration::from_secs);
    let (user, wish) = (user.clone(), TokenRequest { label, rights, patterns: repositories, lifetime });
    let (token, secret) = change(&call, |manage| async move { manage.add_token(&user, wish).await }).await?;
    Ok(created(&MadeToken { token: convert::token(token), secret: Secret::new(secret.reveal()) }))
}

pub(crate) async fn change_token(
    mut call: Call<'_>,
    user: &AccountName,
    id: &i64,
) -> Result<Response, Error> {
    let TokenChange { label, rights, repositories, expires_in } = body(&mut call).await?;
    let lifetime = expires_in.map(|time| time.map(Duration::from_secs));
    let (user, id, wish) =
        (user.clone(), *id, TokenChangeRequest { label, rights, patterns: repositories, lifetime });
    Ok(ok(&convert::token(
        change(&call, |manage| async move { manage.change_token(&user, id, wish).await }).await?,
    )))
}

pub(crate) async fn revoke(call: Call<'_>, user: &AccountName, id: &i64) -> Result<Response, Error> {
    let (user, id) = (user.clone(), *id);
    change(&call, |manage| async move { manage.revoke_token(&user, id).await }).await?;
    Ok(no_content())
}
