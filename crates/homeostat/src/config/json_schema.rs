//! The JSON Schema (draft 2020-12) of a configuration document, from the table that also drives the reader.

use serde_json::{Map, Value, json};

use super::{
    document::{Kind, envelope, kinds},
    shape::{Field, Need, Record, Scalar, Shape},
};

/// Returns the schema of one document; a file holds several, divided by `---`.
pub fn json_schema() -> Value {
    let kinds: Vec<Value> = kinds().iter().map(document).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Homeostat configuration document",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "oneOf": kinds,
    })
}

fn document(kind: &Kind) -> Value {
    let mut schema = record(&envelope(kind));
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("apiVersion".to_owned(), json!({ "const": kind.api }));
        properties.insert("kind".to_owned(), json!({ "const": kind.kind }));
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("title".to_owned(), json!(format!("{} ({})", kind.kind, kind.api)));
    }
    schema
}

fn record(record: &Record) -> Value {
    let required: Vec<&str> = record.fields.iter().filter(|f| f.need == Need::Required).map(|f| f.key).collect();
    let properties: Map<String, Value> = record.fields.iter().map(|f| (f.key.to_owned(), field(f))).collect();
    let mut schema = json!({
        "type": "object",
        "description": text(record.about),
        "properties": properties,
        "additionalProperties": false,
    });
    if let (false, Some(schema)) = (required.is_empty(), schema.as_object_mut()) {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn field(field: &Field) -> Value {
    let mut schema = shape(&field.shape);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), json!(text(field.about)));
        if let Need::Default(yaml) = field.need {
            // Lists and mappings are shown in YAML's flow style, in which the reader takes them.
            let default = serde_json::from_str::<Value>(yaml).unwrap_or_else(|_| json!(yaml));
            schema.insert("default".to_owned(), default);
        }
    }
    schema
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Scalar(scalar) => self::scalar(scalar),
        Shape::Words(words) => {
            let each = words.iter().map(|(word, meaning)| json!({ "const": word, "description": meaning }));
            json!({ "oneOf": each.collect::<Vec<_>>() })
        }
        Shape::List(item) => json!({ "type": "array", "items": self::shape(item) }),
        Shape::OneOrMany(item) => {
            let item = self::shape(item);
            json!({ "anyOf": [item, { "type": "array", "items": item }] })
        }
        Shape::Entries { value, .. } => json!({ "type": "object", "additionalProperties": self::shape(value) }),
        Shape::Record(record) => self::record(record),
        Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(self::shape).collect::<Vec<_>>() }),
        Shape::Any => json!({}),
    }
}

fn scalar(scalar: &Scalar) -> Value {
    let mut schema = Map::new();
    let types = match scalar.json {
        [one] => json!(one),
        many => json!(many),
    };
    schema.insert("type".to_owned(), types);
    schema.insert("examples".to_owned(), json!([scalar.example]));
    if !scalar.pattern.is_empty() {
        schema.insert("pattern".to_owned(), json!(scalar.pattern));
    }
    if let Some((min, max)) = scalar.range {
        schema.insert("minimum".to_owned(), json!(min as u64));
        schema.insert("maximum".to_owned(), json!(max as u64));
    }
    Value::Object(schema)
}

/// Doc comments as one line.
fn text(about: &str) -> String {
    about.split_whitespace().collect::<Vec<_>>().join(" ")
}
