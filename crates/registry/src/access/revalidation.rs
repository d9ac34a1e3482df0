//! Revalidation: whether a sign-in still holds while its request or its stream goes on.
//!
//! A change of accounts raises [`Accounts::generation`], so callers revalidate only after it has changed.

use std::sync::Arc;
use std::time::SystemTime;

use store::metadata::{AccountRecord, TokenKind};

use super::identity::Proof;
use super::sign_in::token::has_expired;
use super::{Accounts, Identity, SignedIn, TokenScope};
use crate::Error;

impl Accounts {
    /// Returns the identity as its account and its token are now. `None` if the account is gone or disabled,
    /// or if the password, session or token of the sign-in is no longer valid. The lifetime of a bearer token
    /// is the caller's concern: it limits the beginning of a request.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn revalidate(&self, identity: &Identity) -> Result<Option<Identity>, Error> {
        let Identity::Account(account) = identity else { return Ok(Some(identity.clone())) };
        let record = match self.inner.metadata.account_by_id(account.id).await? {
            Some(record) if !record.disabled => record,
            _ => return Ok(None),
        };
        let scope = match account.proof {
            Proof::Password(_) => {
                let is_same = self.stored_password(&record).map(|stored| self.proof_of(&stored));
                if is_same != Some(account.proof) {
                    return Ok(None);
                }
                account.scope.clone()
            }
            Proof::Token { id, .. } => match self.token_scope(account, &record, id).await? {
                Some(scope) => scope,
                None => return Ok(None),
            },
            Proof::Forward => account.scope.clone(),
        };
        Ok(Some(Identity::Account(Arc::new(SignedIn {
            id: record.id,
            name: record.name,
            administrator: record.administrator,
            scope,
            via: account.via,
            expires_at: account.expires_at,
            proof: account.proof,
        }))))
    }

    /// Returns the time at which the account was made. `None` for administrators, who also see earlier
    /// events.
    ///
    /// # Errors
    /// Only the errors of the store.
    pub async fn made_at(&self, identity: &Identity) -> Result<Option<SystemTime>, Error> {
        let Some(account) = identity.account().filter(|account| !account.administrator) else {
            return Ok(None);
        };
        let record = self.inner.metadata.account_by_id(account.id).await?;
        Ok(record.map(|record| record.created_at))
    }

    /// Returns the scope of a sign-in by the token `id`, as the token is now. `None` if the token is not
    /// valid.
    async fn token_scope(
        &self,
        account: &SignedIn,
        record: &AccountRecord,
        id: i64,
    ) -> Result<Option<Option<TokenScope>>, Error> {
        let Some((token, _)) = self.inner.metadata.token(id).await? else { return Ok(None) };
        if token.account != record.id || has_expired(&token) {
            return Ok(None);
        }
        if token.kind == TokenKind::Session {
            let is_bound = self.session_binding(record).is_some_and(|bound| token.label.starts_with(&bound));
            return Ok(is_bound.then_some(None));
        }
        Ok(Some(match &account.scope {
            Some(TokenScope::Bearer { repositories, catalog, .. }) => Some(TokenScope::Bearer {
                repositories: repositories.clone(),
                catalog: *catalog,
                rights: token.rights,
                patterns: token.patterns,
            }),
            _ => TokenScope::personal(token.rights, token.patterns),
        }))
    }
}
