//! Management: accounts, memberships, tokens and grants, looked at and changed by whoever may.
//!
//! Who may is decided here, from the [`Identity`] of whoever asks: administrators and the operator
//! everything, users what is their own, owners of an organisation what is the organisation's. What
//! somebody signed in with less than an account's full rights (a narrowed token, a bearer) manages
//! nothing. Whatever one may not know of answers as if it were not there.
//!
//! Every change is told to the audit log before it is answered, and so is every change that was
//! refused. What was remembered of rights is forgotten in the same step.

mod adopt;
mod audit;
mod grants;
mod organisations;
mod robots;
mod tokens;
mod users;

use std::fmt::Display;
use std::time::Duration;

use accounts::{AccountName, AccountNameError, Pattern, Role, Subject};
use oci::RepositoryName;
use store::metadata::{AccountKind, AccountRecord, Verdict};
use store::{Metadata, StoreError};

use super::passwords::PasswordRefused;
use super::{Accounts, AuditEvent, Identity, SignedIn, Via};

pub use grants::Grants;
pub use tokens::{TokenChangeRequest, TokenRequest};
pub use users::UserChange;

/// The longest description or label, in characters.
const MAX_TEXT: usize = 500;

/// Why something was not looked at or changed. The text is meant for whoever asked, except for
/// [`ManageError::Registry`], which may be for the operator alone.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// Nobody is signed in.
    #[error("{0}")]
    SignIn(&'static str),
    /// Whoever is signed in may not; with what would be needed.
    #[error("{0}")]
    Denied(&'static str),
    /// It is not there, or not to be known of.
    #[error("there is no {what} {name}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is something of this name.
    #[error("there is already a user, a robot or an organisation called {0}")]
    NameTaken(AccountName),
    /// The organisation has such a team.
    #[error("there is already a team {0}")]
    TeamTaken(String),
    /// There are repositories below the name, which would be given away with it.
    #[error("the name {0} is not available: there are repositories below it")]
    NamespaceInUse(AccountName),
    /// The name cannot be that of such an account.
    #[error("{name} cannot be the name of {what}")]
    NameUnfit {
        /// The name.
        name: AccountName,
        /// What was to be made.
        what: &'static str,
    },
    /// The name is none.
    #[error(transparent)]
    Name(#[from] AccountNameError),
    /// The owner is not there, or cannot be one.
    #[error("there is no user called \"{0}\", who was named as the owner")]
    OwnerUnknown(String),
    /// To whom something was to be granted is not there.
    #[error("there is no user, robot, team or organisation called \"{0}\"")]
    SubjectUnknown(Subject),
    /// A grant of nothing.
    #[error("a grant needs at least one right: pull, push, delete or administer")]
    NoRights,
    /// No repository can have a name that the pattern matches.
    #[error(
        "no repository can be called as in the pattern {0}: it has an empty part, a dot part or a part that begins \
             or ends with `.`, `_` or `-`"
    )]
    PatternUnfit(Pattern),
    /// The user is not a member.
    #[error("{user} is not a member of {of}")]
    NotAMember {
        /// The user.
        user: AccountName,
        /// Of what.
        of: String,
    },
    /// Nobody would be left who may do everything.
    #[error("this is the last administrator; make another one first")]
    LastAdministrator,
    /// The registry would be open to everyone.
    #[error(
        "this is the last user: without users the registry would be open to everyone; make another one first"
    )]
    LastUser,
    /// An organisation would have no owner.
    #[error("{user} is the last owner of {organisations}; make another one first")]
    LastOwner {
        /// The user.
        user: AccountName,
        /// The organisations, joined by commas.
        organisations: String,
    },
    /// There are repositories below the name, which whoever gets it next would own.
    #[error(
        "{name} owns repositories, such as {repository}, and the next account of this name would own them: \
         remove them first, or use --force"
    )]
    HasRepositories {
        /// The account.
        name: AccountName,
        /// One of them.
        repository: RepositoryName,
    },
    /// What was to be changed, an account of this kind does not have.
    #[error("{0} is not a user: only users have a password and can be administrators")]
    NotOfThisKind(AccountName),
    /// The password is kept elsewhere.
    #[error(
        "the password of {0} is not kept here: change it in the htpasswd file, or in the backend that auth.forward names"
    )]
    PasswordElsewhere(AccountName),
    /// The htpasswd file still has the user.
    #[error("{0} is in the htpasswd file and would come back with it: remove the line from the file first")]
    InTheFile(AccountName),
    /// The password is not taken.
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    /// A text is too long.
    #[error("a description or a label has at most {MAX_TEXT} characters")]
    TextTooLong,
    /// A token cannot be made so.
    #[error("{0}")]
    Token(&'static str),
    /// Nobody makes an account for themselves here.
    #[error(
        "registration is closed: ask an administrator for an account (the operator opens it with auth.self_registration)"
    )]
    RegistrationClosed,
    /// Too many accounts were made from the same network.
    #[error("too many accounts were made from this network; try again in {} s", retry_after.as_secs().max(1))]
    TooMany {
        /// When another one can be made.
        retry_after: Duration,
    },
    /// The system has no random numbers to give.
    #[error("the operating system gives no random numbers")]
    Random(#[source] getrandom::Error),
    /// The registry itself could not do it.
    #[error(transparent)]
    Registry(#[from] crate::Error),
}

impl From<StoreError> for ManageError {
    fn from(error: StoreError) -> Self {
        Self::Registry(error.into())
    }
}

impl ManageError {
    /// What the audit log says of it.
    fn verdict(&self) -> Verdict {
        match self {
            Self::SignIn(_) | Self::Denied(_) | Self::RegistrationClosed | Self::TooMany { .. } => {
                Verdict::Denied
            }
            _ => Verdict::Failed,
        }
    }
}

/// Who asks, and what the audit log has to say of the request.
#[derive(Clone, Debug)]
pub struct Requester {
    /// Who.
    pub identity: Identity,
    /// From where, if over the network.
    pub address: Option<std::net::IpAddr>,
    /// Under which id the request is logged.
    pub request_id: String,
}

/// Accounts, in the hands of somebody.
///
/// A change is to be carried out by a task of its own: were it given up between its commit and the
/// forgetting of what rested on how things were, old rights would go on to be believed.
#[derive(Clone)]
pub struct Manage {
    accounts: Accounts,
    asker: Requester,
}

impl Accounts {
    /// Looks at accounts and changes them, as far as the asker may.
    #[must_use]
    pub fn manage(&self, asker: Requester) -> Manage {
        Manage { accounts: self.clone(), asker }
    }
}

impl Manage {
    /// Whether the asker may do everything.
    fn is_administrator(&self) -> bool {
        match &self.asker.identity {
            Identity::Operator => true,
            Identity::Account(account) => account.administrator && account.scope.is_none(),
            Identity::Anonymous => false,
        }
    }

    fn metadata(&self) -> &Metadata {
        &self.accounts.inner.metadata
    }

    /// The account that asks, with all of its rights.
    fn own_account(&self) -> Result<&SignedIn, ManageError> {
        match &self.asker.identity {
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
                "this registry has no accounts yet; its operator makes the first one, on its own machine: \
                 wharfinger user add NAME --admin",
            )),
        }
    }

    /// Lets only administrators and the operator go on.
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

    /// Whether the asker is this account.
    fn is(&self, name: &AccountName) -> bool {
        self.own_account().is_ok_and(|own| own.name == *name)
    }

    /// The role of the asker in an organisation; administrators are as owners are.
    async fn role_in(&self, organisation: &AccountName) -> Result<Option<Role>, ManageError> {
        if self.is_administrator() {
            return Ok(Some(Role::Owner));
        }
        let own = self.own_account()?;
        Ok(self.metadata().role_of(organisation, own.id).await?)
    }

    /// An account of a kind.
    async fn find(&self, name: &AccountName, kind: AccountKind) -> Result<AccountRecord, ManageError> {
        match self.metadata().account(name).await? {
            Some(account) if account.kind == kind => Ok(account),
            _ => Err(not_found(kind.as_str(), name)),
        }
    }

    /// Ends a change: forgets what was remembered of rights, and tells the audit log how it ended.
    async fn end<T>(
        &self,
        action: &'static str,
        object: &(impl Display + ?Sized),
        detail: Option<String>,
        outcome: Result<T, ManageError>,
    ) -> Result<T, ManageError> {
        // After an error as well: it may have come after the commit.
        self.accounts.changed();
        self.accounts.refresh_in_force().await?;
        let (verdict, detail) = match &outcome {
            Ok(_) => (Verdict::Allowed, detail),
            // What broke inside is the log's business.
            Err(ManageError::Registry(_) | ManageError::Random(_)) => (Verdict::Failed, detail),
            Err(error) => (error.verdict(), Some(error.to_string())),
        };
        self.accounts
            .record_durably(AuditEvent {
                account: AuditEvent::account_of(&self.asker.identity),
                address: self.asker.address,
                action,
                object: Some(object.to_string()),
                verdict,
                status: None,
                request_id: Some(self.asker.request_id.clone()),
                detail,
            })
            .await;
        outcome
    }
}

fn not_found(what: &'static str, name: impl ToString) -> ManageError {
    ManageError::NotFound { what, name: name.to_string() }
}

/// A description or a label that is not too long.
fn checked(text: &str) -> Result<(), ManageError> {
    if text.chars().nth(MAX_TEXT).is_some() { Err(ManageError::TextTooLong) } else { Ok(()) }
}

/// A pattern that some repository can match.
fn fitting(pattern: &Pattern) -> Result<(), ManageError> {
    if pattern.can_match() { Ok(()) } else { Err(ManageError::PatternUnfit(pattern.clone())) }
}

/// Whether the account was signed in to with something that cannot be carried on for longer than
/// its owner meant: not with a token.
fn is_in_person(account: &SignedIn) -> bool {
    matches!(account.via, Via::Password | Via::Forward)
}
