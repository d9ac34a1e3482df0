//! Personal tokens.

use std::time::{Duration, SystemTime};

use store::accounts::{AccountName, Pattern, Rights};
use store::metadata::{AccountKind, AccountRecord, NewToken, TokenKind, TokenRecord};

use super::super::{Secret, SecretKind};
use super::{Manage, ManageError, checked, is_in_person, not_found};

/// The most repositories and patterns that a token names.
const MAX_PATTERNS: usize = 100;

/// A personal token as somebody wants it.
#[derive(Clone, Debug, Default)]
pub struct TokenWish {
    /// What its user calls it.
    pub label: String,
    /// What it allows at most; `None` for all that its user may do.
    pub rights: Option<Rights>,
    /// On which repositories at most; `None` for all.
    pub patterns: Option<Vec<Pattern>>,
    /// How long it is good; `None` for ever.
    pub lifetime: Option<Duration>,
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
        wish: TokenWish,
    ) -> Result<(TokenRecord, Secret), ManageError> {
        let label = wish.label.clone();
        let made = async {
            let account = self.owner_of_tokens(user).await?;
            if !self.is_administrator() && !self.own_account().is_ok_and(is_in_person) {
                // It could be made to last longer, or to allow more, than the one at hand.
                return Err(ManageError::Denied("sign in with the password to make a token"));
            }
            checked(&wish.label)?;
            if wish.rights.is_some_and(Rights::is_empty) {
                return Err(ManageError::Token("a token allows at least one right"));
            }
            match &wish.patterns {
                Some(patterns) if patterns.is_empty() => {
                    return Err(ManageError::Token("a token for no repository is good for nothing"));
                }
                Some(patterns) if patterns.len() > MAX_PATTERNS => {
                    return Err(ManageError::Token("a token names at most 100 repositories and patterns"));
                }
                _ => {}
            }
            let expires_at = match wish.lifetime {
                None => None,
                Some(Duration::ZERO) => return Err(ManageError::Token("a token is good for some time")),
                // What lies beyond all time is for ever.
                Some(lifetime) => SystemTime::now().checked_add(lifetime),
            };
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

    /// The user whose tokens are looked at or changed: by the user, or by an administrator.
    async fn owner_of_tokens(&self, user: &AccountName) -> Result<AccountRecord, ManageError> {
        if !self.is_administrator() && self.own_account()?.name != *user {
            return Err(not_found("user", user));
        }
        self.find(user, AccountKind::User).await
    }
}
