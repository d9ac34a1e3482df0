//! `/api/v1/openapi.json`: the description of `/api/v1/`, in OpenAPI 3.1.
//!
//! What bodies look like is taken from the types that are read and written ([`api`]), so that it cannot say
//! anything else. Which operations there are is listed here, and a test compares the list with the endpoints.

use std::sync::LazyLock;

use api::{
    Adopt, Adopted, Audit, CheckLine, Grants, MadeToken, Me, MemberRole, Members, NewGrant, NewOrganisation,
    NewRobot, NewToken, NewUser, Organisation, OrganisationChange, Organisations, Registration, Repositories,
    Repository, RepositoryUsages, Robot, RobotChange, RobotSecret, Robots, Tags, TeamMembers, Teams, Token,
    TokenChange, Tokens, Usage, User, UserChange, Users,
};
use bytes::Bytes;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::http::response::{self, Response};

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());

pub(crate) fn get() -> Response {
    response::json_bytes(DOCUMENT.clone())
}

const ABOUT: &str = "\
What the command line of wharfinger does, and `/v2/` cannot say. Images themselves are pushed, pulled and deleted \
through `/v2/`, which the OCI distribution specification describes.

Lists come in pages: `n` is how many entries a page has at most, `last` the entry after which it begins. If there is \
more, `more` is true, and the header `Link` has the address of the next page.

Times are in seconds since 1970.

Who asks gives a user's name and password, or a personal token, or a robot's name and secret, as HTTP Basic; a \
personal token or a robot's secret can also be given alone, as a bearer. What somebody may not know of answers as if it \
did not exist: 401 without an account, 404 with one.";

/// Makes the whole document.
fn document() -> Value {
    let mut types = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    types.meta_schema = None;
    let mut types = types.into_generator();
    let mut paths = Map::new();
    for operation in operations(&mut types) {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if path.get("parameters").is_none()
            && let Some(parameters) = path_parameters(operation.path)
        {
            path["parameters"] = parameters;
        }
        path[operation.method] = operation.description;
    }
    let mut schemas = types.take_definitions(true);
    schemas.insert("Errors".to_owned(), errors());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "wharfinger",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "basic": [] }, { "bearer": [] }, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "basic": { "type": "http", "scheme": "basic" },
                "bearer": { "type": "http", "scheme": "bearer" },
            },
        },
    })
}

/// What an answer of no success has: see `error.rs`.
fn errors() -> Value {
    json!({
        "type": "object",
        "description": "Why a request was not carried out.",
        "required": ["errors"],
        "properties": {
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["code", "message"],
                    "properties": {
                        "code": { "type": "string", "description": "For programs: `DENIED`, `NAME_UNKNOWN`, …" },
                        "message": { "type": "string", "description": "For people." },
                        "detail": { "description": "What a program can read of the reason." },
                    },
                },
            },
        },
    })
}

/// The names in braces.
fn path_parameters(path: &str) -> Option<Value> {
    let parameter = |name: &str| {
        let (kind, description) = match name {
            "repository" => ("string", "The repository's name. Its slashes stand as they are."),
            "user" => ("string", "The user's name."),
            "organisation" => ("string", "The organisation's name."),
            "team" => ("string", "The team's name within the organisation."),
            "robot" => ("string", "The robot's whole name, OWNER+NAME."),
            _ => ("integer", "The token's number."),
        };
        json!({ "name": name, "in": "path", "required": true, "description": description, "schema": { "type": kind } })
    };
    let names: Vec<Value> =
        path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(parameter).collect();
    if names.is_empty() { None } else { Some(Value::Array(names)) }
}

/// One method of one path.
struct Operation {
    path: &'static str,
    method: &'static str,
    description: Value,
}

