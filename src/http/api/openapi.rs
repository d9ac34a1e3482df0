//! `/api/v1/openapi.json`: the description of `/api/v1/` in OpenAPI 3.1.
//!
//! The operations are in the endpoint table. Schemas come from the types of the bodies (crate `api`).

use std::sync::LazyLock;

use api::*;
use bytes::Bytes;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::http::call::Call;
use crate::http::endpoints::endpoints;
use crate::http::error::Error;
use crate::http::response::{self, Response};

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());

pub(crate) async fn get(_call: Call<'_>) -> Result<Response, Error> {
    Ok(response::json_bytes(DOCUMENT.clone()))
}

pub(crate) fn document_bytes() -> Bytes {
    DOCUMENT.clone()
}

const ABOUT: &str = "\
The management API, which the command line of wharfinger uses. Images are pushed, pulled and deleted through `/v2/`, \
which the OCI distribution specification describes.

Lists come in pages. `n` is the maximum number of entries of a page, `last` the entry after which it begins. If there \
are more entries, `more` is true and the header `Link` has the address of the next page.

Times are in seconds since 1970.

Errors are problem details (RFC 9457). `code` is for programs, `detail` for people, and `errors` has them in the format \
of the distribution specification.

Each answer in memory has an `ETag`. A GET with `If-None-Match` answers 304 if nothing has changed. A PUT, PATCH or \
DELETE with `If-Match` takes place only if the GET of the same address still has this tag, and answers 412 otherwise.

PUT and DELETE are idempotent, and a DELETE of something that is gone answers 404. A POST that makes something with a \
name can be repeated: the second one answers 409. After a lost answer to a POST that makes a token or a webhook, list \
them, and remove the one whose secret is lost. `_delete`, and `_undo` with `to_digest`, can be repeated, too.

Clients authenticate by HTTP Basic, with a user's name and password or personal token, or with a robot's name and \
secret. A personal token or a robot's secret can also be a bearer token. An object that the caller may not see does not \
exist for it: the answer is 401 without an account and 404 with one.";

fn document() -> Value {
    let mut types = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    types.meta_schema = None;
    let mut types = types.into_generator();
    let paths = paths(&mut types);
    let mut schemas = types.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
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

/// The schema of error bodies, as `error` writes them.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "Problem details: why a request was not carried out.",
        "required": ["type", "title", "status", "detail", "code", "errors"],
        "properties": {
            "type": { "type": "string", "description": "Always `about:blank`: `code` has the kind." },
            "title": { "type": "string", "description": "The text of the status." },
            "status": { "type": "integer", "description": "The HTTP status." },
            "detail": { "type": "string", "description": "For people: the message of the first error." },
            "code": { "type": "string", "description": "For programs: the code of the first error." },
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["code", "message"],
                    "properties": {
                        "code": { "type": "string", "description": "For programs: `DENIED`, `NAME_UNKNOWN`, …" },
                        "message": { "type": "string", "description": "For people." },
                        "detail": { "description": "The reason, in a form for programs." },
                    },
                },
            },
        },
    })
}

/// Describes the parameters in a path.
fn path_parameters(path: &str) -> Option<Value> {
    let parameter = |name: &str| {
        let (kind, description) = match name {
            "repository" => ("string", "The repository's name. Its slashes stand as they are."),
            "reference" => ("string", "A tag or a digest."),
            "user" => ("string", "The user's name."),
            "organisation" => ("string", "The organisation's name."),
            "team" => ("string", "The team's name within the organisation."),
            "upstream" => ("string", "The name of the upstream, such as docker.io."),
            "webhook" => ("string", "The name or the number of the webhook."),
            "robot" => ("string", "The robot's whole name, OWNER+NAME."),
            _ => ("integer", "The number of the token or session."),
        };
        json!({ "name": name, "in": "path", "required": true, "description": description, "schema": { "type": kind } })
    };
    let names: Vec<Value> =
        path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(parameter).collect();
    if names.is_empty() { None } else { Some(Value::Array(names)) }
}

/// A query parameter: name, type and description.
type Parameter = (&'static str, &'static str, &'static str);

const PAGE: [Parameter; 2] = [
    ("n", "integer", "How many entries the page has at most."),
    ("last", "string", "The entry after which the page begins."),
];

const FORCE: Parameter = (
    "force",
    "boolean",
    "Remove it even if it owns repositories. The next account with this name will own them.",
);

/// A method of a path, under construction.
struct Operation<'t> {
    types: &'t mut SchemaGenerator,
    description: Value,
}

impl<'t> Operation<'t> {
    /// `handler` is the path of the function that answers it.
    fn new(types: &'t mut SchemaGenerator, path: &str, handler: &str, summary: &str) -> Self {
        let id: Vec<&str> =
            handler.split("::").map(str::trim).filter(|part| !matches!(*part, "api" | "manage")).collect();
        let group = path.strip_prefix("/api/v1/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let description = json!({
            "operationId": id.join("_"),
            "tags": [group.trim_end_matches(".json")],
            "summary": summary,
            "responses": {
                "default": {
                    "description": "It was not carried out.",
                    "content": {
                        "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
                    },
                },
            },
        });
        Self { types, description }
    }

    fn note(mut self, note: &str) -> Self {
        self.description["description"] = note.into();
        self
    }

    /// Marks an operation that needs no account.
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

    /// Sets the type of the request body.
    fn takes<T: JsonSchema>(mut self) -> Self {
        let schema = self.types.subschema_for::<T>();
        self.description["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        self
    }

    /// Sets the status and the type of the response body.
    fn answers<T: JsonSchema>(mut self, status: u16, description: &str) -> Self {
        let schema = self.types.subschema_for::<T>();
        self.description["responses"][status.to_string()] =
            json!({ "description": description, "content": { "application/json": { "schema": schema } } });
        self
    }

    /// Sets the media type of a response that is a stream, and the type of its entries.
    fn streams<T: JsonSchema>(mut self, media_type: &str, description: &str) -> Self {
        let schema = self.types.subschema_for::<T>();
        self.description["responses"]["200"] =
            json!({ "description": description, "content": { media_type: { "schema": schema } } });
        self
    }

    /// Sets the status of a response without a body.
    fn ends(mut self, status: u16, description: &str) -> Self {
        self.description["responses"][status.to_string()] = json!({ "description": description });
        self
    }
}

