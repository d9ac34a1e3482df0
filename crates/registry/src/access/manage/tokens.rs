//! Personal tokens: listed, created, changed and revoked.

use std::time::{Duration, SystemTime};

use accounts::{AccountName, Pattern, Rights};
use store::metadata::{AccountKind, AccountRecord, Limit, NewToken, TokenChange, TokenKind, TokenRecord};

use super::super::{Secret, SecretKind};
use super::{
    MAX_CREDENTIALS, Manage, ManageError, is_in_person, must_be_matchable, must_be_short, not_found,
};

/// The maximum number of repositories and patterns of a token.
const MAX_PATTERNS: usize = 100;

/// A request for a personal token.
#[derive(Clone, Debug, Default)]
pub struct TokenRequest {
    /// A name for the user's own list.
    pub label: String,
    /// The maximum rights; `None` for all rights of the user.
    pub rights: Option<Rights>,
    /// The repositories; `None` for all.
    pub patterns: Option<Vec<Pattern>>,
    /// `None` for no expiry.
    pub lifetime: Option<Duration>,
}

/// A change of a personal token. `None` leaves a value unchanged, and `Some(None)` removes a limit.
#[derive(Clone, Debug, Default)]
pub struct TokenChangeRequest {
    /// A name for the user's own list.
    pub label: Option<String>,
    /// The maximum rights.
    pub rights: Option<Option<Rights>>,
    /// The repositories.
    pub patterns: Option<Option<Vec<Pattern>>>,
    /// The lifetime from now on.
    pub lifetime: Option<Option<Duration>>,
}

impl TokenChangeRequest {
    /// Describes the change for the audit log.
    fn describe(&self, id: i64) -> String {
        let mut changes = Vec::new();
        changes.extend(self.label.as_ref().map(|_| "another label".to_owned()));
        changes.extend(self.rights.map(|rights| match rights {
            Some(rights) => format!("for {rights}"),
            None => "for all rights of its user".to_owned(),
        }));
        changes.extend(self.patterns.as_ref().map(|patterns| match patterns {
            Some(patterns) if patterns.len() == 1 => "on 1 repository or pattern".to_owned(),
            Some(patterns) => format!("on {} repositories or patterns", patterns.len()),
            None => "on all repositories".to_owned(),
        }));
        changes.extend(self.lifetime.map(|_| "another end".to_owned()));
        format!("{id}: {}", changes.join(", "))
    }
}

/// Checks that a token with these limits allows something.
fn must_be_useful(rights: Option<Rights>, patterns: Option<&[Pattern]>) -> Result<(), ManageError> {
    if rights.is_some_and(Rights::is_empty) {
        return Err(ManageError::Token("a token needs at least one right"));
    }
    match patterns {
        Some([]) => Err(ManageError::Token("a token needs at least one repository or pattern")),
        Some(patterns) if patterns.len() > MAX_PATTERNS => {
            Err(ManageError::Token("a token names at most 100 repositories and patterns"))
        }
        Some(patterns) => patterns.iter().try_for_each(must_be_matchable),
        None => Ok(()),
    }
}

/// The longest lifetime: dates after the year 9999 cannot be written.
const LONGEST: Duration = Duration::from_secs(365_000 * 24 * 60 * 60);

/// Returns the expiry of a token with this lifetime.
fn expiry(lifetime: Option<Duration>) -> Result<Option<SystemTime>, ManageError> {
    match lifetime {
        None => Ok(None),
        Some(Duration::ZERO) => Err(ManageError::Token("the lifetime of a token cannot be 0")),
        Some(lifetime) if lifetime > LONGEST => Err(ManageError::Token(
            "the lifetime of a token is at most a thousand years; leave it out for a token that does not expire",
        )),
        // An overflow means no expiry.
        Some(lifetime) => Ok(SystemTime::now().checked_add(lifetime)),
    }
}

