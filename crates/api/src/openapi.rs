//! The OpenAPI document, made from the table of endpoints and the schemas of the types they answer.

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    auth::Access,
    endpoints::{Answer, ENDPOINTS, Endpoint},
    events::Lagged,
    handlers::operate::VERBS,
    problem::Problem,
};

/// OpenAPI 3.1, whose schemas are JSON Schema 2020-12.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    generator.subschema_for::<Lagged>();
    let mut paths = Map::new();
    for endpoint in &ENDPOINTS {
        let path = paths.entry(endpoint.path).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = path {
            methods.insert(endpoint.method.as_str().to_ascii_lowercase(), operation(endpoint, &mut generator));
        }
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Homeostat",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Times are nanoseconds since the Unix epoch, spans nanoseconds, shares of traffic units of 0.01 %. \
                            Errors are RFC 9457 problem documents.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "problem": {
                    "description": "What went wrong and what to do.",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.about,
        "parameters": parameters(endpoint),
        "responses": responses(endpoint, generator),
        "security": match endpoint.access {
            Access::Open => json!([]),
            Access::Needs(_) => json!([{ "token": [] }]),
        },
    });
    if let Value::Object(fields) = &mut operation {
        if let Access::Needs(role) = endpoint.access {
            fields.insert("x-homeostat-role".to_owned(), json!(role.label()));
        }
        if let Some(schema) = endpoint.body {
            let content = json!({ "application/json": { "schema": schema(generator) } });
            fields.insert("requestBody".to_owned(), json!({ "content": content }));
        }
    }
    operation
}

fn parameters(endpoint: &Endpoint) -> Value {
    let in_path = path_names(endpoint.path).map(|name| {
        let schema = match name {
            "verb" => json!({ "type": "string", "enum": VERBS.map(|(word, _)| word) }),
            "id" => json!({ "type": "string", "description": "The number, with or without its prefix." }),
            _ => json!({ "type": "string" }),
        };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    });
    let in_query = endpoint.query.iter().map(|param| {
        json!({
            "name": param.name,
            "in": "query",
            "required": false,
            "description": param.about,
            "schema": { "type": param.kind },
        })
    });
    in_path.chain(in_query).collect()
}

/// Names between braces.
fn path_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn responses(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let (status, content) = match endpoint.answer {
        Answer::Json(schema) => ("200", Some(("application/json", schema(generator).to_value()))),
        Answer::AnyJson => ("200", Some(("application/json", json!({ "type": "object" })))),
        Answer::Events(schema) => ("200", Some(("text/event-stream", schema(generator).to_value()))),
        Answer::Text => ("200", Some(("text/plain", json!({ "type": "string" })))),
        Answer::Nothing => ("204", None),
    };
    let answer = match content {
        Some((media_type, schema)) => {
            let mut content = Map::new();
            content.insert(media_type.to_owned(), json!({ "schema": schema }));
            json!({ "description": "As asked.", "content": content })
        }
        None => json!({ "description": "Carried out; look at the resource for its new state." }),
    };
    responses.insert(status.to_owned(), answer);
    let everywhere: &[u16] = if endpoint.access == Access::Open { &[503] } else { &[401, 403, 503] };
    for status in endpoint.problems.iter().chain(everywhere) {
        responses.insert(status.to_string(), json!({ "$ref": "#/components/responses/problem" }));
    }
    Value::Object(responses)
}
