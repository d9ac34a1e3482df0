//! Grants of rights on repositories.

use accounts::{Pattern, Rights, Subject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::page::page;

page! {
    /// A page of grants: `GET /api/v1/grants?subject=&repository=&n=&last=`; `last` is an `id`. If more
    /// follow, the response has a `Link`.
    Grants {
        /// In order of creation.
        grants: Grant
    } by |entry| entry.id.to_string()
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// The number by which the next page is requested.
    pub id: i64,
    /// A user, a robot, a team (`acme/devs`), `accounts` (everyone with an account), or `everyone`.
    #[schemars(with = "String")]
    pub subject: Subject,
    /// The rights of the subject.
    #[schemars(with = "Vec<RightSchema>")]
    pub rights: Rights,
    /// The repositories: a name, or a pattern with `*`, `**` and `?`.
    #[schemars(with = "String")]
    pub repositories: Pattern,
    /// Time of the last change.
    pub created_at: u64,
}

/// Creates a grant, or replaces that of the same subject on the same repositories: `PUT /api/v1/grants`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGrant {
    /// A user, a robot, a team (`acme/devs`), `accounts` (everyone with an account), or `everyone`.
    #[schemars(with = "String")]
    pub subject: Subject,
    /// The rights of the subject.
    #[schemars(with = "Vec<RightSchema>")]
    pub rights: Rights,
    /// The repositories: a name, or a pattern with `*`, `**` and `?`.
    #[schemars(with = "String")]
    pub repositories: Pattern,
}

/// Describes [`accounts::Right`], which does not depend on `schemars`.
#[derive(JsonSchema)]
#[schemars(rename = "Right", rename_all = "lowercase")]
#[allow(dead_code, reason = "only its description is used")]
pub(crate) enum RightSchema {
    /// Pull images, and see that the repository exists.
    Pull,
    /// Push images; includes pull.
    Push,
    /// Delete images and the repository; includes pull.
    Delete,
    /// All rights, and manage grants on the repository.
    Administer,
    /// Let the cache fetch what it lacks from an upstream; includes pull.
    Fill,
}

#[cfg(test)]
pub(crate) mod tests {
    use accounts::Right;
    use serde_json::json;

    use super::*;

    /// The names that the schema of an enum lists.
    pub(crate) fn names_of<T: JsonSchema>() -> Vec<String> {
        let schema = schemars::schema_for!(T);
        let choices = schema.as_value()["oneOf"].as_array().unwrap();
        choices.iter().map(|choice| choice["const"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn right_schema_lists_every_right() {
        let rights: Vec<&str> = Right::ALL.iter().map(|right| right.as_str()).collect();
        assert_eq!(names_of::<RightSchema>(), rights);
    }

    #[test]
    fn new_grant_is_read_from_json() {
        let grant = json!({ "subject": "everyone", "rights": ["pull"], "repositories": "acme/*" });
        let grant: NewGrant = serde_json::from_value(grant).unwrap();
        assert_eq!(grant.subject, Subject::Everyone);
    }
}
