//! Personal tokens.

use std::time::{Duration, SystemTime};

use accounts::{AccountName, Pattern, Rights};
use store::metadata::{AccountKind, AccountRecord, NewToken, TokenChange, TokenKind, TokenRecord};

use super::super::{Secret, SecretKind};
use super::{Manage, ManageError, checked, fitting, is_in_person, not_found};

/// The most repositories and patterns that a token names.
const MAX_PATTERNS: usize = 100;

/// A personal token as somebody wants it.
#[derive(Clone, Debug, Default)]
pub struct TokenRequest {
    /// What its user calls it.
    pub label: String,
    /// What it allows at most; `None` for all that its user may do.
    pub rights: Option<Rights>,
    /// On which repositories at most; `None` for all.
    pub patterns: Option<Vec<Pattern>>,
    /// How long it is good; `None` for ever.
    pub lifetime: Option<Duration>,
}

/// What somebody wants to be changed of a personal token; `None` leaves it as it is, and `Some(None)` sets no limit.
#[derive(Clone, Debug, Default)]
pub struct TokenChangeRequest {
    /// What its user calls it.
    pub label: Option<String>,
    /// What it allows at most.
    pub rights: Option<Option<Rights>>,
    /// On which repositories at most.
    pub patterns: Option<Option<Vec<Pattern>>>,
    /// How long it is good from now on.
    pub lifetime: Option<Option<Duration>>,
}

impl TokenChangeRequest {
    /// What the audit log says that is to be changed.
    fn said(&self, id: i64) -> String {
        let mut said = Vec::new();
        said.extend(self.label.as_ref().map(|_| "another label".to_owned()));
        said.extend(self.rights.map(|rights| match rights {
            Some(rights) => format!("for {rights}"),
            None => "for whatever its user may".to_owned(),
        }));
        said.extend(self.patterns.as_ref().map(|patterns| match patterns {
            Some(patterns) => format!("on {} repositories or patterns", patterns.len()),
            None => "on all repositories".to_owned(),
        }));
        said.extend(self.lifetime.map(|_| "another end".to_owned()));
        format!("{id}: {}", said.join(", "))
    }
}

/// Whether a token within these limits is good for anything.
fn is_good(rights: Option<Rights>, patterns: Option<&[Pattern]>) -> Result<(), ManageError> {
    if rights.is_some_and(Rights::is_empty) {
        return Err(ManageError::Token("a token allows at least one right"));
    }
    match patterns {
        Some([]) => Err(ManageError::Token("a token for no repository is good for nothing")),
        Some(patterns) if patterns.len() > MAX_PATTERNS => {
            Err(ManageError::Token("a token names at most 100 repositories and patterns"))
        }
        Some(patterns) => patterns.iter().try_for_each(fitting),
        None => Ok(()),
    }
}

/// When a token ends that is good for so long from now on.
fn end_of(lifetime: Option<Duration>) -> Result<Option<SystemTime>, ManageError> {
    match lifetime {
        None => Ok(None),
        Some(Duration::ZERO) => Err(ManageError::Token("a token is good for some time")),
        // What lies beyond all time is for ever.
        Some(lifetime) => Ok(SystemTime::now().checked_add(lifetime)),
    }
}

impl Manage {
    /// The personal tokens of a user in the order of their making, from the one after `after`.
    pub async fn tokens(
        &self,
        user: &AccountName,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<TokenRecord>, ManageError> {
        let user = self.owner_of_tokens(user).await?;
        Ok(self.metadata().tokens(user.id, TokenKind::Personal, after, limit).await?)
    }

    /// Makes a personal token. Its secret is told this once.
    pub async fn add_token(
        &self,
        user: &AccountName,
        wish: TokenRequest,
    ) -> Result<(TokenRecord, Secret), ManageError> {
        let label = wish.label.clone();
        let made = async {
            let account = self.giver_of_tokens(user).await?;
            checked(&wish.label)?;
            is_good(wish.rights, wish.patterns.as_deref())?;
            let expires_at = end_of(wish.lifetime)?;
            let secret = Secret::new(SecretKind::Personal).map_err(ManageError::Random)?;
            let token = NewToken {
                account: account.id,
                kind: TokenKind::Personal,
                label: wish.label,
                hash: secret.hash(),
                rights: wish.rights,
                patterns: wish.patterns,
                expires_at,
            };
            let made = self.metadata().add_token(token).await?;
            Ok((made.ok_or_else(|| not_found("user", user))?, secret))
        };
        let made = made.await;
        self.end("token.add", user, Some(label), made).await
    }

    /// Changes a personal token of a user; `None` leaves what it is for as it is. Its secret stays the same.
    pub async fn change_token(
        &self,
        user: &AccountName,
        id: i64,
        wish: TokenChangeRequest,
    ) -> Result<TokenRecord, ManageError> {
        let said = wish.said(id);
        let changed = async {
            let account = self.giver_of_tokens(user).await?;
            checked(wish.label.as_deref().unwrap_or_default())?;
            is_good(wish.rights.flatten(), wish.patterns.as_ref().and_then(Option::as_deref))?;
            let change = TokenChange {
                label: wish.label,
                rights: wish.rights,
                patterns: wish.patterns,
                expires_at: wish.lifetime.map(end_of).transpose()?,
            };
            let changed = self.metadata().change_token(account.id, TokenKind::Personal, id, change).await?;
            changed.ok_or_else(|| not_found("token", id))
        };
        let changed = changed.await;
        self.end("token.change", user, Some(said), changed).await
    }

    /// Ends a personal token of a user.
    pub async fn revoke_token(&self, user: &AccountName, id: i64) -> Result<(), ManageError> {
        let revoked = async {
            let account = self.owner_of_tokens(user).await?;
            let metadata = self.metadata();
            let personal =
                metadata.token(id).await?.is_some_and(|(token, _)| token.kind == TokenKind::Personal);
            if personal && metadata.revoke_token(Some(account.id), id).await?.is_some() {
                return Ok(());
            }
            Err(not_found("token", id))
        };
        let revoked = revoked.await;
        self.end("token.remove", user, Some(id.to_string()), revoked).await
    }

    /// The user whose tokens are made or changed.
    async fn giver_of_tokens(&self, user: &AccountName) -> Result<AccountRecord, ManageError> {
        let account = self.owner_of_tokens(user).await?;
        if !self.is_administrator() && !self.own_account().is_ok_and(is_in_person) {
            // It could be made to last longer, or to allow more, than the one at hand.
            return Err(ManageError::Denied("sign in with the password to make or change a token"));
        }
        Ok(account)
    }

    /// The user whose tokens are looked at or taken back: by the user, or by an administrator.
    async fn owner_of_tokens(&self, user: &AccountName) -> Result<AccountRecord, ManageError> {
        if !self.is_administrator() && self.own_account()?.name != *user {
            return Err(not_found("user", user));
        }
        self.find(user, AccountKind::User).await
    }
}
