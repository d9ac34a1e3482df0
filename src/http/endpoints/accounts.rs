//! Endpoints: accounts, organisations, robots, tokens and grants in the management API.

macro_rules! rows {
    ($callback:ident $($before:tt)*) => {
        $crate::http::endpoints::operation::rows! { $callback $($before)*
/// The caller.
ApiMe [] "api_me" "/api/v1/me" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::me { "Get the caller: the account and its rights" .answers::<Me>(200, "The caller.") };
}
/// Self-registration.
ApiRegistration [] "api_registration" "/api/v1/registration" Server {
    POST: Requirement::Own, AuditAction::None => manage::users::register {
        "Make an account for the caller"
        .note("Only where the operator allows it (the setting `auth.self_registration`).")
        .open().takes::<Registration>().answers::<User>(201, "The account was made.")
    };
}
/// All users.
ApiUsers [] "api_users" "/api/v1/users" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::users::list {
        "List the users" .note("For administrators.").parameters(&PAGE).answers::<Users>(200, "A page.")
    };
    POST: Requirement::Own, AuditAction::None => manage::users::add {
        "Make a user"
        .note("For administrators.").takes::<NewUser>().answers::<User>(201, "The user was made.")
    };
}
/// A user.
ApiUser [user: AccountName] "api_user" "/api/v1/users/{user}" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::users::get {
        "Look at a user"
        .note("For administrators, and for users themselves.").answers::<User>(200, "The user.")
    };
    PATCH: Requirement::Own, AuditAction::None => manage::users::change_user {
        "Change a user"
        .note("Users may change their own password and description; the rest is for administrators.")
        .takes::<UserChange>().answers::<User>(200, "The user as it is now.")
    };
    DELETE: Requirement::Own, AuditAction::None => manage::users::remove {
        "Remove a user"
        .note("For administrators. Tokens, robots, memberships and grants go with it; images stay.")
        .parameters(&[FORCE]).ends(204, "It is removed.")
    };
}
/// The personal tokens of a user.
ApiTokens [user: AccountName] "api_tokens" "/api/v1/users/{user}/tokens" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::tokens::list {
        "List the personal tokens of a user"
        .parameters(&PAGE).answers::<Tokens>(200, "A page, without their secrets.")
    };
    POST: Requirement::Own, AuditAction::None => manage::tokens::add {
        "Make a personal token"
        .takes::<NewToken>().answers::<MadeToken>(201, "The token, with its secret, which is shown this once.")
    };
}
/// A personal token.
ApiToken [user: AccountName, id: i64] "api_token" "/api/v1/users/{user}/tokens/{id}" Server {
    PATCH: Requirement::Own, AuditAction::None => manage::tokens::change_token {
        "Change a personal token"
        .note("Omitted fields stay unchanged; null removes the limit. The secret stays the same.")
        .takes::<TokenChange>().answers::<Token>(200, "The token as it is now.")
    };
    DELETE: Requirement::Own, AuditAction::None => manage::tokens::revoke {
        "Revoke a personal token" .ends(204, "It is revoked.")
    };
}
/// The sessions of a user.
ApiSessions [user: AccountName] "api_sessions" "/api/v1/users/{user}/sessions" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::sessions::list {
        "List the browsers in which a user is signed in" .parameters(&PAGE).answers::<Sessions>(200, "A page.")
    };
}
/// A session.
ApiSession [user: AccountName, id: i64] "api_session" "/api/v1/users/{user}/sessions/{id}" Server {
    DELETE: Requirement::Own, AuditAction::None => manage::sessions::end { "End a session" .ends(204, "It is over.") };
}
/// Explanation of access.
ApiAccess [] "api_access" "/api/v1/access" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::access::get {
        "Explain what an account may do with a repository"
        .note("For administrators, for the administrators of the repository, and for accounts themselves.")
        .parameters(&[
            ("account", "string", "The user or robot; without it, a caller without an account."),
            ("repository", "string", "The repository, which need not exist."),
        ])
        .answers::<Access>(200, "The rights and the reasons.")
    };
}
/// All organisations.
ApiOrganisations [] "api_organisations" "/api/v1/organisations" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::organisations::list {
        "List the organisations"
        .note("Administrators see all, others those that they are members of.")
        .parameters(&PAGE).answers::<Organisations>(200, "A page.")
    };
    POST: Requirement::Own, AuditAction::None => manage::organisations::add {
        "Make an organisation"
        .takes::<NewOrganisation>().answers::<Organisation>(201, "The organisation was made.")
    };
}
/// An organisation.
ApiOrganisation [organisation: AccountName] "api_organisation" "/api/v1/organisations/{organisation}" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::organisations::get {
        "Look at an organisation" .answers::<Organisation>(200, "The organisation.")
    };
    PATCH: Requirement::Own, AuditAction::None => manage::organisations::change_organisation {
        "Change an organisation"
        .takes::<OrganisationChange>().answers::<Organisation>(200, "The organisation as it is now.")
    };
    DELETE: Requirement::Own, AuditAction::None => manage::organisations::remove {
        "Remove an organisation"
        .note("Members, teams, robots and grants to them go with it; images stay.")
        .parameters(&[FORCE]).ends(204, "It is removed.")
    };
}
/// The members of an organisation.
ApiMembers [organisation: AccountName] "api_members" "/api/v1/organisations/{organisation}/members" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::organisations::members {
        "List the members of an organisation" .parameters(&PAGE).answers::<Members>(200, "A page.")
    };
}
/// A member of an organisation.
ApiMember [organisation: AccountName, user: AccountName] "api_member"
    "/api/v1/organisations/{organisation}/members/{user}" Server {
    PUT: Requirement::Own, AuditAction::None => manage::organisations::set_member {
        "Make a user a member, or change what a member may do" .takes::<MemberRole>().ends(204, "It is done.")
    };
    DELETE: Requirement::Own, AuditAction::None => manage::organisations::remove_member {
        "End a membership" .ends(204, "It is over.")
    };
}
/// The teams of an organisation.
ApiTeams [organisation: AccountName] "api_teams" "/api/v1/organisations/{organisation}/teams" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::organisations::teams {
        "List the teams of an organisation" .parameters(&PAGE).answers::<Teams>(200, "A page.")
    };
}
/// A team.
ApiTeam [organisation: AccountName, team: TeamName] "api_team"
    "/api/v1/organisations/{organisation}/teams/{team}" Server {
    PUT: Requirement::Own, AuditAction::None => manage::organisations::add_team { "Make a team" .ends(204, "It exists.") };
    DELETE: Requirement::Own, AuditAction::None => manage::organisations::remove_team {
        "Remove a team" .ends(204, "It is removed, and so are grants to it.")
    };
}
/// The members of a team.
ApiTeamMembers [organisation: AccountName, team: TeamName] "api_team_members"
    "/api/v1/organisations/{organisation}/teams/{team}/members" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::organisations::team_members {
        "List the members of a team" .parameters(&PAGE).answers::<TeamMembers>(200, "A page.")
    };
}
/// A member of a team.
ApiTeamMember [organisation: AccountName, team: TeamName, user: AccountName] "api_team_member"
    "/api/v1/organisations/{organisation}/teams/{team}/members/{user}" Server {
    PUT: Requirement::Own, AuditAction::None => manage::organisations::add_team_member {
        "Put a member of the organisation into a team" .ends(204, "It is done.")
    };
    DELETE: Requirement::Own, AuditAction::None => manage::organisations::remove_team_member {
        "Take a user out of a team" .ends(204, "It is done.")
    };
}
/// All robots.
ApiRobots [] "api_robots" "/api/v1/robots" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::robots::list {
        "List the robots"
        .parameters(&[PAGE[0], PAGE[1], ("owner", "string", "Only those of this user or organisation.")])
        .answers::<Robots>(200, "A page.")
    };
    POST: Requirement::Own, AuditAction::None => manage::robots::add {
        "Make a robot"
        .note("It may do nothing until it is given a grant.")
        .takes::<NewRobot>().answers::<RobotSecret>(201, "Its secret, which is shown this once.")
    };
}
/// A robot.
ApiRobot [robot: AccountName] "api_robot" "/api/v1/robots/{robot}" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::robots::get {
        "Look at a robot" .answers::<Robot>(200, "The robot.")
    };
    PATCH: Requirement::Own, AuditAction::None => manage::robots::change_robot {
        "Change a robot" .takes::<RobotChange>().answers::<Robot>(200, "The robot as it is now.")
    };
    DELETE: Requirement::Own, AuditAction::None => manage::robots::remove { "Remove a robot" .ends(204, "It is removed.") };
}
/// The secret of a robot.
ApiRobotSecret [robot: AccountName] "api_robot_secret" "/api/v1/robots/{robot}/secret" Server {
    PUT: Requirement::Own, AuditAction::None => manage::robots::new_secret {
        "Give a robot another secret" .answers::<RobotSecret>(200, "Its secret, which is shown this once.")
    };
}
/// All grants.
ApiGrants [] "api_grants" "/api/v1/grants" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::grants::list {
        "List the grants"
        .note("One of `subject`, `account`, `repository` and `owner` can be given.")
        .parameters(&[
            PAGE[0],
            PAGE[1],
            ("subject", "string", "Only those to this account or team, `accounts` or `everyone`."),
            ("account", "string", "Only those that reach this account, also through teams, `accounts` and `everyone`."),
            ("repository", "string", "Only those that have this repository."),
            ("owner", "string", "Only those on repositories below the name of this user or organisation."),
        ])
        .answers::<Grants>(200, "A page.")
    };
    PUT: Requirement::Own, AuditAction::None => manage::grants::set {
        "Give a grant, instead of one to the same subject on the same repositories"
        .note("For callers who may administer all repositories of the pattern. `everyone` with `pull` makes them public.")
        .takes::<NewGrant>().ends(204, "It is done.")
    };
    DELETE: Requirement::Own, AuditAction::None => manage::grants::remove {
        "Remove a grant"
        .parameters(&[
            ("subject", "string", "To whom it was given."),
            ("repositories", "string", "Its name or pattern."),
        ])
        .ends(204, "It is removed.")
    };
}
        }
    };
}

pub(crate) use rows;
