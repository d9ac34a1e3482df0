//! The endpoint table: for each path its methods, and for each method the required right, the audit action, the handler
//! and the OpenAPI operation. Other modules expand it: `extract::endpoint` (enum and parser), `dispatch` and
//! `api::openapi`.
//!
//! To add an endpoint, add its row here, its handler, its types in `crates/api`, and a test. A path with a repository
//! needs a case in [`Endpoint::parse`](crate::http::extract::endpoint::Endpoint::parse) as well.

use accounts::Right;
use hyper::Method;

/// The access that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// No access check. Wrong credentials are refused all the same.
    Nothing,
    /// Valid credentials, or an anonymous token.
    Credentials,
    /// No access check: the list shows the repositories that the caller may pull. A `closed` list asks for credentials,
    /// because its clients send them only when asked.
    List { closed: bool },
    /// `registry::access::manage` checks each operation.
    Own,
    /// A right on the repository in the path.
    Repository(Right),
}

/// The part of the API that an endpoint belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// The server itself, accounts and lists: a gateway answers it too.
    Server,
    /// The registry protocol, without content.
    Protocol,
    /// The registry protocol, with content that a gateway gets from its upstream.
    ProtocolContent,
    /// Other content, which a gateway does not have.
    Content,
    /// Pages for browsers. They are parsed apart from the API: see `Endpoint::parse_page`.
    Page,
}

