//! Messages of `querier.v1`, in both forms of Connect.
//!
//! A request is read from JSON or protobuf into one shape; an answer is built once and written in the form of the request.
//! In JSON, whole numbers of 64 bits are texts, as protobuf has it.

use homeostat_wire::protobuf::{ProtobufError, Reader, put_double, put_int, put_message, put_packed_uints, put_text};
use serde_json::{Map, Value, json};

use super::problem::Problem;

/// A field of a request: its name in JSON, its number in protobuf, its kind.
pub(super) struct Field {
    pub(super) json: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Texts,
    Int,
    Double,
    Message(&'static [Field]),
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.json)
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl Eq for Field {}

/// A request, as JSON has it.
#[derive(Debug, Default)]
pub(super) struct Asked(Map<String, Value>);

impl Asked {
    /// Fields have their names in camel case or as protobuf has them; unknown ones are left out, and one of another kind is an
    /// error.
    pub(super) fn from_json(bytes: &[u8], fields: &'static [Field]) -> Result<Self, Problem> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let read = serde_json::from_slice(bytes);
        let read = read.map_err(|error| Problem::bad(format!("the request is no JSON object: {error}")))?;
        Ok(Self(checked(read, fields)?))
    }

    pub(super) fn from_proto(bytes: &[u8], fields: &'static [Field]) -> Result<Self, Problem> {
        let read = read_message(Reader::new(bytes), fields);
        read.map(Self).map_err(|error| Problem::bad(format!("the request is no such message: {error}")))
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or("")
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let list = self.0.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A whole number; JSON has it as a number or a text.
    pub(super) fn int(&self, name: &str) -> Result<i64, Problem> {
        let number = match self.0.get(name) {
            None | Some(Value::Null) => Some(0),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_i64(),
        };
        number.ok_or_else(|| Problem::bad(format!("`{name}` is no whole number")))
    }

    pub(super) fn double(&self, name: &str) -> f64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or(0.0)
    }

