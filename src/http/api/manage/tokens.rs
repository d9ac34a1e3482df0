//! Personal tokens.

use std::time::Duration;

use accounts::AccountName;
use api::{MadeToken, NewToken, Secret, TokenChange, Tokens};
use registry::access::manage::{TokenChangeRequest, TokenRequest};

use super::{Call, body, change, cut, done, listed, made, shown};
use crate::http::api::convert;
use crate::http::error::Error;
use crate::http::response::Response;

pub(super) async fn list(call: Call<'_>, user: &AccountName) -> Result<Response, Error> {
    let page = call.page()?;
    let after = page.last_as("last")?;
    let found = call.manage.tokens(user, after, page.limit + 1).await;
    let (found, more) = cut(call.found(found)?, &page);
    let last = found.last().filter(|_| more).map(|token| token.id);
    let list = Tokens { tokens: found.into_iter().map(convert::token).collect(), more };
    Ok(listed(call.caller, &page, &format!("/api/v1/users/{user}/tokens"), &[], &list, last))
}

pub(super) async fn add(call: Call<'_>, user: &AccountName) -> Result<Response, Error> {
    let Call { app, manage, request, .. } = call;
    let NewToken { label, rights, repositories, expires_in } = body(request).await?;
    let lifetime = expires_in.map(Duration::from_secs);
    let (user, wish) = (user.clone(), TokenRequest { label, rights, patterns: repositories, lifetime });
    let (token, secret) = change(app, async move { manage.add_token(&user, wish).await }).await?;
    Ok(made(&MadeToken { token: convert::token(token), secret: Secret::new(secret.reveal()) }))
}

pub(super) async fn change_token(call: Call<'_>, user: &AccountName, id: i64) -> Result<Response, Error> {
    let Call { app, manage, request, .. } = call;
    let TokenChange { label, rights, repositories, expires_in } = body(request).await?;
    let lifetime = expires_in.map(|time| time.map(Duration::from_secs));
    let (user, wish) = (user.clone(), TokenChangeRequest { label, rights, patterns: repositories, lifetime });
    Ok(shown(&convert::token(change(app, async move { manage.change_token(&user, id, wish).await }).await?)))
}

pub(super) async fn revoke(call: Call<'_>, user: &AccountName, id: i64) -> Result<Response, Error> {
    let Call { app, manage, .. } = call;
    let user = user.clone();
    change(app, async move { manage.revoke_token(&user, id).await }).await?;
    Ok(done())
}