macro_rules! define_paths {
    ($(
        $(#[$doc:meta])* $variant:ident $parts:tt $label:literal $path:literal $area:ident { $($operations:tt)+ }
    )+) => {
        /// Returns the `paths` of the document.
        fn paths(types: &mut SchemaGenerator) -> Map<String, Value> {
            let mut paths = Map::new();
            $(define_paths!(@operations types paths $path $($operations)+);)+
            paths.values_mut().for_each(describe_conditions);
            paths
        }
    };
    (@operations $types:ident $paths:ident $path:literal) => {};
    // HEAD is described by GET.
    (@operations $types:ident $paths:ident $path:literal
        $method:ident $(| $other:ident)*: $requirement:expr, $audit:expr => $($handler:ident)::+
        { $summary:literal $($openapi:tt)* }; $($rest:tt)*
    ) => {
        let handler = stringify!($($handler)::+);
        let operation = Operation::new($types, $path, handler, $summary) $($openapi)*;
        add(&mut $paths, $path, stringify!($method), operation.description);
        define_paths!(@operations $types $paths $path $($rest)*);
    };
    (@operations $types:ident $paths:ident $path:literal
        $method:ident $(| $other:ident)*: $requirement:expr, $audit:expr => $($handler:ident)::+; $($rest:tt)*
    ) => {
        define_paths!(@operations $types $paths $path $($rest)*);
    };
}

endpoints!(define_paths);

fn add(paths: &mut Map<String, Value>, path: &str, method: &str, description: Value) {
    let entry = paths.entry(path).or_insert_with(|| match path_parameters(path) {
        Some(parameters) => json!({ "parameters": parameters }),
        None => json!({}),
    });
    entry[method.to_lowercase()] = description;
}

/// Describes the conditional requests of a path, as `conditional` answers them.
fn describe_conditions(methods: &mut Value) {
    let Some(get) = methods.get_mut("get").filter(|get| is_json(get)) else { return };
    describe_condition(get, "If-None-Match", 304, "The client has this answer already.");
    for method in ["put", "patch", "delete"] {
        if let Some(operation) = methods.get_mut(method) {
            describe_condition(operation, "If-Match", 412, "The object has changed: nothing was done.");
        }
    }
}

/// Whether an operation answers with JSON, and not with a stream.
fn is_json(operation: &Value) -> bool {
    operation.pointer("/responses/200/content/application~1json").is_some()
}

fn describe_condition(operation: &mut Value, header: &str, status: u16, description: &str) {
    let parameter = json!({
        "name": header, "in": "header", "description": "Entity tags.", "schema": { "type": "string" },
    });
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(parameter),
        None => operation["parameters"] = json!([parameter]),
    }
    operation["responses"][status.to_string()] = if status == 304 {
        json!({ "description": description })
    } else {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        json!({ "description": description, "content": { "application/problem+json": { "schema": schema } } })
    };
}

/// A tar archive, which has no schema of its own.
struct Archive;

impl JsonSchema for Archive {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Archive".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "binary" })
    }
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
        // HEAD is described by GET.
        methods
            .iter()
            .filter(|method| **method != Method::HEAD)
            .map(|method| method.as_str().to_lowercase())
            .collect()
    }

    #[test]
    fn document_describes_every_api_operation() {
        let there: Methods = routes()
            .filter(|(path, _)| path.starts_with("/api/v1/"))
            .map(|(path, methods)| (path.to_owned(), spelt(methods)))
            .collect();
        assert_eq!(described(), there);
    }

    #[test]
    fn reference_page_names_every_api_path() {
        let page = include_str!("../../../docs/reference/api.md");
        let fixed =
            routes().filter_map(|(path, _)| path.strip_prefix("/api/v1/")).filter(|path| !path.contains('{'));
        for path in fixed {
            let group = path.split_once('/').map(|(first, _)| format!("`{first}/…`"));
            assert!(
                page.contains(&format!("`{path}`")) || group.is_some_and(|group| page.contains(&group)),
                "{path} is not in docs/reference/api.md"
            );
        }
    }

    #[test]
    fn references_and_schemas_match() {
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
    fn operations_have_ids_of_their_own() {
        let document = document();
        let operations =
            document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
        let mut ids = BTreeSet::new();
        for (_, operation) in operations.filter(|(method, _)| *method != "parameters") {
            let id = operation["operationId"].as_str().unwrap();
            assert!(!id.is_empty() && ids.insert(id.to_owned()), "two operations have the id {id}");
        }
    }

    #[test]
    fn braces_in_paths_are_parameters() {
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
