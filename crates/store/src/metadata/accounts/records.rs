//! Records of accounts: the values that their operations take and return.

#![allow(missing_docs, reason = "the names of most fields and variants say what they hold")]

use std::fmt;
use std::time::SystemTime;

use oci::RepositoryName;

use accounts::{AccountName, Pattern, Rights, Role, Subject, TeamName, string_enum};

string_enum! {
    /// The kinds of accounts.
    pub enum AccountKind: "kind of account" {
        /// Signs in with a name and a password.
        User = "user",
        /// A group of users that owns repositories and cannot sign in.
        Organisation = "organisation",
        /// A program of a user or an organisation, with the rights that were granted to it.
        Robot = "robot",
    }
}

string_enum! {
    /// The origin of an account, which keeps its password.
    pub enum Source: "source of accounts" {
        /// This registry.
        Own = "own",
        /// An htpasswd file.
        File = "file",
        /// The operator's authentication backend.
        Forward = "forward",
    }
}

string_enum! {
    /// The kinds of tokens.
    pub enum TokenKind: "kind of token" {
        /// Signs a user in instead of the password.
        Personal = "personal",
        /// The secret of a robot.
        Robot = "robot",
        /// Obtains bearer tokens without the password.
        Refresh = "refresh",
        /// A browser that is signed in.
        Session = "session",
    }
}

string_enum! {
    /// The outcome of an audited action.
    pub enum AuditOutcome: "verdict" {
        Allowed = "allowed",
        Denied = "denied",
        /// It was allowed and did not succeed.
        Failed = "failed",
    }
}

/// A password as a PHC string, such as `$argon2id$…`. `{:?}` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// Never reused.
    pub id: i64,
    pub name: AccountName,
    pub kind: AccountKind,
    /// The owner of a robot.
    pub owner: Option<AccountName>,
    /// `None` if another system keeps the password.
    pub password: Option<PasswordHash>,
    pub source: Source,
    /// Whether it has all rights.
    pub administrator: bool,
    /// Whether it has no rights: an administrator disabled it or its owner, or its htpasswd file no longer
    /// contains it.
    pub disabled: bool,
    pub description: String,
    pub created_at: SystemTime,
    /// The approximate time of the last sign-in.
    pub last_seen_at: Option<SystemTime>,
}

/// A user to be created.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Not the name of a robot.
    pub name: AccountName,
    /// `None` if another system keeps the password.
    pub password: Option<PasswordHash>,
    /// Whether it has all rights.
    pub administrator: bool,
    pub description: String,
    pub source: Source,
    /// Whether to refuse a name whose namespace already has repositories. An administrator may give them to a
    /// user; a user who registers may not take them.
    pub only_unused_namespace: bool,
}

/// The result of creating an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddOutcome {
    Added(AccountRecord),
    /// An account has this name already.
    NameTaken,
    /// The namespace has repositories (see [`NewUser::only_unused_namespace`]).
    NamespaceInUse,
    /// The name does not fit the kind of account: a robot's name for a user, or a name without namespace for
    /// an organisation.
    NameUnfit,
    /// The owner of the robot or organisation does not exist or has the wrong kind.
    OwnerUnknown,
}

/// Changes of an account; `None` keeps a field.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// For a user only.
    pub password: Option<PasswordHash>,
    /// For a user only.
    pub administrator: Option<bool>,
    /// For a user or a robot.
    pub disabled: Option<bool>,
    pub description: Option<String>,
}

/// The result of changing an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    Changed(AccountRecord),
    NotFound,
    /// Accounts of this kind do not have the field to be changed.
    NotOfThisKind,
    /// No administrator would be left.
    LastAdministrator,
    /// The htpasswd file or the operator's backend keeps the password.
    PasswordElsewhere,
}

/// The result of removing an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// With its robots, tokens, memberships and grants.
    Removed,
    NotFound,
    /// No administrator would be left.
    LastAdministrator,
    /// Without users the registry would be open to everyone. Forced removal does it.
    LastUser,
    /// The account is the last owner of these organisations.
    LastOwner(Vec<AccountName>),
    /// The account owns repositories, such as this one. Forced removal leaves them without an owner.
    HasRepositories(RepositoryName),
}

/// The result of synchronising the users with an htpasswd file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncedFile {
    /// The number of accounts created, disabled or enabled.
    pub changed: u64,
    /// The accounts created.
    pub made: Vec<AccountName>,
    /// Names in the file that accounts of another origin have. Those accounts keep their own passwords.
    pub taken: Vec<AccountName>,
    /// Names in the file that differ only in case from those of other accounts. They get no account.
    pub other_case: Vec<AccountName>,
}

