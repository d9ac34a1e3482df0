//! `/api/v1/` of accounts: which paths there are to manage users, organisations, robots, tokens and grants, and
//! which methods each of them takes. What the paths answer is in the files of their names; what all of them are for
//! is described in [`super::openapi`].

use accounts::{AccountName, TeamName};
use hyper::Method;

use crate::http::extract::endpoint::PathError;

/// Makes the enum and all that is said of each of its variants from one table, so that nothing can be missing
/// from the list of all of them.
macro_rules! resources {
    ($($(#[$doc:meta])* $variant:ident $(($($part:ty),+))? = $label:literal, $path:literal, [$($method:ident),+];)+) => {
        /// Something of accounts that can be looked at or changed.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum Management {
            $($(#[$doc])* $variant $(($($part),+))?,)+
        }

        impl Management {
            /// The path of every one of them, with names in braces, and its methods.
            pub(crate) const ALL: &[(&str, &[Method])] = &[$(($path, &[$(Method::$method),+]),)+];

            /// What logs call it.
            pub(crate) const fn label(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $label,)+
                }
            }

            /// The methods that it takes.
            pub(crate) const fn methods(&self) -> &'static [Method] {
                match self {
                    $(Self::$variant { .. } => &[$(Method::$method),+],)+
                }
            }

            /// Its path, with names in braces.
            #[cfg(test)]
            const fn path(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $path,)+
                }
            }
        }
    };
}

resources! {
    /// The description of this interface.
    OpenApi = "api_openapi", "/api/v1/openapi.json", [GET, HEAD];
    /// Who asks.
    Me = "api_me", "/api/v1/me", [GET, HEAD];
    /// Where people make accounts for themselves, if the operator lets them.
    Registration = "api_registration", "/api/v1/registration", [POST];
    /// All users.
    Users = "api_users", "/api/v1/users", [GET, HEAD, POST];
    /// One user.
    User(AccountName) = "api_user", "/api/v1/users/{user}", [GET, HEAD, PATCH, DELETE];
    /// The personal tokens of a user.
    Tokens(AccountName) = "api_tokens", "/api/v1/users/{user}/tokens", [GET, HEAD, POST];
    /// One of them.
    Token(AccountName, i64) = "api_token", "/api/v1/users/{user}/tokens/{id}", [PATCH, DELETE];
    /// All organisations.
    Organisations = "api_organisations", "/api/v1/organisations", [GET, HEAD, POST];
    /// One organisation.
    Organisation(AccountName) = "api_organisation", "/api/v1/organisations/{organisation}",
        [GET, HEAD, PATCH, DELETE];
    /// The members of an organisation.
    Members(AccountName) = "api_members", "/api/v1/organisations/{organisation}/members", [GET, HEAD];
    /// One of them.
    Member(AccountName, AccountName) = "api_member", "/api/v1/organisations/{organisation}/members/{user}",
        [PUT, DELETE];
    /// The teams of an organisation.
    Teams(AccountName) = "api_teams", "/api/v1/organisations/{organisation}/teams", [GET, HEAD];
    /// One of them.
    Team(AccountName, TeamName) = "api_team", "/api/v1/organisations/{organisation}/teams/{team}", [PUT, DELETE];
    /// The members of a team.
    TeamMembers(AccountName, TeamName) = "api_team_members",
        "/api/v1/organisations/{organisation}/teams/{team}/members", [GET, HEAD];
    /// One of them.
    TeamMember(AccountName, TeamName, AccountName) = "api_team_member",
        "/api/v1/organisations/{organisation}/teams/{team}/members/{user}", [PUT, DELETE];
    /// All robots.
    Robots = "api_robots", "/api/v1/robots", [GET, HEAD, POST];
    /// One robot.
    Robot(AccountName) = "api_robot", "/api/v1/robots/{robot}", [GET, HEAD, PATCH, DELETE];
    /// With what a robot signs in.
    RobotSecret(AccountName) = "api_robot_secret", "/api/v1/robots/{robot}/secret", [PUT];
    /// All grants.
    Grants = "api_grants", "/api/v1/grants", [GET, HEAD, PUT, DELETE];
    /// The check of all content.
    Check = "api_check", "/api/v1/check", [POST];
    /// What happened.
    Audit = "api_audit", "/api/v1/audit", [GET, HEAD];
    /// What another program has changed in the data directory.
    Adopt = "api_adopt", "/api/v1/adopt", [POST];
}

