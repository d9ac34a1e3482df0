//! The JSON of accounts: users, organisations, robots, tokens, grants, and what was done.
//!
//! Times are in seconds since 1970. What a request may leave out has a default; a field that does not exist is
//! refused, so that a misspelt one is not passed over in silence.

use std::fmt;

use accounts::{AccountName, Pattern, Rights, Role, Subject, TeamName};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use store::metadata::{
    AccountRecord, AuditRecord, GrantRecord, MemberRecord, Source, TeamRecord, TokenRecord, Verdict,
};

use super::seconds;

/// A password, or another secret. It is not printed by mistake.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The same, no longer protected.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Who asks: `GET /api/v1/me`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// What it is.
    pub kind: MeKind,
    /// The name of the account, if it is one.
    #[schemars(with = "Option<String>")]
    pub name: Option<AccountName>,
    /// Whether it may do everything.
    pub administrator: bool,
    /// Whether this registry has accounts. While it has none, whoever reaches it may do everything.
    pub accounts_in_force: bool,
}

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MeKind {
    /// Nobody in particular.
    Anonymous,
    /// Who can open the files of the registry.
    Operator,
    /// A person.
    User,
    /// A program.
    Robot,
}

/// An account that somebody makes for themselves: `POST /api/v1/registration`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Its name, such as `ann`; it will own the repositories `ann/…`.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// Its password.
    pub password: Secret,
}

/// A page of users: `GET /api/v1/users?n=&last=`. If there are more, the answer has a `Link`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Users {
    /// In the order of their names.
    pub users: Vec<User>,
    /// Whether there are more after these.
    pub more: bool,
}

/// A user: `GET /api/v1/users/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Its name.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// Whether it may do everything.
    pub administrator: bool,
    /// Whether it may do nothing, for the time being.
    pub disabled: bool,
    /// Where it comes from.
    #[schemars(with = "SourceSchema")]
    pub source: Source,
    /// For people.
    pub description: String,
    /// When it was made.
    pub created_at: u64,
    /// When it last signed in, roughly.
    pub last_seen_at: Option<u64>,
}

/// A user to be made: `POST /api/v1/users`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Its name, such as `ann`; it will own the repositories `ann/…`.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// Its password.
    pub password: Secret,
    /// Whether it may do everything.
    #[serde(default)]
    pub administrator: bool,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// What of a user is to be changed: `PATCH /api/v1/users/<name>`. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// Another password. What is signed in with the old one no longer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Whether it may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administrator: Option<bool>,
    /// Whether it may do nothing, for the time being.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A page of organisations: `GET /api/v1/organisations?n=&last=`. If there are more, the answer has a `Link`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Organisations {
    /// In the order of their names.
    pub organisations: Vec<Organisation>,
    /// Whether there are more after these.
    pub more: bool,
}

/// An organisation: `GET /api/v1/organisations/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Organisation {
    /// Its name. It owns the repositories below it.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// For people.
    pub description: String,
    /// When it was made.
    pub created_at: u64,
}

/// An organisation to be made: `POST /api/v1/organisations`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrganisation {
    /// Its name, such as `acme`; it will own the repositories `acme/…`.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// Its first owner. Left out, it is who asks; the operator, who has no account, names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub owner: Option<AccountName>,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// What of an organisation is to be changed: `PATCH /api/v1/organisations/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganisationChange {
    /// For people.
    pub description: String,
}

/// What of a robot is to be changed: `PATCH /api/v1/robots/<owner>+<name>`. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RobotChange {
    /// Whether it may do nothing, for the time being.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A page of members: `GET /api/v1/organisations/<name>/members?n=&last=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Members {
    /// In the order of their names.
    pub members: Vec<Member>,
    /// Whether there are more after these.
    pub more: bool,
}

/// A member of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// The user.
    #[schemars(with = "String")]
    pub user: AccountName,
    /// What they may do with its repositories.
    #[schemars(with = "RoleSchema")]
    pub role: Role,
}