/// The entry that an authorized request makes in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditAction {
    /// Not recorded here: there is no repository, or `registry::access` records it.
    None,
    /// A change that others see.
    Change(&'static str),
    /// The form of a page: a change once it redirects.
    Form(&'static str),
    /// Work of an administrator on the server.
    Operate(&'static str),
    /// A blob upload: `blob.push` for the request that ends it.
    Upload,
    /// A GET of content, recorded if `audit.pulls` is set.
    Pull(&'static str),
    /// A read, recorded only if it is denied.
    Look(&'static str),
}

/// Some methods of an endpoint, which are treated alike.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) methods: &'static [Method],
    pub(crate) requirement: Requirement,
    pub(crate) audit: AuditAction,
}

/// A row of the table, without handlers.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) label: &'static str,
    pub(crate) path: &'static str,
    pub(crate) area: Area,
    pub(crate) methods: &'static [Method],
    pub(crate) operations: &'static [Operation],
}

/// Passes the table to the macro `$callback`.
///
/// A row is `Variant [parts of the path] "metrics label" "path" Area { operations }`, an operation
/// `METHODS: requirement, audit action => handler { OpenAPI summary and builder calls };`. The last operation has the
/// strongest requirement: methods that the endpoint does not take need it too, so that a 405 reveals no repository.
macro_rules! endpoints {
    ($callback:ident) => {
        $callback! {
/// `/`: a page for people.
Root [] "root" "/" Server {
    GET | HEAD: Requirement::Nothing, AuditAction::None => root::get;
}
/// Liveness probe.
Health [] "health" "/healthz" Server {
    GET | HEAD: Requirement::Nothing, AuditAction::None => health::health;
}
/// Readiness probe.
Ready [] "ready" "/readyz" Server {
    GET | HEAD: Requirement::Nothing, AuditAction::None => health::ready;
}
/// Metrics, for administrators on a server that listens on loopback.
Metrics [] "metrics" "/metrics" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => scrape::get;
}
/// `/v1/_ping` and `/_ping`: docker asks it before a search.
Ping [] "ping" "/v1/_ping" Protocol {
    GET | HEAD: Requirement::Nothing, AuditAction::None => v1::ping::get;
}
/// Repository search.
Search [] "search" "/v1/search" Protocol {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => v1::search::get;
}
/// Token server.
Token [] "token" "/token" Server {
    GET | HEAD: Requirement::Nothing, AuditAction::None => token::get;
    POST: Requirement::Nothing, AuditAction::None => token::post;
}
/// Public keys of the token server.
Jwks [] "jwks" "/.well-known/jwks.json" Server {
    GET | HEAD: Requirement::Nothing, AuditAction::None => jwks::get;
}
/// Authorization for reverse proxies (`auth_request`), with the method of the proxied request or any other.
Auth [] "auth" "/auth" Server {
    GET | HEAD | POST | PUT | PATCH | DELETE: Requirement::Nothing, AuditAction::None => auth::answered_earlier;
}
/// `/v2/`: support of the registry protocol.
Base [] "base" "/v2/" Protocol {
    GET | HEAD: Requirement::Credentials, AuditAction::None => v2::base::get;
}
/// All repositories.
Catalog [] "catalog" "/v2/_catalog" Protocol {
    GET | HEAD: Requirement::List { closed: true }, AuditAction::None => v2::catalog::get;
}
/// The tags of a repository.
Tags [repository: RepositoryName] "tags" "/v2/{repository}/tags/list" ProtocolContent {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => v2::tags::get;
}
/// A manifest, by a tag or its digest.
Manifest [repository: RepositoryName, reference: TagOrDigest] "manifest"
    "/v2/{repository}/manifests/{reference}" ProtocolContent {
    GET: Requirement::Repository(Right::Pull), AuditAction::Pull("manifest.pull") => v2::manifests::get;
    HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("manifest.look") => v2::manifests::get;
    PUT: Requirement::Repository(Right::Push), AuditAction::Change("manifest.push") => v2::manifests::put;
    DELETE: Requirement::Repository(Right::Delete), AuditAction::Change("manifest.delete") => v2::manifests::delete;
}
/// A blob.
Blob [repository: RepositoryName, digest: Digest] "blob" "/v2/{repository}/blobs/{digest}" ProtocolContent {
    GET: Requirement::Repository(Right::Pull), AuditAction::Pull("blob.pull") => v2::blobs::get;
    HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("blob.look") => v2::blobs::get;
    DELETE: Requirement::Repository(Right::Delete), AuditAction::Change("blob.delete") => v2::blobs::delete;
}
/// Start of an upload.
Uploads [repository: RepositoryName] "uploads" "/v2/{repository}/blobs/uploads/" ProtocolContent {
    POST: Requirement::Repository(Right::Push), AuditAction::Upload => v2::uploads::post;
}
/// An upload. Only its pusher may read or cancel it.
Upload [repository: RepositoryName, id: Uuid] "upload" "/v2/{repository}/blobs/uploads/{upload}" ProtocolContent {
    GET | HEAD: Requirement::Repository(Right::Push), AuditAction::Upload => v2::uploads::get;
    PATCH: Requirement::Repository(Right::Push), AuditAction::Upload => v2::uploads::patch;
    PUT: Requirement::Repository(Right::Push), AuditAction::Upload => v2::uploads::put;
    DELETE: Requirement::Repository(Right::Push), AuditAction::Upload => v2::uploads::delete;
}
/// The manifests that refer to a digest.
Referrers [repository: RepositoryName, digest: Digest] "referrers" "/v2/{repository}/referrers/{digest}"
    ProtocolContent {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => v2::referrers::get;
}
/// All repositories, with their properties.
ApiRepositories [] "api_repositories" "/api/v1/repositories" Server {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::repositories::list {
        "List the repositories that the caller may pull from"
        .parameters(&[
            PAGE[0],
            ("last", "string", "The cursor of the page before: its last name, or the value in its `Link`."),
            ("sort", "string", "`name`, or with the largest value first: `pushed`, `size`, `pulls`."),
            ("namespace", "string", "Only those below this first component."),
        ])
        .answers::<Repositories>(200, "A page.")
    };
}
/// The first components of names.
ApiNamespaces [] "api_namespaces" "/api/v1/namespaces" Server {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::repositories::namespaces {
        "List the first components of the names of repositories"
        .parameters(&PAGE).answers::<Namespaces>(200, "A page.")
    };
}
/// Search for repositories.
ApiSearch [] "api_search" "/api/v1/search" Server {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::repositories::search {
        "Search for repositories"
        .note("Each word is in the name or the description, or is the beginning of a word there.")
        .parameters(&[
            PAGE[0],
            ("last", "string", "The cursor of the page before, from its `Link`."),
            ("q", "string", "The words."),
        ])
        .answers::<SearchResults>(200, "A page.")
    };
}
/// A repository.
ApiRepository [repository: RepositoryName] "api_repository" "/api/v1/repositories/{repository}" Content {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => api::repositories::get {
        "Look at a repository" .answers::<Repository>(200, "The repository.")
    };
    DELETE: Requirement::Repository(Right::Delete), AuditAction::Change("repository.delete") => api::repositories::delete {
        "Delete a repository with its tags, manifests and blobs" .ends(202, "It is deleted.")
    };
}
/// The tags of a repository, with their properties. No component of a name begins with an underscore.
ApiTags [repository: RepositoryName] "api_tags" "/api/v1/repositories/{repository}/_tags" Content {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => api::tags::get {
        "List the tags of a repository"
        .parameters(&[
            PAGE[0], PAGE[1], ("sort", "string", "`name` (the default) or `pushed`, the last push first."),
            ("q", "string", "A part of the names."),
            ("all", "boolean", "Also the tags by which older clients find referrers."),
        ])
        .answers::<Tags>(200, "A page.")
    };
}
/// A manifest, with its tags and pulls.
ApiManifest [repository: RepositoryName, reference: TagOrDigest] "api_manifest"
    "/api/v1/repositories/{repository}/_manifests/{reference}" Content {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("manifest.look") => api::manifests::get {
        "Look at a manifest: its tags, and when it was pushed and pulled"
        .answers::<ManifestEntry>(200, "The manifest.")
    };
}
/// The changes of the tags of a repository.
ApiHistory [repository: RepositoryName] "api_history" "/api/v1/repositories/{repository}/_history" Content {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => api::history::get {
        "List each move and deletion of the tags, the latest first"
        .parameters(&[PAGE[0], PAGE[1], ("tag", "string", "Only the changes of this tag.")])
        .answers::<History>(200, "A page.")
    };
}
/// Takes back changes of a tag.
ApiUndo [repository: RepositoryName] "api_undo" "/api/v1/repositories/{repository}/_undo" Content {
    POST: Requirement::Repository(Right::Push), AuditAction::Change("tag.undo") => api::history::undo {
        "Point a tag to an earlier image, also to a deleted one until its grace period ends"
        .takes::<Undo>().answers::<Undone>(200, "The tag as it is now.")
    };
}
/// Deleted manifests.
ApiTrash [repository: RepositoryName] "api_trash" "/api/v1/repositories/{repository}/_trash" Content {
    GET | HEAD: Requirement::Repository(Right::Push), AuditAction::Look("repository.look") => api::trash::get {
        "List the deleted manifests that can be restored, the last deleted first"
        .parameters(&PAGE).answers::<Trash>(200, "A page.")
    };
    POST: Requirement::Repository(Right::Push), AuditAction::Change("manifest.restore") => api::trash::restore {
        "Restore a deleted manifest with its tags"
        .takes::<Restore>().answers::<RestoredManifests>(200, "What is there again.")
    };
}
/// Quotas and their use.
ApiQuotas [] "api_quotas" "/api/v1/usage/quotas" Content {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::quotas::get {
        "List quotas and their use"
        .note("Administrators see all, others those of their own repositories and of single repositories.")
        .answers::<Quotas>(200, "The quotas.")
    };
}
/// Space used by the registry.
ApiUsage [] "api_usage" "/api/v1/usage" Content {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::usage::get {
        "Get the used space" .answers::<Usage>(200, "The space.")
    };
}
/// Space used by each repository.
ApiRepositoryUsage [] "api_repository_usage" "/api/v1/usage/repositories" Content {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::usage::repositories {
        "Get the space that each repository takes"
        .parameters(&PAGE).answers::<RepositoryUsages>(200, "A page.")
    };
}
/// Space used by each owner.
ApiOwnerUsage [] "api_owner_usage" "/api/v1/usage/owners" Content {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::usage::owners {
        "Get the space that the repositories of each owner take"
        .parameters(&PAGE).answers::<OwnerUsages>(200, "A page.")
    };
}
/// The OpenAPI document.
ApiDescription [] "api_openapi" "/api/v1/openapi.json" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => api::openapi::get {
        "This description" .open().ends(200, "OpenAPI 3.1.")
    };
}
/// Versions of the server.
ApiVersion [] "api_version" "/api/v1/version" Server {
    GET | HEAD: Requirement::Credentials, AuditAction::None => manage::version {
        "Get the versions of the server" .answers::<Version>(200, "The versions.")
    };
}
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
        .note("What is left out stays as it is; null sets no limit. Its secret stays the same.")
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
/// The check of all content.
ApiCheck [] "api_check" "/api/v1/check" Server {
    POST: Requirement::Own, AuditAction::Operate("check.run") => manage::check::run {
        "Check that all content is there, and repair it"
        .note(
            "For administrators. The answer has a JSON object on each line (application/x-ndjson): progress while \
             it goes on, and what it found on the last.",
        )
        .parameters(&[
            ("read", "boolean", "Read all content and compare it with its digest."),
            ("repair", "boolean", "Repair what can be repaired, and move damaged content aside. Deletes nothing."),
        ])
        .streams::<CheckLine>("application/x-ndjson", "A line.")
    };
}
/// A preview of the retention rules.
ApiRetentionPreview [] "api_retention_preview" "/api/v1/retention/preview" Server {
    POST: Requirement::Own, AuditAction::None => manage::retention::preview {
        "Show which tags a retention run would delete"
        .note("For administrators. It runs the same code as a run, and rolls it back.")
        .takes::<RetentionRequest>().answers::<RetentionReport>(200, "What a run would delete.")
    };
}
/// A run of the retention rules.
ApiRetentionRun [] "api_retention_run" "/api/v1/retention/run" Server {
    POST: Requirement::Own, AuditAction::None => manage::retention::run {
        "Delete the tags that no retention rule keeps"
        .note("For administrators.")
        .takes::<RetentionRequest>().answers::<RetentionReport>(200, "What was deleted.")
    };
}
/// Takes back a run of the retention rules.
ApiRetentionUndo [] "api_retention_undo" "/api/v1/retention/undo" Server {
    POST: Requirement::Own, AuditAction::None => manage::retention::undo {
        "Take back all deletions of a retention run"
        .note("For administrators. A tag that was pushed since then stays.")
        .takes::<UndoRun>().answers::<RunUndone>(200, "The tags of the run.")
    };
}
/// The retention rules of an account.
ApiRetentionRules [user: AccountName] "api_retention_rules" "/api/v1/retention/rules/{user}" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::retention::rules {
        "Get the retention rules of a user or an organisation"
        .note("For administrators, the user, and owners of the organisation.")
        .answers::<RetentionRules>(200, "The rules.")
    };
    PUT: Requirement::Own, AuditAction::None => manage::retention::set_rules {
        "Set the retention rules of a user or an organisation for its repositories"
        .note("The rules of the configuration come first.")
        .takes::<RetentionRules>().ends(204, "They are set.")
    };
    DELETE: Requirement::Own, AuditAction::None => manage::retention::remove_rules {
        "Remove the retention rules of a user or an organisation" .ends(204, "They are removed.")
    };
}
/// The rules on tags.
ApiRules [] "api_rules" "/api/v1/rules" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::rules::get {
        "List the rules on tags, and preview another rule"
        .note("For administrators. With both parameters, `preview` has the tags that such a rule would select.")
        .parameters(&[
            ("repositories", "string", "A selector of repositories, as in `[[immutable]]`."),
            ("tags", "string", "A selector of tags, as in `[[immutable]]`."),
        ])
        .answers::<Rules>(200, "The rules.")
    };
}
/// The settings in force.
ApiSettings [] "api_settings" "/api/v1/settings" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::settings::get {
        "Get the settings in force with their origin, and the certificate"
        .note("For administrators. Secrets are left out.").answers::<Settings>(200, "The settings.")
    };
}
/// Background jobs.
ApiJobs [] "api_jobs" "/api/v1/jobs" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::jobs::list {
        "List the background jobs, with their progress"
        .note("For administrators.").answers::<Jobs>(200, "All kinds of jobs that have run since the start.")
    };
}
/// Garbage collection.
ApiGarbage [] "api_gc" "/api/v1/gc" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::gc::status {
        "Look at the last garbage collection, and at the space that is kept for now"
        .note("For administrators.").answers::<GarbageStatus>(200, "The state.")
    };
    POST: Requirement::Own, AuditAction::Operate("gc.run") => manage::gc::run {
        "Collect garbage now"
        .note(
            "For administrators. The answer has a JSON object on each line (application/x-ndjson): progress while \
             it goes on, and the result on the last. With `dry_run` it is one object, GarbagePreview, and nothing \
             changes.",
        )
        .parameters(&[("dry_run", "boolean", "List what a collection would remove now, and change nothing.")])
        .streams::<GarbageLine>("application/x-ndjson", "A line.")
    };
}
/// What keeps some content.
ApiExplain [] "api_gc_explain" "/api/v1/gc/explain" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::gc::explain {
        "Explain what keeps some content, or when it is collected"
        .note("For administrators.")
        .parameters(&[
            ("digest", "string", "The digest of a manifest or blob."),
            ("repository", "string", "Only what keeps it in this repository."),
        ])
        .answers::<Explanation>(200, "The chains that keep it.")
    };
}
/// Erasure of content.
ApiErase [] "api_erase" "/api/v1/erase" Server {
    POST: Requirement::Own, AuditAction::None => manage::gc::erase {
        "Erase a manifest or blob at once, without a way back"
        .note("For administrators.").takes::<Erase>().answers::<Erased>(200, "What was erased.")
    };
}
/// The stream of events.
ApiEvents [] "api_events" "/api/v1/events" Server {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::events::get {
        "Stream the events of the repositories that the caller may pull from"
        .note(
            "Server-sent events (text/event-stream): `id` is the number of the event, `event` its kind, `data` the JSON \
             below. A client that reconnects sends the last number as `Last-Event-ID`. `event: lost` says that older \
             events are not kept any more. Events of the whole registry are for administrators.",
        )
        .parameters(&[
            ("after", "integer", "The number after which the stream begins; by default from now on."),
            ("event", "string", "Only these kinds: `push`, `tag.*`, `*`. May be repeated."),
            ("repository", "string", "Only those of this repository."),
            ("follow", "boolean", "False ends the stream after the events so far."),
        ])
        .streams::<Event>("text/event-stream", "An event.")
    };
}
/// All webhooks.
ApiWebhooks [] "api_webhooks" "/api/v1/webhooks" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::webhooks::list {
        "List the webhooks"
        .note("Administrators see all, others those of repositories that they may administer.")
        .answers::<Webhooks>(200, "All of them.")
    };
    POST: Requirement::Own, AuditAction::None => manage::webhooks::add {
        "Add a webhook for repositories"
        .note("For callers who may administer all these repositories. The receiver is in the public internet.")
        .takes::<NewWebhook>().answers::<MadeWebhook>(201, "The webhook, with its secret, which is shown this once.")
    };
}
/// A webhook.
ApiWebhook [webhook: WebhookId] "api_webhook" "/api/v1/webhooks/{webhook}" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::webhooks::get {
        "Look at a webhook" .answers::<Webhook>(200, "The webhook.")
    };
    PATCH: Requirement::Own, AuditAction::None => manage::webhooks::rotate {
        "Replace the secret of a webhook"
        .note("The old secret also signs until the next change.")
        .takes::<WebhookChange>().answers::<MadeWebhook>(200, "The webhook, with its secret.")
    };
    DELETE: Requirement::Own, AuditAction::None => manage::webhooks::remove {
        "Remove a webhook with its deliveries" .ends(204, "It is removed.")
    };
}
/// A test of a webhook.
ApiWebhookTest [webhook: WebhookId] "api_webhook_test" "/api/v1/webhooks/{webhook}/test" Server {
    POST: Requirement::Own, AuditAction::None => manage::webhooks::test {
        "Send a test event to a webhook, once" .answers::<WebhookTest>(200, "The receiver's answer.")
    };
}
/// The deliveries of a webhook.
ApiWebhookDeliveries [webhook: WebhookId] "api_webhook_deliveries" "/api/v1/webhooks/{webhook}/deliveries" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::webhooks::deliveries {
        "List the deliveries of a webhook, the latest first"
        .parameters(&[PAGE[0], PAGE[1], ("state", "string", "Only those that are `pending`, `delivered` or `parked`.")])
        .answers::<Deliveries>(200, "A page.")
    };
}
/// A replay of deliveries.
ApiWebhookReplay [webhook: WebhookId] "api_webhook_replay" "/api/v1/webhooks/{webhook}/replay" Server {
    POST: Requirement::Own, AuditAction::None => manage::webhooks::replay {
        "Send deliveries of a webhook again" .takes::<Replay>().answers::<Replayed>(200, "Their number.")
    };
}
/// The audit log.
ApiAudit [] "api_audit" "/api/v1/audit" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::audit::read {
        "Read what was done, the oldest first"
        .note("For administrators. To follow, ask again with the last `id` as `after`.")
        .parameters(&[
            ("n", "integer", "How many entries the page has at most."),
            ("after", "integer", "The `id` after which the page begins."),
            ("latest", "boolean", "The last entries rather than the first."),
            ("since", "integer", "Only what was done at or after this time."),
            ("account", "string", "Only what this account did."),
            ("action", "string", "Only this action, or those of this kind: `user` has `user.add`."),
            ("repository", "string", "Only what was done to this repository, and those below it."),
            ("verdict", "string", "Only what was `allowed`, `denied` or `failed`."),
        ])
        .answers::<Audit>(200, "A page.")
    };
}
/// The upstreams of the cache.
ApiUpstreams [] "api_upstreams" "/api/v1/upstreams" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => manage::upstreams::list {
        "List the upstreams, with their state and what is cached of them"
        .note("For administrators.").answers::<Upstreams>(200, "All of them.")
    };
}
/// A test of an upstream.
ApiUpstreamTest [upstream: UpstreamName] "api_upstream_test" "/api/v1/upstreams/{upstream}/test" Server {
    POST: Requirement::Own, AuditAction::None => manage::upstreams::test {
        "Call every URL of an upstream"
        .note("For administrators.").answers::<UpstreamTest>(200, "What each URL answered.")
    };
}
/// The cached content of an upstream.
ApiUpstreamCache [upstream: UpstreamName] "api_upstream_cache" "/api/v1/upstreams/{upstream}/cache" Server {
    DELETE: Requirement::Own, AuditAction::Operate("upstream.purge") => manage::upstreams::purge {
        "Remove what is cached of an upstream"
        .note("For administrators. It is fetched again when it is pulled.")
        .parameters(&[("repositories", "string", "A pattern of its repositories, as the upstream names them.")])
        .answers::<Purged>(200, "The repositories that were removed.")
    };
}
/// Reload of the configuration.
ApiReload [] "api_reload" "/api/v1/reload" Server {
    POST: Requirement::Own, AuditAction::Operate("server.reload") => manage::reload::reload {
        "Read the configuration, the htpasswd file and the certificate again"
        .note("For administrators. A mistake changes nothing, and is in `errors`.")
        .answers::<Reloaded>(200, "The changed settings.")
    };
}
/// Backup of the metadata and the keys.
ApiBackup [] "api_backup" "/api/v1/backup" Server {
    POST: Requirement::Own, AuditAction::Operate("server.backup") => manage::backup::backup {
        "Make a backup of the metadata, the keys and the configuration"
        .note("For commands on the machine of the registry. The answer is a tar archive.")
        .streams::<Archive>("application/x-tar", "The archive.")
    };
}
/// Move of the registry to other places of its blobs and metadata.
ApiMove [] "api_move" "/api/v1/move" Server {
    POST: Requirement::Own, AuditAction::Operate("server.move") => manage::relocation::relocate {
        "Move the blobs and the metadata to other places"
        .note(
            "For commands on the machine of the registry. The answer has a JSON object on each line \
             (application/x-ndjson): progress while it goes on, and the result on the last. Then changes are refused \
             until the server is restarted.",
        )
        .takes::<Move>()
        .streams::<MoveLine>("application/x-ndjson", "A line.")
    };
}
/// Adoption of changes that other programs made in the data directory.
ApiAdopt [] "api_adopt" "/api/v1/adopt" Server {
    POST: Requirement::Own, AuditAction::Operate("server.adopt") => manage::adopt::adopt {
        "Adopt what another program has changed in the data directory"
        .note("For administrators. It reads every link below `repositories/`, which may take minutes.")
        .takes::<Adopt>().answers::<Adopted>(200, "What has changed, and what could not be adopted.")
    };
}
/// The page of all repositories, and of a search.
PageHome [] "page_home" "/" Page {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => web::home::get;
}
/// The page of a repository.
PageRepository [repository: RepositoryName] "page_repository" "/{repository}" Page {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => web::repository::get;
}
/// The page of a tag or of a manifest: `/team/app:1.0`, `/team/app@sha256:…`.
PageManifest [repository: RepositoryName, reference: TagOrDigest] "page_manifest" "/{repository}:{reference}" Page {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("manifest.look") => web::manifest::get;
}
/// A blob as a file.
PageFile [repository: RepositoryName, digest: Digest] "page_file" "/-/file/{repository}@{digest}" Page {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Pull("blob.pull") => web::file::get;
}
/// The difference of two tags.
PageCompare [repository: RepositoryName] "page_compare" "/-/compare/{repository}" Page {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => web::compare::get;
}
/// Deletion of a tag or a manifest.
PageDelete [repository: RepositoryName, reference: TagOrDigest] "page_delete" "/-/delete/{repository}:{reference}" Page {
    GET | HEAD: Requirement::Repository(Right::Delete), AuditAction::Look("manifest.look") => web::delete::get;
    POST: Requirement::Repository(Right::Delete), AuditAction::Form("manifest.delete") => web::delete::post;
}
/// Deletion of a repository.
PageDeleteRepository [repository: RepositoryName] "page_delete_repository" "/-/delete/{repository}" Page {
    GET | HEAD: Requirement::Repository(Right::Delete), AuditAction::Look("repository.look") => web::delete::get_repository;
    POST: Requirement::Repository(Right::Delete), AuditAction::Form("repository.delete")
        => web::delete::post_repository;
}
/// Another tag for a manifest.
PageRetag [repository: RepositoryName, reference: TagOrDigest] "page_retag" "/-/retag/{repository}:{reference}" Page {
    POST: Requirement::Repository(Right::Push), AuditAction::Form("manifest.push") => web::retag::post;
}
/// The changes of tags, and taking them back.
PageHistory [repository: RepositoryName] "page_history" "/-/history/{repository}" Page {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => web::history::get;
    POST: Requirement::Repository(Right::Push), AuditAction::Form("tag.undo") => web::history::post;
}
/// Deleted manifests, and their restoration.
PageTrash [repository: RepositoryName] "page_trash" "/-/trash/{repository}" Page {
    GET | HEAD: Requirement::Repository(Right::Push), AuditAction::Look("repository.look") => web::trash::get;
    POST: Requirement::Repository(Right::Push), AuditAction::Form("manifest.restore") => web::trash::post;
}
/// A style sheet, a script or an icon.
PageAsset [asset: String] "page_asset" "/-/assets/{asset}" Page {
    GET | HEAD: Requirement::Nothing, AuditAction::None => web::assets::get;
}
/// Sign-in with a password.
PageSignIn [] "page_sign_in" "/-/sign-in" Page {
    GET | HEAD | POST: Requirement::Nothing, AuditAction::None => web::sign_in::answer;
}
/// End of a session.
PageSignOut [] "page_sign_out" "/-/sign-out" Page {
    POST: Requirement::Nothing, AuditAction::None => web::sign_in::sign_out;
}
/// The caller's own account.
PageAccount [] "page_account" "/-/account" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::account::answer;
}
/// Explanation of access.
PageAccess [] "page_access" "/-/access" Page {
    GET | HEAD: Requirement::Own, AuditAction::None => web::access::get;
}
/// The organisations of the caller.
PageOrganisations [] "page_organisations" "/-/organisations" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::organisations::list;
}
/// An organisation.
PageOrganisation [organisation: AccountName] "page_organisation" "/-/organisations/{organisation}" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::organisations::answer;
}
/// Health, space and settings.
PageAdmin [] "page_admin" "/-/admin" Page {
    GET | HEAD: Requirement::Own, AuditAction::None => web::admin::overview::get;
}
/// All users.
PageAccounts [] "page_accounts" "/-/admin/accounts" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::accounts::answer;
}
/// The grants on the caller's repositories; all grants for administrators.
PageGrants [] "page_grants" "/-/grants" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::grants::answer;
}
/// Quotas and retention.
PageRules [] "page_rules" "/-/admin/rules" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::rules::answer;
}
/// Garbage collection and background jobs.
PageJobs [] "page_jobs" "/-/admin/jobs" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::jobs::answer;
}
/// The upstreams of the cache.
PageUpstreams [] "page_upstreams" "/-/admin/upstreams" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::upstreams::answer;
}
/// Webhooks.
PageWebhooks [] "page_webhooks" "/-/webhooks" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::webhooks::list;
}
/// A webhook with its deliveries.
PageWebhook [webhook: WebhookId] "page_webhook" "/-/webhooks/{webhook}" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::webhooks::answer;
}
/// The audit log.
PageAudit [] "page_audit" "/-/admin/audit" Page {
    GET | HEAD: Requirement::Own, AuditAction::None => web::admin::audit::get;
}
/// Space by repository.
PageUsage [] "page_usage" "/-/admin/usage" Page {
    GET | HEAD: Requirement::Own, AuditAction::None => web::admin::usage::get;
}
/// The reference of the API.
PageReference [] "page_reference" "/-/api" Page {
    GET | HEAD: Requirement::Nothing, AuditAction::None => web::reference::get;
}
/// The self-signed certificate.
PageCertificate [] "page_certificate" "/-/certificate" Page {
    GET | HEAD: Requirement::Nothing, AuditAction::None => web::certificate::get;
}
/// The switch between languages.
PageLanguage [] "page_language" "/-/language" Page {
    POST: Requirement::Nothing, AuditAction::None => web::switch::post;
}
        }
    };
}

pub(crate) use endpoints;