/// A parameter of the query: its name, the type of its value, and what it is for.
type Parameter = (&'static str, &'static str, &'static str);

const PAGE: [Parameter; 2] = [
    ("n", "integer", "How many entries the page has at most."),
    ("last", "string", "The entry after which the page begins."),
];

const FORCE: Parameter =
    ("force", "boolean", "Also if it owns repositories, which whoever is given the name next will own.");

impl Operation {
    fn new(method: &'static str, path: &'static str, summary: &str) -> Self {
        let description = json!({
            "summary": summary,
            "responses": {
                "default": {
                    "description": "It was not carried out.",
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Errors" } } },
                },
            },
        });
        Self { path, method, description }
    }

    /// What more there is to be known.
    fn note(mut self, note: &str) -> Self {
        self.description["description"] = note.into();
        self
    }

    /// It needs no account.
    fn open(mut self) -> Self {
        self.description["security"] = json!([{}]);
        self
    }

    fn parameters(mut self, parameters: &[Parameter]) -> Self {
        let described = parameters.iter().map(|(name, kind, description)| {
            json!({ "name": name, "in": "query", "description": description, "schema": { "type": kind } })
        });
        self.description["parameters"] = described.collect();
        self
    }

    fn takes<T: JsonSchema>(mut self, types: &mut SchemaGenerator) -> Self {
        let schema = types.subschema_for::<T>();
        self.description["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        self
    }

    fn answers<T: JsonSchema>(mut self, types: &mut SchemaGenerator, status: u16, what: &str) -> Self {
        let schema = types.subschema_for::<T>();
        self.description["responses"][status.to_string()] =
            json!({ "description": what, "content": { "application/json": { "schema": schema } } });
        self
    }

    /// It answers nothing but this status.
    fn ends(mut self, status: u16, what: &str) -> Self {
        self.description["responses"][status.to_string()] = json!({ "description": what });
        self
    }
}

/// All operations, in the order of the paths.
fn operations(types: &mut SchemaGenerator) -> Vec<Operation> {
    let mut all = images(types);
    all.extend(users(types));
    all.extend(organisations(types));
    all.extend(robots(types));
    all.extend(rights(types));
    all
}

fn images(types: &mut SchemaGenerator) -> Vec<Operation> {
    const REPOSITORY: &str = "/api/v1/repositories/{repository}";
    let all = ("all", "boolean", "Also the tags by which older clients find referrers.");
    vec![
        Operation::new("get", "/api/v1/openapi.json", "This description").open().ends(200, "OpenAPI 3.1."),
        Operation::new("get", "/api/v1/repositories", "List the repositories that one may pull from")
            .parameters(&PAGE)
            .answers::<Repositories>(types, 200, "A page."),
        Operation::new("get", REPOSITORY, "Look at a repository").answers::<Repository>(
            types,
            200,
            "The repository.",
        ),
        Operation::new("delete", REPOSITORY, "Delete a repository with all that it holds")
            .ends(202, "It is gone."),
        Operation::new("get", "/api/v1/repositories/{repository}/_tags", "List the tags of a repository")
            .parameters(&[PAGE[0], PAGE[1], all])
            .answers::<Tags>(types, 200, "A page."),
        Operation::new("get", "/api/v1/usage", "Say how much space is used").answers::<Usage>(
            types,
            200,
            "The space.",
        ),
        Operation::new("get", "/api/v1/usage/repositories", "Say how much space each repository takes")
            .parameters(&PAGE)
            .answers::<RepositoryUsages>(types, 200, "A page."),
        Operation::new(
            "post",
            "/api/v1/adopt",
            "Adopt what another program has changed in the data directory",
        )
        .note("For administrators. It reads every link below `repositories/`, which may take minutes.")
        .takes::<Adopt>(types)
        .answers::<Adopted>(types, 200, "What has changed, and what could not be adopted."),
    ]
}

fn users(types: &mut SchemaGenerator) -> Vec<Operation> {
    const USER: &str = "/api/v1/users/{user}";
    const TOKENS: &str = "/api/v1/users/{user}/tokens";
    const TOKEN: &str = "/api/v1/users/{user}/tokens/{id}";
    vec![
        Operation::new("get", "/api/v1/me", "Say who asks").answers::<Me>(types, 200, "Who asks."),
        Operation::new("post", "/api/v1/registration", "Make an account for oneself")
            .note("Only where the operator allows it (the setting `auth.self_registration`).")
            .open()
            .takes::<Registration>(types)
            .answers::<User>(types, 201, "The account was made."),
        Operation::new("get", "/api/v1/users", "List the users")
            .note("For administrators.")
            .parameters(&PAGE)
            .answers::<Users>(types, 200, "A page."),
        Operation::new("post", "/api/v1/users", "Make a user")
            .note("For administrators.")
            .takes::<NewUser>(types)
            .answers::<User>(types, 201, "The user was made."),
        Operation::new("get", USER, "Look at a user")
            .note("For administrators, and for users themselves.")
            .answers::<User>(types, 200, "The user."),
        Operation::new("patch", USER, "Change a user")
            .note("Users may change their own password and description; the rest is for administrators.")
            .takes::<UserChange>(types)
            .answers::<User>(types, 200, "The user as it is now."),
        Operation::new("delete", USER, "Remove a user")
            .note("For administrators. Tokens, robots, memberships and grants go with it; images stay.")
            .parameters(&[FORCE])
            .ends(204, "It is gone."),
        Operation::new("get", TOKENS, "List the personal tokens of a user")
            .parameters(&PAGE)
            .answers::<Tokens>(types, 200, "A page, without their secrets."),
        Operation::new("post", TOKENS, "Make a personal token")
            .takes::<NewToken>(types)
            .answers::<MadeToken>(types, 201, "The token, with its secret, which is told this once."),
        Operation::new("patch", TOKEN, "Change a personal token")
            .note("What is left out stays as it is; null sets no limit. Its secret stays the same.")
            .takes::<TokenChange>(types)
            .answers::<Token>(types, 200, "The token as it is now."),
        Operation::new("delete", TOKEN, "Take a personal token back").ends(204, "It is no longer taken."),
    ]
}

fn organisations(types: &mut SchemaGenerator) -> Vec<Operation> {
    const ORGANISATION: &str = "/api/v1/organisations/{organisation}";
    const MEMBERS: &str = "/api/v1/organisations/{organisation}/members";
    const MEMBER: &str = "/api/v1/organisations/{organisation}/members/{user}";
    const TEAMS: &str = "/api/v1/organisations/{organisation}/teams";
    const TEAM: &str = "/api/v1/organisations/{organisation}/teams/{team}";
    const TEAM_MEMBERS: &str = "/api/v1/organisations/{organisation}/teams/{team}/members";
    const TEAM_MEMBER: &str = "/api/v1/organisations/{organisation}/teams/{team}/members/{user}";
    vec![
        Operation::new("get", "/api/v1/organisations", "List the organisations")
            .note("Administrators see all, others those that they are members of.")
            .parameters(&PAGE)
            .answers::<Organisations>(types, 200, "A page."),
        Operation::new("post", "/api/v1/organisations", "Make an organisation")
            .takes::<NewOrganisation>(types)
            .answers::<Organisation>(types, 201, "The organisation was made."),
        Operation::new("get", ORGANISATION, "Look at an organisation").answers::<Organisation>(
            types,
            200,
            "The organisation.",
        ),
        Operation::new("patch", ORGANISATION, "Change an organisation")
            .takes::<OrganisationChange>(types)
            .answers::<Organisation>(types, 200, "The organisation as it is now."),
        Operation::new("delete", ORGANISATION, "Remove an organisation")
            .note("Members, teams, robots and grants to them go with it; images stay.")
            .parameters(&[FORCE])
            .ends(204, "It is gone."),
        Operation::new("get", MEMBERS, "List the members of an organisation")
            .parameters(&PAGE)
            .answers::<Members>(types, 200, "A page."),
        Operation::new("put", MEMBER, "Make a user a member, or change what a member may do")
            .takes::<MemberRole>(types)
            .ends(204, "It is so."),
        Operation::new("delete", MEMBER, "End a membership").ends(204, "It is over."),
        Operation::new("get", TEAMS, "List the teams of an organisation")
            .parameters(&PAGE)
            .answers::<Teams>(types, 200, "A page."),
        Operation::new("put", TEAM, "Make a team").ends(204, "It is there."),
        Operation::new("delete", TEAM, "Remove a team").ends(204, "It is gone, and so are grants to it."),
        Operation::new("get", TEAM_MEMBERS, "List the members of a team")
            .parameters(&PAGE)
            .answers::<TeamMembers>(types, 200, "A page."),
        Operation::new("put", TEAM_MEMBER, "Put a member of the organisation into a team")
            .ends(204, "It is so."),
        Operation::new("delete", TEAM_MEMBER, "Take a user out of a team").ends(204, "It is so."),
    ]
}

fn robots(types: &mut SchemaGenerator) -> Vec<Operation> {
    const ROBOT: &str = "/api/v1/robots/{robot}";
    let owner = ("owner", "string", "Only those of this user or organisation.");
    vec![
        Operation::new("get", "/api/v1/robots", "List the robots")
            .parameters(&[PAGE[0], PAGE[1], owner])
            .answers::<Robots>(types, 200, "A page."),
        Operation::new("post", "/api/v1/robots", "Make a robot")
            .note("It may do nothing until it is given a grant.")
            .takes::<NewRobot>(types)
            .answers::<RobotSecret>(types, 201, "Its secret, which is told this once."),
        Operation::new("get", ROBOT, "Look at a robot").answers::<Robot>(types, 200, "The robot."),
        Operation::new("patch", ROBOT, "Change a robot").takes::<RobotChange>(types).answers::<Robot>(
            types,
            200,
            "The robot as it is now.",
        ),
        Operation::new("delete", ROBOT, "Remove a robot").ends(204, "It is gone."),
        Operation::new("put", "/api/v1/robots/{robot}/secret", "Give a robot another secret")
            .answers::<RobotSecret>(types, 200, "Its secret, which is told this once."),
    ]
}

fn rights(types: &mut SchemaGenerator) -> Vec<Operation> {
    const GRANTS: &str = "/api/v1/grants";
    let subject = ("subject", "string", "Only those to this account or team, `accounts` or `everyone`.");
    let repository = ("repository", "string", "Only those that have this repository.");
    let owner =
        ("owner", "string", "Only those on repositories below the name of this user or organisation.");
    vec![
        Operation::new("get", GRANTS, "List the grants")
            .note("One of `subject`, `repository` and `owner` can be given.")
            .parameters(&[PAGE[0], PAGE[1], subject, repository, owner])
            .answers::<Grants>(types, 200, "A page."),
        Operation::new(
            "put",
            GRANTS,
            "Give a grant, instead of one to the same subject on the same repositories",
        )
        .note("For whoever may administer all that the pattern has. `everyone` with `pull` makes public.")
        .takes::<NewGrant>(types)
        .ends(204, "It is so."),
        Operation::new("delete", GRANTS, "Take a grant back")
            .parameters(&[
                ("subject", "string", "To whom it was given."),
                ("repositories", "string", "Its name or pattern."),
            ])
            .ends(204, "It is gone."),
        Operation::new("post", "/api/v1/check", "Check that all content is there")
            .note(
                "For administrators. The answer has a JSON object on each line (application/x-ndjson): progress while \
                 it goes on, and what it found on the last.",
            )
            .parameters(&[("read", "boolean", "Read all content and compare it with its digest.")])
            .answers::<CheckLine>(types, 200, "A line."),
        Operation::new("get", "/api/v1/audit", "Read what was done, the oldest first")
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
            .answers::<Audit>(types, 200, "A page."),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use hyper::Method;

    use super::*;
    use crate::http::extract::endpoint::routes;

    type Methods = BTreeMap<String, BTreeSet<String>>;

    fn described() -> Methods {
        let document = document();
        let methods = |path: &Value| -> BTreeSet<String> {
            path.as_object().unwrap().keys().filter(|key| *key != "parameters").cloned().collect()
        };
        document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(path, value)| (path.clone(), methods(value)))
            .collect()
    }

    fn spelt(methods: &[Method]) -> BTreeSet<String> {
        // HEAD is what GET is, without the body.
        methods
            .iter()
            .filter(|method| **method != Method::HEAD)
            .map(|method| method.as_str().to_lowercase())
            .collect()
    }

    #[test]
    fn it_describes_every_endpoint_and_method_and_no_other() {
        let there: Methods = routes()
            .filter(|(path, _)| path.starts_with("/api/v1/"))
            .map(|(path, methods)| (path.to_owned(), spelt(methods)))
            .collect();
        assert_eq!(described(), there);
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_type_is_used() {
        fn references(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(fields) => fields.iter().for_each(|(key, value)| match (key.as_str(), value) {
                    ("$ref", Value::String(target)) => drop(found.insert(target.clone())),
                    _ => references(value, found),
                }),
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let document = document();
        let mut referred = BTreeSet::new();
        references(&document, &mut referred);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let there: BTreeSet<String> =
            schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
        assert_eq!(referred, there);
    }

    #[test]
    fn names_in_braces_are_parameters() {
        let document = document();
        for (path, value) in document["paths"].as_object().unwrap() {
            let names: Vec<&str> = value["parameters"]
                .as_array()
                .map(|list| list.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect())
                .unwrap_or_default();
            let braces = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap());
            assert_eq!(names, braces.collect::<Vec<_>>(), "{path}");
        }
    }
}