/// What a member is to be: `PUT /api/v1/organisations/<name>/members/<user>`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberRole {
    /// What they may do with its repositories.
    #[schemars(with = "RoleSchema")]
    pub role: Role,
}

/// The teams of an organisation: `GET /api/v1/organisations/<name>/teams?n=&last=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Teams {
    /// In the order of their names.
    pub teams: Vec<Team>,
    /// Whether there are more after these.
    pub more: bool,
}

/// A team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Team {
    /// Its name within the organisation. A grant to it names both: `acme/devs`.
    #[schemars(with = "String")]
    pub name: TeamName,
    /// How many users are in it.
    pub members: u64,
    /// When it was made.
    pub created_at: u64,
}

/// A page of the members of a team: `GET /api/v1/organisations/<name>/teams/<team>/members?n=&last=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TeamMembers {
    /// The names of users, in their order.
    #[schemars(with = "Vec<String>")]
    pub members: Vec<AccountName>,
    /// Whether there are more after these.
    pub more: bool,
}

/// A page of robots: `GET /api/v1/robots?owner=&n=&last=`. If there are more, the answer has a `Link`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Robots {
    /// In the order of their names.
    pub robots: Vec<Robot>,
    /// Whether there are more after these.
    pub more: bool,
}

/// A robot: `GET /api/v1/robots/<owner>+<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Robot {
    /// The name with which it signs in: `acme+deploy`.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// Whether it may do nothing, for the time being.
    pub disabled: bool,
    /// For people.
    pub description: String,
    /// When it was made.
    pub created_at: u64,
    /// When it last signed in, roughly.
    pub last_seen_at: Option<u64>,
}

/// A robot to be made: `POST /api/v1/robots`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRobot {
    /// Its whole name: that of the user or the organisation which owns it, and its own: `acme+deploy`.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// With what a robot signs in, told this once: the answer to `POST /api/v1/robots` and
/// `PUT /api/v1/robots/<owner>+<name>/secret`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RobotSecret {
    /// The robot's whole name.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// What it gives as its password. What it had before is no longer taken.
    pub secret: Secret,
}

/// A page of the personal tokens of a user: `GET /api/v1/users/<name>/tokens?n=&last=`. `last` is an `id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tokens {
    /// In the order in which they were made.
    pub tokens: Vec<Token>,
    /// Whether there are more after these.
    pub more: bool,
}

/// A personal token. The secret itself is kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// By which it is taken back.
    pub id: i64,
    /// What its user calls it.
    pub label: String,
    /// What it may do at most; nothing here means all that its user may.
    #[schemars(with = "Option<Vec<RightSchema>>")]
    pub rights: Option<Rights>,
    /// On which repositories, as names or patterns; nothing here means on all.
    #[schemars(with = "Option<Vec<String>>")]
    pub repositories: Option<Vec<Pattern>>,
    /// When it was made.
    pub created_at: u64,
    /// When it ends, if ever.
    pub expires_at: Option<u64>,
    /// When it was last used, roughly.
    pub last_used_at: Option<u64>,
}

/// A personal token to be made: `POST /api/v1/users/<name>/tokens`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What its user calls it.
    #[serde(default)]
    pub label: String,
    /// What it may do at most; left out, all that its user may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<RightSchema>>")]
    pub rights: Option<Rights>,
    /// On which repositories, as names or patterns; left out, on all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub repositories: Option<Vec<Pattern>>,
    /// After how many seconds it ends; left out, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// What is to be changed of a personal token: `PATCH /api/v1/users/<name>/tokens/<id>`. What is left out stays as it is,
/// and null sets no limit.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenChange {
    /// What its user calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it may do at most.
    #[serde(default, deserialize_with = "told", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<RightSchema>>")]
    pub rights: Option<Option<Rights>>,
    /// On which repositories, as names or patterns.
    #[serde(default, deserialize_with = "told", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub repositories: Option<Option<Vec<Pattern>>>,
    /// After how many seconds from now it ends.
    #[serde(default, deserialize_with = "told", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>")]
    pub expires_in: Option<Option<u64>>,
}

