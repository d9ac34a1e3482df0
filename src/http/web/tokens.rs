//! Tokens and sessions of a user on the pages of the user and of administrators: listed, revoked and ended by
//! forms of `tokens.html` and `sessions.html`.

use std::time::SystemTime;

use accounts::AccountName;
use registry::records::TokenRecord;

use super::form::Form;
use super::manage::{Outcome, run};
use super::page::Page;
use crate::http::call::Call;
use crate::http::error::Error;

/// A token or a session in a list, without its secret.
pub(super) struct TokenLine {
    pub(super) id: i64,
    pub(super) label: String,
    pub(super) limits: String,
    pub(super) created: SystemTime,
    pub(super) used: Option<SystemTime>,
    pub(super) expires: Option<SystemTime>,
}

impl TokenLine {
    pub(super) fn of(record: TokenRecord) -> Self {
        let rights = record.rights.map(|rights| rights.to_string());
        let patterns = record
            .patterns
            .map(|patterns| patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        Self {
            id: record.id,
            label: record.label,
            limits: [rights, patterns].into_iter().flatten().collect::<Vec<_>>().join(" · "),
            created: record.created_at,
            used: record.last_used_at,
            expires: record.expires_at,
        }
    }
}

/// Revokes a token or ends a session of a user. Returns `None` for other actions.
pub(super) async fn act(
    call: &Call<'_>,
    page: &Page,
    form: &Form,
    user: &AccountName,
) -> Result<Option<Outcome>, Error> {
    let id = form.text("id").parse::<i64>().unwrap_or_default();
    let user = user.clone();
    let outcome = match &*form.text("action") {
        "end-session" => {
            let ended = run(call, |manage| async move { manage.revoke_session(&user, id).await });
            Outcome::of(page, ended.await, "session-ended")
        }
        "revoke-token" => {
            let revoked = run(call, |manage| async move { manage.revoke_token(&user, id).await });
            Outcome::of(page, revoked.await, "token-revoked")
        }
        _ => return Ok(None),
    };
    outcome.map(Some)
}
