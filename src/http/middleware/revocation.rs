//! Revocation: authorizes a request again while its body arrives.
//!
//! A request is authorized by its head, and a client can hold the body back until its token, account or right
//! is revoked. So each piece of a body, and its end, waits for a second authorization if accounts have
//! changed. Without a change, a piece costs one atomic load.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use accounts::Right;
use oci::RepositoryName;
use registry::access::{Accounts, Identity};
use registry::{ReceiveError, Registry};
use tokio::task::JoinHandle;

use crate::http::endpoints::Requirement;
use crate::http::extract::endpoint::Endpoint;

/// The state of the accounts before the head of a request was authorized.
#[derive(Clone, Copy)]
pub(crate) struct AccountState {
    generation: u64,
    in_force: bool,
}

impl AccountState {
    pub(crate) fn of(accounts: &Accounts) -> Self {
        Self { generation: accounts.generation(), in_force: accounts.in_force() }
    }
}

/// The authorization of one request.
#[derive(Clone)]
struct Grounds {
    accounts: Accounts,
    identity: Identity,
    required: Option<(RepositoryName, Right)>,
    was_in_force: bool,
}

/// Checks one request. Boxed by its body.
pub(crate) struct RevocationCheck {
    grounds: Grounds,
    generation: u64,
    running: Option<JoinHandle<Result<(), ReceiveError>>>,
    /// The registry whose version the end of the body has to check, if other servers may have changed the
    /// accounts.
    shared: Option<Registry>,
}

impl RevocationCheck {
    /// Makes the check of a request that was authorized after `before`. `None` for the operator, whose rights
    /// are those of the machine.
    pub(crate) fn new(
        registry: &Registry,
        before: AccountState,
        identity: &Identity,
        endpoint: &Endpoint,
        method: &hyper::Method,
    ) -> Option<Self> {
        if matches!(identity, Identity::Operator) {
            return None;
        }
        let required = match endpoint.requirement(method) {
            Requirement::Repository(right) => endpoint.repository().map(|name| (name.clone(), right)),
            _ => None,
        };
        let grounds = Grounds {
            accounts: registry.accounts().clone(),
            identity: identity.clone(),
            required,
            was_in_force: before.in_force,
        };
        let shared = registry.is_shared().then(|| registry.clone());
        Some(Self { grounds, generation: before.generation, running: None, shared })
    }

    /// Whether the request may go on.
    pub(crate) fn poll_allowed(
        &mut self,
        cx: &mut Context<'_>,
        is_end: bool,
    ) -> Poll<Result<(), ReceiveError>> {
        if is_end && let Some(registry) = self.shared.take() {
            let running = self.running.take();
            self.running = Some(tokio::spawn(async move {
                if let Some(running) = running {
                    running.await.unwrap_or(Err(ReceiveError::Unchecked))?;
                }
                await_present_accounts(&registry).await
            }));
        }
        loop {
            if let Some(running) = &mut self.running {
                let allowed = ready!(Pin::new(running).poll(cx)).unwrap_or(Err(ReceiveError::Unchecked));
                self.running = None;
                if allowed.is_err() {
                    return Poll::Ready(allowed);
                }
            }
            let generation = self.grounds.accounts.generation();
            if generation == self.generation {
                return Poll::Ready(Ok(()));
            }
            self.generation = generation;
            self.running = Some(tokio::spawn(self.grounds.clone().still_hold()));
        }
    }
}

/// Waits until changes of accounts by other servers count here.
async fn await_present_accounts(registry: &Registry) -> Result<(), ReceiveError> {
    registry.check_versions().await.map(drop).map_err(|error| unchecked(&error))
}

fn unchecked(error: &registry::Error) -> ReceiveError {
    tracing::warn!(%error, "cannot authorize a request again, after accounts may have changed; it is refused");
    ReceiveError::Unchecked
}

impl Grounds {
    async fn still_hold(self) -> Result<(), ReceiveError> {
        match self.hold().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ReceiveError::Revoked),
            Err(error) => Err(unchecked(&error)),
        }
    }

    async fn hold(&self) -> Result<bool, registry::Error> {
        if self.accounts.in_force() != self.was_in_force {
            return Ok(false);
        }
        let Some(identity) = self.accounts.revalidate(&self.identity).await? else { return Ok(false) };
        // The handler acts with the identity of the head.
        let (before, now) = (self.identity.account(), identity.account());
        let was_administrator = before.is_some_and(|account| account.administrator);
        if was_administrator && !now.is_some_and(|account| account.administrator) {
            return Ok(false);
        }
        if self.identity.scope() != identity.scope() {
            return Ok(false);
        }
        match &self.required {
            Some((repository, right)) => self.accounts.is_allowed(&identity, repository, *right).await,
            None => Ok(true),
        }
    }
}