impl Manage {
    /// Returns the personal tokens of a user, oldest first, beginning after `after`.
    pub async fn tokens(
        &self,
        user: &AccountName,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<TokenRecord>, ManageError> {
        let user = self.token_owner(user).await?;
        Ok(self.metadata().tokens(user.id, TokenKind::Personal, after, limit).await?)
    }

    /// Creates a personal token. The secret cannot be read again.
    pub async fn add_token(
        &self,
        user: &AccountName,
        request: TokenRequest,
    ) -> Result<(TokenRecord, Secret), ManageError> {
        let label = request.label.clone();
        let created = async {
            let account = self.token_creator(user).await?;
            must_be_short(&request.label)?;
            must_be_useful(request.rights, request.patterns.as_deref())?;
            let expires_at = expiry(request.lifetime)?;
            let secret = Secret::new(SecretKind::Personal).map_err(ManageError::Random)?;
            let limit = Limit { what: "tokens", most: MAX_CREDENTIALS };
            let token = NewToken {
                account: account.id,
                kind: TokenKind::Personal,
                label: request.label,
                hash: secret.hash(),
                rights: request.rights,
                patterns: request.patterns,
                expires_at,
            };
            let token = self.metadata().add_token(token, Some(limit)).await?;
            Ok((token.ok_or_else(|| not_found("user", user))?, secret))
        };
        let created = created.await;
        self.end("token.add", user, Some(label), created).await
    }

    /// Changes a personal token. The secret stays.
    pub async fn change_token(
        &self,
        user: &AccountName,
        id: i64,
        request: TokenChangeRequest,
    ) -> Result<TokenRecord, ManageError> {
        let detail = request.describe(id);
        let changed = async {
            let account = self.token_creator(user).await?;
            must_be_short(request.label.as_deref().unwrap_or_default())?;
            must_be_useful(request.rights.flatten(), request.patterns.as_ref().and_then(Option::as_deref))?;
            let change = TokenChange {
                label: request.label,
                rights: request.rights,
                patterns: request.patterns,
                expires_at: request.lifetime.map(expiry).transpose()?,
            };
            let changed = self.metadata().change_token(account.id, TokenKind::Personal, id, change).await?;
            changed.ok_or_else(|| not_found("token", id))
        };
        let changed = changed.await;
        self.end("token.change", user, Some(detail), changed).await
    }

    /// Revokes a personal token.
    pub async fn revoke_token(&self, user: &AccountName, id: i64) -> Result<(), ManageError> {
        let revoked = self.revoke(user, TokenKind::Personal, "token", id).await;
        self.end("token.remove", user, Some(id.to_string()), revoked).await
    }

    /// Revokes a token of this kind, which errors call `what`.
    pub(super) async fn revoke(
        &self,
        user: &AccountName,
        kind: TokenKind,
        what: &'static str,
        id: i64,
    ) -> Result<(), ManageError> {
        let account = self.token_owner(user).await?;
        let metadata = self.metadata();
        let is_of_kind = metadata.token(id).await?.is_some_and(|(token, _)| token.kind == kind);
        if is_of_kind && metadata.revoke_token(Some(account.id), id).await?.is_some() {
            return Ok(());
        }
        Err(not_found(what, id))
    }

    /// Returns the user, if the requester may create or change the tokens.
    async fn token_creator(&self, user: &AccountName) -> Result<AccountRecord, ManageError> {
        let account = self.token_owner(user).await?;
        self.may_give_access()?;
        if !self.is_administrator() && !self.own_account().is_ok_and(is_in_person) {
            // Otherwise a token could create one with a longer life or more rights.
            return Err(ManageError::Denied("sign in with the password to make or change a token"));
        }
        Ok(account)
    }

    /// Returns the user, if the requester may list and revoke the tokens.
    pub(super) async fn token_owner(&self, user: &AccountName) -> Result<AccountRecord, ManageError> {
        if !self.is_administrator() && self.own_account()?.name != *user {
            return Err(not_found("user", user));
        }
        self.find(user, AccountKind::User).await
    }
}