/// A correction of a row of the audit log. Time, account and request id identify the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditAmendment {
    /// The row with its new action, object, status and detail.
    pub entry: AuditEntry,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    /// Never reused.
    pub id: i64,
    pub subject: Subject,
    /// The repositories.
    pub pattern: Pattern,
    pub rights: Rights,
    /// The time when the grant was last set.
    pub created_at: SystemTime,
}

/// The result of setting a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetGrant {
    Set,
    /// The user, robot or team does not exist.
    SubjectUnknown,
    /// The set of rights is empty.
    NoRights,
}

/// Selects the grants of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GrantFilter {
    #[default]
    All,
    /// Grants to this subject itself, without those through teams, roles or `everyone`.
    Of(Subject),
    /// Grants whose pattern matches this repository.
    On(RepositoryName),
    /// Grants that reach only the namespace of this account.
    Below(AccountName),
    /// Grants to this user or robot, to its teams, to all accounts and to everyone.
    Reaching(AccountName),
}

/// A token to be stored.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The id of the account.
    pub account: i64,
    pub kind: TokenKind,
    pub label: String,
    /// The SHA-256 of the token, which is not stored itself.
    pub hash: [u8; 32],
    /// Restricts the rights of the account; `None` does not.
    pub rights: Option<Rights>,
    /// Restricts the repositories; `None` does not.
    pub patterns: Option<Vec<Pattern>>,
    /// `None` for never.
    pub expires_at: Option<SystemTime>,
}

/// A stored token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Never reused.
    pub id: i64,
    /// The id of the account.
    pub account: i64,
    pub kind: TokenKind,
    pub label: String,
    /// Restricts the rights of the account; `None` does not.
    pub rights: Option<Rights>,
    /// Restricts the repositories; `None` does not.
    pub patterns: Option<Vec<Pattern>>,
    /// `None` for never.
    pub expires_at: Option<SystemTime>,
    /// The approximate time of the last use.
    pub last_used_at: Option<SystemTime>,
    pub created_at: SystemTime,
}

/// Changes of a token; `None` keeps a field.
#[derive(Clone, Debug, Default)]
pub struct TokenChange {
    pub label: Option<String>,
    /// `Some(None)` removes the restriction.
    pub rights: Option<Option<Rights>>,
    /// `Some(None)` removes the restriction.
    pub patterns: Option<Option<Vec<Pattern>>>,
    /// `Some(None)` for never.
    pub expires_at: Option<Option<SystemTime>>,
}

/// A key that signs bearer tokens. `{:?}` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The `kid` of signed tokens.
    pub id: String,
    /// The private key, in the encoding of the caller.
    pub secret: Vec<u8>,
    pub created_at: SystemTime,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A member of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    pub organisation: AccountName,
    pub account: AccountName,
    pub role: Role,
}

/// The result of changing the members of an organisation or a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberOutcome {
    Changed,
    /// The organisation, team or member does not exist.
    NotFound,
    /// The user does not exist, or for a team is no member of the organisation.
    AccountUnknown,
    /// The organisation would have no owner left.
    LastOwner,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamRecord {
    pub organisation: AccountName,
    /// Unique in the organisation.
    pub name: TeamName,
    pub members: u64,
    pub created_at: SystemTime,
}

/// The result of creating a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeamOutcome {
    Added,
    /// The organisation does not exist.
    NotFound,
    /// The organisation has a team of this name.
    NameTaken,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub at: SystemTime,
    /// The account, or the name of a failed sign-in.
    pub account: Option<String>,
    /// The client's address.
    pub address: Option<String>,
    /// Such as `manifest.push` or `user.add`.
    pub action: String,
    /// A repository, with a tag or digest if there is one, or an account.
    pub object: Option<String>,
    pub verdict: AuditOutcome,
    /// The HTTP status.
    pub status: Option<u16>,
    pub request_id: Option<String>,
    /// Further text, never a secret.
    pub detail: Option<String>,
}

/// A stored entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Ascending.
    pub id: i64,
    pub entry: AuditEntry,
}

/// Selects the entries for which all given conditions hold.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub account: Option<String>,
    /// Also selects actions below it: `user` selects `user.add`.
    pub action: Option<String>,
    pub object_prefix: Option<String>,
    pub verdict: Option<AuditOutcome>,
    pub since: Option<SystemTime>,
    /// Selects entries with a greater id.
    pub after: Option<i64>,
    /// Selects entries with a smaller id.
    pub before: Option<i64>,
    /// Whether to return the last entries instead of the first, if there are more than the limit.
    pub latest: bool,
}
