//! Sign-in by forward auth: the operator's backend has named the user.

use std::net::IpAddr;
use std::sync::Arc;

use accounts::AccountName;
use store::metadata::{AccountKind, AddOutcome, NewUser, Source};

use super::SignInError;
use crate::access::audit::account_created;
use crate::access::identity::Proof;
use crate::access::{Accounts, Identity, SignedIn, Via};

/// The actor `auth.forward` in the audit log. No account can have this name.
const FORWARD: &str = "(auth.forward)";

impl Accounts {
    /// Signs in a user whom the operator's backend has named. An unknown user gets an account, which owns its
    /// namespace like any other.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] if the account is disabled, or no user.
    pub async fn sign_in_forwarded(&self, name: AccountName, from: IpAddr) -> Result<Identity, SignInError> {
        let metadata = &self.inner.metadata;
        let mut account = metadata.account(&name).await?;
        if account.is_none() {
            let user = NewUser {
                name: name.clone(),
                password: None,
                administrator: false,
                description: String::new(),
                source: Source::Forward,
                only_unused_namespace: false,
            };
            let metadata = metadata.clone();
            account = match self.change(async move { Ok(metadata.add_user(user).await?) }).await? {
                AddOutcome::Added(account) => {
                    let event = account_created(FORWARD, &name, Some(from), "named by auth.forward");
                    self.record_durably(event).await;
                    Some(account)
                }
                // A concurrent request has created the account.
                AddOutcome::NameTaken => self.inner.metadata.account(&name).await?,
                AddOutcome::NamespaceInUse | AddOutcome::NameUnfit | AddOutcome::OwnerUnknown => None,
            };
        }
        match account {
            Some(account) if !account.disabled && account.kind == AccountKind::User => {
                self.inner.maintenance.account_seen(account.id);
                Ok(Identity::Account(Arc::new(SignedIn {
                    id: account.id,
                    name: account.name,
                    administrator: account.administrator,
                    scope: None,
                    via: Via::Forward,
                    expires_at: None,
                    proof: Proof::Forward,
                })))
            }
            Some(account) if account.disabled => Err(SignInError::wrong(name, "the account is disabled")),
            _ => Err(SignInError::wrong(
                name,
                "the name cannot be a user's, or another account has it in other case",
            )),
        }
    }
}
