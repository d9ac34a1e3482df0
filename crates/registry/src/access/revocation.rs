//! Revocation: whether a sign-in still holds after some time, at the end of a slow request body or in a stream.

use std::time::SystemTime;

use store::metadata::TokenRecord;

use super::identity::Proof;
use super::{Accounts, Identity, SignedIn, TokenScope};
use crate::Error;

impl Accounts {
    /// Whether the account is as it was at the sign-in, and its password or token is still valid. The end of a bearer token
    /// does not count, because a long upload may outlast it; the end of the token behind it does.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn still_holds(&self, identity: &Identity) -> Result<bool, Error> {
        let Identity::Account(account) = identity else { return Ok(true) };
        let Some(record) = self.inner.metadata.account(&account.name).await? else { return Ok(false) };
        if record.id != account.id || record.disabled || record.administrator != account.administrator {
            return Ok(false);
        }
        Ok(match account.proof {
            Proof::Password(_) => {
                let stored = self.stored_password(&record);
                stored.is_some_and(|stored| self.proof_of(&stored) == account.proof)
            }
            Proof::Token { id, .. } => {
                let token = self.inner.metadata.token(id).await?;
                token.is_some_and(|(token, _)| token.account == account.id && is_unchanged(&token, account))
            }
            // The backend decides for each request.
            Proof::Forward => true,
        })
    }
}

/// Whether a token is valid, with the limits that it had at the sign-in.
fn is_unchanged(token: &TokenRecord, account: &SignedIn) -> bool {
    let (rights, patterns) = match &account.scope {
        None => (None, None),
        Some(TokenScope::Personal { rights, patterns } | TokenScope::Bearer { rights, patterns, .. }) => {
            (*rights, patterns.as_deref())
        }
    };
    let is_valid = token.expires_at.is_none_or(|end| end > SystemTime::now());
    is_valid && token.rights == rights && token.patterns.as_deref() == patterns
}