    pub(super) fn message(&self, name: &str) -> Self {
        Self(self.0.get(name).and_then(Value::as_object).cloned().unwrap_or_default())
    }
}

fn checked(read: Map<String, Value>, fields: &'static [Field]) -> Result<Map<String, Value>, Problem> {
    let mut known = Map::new();
    for (name, value) in read {
        let is_meant = |field: &&Field| field.json == name || in_snake_case(field.json) == name;
        let Some(field) = fields.iter().find(is_meant) else { continue };
        let wrong = |what: &str| Problem::bad(format!("`{name}` must be {what}"));
        let value = match (field.kind, value) {
            (_, Value::Null) => continue,
            (Kind::Text, value @ Value::String(_))
            | (Kind::Int, value @ (Value::String(_) | Value::Number(_)))
            | (Kind::Double, value @ Value::Number(_)) => value,
            (Kind::Double, Value::String(text)) => json!(text.parse::<f64>().map_err(|_| wrong("a number"))?),
            (Kind::Texts, Value::Array(list)) if list.iter().all(Value::is_string) => Value::Array(list),
            (Kind::Message(fields), Value::Object(inner)) => Value::Object(checked(inner, fields)?),
            (Kind::Text, _) => return Err(wrong("a text")),
            (Kind::Texts, _) => return Err(wrong("a list of texts")),
            (Kind::Int, _) => return Err(wrong("a whole number")),
            (Kind::Double, _) => return Err(wrong("a number")),
            (Kind::Message(_), _) => return Err(wrong("an object")),
        };
        known.insert(field.json.to_owned(), value);
    }
    Ok(known)
}

fn in_snake_case(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn read_message(mut reader: Reader<'_>, fields: &'static [Field]) -> Result<Map<String, Value>, ProtobufError> {
    let mut read = Map::new();
    while let Some(found) = reader.field()? {
        let Some(field) = fields.iter().find(|field| field.number == found.number) else { continue };
        let text = |bytes: &[u8]| Value::String(String::from_utf8_lossy(bytes).into_owned());
        let value = match field.kind {
            Kind::Text => text(found.bytes()?),
            Kind::Int => json!(found.uint()? as i64),
            Kind::Double => match found.value {
                homeostat_wire::protobuf::Value::Fixed64(bits) => json!(f64::from_bits(bits)),
                _ => Value::Null,
            },
            Kind::Message(fields) => Value::Object(read_message(found.message()?, fields)?),
            Kind::Texts => {
                let mut list = read.remove(field.json).and_then(|list| match list {
                    Value::Array(list) => Some(list),
                    _ => None,
                });
                let mut list = list.take().unwrap_or_default();
                list.push(text(found.bytes()?));
                Value::Array(list)
            }
        };
        read.insert(field.json.to_owned(), value);
    }
    Ok(read)
}

/// An answer.
#[derive(Debug, Default)]
pub(super) struct Answer(Vec<(&'static str, u32, Part)>);

/// What a field of an answer holds.
#[derive(Debug)]
pub(super) enum Part {
    Text(String),
    Texts(Vec<String>),
    Int(i64),
    Ints(Vec<i64>),
    Double(f64),
    Message(Answer),
    Messages(Vec<Answer>),
}

impl Answer {
    pub(super) fn with(mut self, json: &'static str, number: u32, part: Part) -> Self {
        self.0.push((json, number, part));
        self
    }

    /// As JSON of protobuf: empty lists and zeros are left out.
    pub(super) fn json(&self) -> Value {
        let mut map = Map::new();
        for (name, _, part) in &self.0 {
            let value = match part {
                Part::Text(text) => json!(text),
                Part::Texts(texts) => json!(texts),
                Part::Int(0) => continue,
                Part::Int(number) => json!(number.to_string()),
                Part::Ints(numbers) => json!(numbers.iter().map(ToString::to_string).collect::<Vec<_>>()),
                Part::Double(number) => json!(number),
                Part::Message(message) => message.json(),
                Part::Messages(messages) => messages.iter().map(Self::json).collect(),
            };
            if value != json!([]) && value != json!("") {
                map.insert((*name).to_owned(), value);
            }
        }
        Value::Object(map)
    }

    pub(super) fn proto(&self, out: &mut Vec<u8>) {
        for (_, number, part) in &self.0 {
            match part {
                Part::Text(text) => put_text(*number, text, out),
                Part::Texts(texts) => texts.iter().for_each(|text| put_text(*number, text, out)),
                Part::Int(value) => put_int(*number, *value, out),
                Part::Ints(values) => put_packed_uints(*number, values.iter().map(|value| *value as u64), out),
                Part::Double(value) => put_double(*number, *value, out),
                Part::Message(message) => put_message(*number, out, |out| message.proto(out)),
                Part::Messages(messages) => {
                    for message in messages {
                        put_message(*number, out, |out| message.proto(out));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_request_are_one() {
        const INNER: &[Field] = &[Field { json: "labelSelector", number: 2, kind: Kind::Text }];
        const FIELDS: &[Field] = &[
            Field { json: "matchers", number: 1, kind: Kind::Texts },
            Field { json: "start", number: 3, kind: Kind::Int },
            Field { json: "step", number: 6, kind: Kind::Double },
            Field { json: "left", number: 7, kind: Kind::Message(INNER) },
        ];
        let mut message = Vec::new();
        put_text(1, "{a=\"b\"}", &mut message);
        put_text(1, "{}", &mut message);
        put_int(3, -5, &mut message);
        put_double(6, 1.5, &mut message);
        put_message(7, &mut message, |out| put_text(2, "x", out));
        put_text(99, "unknown", &mut message);
        let text = br#"{"matchers":["{a=\"b\"}","{}"],"start":"-5","step":1.5,"left":{"labelSelector":"x"}}"#;
        for asked in [Asked::from_proto(&message, FIELDS).unwrap(), Asked::from_json(text, FIELDS).unwrap()] {
            assert_eq!(asked.texts("matchers"), ["{a=\"b\"}", "{}"]);
            assert_eq!((asked.int("start").unwrap(), asked.double("step")), (-5, 1.5));
            assert_eq!((asked.message("left").text("labelSelector"), asked.text("none")), ("x", ""));
        }
        let snake = br#"{"left":{"label_selector":"x"},"later":1,"start":null,"step":"1.5"}"#;
        let asked = Asked::from_json(snake, FIELDS).unwrap();
        assert_eq!((asked.message("left").text("labelSelector"), asked.int("start").unwrap()), ("x", 0));
        assert_eq!(asked.double("step").to_bits(), 1.5_f64.to_bits());
        for wrong in
            [r#"{"matchers":"x"}"#, r#"{"matchers":[1]}"#, r#"{"left":{"labelSelector":7}}"#, r#"{"step":"x"}"#]
        {
            assert!(Asked::from_json(wrong.as_bytes(), FIELDS).is_err(), "{wrong}");
        }
        assert!(Asked::from_json(b"[]", FIELDS).is_err() && Asked::from_proto(b"\xff", FIELDS).is_err());
        assert!(Asked::from_json(b"{\"start\":\"x\"}", FIELDS).unwrap().int("start").is_err());
    }
}
