//! The description of the API that it serves: OpenAPI 3.1, made of the table of routes and of the very types that are read and written.

use std::sync::OnceLock;

use hyper::Method;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::query;
use super::routes::{Action, ROUTES, Route};
use super::tokens::Role;
use crate::api;

/// The document, made once.
pub(super) fn document() -> &'static [u8] {
    static DOCUMENT: OnceLock<Vec<u8>> = OnceLock::new();
    DOCUMENT.get_or_init(|| build().to_string().into_bytes())
}

fn build() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut schemas = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in &ROUTES {
        let of_path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(of_path) = of_path.as_object_mut() {
            of_path.insert(route.method.as_str().to_lowercase(), operation(route, &mut schemas));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "lb",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT"},
            "description": "Watch and steer a running lb. Times are RFC 3339 in UTC, spans and latencies seconds, sizes bytes.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let in_path = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| {
        let schema = if name == "connection" {
            json!({"type": "string", "pattern": "^[0-9]{1,5}-[0-9]{1,10}-[0-9]{1,10}$"})
        } else {
            schemas.subschema_for::<api::Name>().to_value()
        };
        json!({"name": name, "in": "path", "required": true, "schema": schema})
    });
    let in_query = query::parameters(route.action).iter().map(|parameter| {
        let schema: Value = serde_json::from_str(parameter.schema).unwrap_or_default();
        json!({"name": parameter.name, "in": "query", "description": parameter.summary, "schema": schema})
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let mut operation = json!({
        "operationId": format!("{:?}", route.action),
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses(route, schemas),
    });
    let Some(fields) = operation.as_object_mut() else {
        return operation;
    };
    // A server without token_file asks for none: the empty requirement.
    if route.role != Role::Nobody {
        fields.insert("security".to_owned(), json!([{"token": []}, {}]));
    }
    let body = match route.action {
        Action::AddBackend => Some(schemas.subschema_for::<api::NewBackend>()),
        Action::ChangeBackend => Some(schemas.subschema_for::<api::BackendChange>()),
        Action::AddReplicas | Action::RemoveReplicas => Some(schemas.subschema_for::<api::ReplicaChange>()),
        _ => None,
    };
    if let Some(schema) = body {
        let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        fields.insert("requestBody".to_owned(), body);
    }
    operation
}

fn responses(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let good: &[&str] = match route.action {
        Action::AddBackend => &["201"],
        Action::RemoveBackend => &["200", "202"],
        Action::Healthcheck => &["200", "503"],
        Action::Asset => &["200", "304"],
        _ => &["200"],
    };
    let content = content(route.action, schemas);
    for status in good {
        let mut response = json!({"description": route.summary});
        if let Some(response) = response.as_object_mut().filter(|_| *status != "304") {
            response.insert("content".to_owned(), content.clone());
        }
        responses.insert((*status).to_owned(), response);
    }
    let problem = schemas.subschema_for::<api::Problem>();
    for (status, description) in failures(route) {
        let schema = if status == "400" && is_of_replicas(route.action) {
            json!({"anyOf": [problem, schemas.subschema_for::<api::ReplicaFailure>()]})
        } else {
            json!(problem)
        };
        let content = json!({"application/json": {"schema": schema}});
        responses
            .entry(status)
            .or_insert_with(|| json!({"description": description, "content": content}));
    }
    Value::Object(responses)
}

const fn is_of_replicas(action: Action) -> bool {
    matches!(action, Action::Replicas | Action::AddReplicas | Action::RemoveReplicas)
}

/// What can go wrong with it, as statuses.
fn failures(route: &Route) -> Vec<(&'static str, &'static str)> {
    let mut failures = vec![
        ("400", "No such request: its Host, its parameters or its form"),
        ("401", "A token is needed, or it is wrong"),
        ("403", "The token may not do this, or another page asks"),
        ("405", "Other methods are possible there: the header Allow tells which"),
        ("429", "Too many wrong tokens came from there"),
        (
            "503",
            "Too busy, or stopping; a change that took too long may still be carried out",
        ),
    ];
    let names_service = || {
        query::parameters(route.action)
            .iter()
            .any(|parameter| parameter.name == "service")
    };
    if route.path.contains('{') || !is_of_replicas(route.action) && names_service() {
        failures.push(("404", "There is none of that name"));
    }
    if route.method != Method::GET {
        failures.push(("409", "The name is taken, or lb is stopping"));
    }
    if route.action == Action::Reload {
        failures.push(("422", "The file can't be put in force; the old configuration stays"));
    }
    if route.action == Action::Upgrade {
        failures.push(("422", "The new lb can't be started, or failed; the old one goes on"));
    }
    if matches!(
        route.action,
        Action::AddBackend | Action::ChangeBackend | Action::AddReplicas | Action::RemoveReplicas
    ) {
        failures.extend([
            ("413", "More than 64 KiB"),
            ("415", "Not application/json"),
            ("422", "A value that isn't allowed"),
        ]);
    }
    failures
}

/// What a good answer holds.
fn content(action: Action, schemas: &mut SchemaGenerator) -> Value {
    fn json_of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
        json!({"application/json": {"schema": schemas.subschema_for::<T>()}})
    }
    let text = |media_type: &str| json!({media_type: {"schema": {"type": "string"}}});
    match action {
        Action::Dashboard => text("text/html"),
        Action::Asset => text("*/*"),
        Action::Metrics => text("text/plain"),
        Action::Events => text("text/event-stream"),
        Action::Description => json!({"application/json": {"schema": {"type": "object"}}}),
        Action::Healthcheck => json_of::<api::Healthcheck>(schemas),
        Action::Stats => json_of::<Vec<api::FlatBackend>>(schemas),
        Action::Status => json_of::<api::Status>(schemas),
        Action::Services => json_of::<Vec<api::Service>>(schemas),
        Action::Service => json_of::<api::Service>(schemas),
        Action::Backends => json_of::<Vec<api::Backend>>(schemas),
        Action::Backend | Action::AddBackend | Action::ChangeBackend | Action::RemoveBackend => {
            json_of::<api::Backend>(schemas)
        }
        Action::Replicas | Action::AddReplicas | Action::RemoveReplicas => json_of::<api::ReplicaAnswer>(schemas),
        Action::Reload => json_of::<api::Reloaded>(schemas),
        Action::Upgrade => json_of::<api::Upgraded>(schemas),
        Action::Connections => json_of::<api::Connections>(schemas),
        Action::EndConnection => json_of::<api::Ended>(schemas),
        Action::History => json_of::<api::History>(schemas),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn every_endpoint_is_described_and_every_reference_leads_somewhere() {
        let document: Value = serde_json::from_slice(document()).unwrap();
        for route in &ROUTES {
            let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
            assert_eq!(operation["summary"], route.summary, "{}", route.path);
        }
        let text = document.to_string();
        let references = text
            .split("\"$ref\":\"#")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap());
        let mut count = 0;
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
            count += 1;
        }
        assert!(count > 50, "{count}");
    }

    #[test]
    fn the_pattern_of_a_name_is_what_lb_takes() {
        let document: Value = serde_json::from_slice(document()).unwrap();
        let pattern = document["components"]["schemas"]["Name"]["pattern"].as_str().unwrap();
        let pattern = regex::Regex::new(pattern).unwrap();
        let long = |character: &str| [63, 64, 65].map(|length| character.repeat(length));
        let mut texts: Vec<String> = [long("a"), long(".")].concat();
        // Every text of up to three of these, the empty one too.
        let mut all = vec![String::new()];
        for _ in 0..3 {
            all = all
                .iter()
                .flat_map(|text| {
                    ["", ".", "a", "-", "_", "Z", "9", " ", "/", "\u{e9}"].map(|next| format!("{text}{next}"))
                })
                .collect();
        }
        texts.extend(all);
        for text in texts {
            assert_eq!(pattern.is_match(&text), config::check_name(&text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn the_schemas_of_parameters_are_json() {
        for route in &ROUTES {
            for parameter in query::parameters(route.action) {
                assert!(
                    serde_json::from_str::<Value>(parameter.schema).unwrap().is_object(),
                    "{}",
                    parameter.name
                );
            }
        }
    }
}
