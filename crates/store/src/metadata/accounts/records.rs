//! What goes into the metadata about accounts, and what comes out.

use std::fmt;
use std::time::SystemTime;

use oci::RepositoryName;

use accounts::{AccountName, Pattern, Rights, Role, Subject, TeamName, string_enum};

string_enum! {
    /// What an account is.
    pub enum AccountKind: "kind of account" {
        /// A person, or a program that has the name and password of one.
        User = "user",
        /// Users together; owns repositories, and cannot sign in.
        Organisation = "organisation",
        /// A program; belongs to a user or an organisation, and may do what it was granted.
        Robot = "robot",
    }
}

string_enum! {
    /// Where an account comes from.
    pub enum Source: "source of accounts" {
        /// It was made here.
        Own = "own",
        /// An htpasswd file has it.
        File = "file",
        /// The operator's own backend has named it.
        Forward = "forward",
    }
}

string_enum! {
    /// What a token is for.
    pub enum TokenKind: "kind of token" {
        /// A person's, in place of the password.
        Personal = "personal",
        /// A robot's secret.
        Robot = "robot",
        /// For getting other tokens without the password.
        Refresh = "refresh",
    }
}

string_enum! {
    /// How something ended that the audit log tells of.
    pub enum AuditOutcome: "verdict" {
        /// It was allowed, and done.
        Allowed = "allowed",
        /// It was refused.
        Denied = "denied",
        /// It was allowed, but did not succeed.
        Failed = "failed",
    }
}

/// A password as a PHC string, such as `$argon2id$…`. Not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// Its number; never used again for another.
    pub id: i64,
    /// Its name.
    pub name: AccountName,
    /// What it is.
    pub kind: AccountKind,
    /// To whom a robot belongs.
    pub owner: Option<AccountName>,
    /// Its password, if it is kept here.
    pub password: Option<PasswordHash>,
    /// Where it comes from.
    pub source: Source,
    /// Whether it may do everything.
    pub administrator: bool,
    /// Whether it may do nothing: an administrator said so of it or of its owner, or the htpasswd
    /// file that it came from has it no more.
    pub disabled: bool,
    /// What it is for, in the words of whoever made it.
    pub description: String,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it last signed in, about.
    pub last_seen_at: Option<SystemTime>,
}

/// A user that is to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Its name; not a robot's.
    pub name: AccountName,
    /// Its password, if it is to be kept here.
    pub password: Option<PasswordHash>,
    /// Whether it may do everything.
    pub administrator: bool,
    /// What it is for.
    pub description: String,
    /// Where it comes from.
    pub source: Source,
    /// Whether it is refused if there are repositories already that it would own. An administrator
    /// may give them to it; who registers by themselves may not take them.
    pub only_unused_namespace: bool,
}

/// What came of making an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddOutcome {
    /// It was made.
    Added(AccountRecord),
    /// There is an account of this name.
    NameTaken,
    /// There are repositories below this name, and they were not to be given away.
    NamespaceInUse,
    /// The name is not of the kind that is wanted: a robot's for a user, or for an organisation one
    /// that can own no repositories.
    NameUnfit,
    /// The owner, of a robot or an organisation, is not there, or cannot be one.
    OwnerUnknown,
}

/// What is to change about an account; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// Another password; for a user only.
    pub password: Option<PasswordHash>,
    /// Whether it may do everything; for a user only.
    pub administrator: Option<bool>,
    /// Whether it may do nothing; for a user or a robot.
    pub disabled: Option<bool>,
    /// What it is for.
    pub description: Option<String>,
}

/// What came of changing an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// It is now so.
    Changed(AccountRecord),
    /// There is no such account.
    NotFound,
    /// An account of this kind does not have what was to be changed.
    NotOfThisKind,
    /// Nobody would be left who may do everything.
    LastAdministrator,
    /// Its password is kept elsewhere: in the htpasswd file, or by the operator's own backend.
    PasswordElsewhere,
}

/// What came of removing an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// It is gone, with its robots, tokens, memberships and the grants to it.
    Removed,
    /// There was no such account.
    NotFound,
    /// Nobody would be left who may do everything.
    LastAdministrator,
    /// Without any user the registry would be open to everyone; done only if forced.
    LastUser,
    /// It is the last owner of these organisations.
    LastOwner(Vec<AccountName>),
    /// It owns repositories, such as this one, which nobody would own; done only if forced.
    HasRepositories(RepositoryName),
}

/// What came of bringing the accounts in step with an htpasswd file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncedFile {
    /// How many accounts were made, disabled or enabled.
    pub changed: u64,
    /// The accounts that were made.
    pub made: Vec<AccountName>,
    /// Names of the file that belong to an account made here, or to an organisation: those stay as
    /// they are, and the file's password does not count for them.
    pub taken: Vec<AccountName>,
}

