//! Management of accounts, memberships, tokens and grants, with its authorization.
//!
//! Administrators and the operator may do everything, users manage their own account, and owners of an
//! organisation manage the organisation. A sign-in with less than the account's full rights (a narrowed
//! token, a bearer token) manages nothing, and an expiring token gives no access that would outlive it. An
//! object that the requester may not see answers as not found.
//!
//! Each change, and each refused one, is recorded in the audit log before it is answered. The same step
//! invalidates cached permissions.

mod adopt;
mod audit;
mod erase;
mod explain;
mod grants;
mod organisations;
mod retention;
mod robots;
mod sessions;
mod tokens;
mod users;
mod webhooks;

use std::fmt::Display;
use std::time::Duration;

use accounts::{AccountName, AccountNameError, Pattern, Role, Subject};
use oci::RepositoryName;
use store::metadata::{AccountKind, AccountRecord, AuditOutcome};
use store::{Metadata, StoreError};

use super::passwords::PasswordRefused;
use super::{Accounts, AuditEvent, Identity, SignedIn, Via};

pub use explain::{Explanation, Reason};
pub use grants::Grants;
pub use tokens::{TokenChangeRequest, TokenRequest};
pub use users::UserChange;
pub use webhooks::WebhookRequest;

/// The maximum length of a description or label, in characters.
const MAX_TEXT: usize = 500;
/// The maximum number of robots of an owner, and of personal tokens of a user.
const MAX_CREDENTIALS: usize = 1_000;

/// The reason for a refusal. The text is for the requester, except for [`ManageError::Registry`], which may
/// be for the operator alone.
#[allow(missing_docs, reason = "the names of most fields say what they hold")]
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// The request needs a sign-in.
    #[error("{0}")]
    SignIn(&'static str),
    /// The requester lacks a right. The text names it.
    #[error("{0}")]
    Denied(&'static str),
    /// Missing, or hidden from the requester.
    #[error("there is no {what} {name}")]
    NotFound {
        /// The kind of object.
        what: &'static str,
        name: String,
    },
    /// An account has this name.
    #[error("there is already a user, a robot or an organisation called {0}")]
    NameTaken(AccountName),
    /// The organisation has a team of this name.
    #[error("there is already a team {0}")]
    TeamTaken(String),
    /// The new account would own existing repositories below its name.
    #[error(
        "the name {0} is not available: there are repositories, deleted images, grants or webhooks below it"
    )]
    NamespaceInUse(AccountName),
    /// Images of an upstream registry are cached below the name.
    #[error(
        "the name {0} is not available: it belongs to an upstream registry, whose images are cached here; choose \
         another name"
    )]
    NameReserved(AccountName),
    /// The name is not valid for this kind of account.
    #[error("{name} cannot be the name of {what}")]
    NameUnfit {
        name: AccountName,
        /// The kind of account.
        what: &'static str,
    },
    /// The name is malformed.
    #[error(transparent)]
    Name(#[from] AccountNameError),
    /// The owner is missing, or no user.
    #[error("the owner \"{0}\" is not a user of this registry")]
    OwnerUnknown(String),
    /// The subject of a grant is missing.
    #[error("there is no user, robot, team or organisation called \"{0}\"")]
    SubjectUnknown(Subject),
    /// A grant without rights.
    #[error("a grant needs at least one right: pull, push, delete or administer")]
    NoRights,
    /// The pattern matches no valid repository name.
    #[error(
        "the pattern {0} matches no valid repository name: it has `***`, an empty part, a dot part or a part that \
             begins or ends with `.`, `_` or `-`"
    )]
    PatternUnfit(Pattern),
    /// The user is not a member.
    #[error("{user} is not a member of {of}")]
    NotAMember {
        user: AccountName,
        /// The organisation.
        of: String,
    },
    /// The registry would have no administrator.
    #[error("this is the last administrator; create another one first")]
    LastAdministrator,
    /// The registry would be open to everyone.
    #[error(
        "this is the last user: without users the registry would be open to everyone; create another one first"
    )]
    LastUser,
    /// An organisation would have no owner.
    #[error("{user} is the last owner of {organisations}; add another one first")]
    LastOwner {
        user: AccountName,
        /// The organisations, joined by commas.
        organisations: String,
    },
    /// The next account of this name would own the repositories below it.
    #[error(
        "{name} owns repositories, such as {repository}, and the next account of this name would own them: \
         remove them first, or use --force"
    )]
    HasRepositories {
        name: AccountName,
        /// One of the repositories.
        repository: RepositoryName,
    },
    /// Accounts of this kind lack the changed value.
    #[error("{0} is not a user: only users have a password and can be administrators")]
    NotOfThisKind(AccountName),
    /// The password is in the htpasswd file or the forward-auth backend.
    #[error(
        "this registry does not store the password of {0}: change it in the htpasswd file, or in the backend that auth.forward names"
    )]
    PasswordElsewhere(AccountName),
    /// The htpasswd file would create the user again.
    #[error("{0} is in the htpasswd file and would come back with it: remove the line from the file first")]
    InTheFile(AccountName),
    /// The password breaks a rule.
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    /// The account has as many as it may have.
    #[error("there are {limit} {what} already, which is the limit for one account: remove one first")]
    LimitReached {
        /// The objects.
        what: &'static str,
        /// Their maximum number.
        limit: usize,
    },
    /// A text is too long.
    #[error("a description or a label has at most {MAX_TEXT} characters")]
    TextTooLong,
    /// The limits of a token are not valid.
    #[error("{0}")]
    Token(&'static str),
    /// Self-registration is switched off.
    #[error(
        "registration is closed: ask an administrator for an account (the operator opens it with auth.self_registration)"
    )]
    RegistrationClosed,
    /// The rate limit on registrations is exceeded.
    #[error("too many registrations from this network; try again in {} s", retry_after.as_secs().max(1))]
    TooMany {
        /// The time until the next registration is accepted.
        retry_after: Duration,
    },
    /// The system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    Random(#[source] getrandom::Error),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] crate::Error),
}

