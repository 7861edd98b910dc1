//! `/api`: the reference of the API, made from the OpenAPI description that is committed beside it
//! (a test holds it to what is served).

use std::sync::LazyLock;

use askama::Template;
use jiff::Timestamp;
use serde_json::Value;

use super::{Frame, Page};

const DESCRIPTION: &str = include_str!("../../../openapi.json");
const REFERENCE: &str = "#/components/schemas/";
/// Schemas inside of schemas inside of …
const DEPTH_MAX: usize = 6;

static API: LazyLock<Api> = LazyLock::new(|| {
    // Invariant: the description is JSON, which a test compares with what is served.
    let description: Value = serde_json::from_str(DESCRIPTION).expect("the description is JSON");
    Api::read(&description)
});

#[derive(Template)]
#[template(path = "api.html")]
struct ApiPage<'a> {
    frame: &'a Frame,
    api: &'a Api,
}

struct Api {
    version: String,
    operations: Vec<Operation>,
    schemas: Vec<Schema>,
}

/// One method of one path.
struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    parameters: Vec<Field>,
    /// Whether a token is taken.
    token: bool,
    body: Option<Kind>,
    answers: Vec<Answer>,
    /// Statuses that are answered with a problem document, and why.
    problems: Vec<(String, String)>,
}

struct Answer {
    status: String,
    about: String,
    media_type: String,
    kind: Option<Kind>,
}

struct Schema {
    name: String,
    about: String,
    fields: Vec<Field>,
}

/// A parameter or a key of an object.
struct Field {
    name: String,
    /// `path`, `query` or `header`; empty for a key.
    place: String,
    kind: Kind,
    required: bool,
    about: String,
}

/// A type in words, and the schema that it names.
struct Kind {
    words: String,
    schema: Option<String>,
}

/// The page.
pub fn reference(frame: &Frame) -> anyhow::Result<Page> {
    // It says nothing that happened at a time.
    Ok(Page { html: ApiPage { frame, api: &API }.render()?, modified: Timestamp::UNIX_EPOCH })
}

impl Api {
    fn read(description: &Value) -> Api {
        let schemas = entries(&description["components"]["schemas"]);
        let operations = entries(&description["paths"]).flat_map(|(path, methods)| {
            entries(methods).map(|(method, operation)| Operation::read(path, method, operation))
        });
        Api {
            version: text(&description["info"]["version"]),
            operations: operations.collect(),
            schemas: schemas
                .map(|(name, schema)| Schema {
                    name: name.clone(),
                    about: text(&schema["description"]),
                    fields: fields(schema, &description["components"]["schemas"], 0),
                })
                .collect(),
        }
    }
}

impl Operation {
    fn read(path: &str, method: &str, operation: &Value) -> Operation {
        let mut answers = Vec::new();
        let mut problems = Vec::new();
        for (status, response) in entries(&operation["responses"]) {
            let about = text(&response["description"]);
            let content = entries(&response["content"]).next();
            match content {
                Some((kind, _)) if kind == "application/problem+json" => {
                    problems.push((status.clone(), about));
                }
                content => answers.push(Answer {
                    status: status.clone(),
                    about,
                    media_type: content.map(|(name, _)| name.clone()).unwrap_or_default(),
                    kind: content.map(|(_, media)| kind(&media["schema"], 0)),
                }),
            }
        }
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        Operation {
            id: text(&operation["operationId"]),
            method: method.to_uppercase(),
            path: path.to_owned(),
            summary: text(&operation["summary"]),
            parameters: list(&operation["parameters"]).map(parameter).collect(),
            token: list(&operation["security"]).any(|way| way.get("token").is_some()),
            body: (!body.is_null()).then(|| kind(body, 0)),
            answers,
            problems,
        }
    }
}

fn parameter(parameter: &Value) -> Field {
    Field {
        name: text(&parameter["name"]),
        place: text(&parameter["in"]),
        kind: kind(&parameter["schema"], 0),
        required: parameter["required"] == true,
        about: text(&parameter["description"]),
    }
}

/// The keys of an object; those of the schemas that it is made of come first.
fn fields(schema: &Value, schemas: &Value, depth: usize) -> Vec<Field> {
    let mut found = Vec::new();
    if depth > DEPTH_MAX {
        return found;
    }
    for part in list(&schema["allOf"]) {
        let named = part["$ref"].as_str().and_then(|name| name.strip_prefix(REFERENCE));
        let part = named.map_or(part, |name| &schemas[name]);
        found.extend(fields(part, schemas, depth + 1));
    }
    let is_required = |name: &str| list(&schema["required"]).any(|required| required == name);
    found.extend(entries(&schema["properties"]).map(|(name, property)| Field {
        name: name.clone(),
        place: String::new(),
        kind: kind(property, 0),
        required: is_required(name),
        about: text(&property["description"]),
    }));
    found
}

fn kind(schema: &Value, depth: usize) -> Kind {
    let plain = |words: String| Kind { words, schema: None };
    if depth > DEPTH_MAX {
        return plain("anything".to_owned());
    }
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix(REFERENCE)) {
        return Kind { words: name.to_owned(), schema: Some(name.to_owned()) };
    }
    let either = list(&schema["oneOf"]).chain(list(&schema["anyOf"]));
    let either: Vec<Kind> = either.map(|one| kind(one, depth + 1)).collect();
    if !either.is_empty() {
        let words: Vec<&str> = either.iter().map(|kind| kind.words.as_str()).collect();
        let words = words.join(" or ");
        return Kind { words, schema: either.into_iter().find_map(|kind| kind.schema) };
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ if schema["allOf"].is_array() => vec!["object"],
        _ => return plain("anything".to_owned()),
    };
    let mut target = None;
    let word = |one: &&str| match *one {
        "array" => {
            let inner = kind(&schema["items"], depth + 1);
            target = inner.schema;
            format!("list of {}", inner.words)
        }
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        other => other.to_owned(),
    };
    let words: Vec<String> = types.iter().map(word).collect();
    let words = words.join(" or ") + &bounds(schema);
    Kind { words, schema: target }
}

/// `, from 1 to 100`, `, at most 32 characters`.
fn bounds(schema: &Value) -> String {
    let (least, most) = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
    let longest = schema["maxLength"].as_i64();
    match (least, most, longest) {
        (Some(least), Some(most), _) => format!(", from {least} to {most}"),
        (_, _, Some(longest)) => format!(", at most {longest} characters"),
        _ => String::new(),
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// On one line: comments of the source are broken where its lines end.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('\n', " ")
}