/// Reads what is there, be it null: what is left out is told from it by `default`.
fn told<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A token that was made, and its secret, told this once: the answer to `POST /api/v1/users/<name>/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MadeToken {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// What is given as the password, or as a bearer.
    pub secret: Secret,
}

/// A page of grants: `GET /api/v1/grants?subject=&repository=&n=&last=`; `last` is an `id`. If there are more, the
/// answer has a `Link`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grants {
    /// In the order in which they were first given.
    pub grants: Vec<Grant>,
    /// Whether there are more after these.
    pub more: bool,
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Its number, after which the next page begins.
    pub id: i64,
    /// To whom: a user, a robot, a team (`acme/devs`), `accounts` (whoever is signed in), or `everyone`.
    #[schemars(with = "String")]
    pub subject: Subject,
    /// What they may do.
    #[schemars(with = "Vec<RightSchema>")]
    pub rights: Rights,
    /// On which repositories: a name, or a pattern with `*`, `**` and `?`.
    #[schemars(with = "String")]
    pub repositories: Pattern,
    /// When it was last given.
    pub created_at: u64,
}

/// A grant to be given, instead of one to the same subject on the same repositories: `PUT /api/v1/grants`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGrant {
    /// To whom: a user, a robot, a team (`acme/devs`), `accounts` (whoever is signed in), or `everyone`.
    #[schemars(with = "String")]
    pub subject: Subject,
    /// What they may do.
    #[schemars(with = "Vec<RightSchema>")]
    pub rights: Rights,
    /// On which repositories: a name, or a pattern with `*`, `**` and `?`.
    #[schemars(with = "String")]
    pub repositories: Pattern,
}

/// What happened, in its order: `GET /api/v1/audit`. Whoever asks again with the last `id` as `after` hears what has
/// happened since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audit {
    /// The oldest first.
    pub entries: Vec<AuditEntry>,
    /// Whether there are more after these.
    pub more: bool,
}

/// Something that somebody did, or tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Higher than that of all before it.
    pub id: i64,
    /// When.
    pub at: u64,
    /// The account's name, or that under which somebody tried to sign in.
    pub account: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// What: `manifest.push`, `user.add` and so on.
    pub action: String,
    /// With what: a repository, perhaps with a tag or a digest, or an account.
    pub object: Option<String>,
    /// How it ended.
    #[schemars(with = "VerdictSchema")]
    pub verdict: Verdict,
    /// With which HTTP status.
    pub status: Option<u16>,
    /// Under which id the log has the request.
    pub request_id: Option<String>,
    /// What else is to be said.
    pub detail: Option<String>,
}

impl From<AccountRecord> for User {
    fn from(record: AccountRecord) -> Self {
        Self {
            name: record.name,
            administrator: record.administrator,
            disabled: record.disabled,
            source: record.source,
            description: record.description,
            created_at: seconds(record.created_at),
            last_seen_at: record.last_seen_at.map(seconds),
        }
    }
}

impl From<AccountRecord> for Organisation {
    fn from(record: AccountRecord) -> Self {
        Self { name: record.name, description: record.description, created_at: seconds(record.created_at) }
    }
}

impl From<AccountRecord> for Robot {
    fn from(record: AccountRecord) -> Self {
        Self {
            name: record.name,
            disabled: record.disabled,
            description: record.description,
            created_at: seconds(record.created_at),
            last_seen_at: record.last_seen_at.map(seconds),
        }
    }
}

impl From<MemberRecord> for Member {
    fn from(record: MemberRecord) -> Self {
        Self { user: record.account, role: record.role }
    }
}

impl From<TeamRecord> for Team {
    fn from(record: TeamRecord) -> Self {
        Self { name: record.name, members: record.members, created_at: seconds(record.created_at) }
    }
}

impl From<TokenRecord> for Token {
    fn from(record: TokenRecord) -> Self {
        Self {
            id: record.id,
            label: record.label,
            rights: record.rights,
            repositories: record.patterns,
            created_at: seconds(record.created_at),
            expires_at: record.expires_at.map(seconds),
            last_used_at: record.last_used_at.map(seconds),
        }
    }
}

impl From<GrantRecord> for Grant {
    fn from(record: GrantRecord) -> Self {
        Self {
            id: record.id,
            subject: record.subject,
            rights: record.rights,
            repositories: record.pattern,
            created_at: seconds(record.created_at),
        }
    }
}

impl From<AuditRecord> for AuditEntry {
    fn from(AuditRecord { id, entry }: AuditRecord) -> Self {
        Self {
            id,
            at: seconds(entry.at),
            account: entry.account,
            address: entry.address,
            action: entry.action,
            object: entry.object,
            verdict: entry.verdict,
            status: entry.status,
            request_id: entry.request_id,
            detail: entry.detail,
        }
    }
}

/// How it is written where an account comes from. See [`Source`].
#[derive(JsonSchema)]
#[schemars(rename = "Source", rename_all = "lowercase")]
#[allow(dead_code, reason = "it is only described, never made")]
enum SourceSchema {
    /// It was made here.
    Own,
    /// The htpasswd file has it.
    File,
    /// The operator's own backend has named it.
    Forward,
}

/// How verdicts are written. See [`Verdict`].
#[derive(JsonSchema)]
#[schemars(rename = "Verdict", rename_all = "lowercase")]
#[allow(dead_code, reason = "it is only described, never made")]
enum VerdictSchema {
    /// It was allowed, and done.
    Allowed,
    /// It was refused.
    DenyReason,
    /// It was allowed, but did not succeed.
    Failed,
}

/// How rights are written. See [`accounts::Right`].
#[derive(JsonSchema)]
#[schemars(rename = "Right", rename_all = "lowercase")]
#[allow(dead_code, reason = "it is only described, never made")]
enum RightSchema {
    /// Read it, and know of it.
    Pull,
    /// Put images into it; includes pull.
    Push,
    /// Take images out of it, and remove it; includes pull.
    Delete,
    /// Everything, and say who may do what with it.
    Administer,
}

/// How roles are written. See [`Role`].
#[derive(JsonSchema)]
#[schemars(rename = "Role", rename_all = "lowercase")]
#[allow(dead_code, reason = "it is only described, never made")]
enum RoleSchema {
    /// Pull.
    Reader,
    /// Pull and push.
    Writer,
    /// Pull, push and delete.
    Maintainer,
    /// Everything; also members, teams, robots and grants.
    Owner,
}

#[cfg(test)]
mod tests {
    use schemars::schema_for;
    use serde_json::{Value, json};

    use super::*;
    use accounts::Right;

    #[test]
    fn words_are_described_as_those_that_there_are() {
        let words = |schema: schemars::Schema| -> Vec<String> {
            let choices = schema.as_value()["oneOf"].as_array().unwrap().clone();
            choices.iter().map(|choice| choice["const"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(
            words(schema_for!(RightSchema)),
            Right::ALL.iter().map(|right| right.as_str()).collect::<Vec<_>>()
        );
        assert_eq!(
            words(schema_for!(SourceSchema)),
            Source::ALL.iter().map(|source| source.as_str()).collect::<Vec<_>>()
        );
        assert_eq!(
            words(schema_for!(VerdictSchema)),
            Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect::<Vec<_>>()
        );
        assert_eq!(
            words(schema_for!(RoleSchema)),
            Role::ALL.iter().map(|role| role.as_str()).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_field_that_does_not_exist_is_refused() {
        let change = |value: Value| serde_json::from_value::<UserChange>(value);
        assert!(change(json!({ "disabled": true })).unwrap().password.is_none());
        assert!(change(json!({ "disable": true })).is_err());
        let grant = json!({ "subject": "everyone", "rights": ["pull"], "repositories": "acme/*" });
        assert_eq!(serde_json::from_value::<NewGrant>(grant).unwrap().subject, Subject::Everyone);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let change = UserChange { password: Some(Secret::new("hunter2")), ..UserChange::default() };
        assert!(!format!("{change:?}").contains("hunter2"));
        assert_eq!(serde_json::to_value(&change).unwrap(), json!({ "password": "hunter2" }));
    }
}