impl From<StoreError> for ManageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LimitReached { what, most } => Self::LimitReached { what, limit: most },
            error => Self::Registry(error.into()),
        }
    }
}

impl ManageError {
    fn outcome(&self) -> AuditOutcome {
        match self {
            Self::SignIn(_) | Self::Denied(_) | Self::RegistrationClosed | Self::TooMany { .. } => {
                AuditOutcome::Denied
            }
            _ => AuditOutcome::Failed,
        }
    }
}

/// The sender of a management request.
#[derive(Clone, Debug)]
pub struct Requester {
    /// The authenticated identity.
    pub identity: Identity,
    /// The client's address; `None` over the control socket.
    pub address: Option<std::net::IpAddr>,
    /// The id of the request in the logs.
    pub request_id: String,
}

/// Management on behalf of a requester.
///
/// Callers must run a change on a task of its own. Cancelled between its commit and the invalidation, it
/// would leave stale permissions in the cache.
#[derive(Clone)]
pub struct Manage {
    accounts: Accounts,
    requester: Requester,
}

impl Accounts {
    /// Returns the management interface for a requester.
    #[must_use]
    pub fn manage(&self, requester: Requester) -> Manage {
        Manage { accounts: self.clone(), requester }
    }
}

impl Manage {
    /// Whether the requester has all rights.
    fn is_administrator(&self) -> bool {
        match &self.requester.identity {
            Identity::Operator => true,
            Identity::Account(account) => account.administrator && account.scope.is_none(),
            Identity::Anonymous => false,
        }
    }

    fn metadata(&self) -> &Metadata {
        &self.accounts.inner.metadata
    }

    /// Returns the requester's account, unless a token restricts it.
    fn own_account(&self) -> Result<&SignedIn, ManageError> {
        match &self.requester.identity {
            Identity::Account(account) if account.scope.is_some() => Err(ManageError::Denied(
                "this token allows less than the account may, and managing accounts is not included; \
                 log in with the password",
            )),
            Identity::Account(account) => Ok(account),
            Identity::Operator => Err(ManageError::Denied("this needs an account: name one with --account")),
            Identity::Anonymous if self.accounts.in_force() => {
                Err(ManageError::SignIn("authentication required: log in first"))
            }
            Identity::Anonymous => Err(ManageError::SignIn(
                "this registry has no accounts yet; its operator creates the first one, on the server: \
                 wharfinger user add NAME --admin",
            )),
        }
    }