impl Management {
    /// Reads what stands below `/api/v1/`.
    pub(crate) fn parse(rest: &str) -> Result<Self, PathError> {
        // No path has more parts, so that what is beyond need not be looked at.
        let mut parts = [""; 7];
        let mut count = 0;
        for part in rest.split('/') {
            *parts.get_mut(count).ok_or(PathError::NoSuchPath)? = part;
            count += 1;
        }
        Ok(match parts[..count] {
            ["openapi.json"] => Self::OpenApi,
            ["me"] => Self::Me,
            ["registration"] => Self::Registration,
            ["users"] => Self::Users,
            ["users", user] => Self::User(user.parse()?),
            ["users", user, "tokens"] => Self::Tokens(user.parse()?),
            ["users", user, "tokens", id] => Self::Token(user.parse()?, parse_id(id)?),
            ["organisations"] => Self::Organisations,
            ["organisations", name] => Self::Organisation(name.parse()?),
            ["organisations", name, "members"] => Self::Members(name.parse()?),
            ["organisations", name, "members", user] => Self::Member(name.parse()?, user.parse()?),
            ["organisations", name, "teams"] => Self::Teams(name.parse()?),
            ["organisations", name, "teams", team] => Self::Team(name.parse()?, team.parse()?),
            ["organisations", name, "teams", team, "members"] => {
                Self::TeamMembers(name.parse()?, team.parse()?)
            }
            ["organisations", name, "teams", team, "members", user] => {
                Self::TeamMember(name.parse()?, team.parse()?, user.parse()?)
            }
            ["robots"] => Self::Robots,
            ["robots", robot] => Self::Robot(robot.parse()?),
            ["robots", robot, "secret"] => Self::RobotSecret(robot.parse()?),
            ["grants"] => Self::Grants,
            ["check"] => Self::Check,
            ["audit"] => Self::Audit,
            ["adopt"] => Self::Adopt,
            _ => return Err(PathError::NoSuchPath),
        })
    }
}

/// The number of a token in the one spelling that is given out.
fn parse_id(text: &str) -> Result<i64, PathError> {
    match text.parse::<i64>() {
        Ok(id) if id > 0 && id.to_string() == text => Ok(id),
        _ => Err(PathError::NoSuchPath),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::extract::endpoint::Endpoint;

    fn filled(path: &str) -> String {
        [
            ("{user}", "ann"),
            ("{id}", "7"),
            ("{organisation}", "acme"),
            ("{team}", "devs"),
            ("{robot}", "acme+ci"),
        ]
        .into_iter()
        .fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
    }

    #[test]
    fn every_path_is_read_as_what_has_it() {
        for (path, methods) in Management::ALL {
            let read = Endpoint::parse(&filled(path));
            let Ok(Endpoint::Manage(read)) = read else { panic!("{path} is read as {read:?}") };
            assert_eq!((read.path(), read.methods()), (*path, *methods));
        }
    }

    #[test]
    fn names_are_read_and_nothing_else_is() {
        let parse = |path: &str| Endpoint::parse(&format!("/api/v1/{path}"));
        let user = |name: &str| Endpoint::Manage(Management::User(name.parse().unwrap()));
        assert_eq!(parse("users/ann%40example.org"), Ok(user("ann@example.org")));
        assert_eq!(parse("users/users"), Ok(user("users")));
        for path in ["users/", "users//tokens", "users/a%20b", "robots/a+", "organisations/x/members/a:b"] {
            assert!(matches!(parse(path), Err(PathError::Account(_))), "{path}");
        }
        assert!(matches!(parse("organisations/acme/teams/Devs"), Err(PathError::Team(_))));
        for path in [
            "user",
            "users/ann/x",
            "users/ann/tokens/x",
            "users/ann/tokens/0",
            "users/ann/tokens/+1",
            "users/ann/tokens/01",
            "me/",
            "grants/x",
            "users/ann%2Ftokens/x",
            "organisations/a/teams/b/members/c/d",
            "organisations/a/teams/b/members/c/d/e/f",
        ] {
            assert_eq!(parse(path), Err(PathError::NoSuchPath), "{path}");
        }
    }
}