/// A row of the audit log as it is to be from now on. The moment, the account and the request are those of the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditAmendment {
    /// The row, with another action, object, status and detail.
    pub entry: AuditEntry,
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    /// Its number; never used again for another.
    pub id: i64,
    /// To whom it gives something.
    pub subject: Subject,
    /// On which repositories.
    pub pattern: Pattern,
    /// What.
    pub rights: Rights,
    /// When it was last set.
    pub created_at: SystemTime,
}

/// What came of setting a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetGrant {
    /// It is now so.
    Set,
    /// There is no such user, robot or team.
    SubjectUnknown,
    /// A grant of nothing is none.
    NoRights,
}

/// Which grants are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GrantFilter {
    /// All.
    #[default]
    All,
    /// Those to this subject itself; not what it has through teams, roles or `everyone`.
    Of(Subject),
    /// Those that give somebody something on this repository.
    On(RepositoryName),
    /// Those that reach only repositories of this account's namespace.
    Below(AccountName),
}

/// A token that is to be kept.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The number of the account whose it is.
    pub account: i64,
    /// What it is for.
    pub kind: TokenKind,
    /// What its owner calls it.
    pub label: String,
    /// Its SHA-256. The token itself is kept nowhere.
    pub hash: [u8; 32],
    /// What it allows at most; `None` for all that the account may do.
    pub rights: Option<Rights>,
    /// On which repositories at most; `None` for all.
    pub patterns: Option<Vec<Pattern>>,
    /// When it ends; `None` for never.
    pub expires_at: Option<SystemTime>,
}

/// A token that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its number; never used again for another.
    pub id: i64,
    /// The number of the account whose it is.
    pub account: i64,
    /// What it is for.
    pub kind: TokenKind,
    /// What its owner calls it.
    pub label: String,
    /// What it allows at most; `None` for all that the account may do.
    pub rights: Option<Rights>,
    /// On which repositories at most; `None` for all.
    pub patterns: Option<Vec<Pattern>>,
    /// When it ends; `None` for never.
    pub expires_at: Option<SystemTime>,
    /// When it was last used, about.
    pub last_used_at: Option<SystemTime>,
    /// When it was made.
    pub created_at: SystemTime,
}

/// What is to be changed of a token; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct TokenChange {
    /// What its owner calls it.
    pub label: Option<String>,
    /// What it allows at most; `Some(None)` for all that the account may do.
    pub rights: Option<Option<Rights>>,
    /// On which repositories at most; `Some(None)` for all.
    pub patterns: Option<Option<Vec<Pattern>>>,
    /// When it ends; `Some(None)` for never.
    pub expires_at: Option<Option<SystemTime>>,
}

/// A key that the registry signs with. Its secret is not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Names the key in what it has signed (`kid`).
    pub id: String,
    /// The private key, in whatever form its user keeps it.
    pub secret: Vec<u8>,
    /// When it was made.
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
    /// The organisation.
    pub organisation: AccountName,
    /// The user.
    pub account: AccountName,
    /// What the user may do with the organisation's repositories.
    pub role: Role,
}

/// What came of changing who belongs to an organisation or a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberOutcome {
    /// It is now so.
    Changed,
    /// There is no such organisation or team, or not with this member.
    NotFound,
    /// There is no such user; for a team also: nobody of the organisation.
    AccountUnknown,
    /// The organisation would have no owner.
    LastOwner,
}

/// A team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamRecord {
    /// Its organisation.
    pub organisation: AccountName,
    /// Its name there.
    pub name: TeamName,
    /// How many belong to it.
    pub members: u64,
    /// When it was made.
    pub created_at: SystemTime,
}

/// What came of making a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeamOutcome {
    /// It was made.
    Added,
    /// There is no such organisation.
    NotFound,
    /// It has such a team.
    NameTaken,
}

/// Something that the audit log is to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: SystemTime,
    /// Who, as far as known: the name of an account, or that under which somebody tried to sign in.
    pub account: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// What: `manifest.push`, `user.add` …
    pub action: String,
    /// With what: a repository, perhaps with a tag or digest, or an account.
    pub object: Option<String>,
    /// How it ended.
    pub verdict: AuditOutcome,
    /// With which HTTP status.
    pub status: Option<u16>,
    /// By which request.
    pub request_id: Option<String>,
    /// What else there is to say. Never a secret.
    pub detail: Option<String>,
}

/// What the audit log has kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number; they grow.
    pub id: i64,
    /// What was kept.
    pub entry: AuditEntry,
}

/// Which records of the audit log are read: those for which everything holds that is given.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Of this account.
    pub account: Option<String>,
    /// With this action, or one that begins with it and a dot: `user` has `user.add`.
    pub action: Option<String>,
    /// With an object that begins so.
    pub object_prefix: Option<String>,
    /// With this verdict.
    pub verdict: Option<AuditOutcome>,
    /// From this moment on.
    pub since: Option<SystemTime>,
    /// With greater numbers than this one.
    pub after: Option<i64>,
    /// Of those, the last ones instead of the first, where there are more than are wanted.
    pub latest: bool,
}
