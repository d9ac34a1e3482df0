//! Personal tokens.

use std::time::Duration;

use accounts::AccountName;
use api::{MadeToken, NewToken, Secret, TokenChange, Tokens};
use registry::access::manage::{TokenChangeRequest, TokenRequest};

use super::{body, change, created, manage, map_error, no_content, ok, page_response, take_page};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn list(call: Call<'_>, user: &AccountName) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let found = manage(&call).tokens(user, after, page.limit + 1).await;
    let (found, more) = take_page(map_error(&call, found)?, &page);
    let last = found.last().filter(|_| more).map(|token| token.id);
    let list = Tokens { tokens: found.into_iter().map(convert::token).collect(), more };
    Ok(page_response(&call, &page, &format!("/api/v1/users/{user}/tokens"), &[], &list, last))
}

pub(crate) async fn add(mut call: Call<'_>, user: &AccountName) -> Result<Response, Error> {
    let NewToken { label, rights, repositories, expires_in } = body(&mut call).await?;
    let manage = manage(&call);
    let lifetime = expires_in.map(Duration::from_secs);
    let (user, wish) = (user.clone(), TokenRequest { label, rights, patterns: repositories, lifetime });
    let (token, secret) = change(&call, async move { manage.add_token(&user, wish).await }).await?;
    Ok(created(&MadeToken { token: convert::token(token), secret: Secret::new(secret.reveal()) }))
}

pub(crate) async fn change_token(
    mut call: Call<'_>,
    user: &AccountName,
    id: &i64,
) -> Result<Response, Error> {
    let TokenChange { label, rights, repositories, expires_in } = body(&mut call).await?;
    let manage = manage(&call);
    let lifetime = expires_in.map(|time| time.map(Duration::from_secs));
    let (user, id, wish) =
        (user.clone(), *id, TokenChangeRequest { label, rights, patterns: repositories, lifetime });
    Ok(ok(&convert::token(change(&call, async move { manage.change_token(&user, id, wish).await }).await?)))
}

pub(crate) async fn revoke(call: Call<'_>, user: &AccountName, id: &i64) -> Result<Response, Error> {
    let manage = manage(&call);
    let (user, id) = (user.clone(), *id);
    change(&call, async move { manage.revoke_token(&user, id).await }).await?;
    Ok(no_content())
}
