//! `/-/api`: the reference of the management API, from its OpenAPI document.

use askama::Template;
use serde_json::Value;

use super::page::Page;
use crate::http::api::openapi;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

struct Operation {
    method: String,
    path: String,
    anchor: String,
    summary: String,
    description: String,
    parameters: Vec<Field>,
    body: Option<String>,
    /// Status, description and type.
    responses: Vec<(String, String, Option<String>)>,
}

/// A parameter, or a field of a type.
struct Field {
    name: String,
    kind: String,
    is_required: bool,
    description: String,
}

struct Schema {
    name: String,
    description: String,
    fields: Vec<Field>,
    choices: Vec<String>,
}

#[derive(Template)]
#[template(path = "reference.html")]
struct Reference {
    page: Page,
    about: Vec<String>,
    operations: Vec<Operation>,
    schemas: Vec<Schema>,
}

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let document: Value = serde_json::from_slice(&openapi::document_bytes()).map_err(Error::BadJson)?;
    let about = text(document.pointer("/info/description"));
    let body = Reference {
        page: Page::of(&call),
        about: about.split("\n\n").map(str::to_owned).collect(),
        operations: operations(&document),
        schemas: schemas(&document),
    };
    body.page.render(&body)
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in entries(document.get("paths")) {
        let shared = fields(methods.get("parameters"));
        for (method, operation) in entries(Some(methods)).filter(|(method, _)| *method != "parameters") {
            let method = method.to_uppercase();
            let mut parameters = fields(operation.get("parameters"));
            parameters.splice(0..0, shared.iter().map(Field::copy));
            operations.push(Operation {
                anchor: format!("{method}{path}").replace(['/', '{', '}'], "-"),
                method,
                path: path.clone(),
                summary: text(operation.get("summary")),
                description: text(operation.get("description")),
                parameters,
                body: operation.get("requestBody").and_then(schema_of),
                responses: entries(operation.get("responses"))
                    .map(|(status, response)| {
                        (status.clone(), text(response.get("description")), schema_of(response))
                    })
                    .collect(),
            });
        }
    }
    operations
}

impl Field {
    fn copy(&self) -> Self {
        Self {
            name: self.name.clone(),
            kind: self.kind.clone(),
            is_required: self.is_required,
            description: self.description.clone(),
        }
    }
}

/// Returns the parameters of a path or a query. The introduction explains those of headers.
fn fields(parameters: Option<&Value>) -> Vec<Field> {
    let parameters = parameters.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let field = |parameter: &Value| Field {
        name: text(parameter.get("name")),
        kind: kind(parameter.get("schema").unwrap_or(&Value::Null)),
        is_required: parameter.get("required").and_then(Value::as_bool).unwrap_or(false),
        description: text(parameter.get("description")),
    };
    parameters.iter().filter(|parameter| parameter["in"] != "header").map(field).collect()
}

/// Returns the name of the type of a body.
fn schema_of(body: &Value) -> Option<String> {
    let (_, content) = entries(body.get("content")).next()?;
    reference(content.get("schema")?)
}

fn reference(schema: &Value) -> Option<String> {
    let path = schema.get("$ref")?.as_str()?;
    Some(path.rsplit('/').next().unwrap_or(path).to_owned())
}

/// Describes a type in a few words: `string`, `Token[]`, `integer or null`.
fn kind(schema: &Value) -> String {
    if let Some(name) = reference(schema) {
        return name;
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(choices) = schema.get(key).and_then(Value::as_array) {
            return choices.iter().map(kind).collect::<Vec<_>>().join(" | ");
        }
    }
    let item = || schema.get("items").map(kind).unwrap_or_default();
    match schema.get("type") {
        Some(Value::String(name)) if name == "array" => format!("{}[]", item()),
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            names
                .map(|name| if name == "array" { format!("{}[]", item()) } else { name.to_owned() })
                .collect::<Vec<_>>()
                .join(" | ")
        }
        _ => String::new(),
    }
}

fn schemas(document: &Value) -> Vec<Schema> {
    let mut schemas = Vec::new();
    for (name, schema) in entries(document.pointer("/components/schemas")) {
        let required =
            schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let fields = entries(schema.get("properties")).map(|(field, value)| Field {
            name: field.clone(),
            kind: kind(value),
            is_required: required.iter().any(|name| name == field),
            description: text(value.get("description")),
        });
        let choices = schema.get("oneOf").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let choice = |choice: &Value| {
            let value = choice.get("const")?.as_str()?.to_owned();
            let description = text(choice.get("description"));
            Some(if description.is_empty() { value } else { format!("{value}: {description}") })
        };
        schemas.push(Schema {
            name: name.clone(),
            description: text(schema.get("description")),
            fields: fields.collect(),
            choices: choices.iter().filter_map(choice).collect(),
        });
    }
    schemas
}
