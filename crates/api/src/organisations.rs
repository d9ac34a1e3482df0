//! Organisations, their members and their teams.

use accounts::{AccountName, Role, TeamName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::page::page;

page! {
    /// A page of organisations: `GET /api/v1/organisations?n=&last=`. If more follow, the response has a
    /// `Link`.
    Organisations {
        /// Sorted by name.
        organisations: Organisation
    } by |entry| entry.name.to_string()
}

/// An organisation: `GET /api/v1/organisations/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Organisation {
    /// The name. The organisation owns the repositories below it.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// Text for people.
    pub description: String,
    /// Time of creation.
    pub created_at: u64,
}

/// Creates an organisation: `POST /api/v1/organisations`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrganisation {
    /// The name, such as `acme`; the organisation owns the repositories `acme/…`.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// The first owner; by default the caller. The operator, who has no account, must name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub owner: Option<AccountName>,
    /// Text for people.
    #[serde(default)]
    pub description: String,
}

/// Changes an organisation: `PATCH /api/v1/organisations/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganisationChange {
    /// Text for people.
    pub description: String,
}

page! {
    /// A page of members: `GET /api/v1/organisations/<name>/members?n=&last=`.
    Members {
        /// Sorted by name.
        members: Member
    } by |entry| entry.user.to_string()
}

/// A member of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    #[schemars(with = "String")]
    pub user: AccountName,
    /// The member's rights on the repositories of the organisation.
    #[schemars(with = "RoleSchema")]
    pub role: Role,
}

/// Adds a member, or changes the role of one: `PUT /api/v1/organisations/<name>/members/<user>`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberRole {
    /// The member's rights on the repositories of the organisation.
    #[schemars(with = "RoleSchema")]
    pub role: Role,
}

page! {
    /// A page of the teams of an organisation: `GET /api/v1/organisations/<name>/teams?n=&last=`.
    Teams {
        /// Sorted by name.
        teams: Team
    } by |entry| entry.name.to_string()
}

/// A team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Team {
    /// The name within the organisation. A grant to the team names both: `acme/devs`.
    #[schemars(with = "String")]
    pub name: TeamName,
    /// Number of users in the team.
    pub members: u64,
    /// Time of creation.
    pub created_at: u64,
}

page! {
    /// A page of the members of a team: `GET /api/v1/organisations/<name>/teams/<team>/members?n=&last=`.
    TeamMembers {
        /// The names of users, sorted.
        #[schemars(with = "Vec<String>")]
        members: AccountName
    } by ToString::to_string
}

/// Describes [`Role`], which does not depend on `schemars`.
#[derive(JsonSchema)]
#[schemars(rename = "Role", rename_all = "lowercase")]
#[allow(dead_code, reason = "only its description is used")]
enum RoleSchema {
    /// Pull.
    Reader,
    /// Pull and push.
    Writer,
    /// Pull, push and delete.
    Maintainer,
    /// All rights; also manages members, teams, robots and grants.
    Owner,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_schema_lists_every_role() {
        let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        assert_eq!(crate::grants::tests::names_of::<RoleSchema>(), roles);
    }
}