    /// Checks that the requester is an administrator or the operator.
    ///
    /// # Errors
    /// [`ManageError::SignIn`], [`ManageError::Denied`].
    pub fn must_be_administrator(&self) -> Result<(), ManageError> {
        if self.is_administrator() {
            return Ok(());
        }
        self.own_account()?;
        Err(ManageError::Denied("only an administrator may do this"))
    }

    /// Checks that the requester has an account, or is the operator.
    ///
    /// # Errors
    /// [`ManageError::SignIn`], [`ManageError::Denied`].
    pub fn must_be_known(&self) -> Result<(), ManageError> {
        if self.is_administrator() { Ok(()) } else { self.own_account().map(drop) }
    }

    /// Checks that the requester may give access, or set up what acts later. An expiring token must not,
    /// because the result would outlive it.
    ///
    /// # Errors
    /// [`ManageError::Denied`].
    fn may_give_access(&self) -> Result<(), ManageError> {
        match self.requester.identity.account() {
            Some(account) if account.is_expiring_token() => Err(ManageError::Denied(
                "this token expires, and must not make or change accounts, tokens, grants, members, webhooks or rules, \
                 which would outlive it; log in with the password, or use a token that does not expire",
            )),
            _ => Ok(()),
        }
    }

    /// Whether the requester is this account.
    fn is(&self, name: &AccountName) -> bool {
        self.own_account().is_ok_and(|own| own.name == *name)
    }

    /// Returns the role of the requester in an organisation. Administrators count as owners.
    async fn role_in(&self, organisation: &AccountName) -> Result<Option<Role>, ManageError> {
        if self.is_administrator() {
            return Ok(Some(Role::Owner));
        }
        let own = self.own_account()?;
        Ok(self.metadata().role_of(organisation, own.id).await?)
    }

    /// Returns an account of this kind.
    async fn find(&self, name: &AccountName, kind: AccountKind) -> Result<AccountRecord, ManageError> {
        match self.metadata().account(name).await? {
            Some(account) if account.kind == kind => Ok(account),
            _ => Err(not_found(kind.as_str(), name)),
        }
    }

    /// Ends a change: invalidates cached permissions and records the outcome.
    async fn end<T>(
        &self,
        action: &'static str,
        object: &(impl Display + ?Sized),
        detail: Option<String>,
        outcome: Result<T, ManageError>,
    ) -> Result<T, ManageError> {
        // Also after an error, which may follow the commit.
        self.accounts.changed();
        self.accounts.refresh_in_force().await?;
        let (verdict, detail) = match &outcome {
            Ok(_) => (AuditOutcome::Allowed, detail),
            // Internal errors go to the operator's log only.
            Err(ManageError::Registry(_) | ManageError::Random(_)) => (AuditOutcome::Failed, detail),
            Err(error) => (error.outcome(), Some(error.to_string())),
        };
        // After a theft, the operator revokes the token and everything that was made with it, by this id.
        let token = self.requester.identity.account().and_then(SignedIn::personal_token);
        let detail = match (detail, token) {
            (detail, None) => detail,
            (None, Some(id)) => Some(format!("with token {id}")),
            (Some(detail), Some(id)) => Some(format!("{detail}; with token {id}")),
        };
        self.accounts
            .record_durably(AuditEvent {
                account: AuditEvent::account_of(&self.requester.identity),
                address: self.requester.address,
                action,
                object: Some(object.to_string()),
                verdict,
                status: None,
                request_id: Some(self.requester.request_id.clone()),
                detail,
            })
            .await;
        outcome
    }
}

fn not_found(what: &'static str, name: impl ToString) -> ManageError {
    ManageError::NotFound { what, name: name.to_string() }
}

fn must_be_short(text: &str) -> Result<(), ManageError> {
    if text.chars().nth(MAX_TEXT).is_some() { Err(ManageError::TextTooLong) } else { Ok(()) }
}

fn must_be_matchable(pattern: &Pattern) -> Result<(), ManageError> {
    if pattern.can_match() { Ok(()) } else { Err(ManageError::PatternUnfit(pattern.clone())) }
}

/// Whether the sign-in used no token. A token must not create credentials that outlive it.
fn is_in_person(account: &SignedIn) -> bool {
    matches!(account.via, Via::Password | Via::Forward | Via::Session)
}
