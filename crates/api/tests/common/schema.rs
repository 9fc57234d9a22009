//! As much of JSON Schema as the served document uses; whatever else occurs in it fails the test.

use serde_json::Value;

/// Checks a value against a schema within an OpenAPI document; the error names the place.
pub(crate) fn check(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let Value::Object(keywords) = schema else {
        return if schema == &Value::Bool(true) { Ok(()) } else { Err(format!("{place}: nothing is allowed here")) };
    };
    for (keyword, rule) in keywords {
        match keyword.as_str() {
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                let target = document.pointer(pointer).ok_or(format!("{place}: {rule} leads nowhere"))?;
                check(document, target, value, place)?;
            }
            "type" => {
                let names: Vec<&str> = match rule {
                    Value::Array(names) => names.iter().map(|name| name.as_str().unwrap()).collect(),
                    name => vec![name.as_str().unwrap()],
                };
                if !names.iter().any(|name| is(name, value)) {
                    return Err(format!("{place}: {value} is not {rule}"));
                }
            }
            "const" if value != rule => return Err(format!("{place}: {value} is not {rule}")),
            "enum" if !rule.as_array().unwrap().contains(value) => {
                return Err(format!("{place}: {value} not in {rule}"));
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        return Err(format!("{place}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(inner) = value.get(name) {
                        check(document, schema, inner, &format!("{place}.{name}"))?;
                    }
                }
            }
            "items" => {
                let skip = keywords.get("prefixItems").map_or(0, |items| items.as_array().unwrap().len());
                for (at, inner) in value.as_array().into_iter().flatten().enumerate().skip(skip) {
                    check(document, rule, inner, &format!("{place}[{at}]"))?;
                }
            }
            "prefixItems" => {
                for (at, (schema, inner)) in
                    rule.as_array().unwrap().iter().zip(value.as_array().into_iter().flatten()).enumerate()
                {
                    check(document, schema, inner, &format!("{place}[{at}]"))?;
                }
            }
            "anyOf" | "oneOf" => {
                let tried: Vec<_> =
                    rule.as_array().unwrap().iter().map(|one| check(document, one, value, place)).collect();
                let fitting = tried.iter().filter(|one| one.is_ok()).count();
                if fitting == 0 || (keyword == "oneOf" && fitting > 1) {
                    return Err(format!("{place}: {fitting} alternatives fit {value}: {tried:?}"));
                }
            }
            "allOf" => {
                for one in rule.as_array().unwrap() {
                    check(document, one, value, place)?;
                }
            }
            "minItems" if value.as_array().is_some_and(|all| (all.len() as u64) < rule.as_u64().unwrap()) => {
                return Err(format!("{place}: too short"));
            }
            "maxItems" if value.as_array().is_some_and(|all| (all.len() as u64) > rule.as_u64().unwrap()) => {
                return Err(format!("{place}: too long"));
            }
            "minimum" if value.as_f64().is_some_and(|number| number < rule.as_f64().unwrap()) => {
                return Err(format!("{place}: too small"));
            }
            "maximum" if value.as_f64().is_some_and(|number| number > rule.as_f64().unwrap()) => {
                return Err(format!("{place}: too large"));
            }
            "const"
            | "enum"
            | "minItems"
            | "maxItems"
            | "minimum"
            | "maximum"
            | "description"
            | "format"
            | "title"
            | "default"
            | "additionalProperties" => {}
            other => return Err(format!("{place}: the check does not know the keyword `{other}`")),
        }
    }
    Ok(())
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no such type: {other}"),
    }
}
