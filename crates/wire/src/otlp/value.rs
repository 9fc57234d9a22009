//! Attribute values as texts: labels have no other values.
//!
//! Source: OpenTelemetry's `pcommon.Value.AsString`, which Prometheus' receiver uses.

use std::{borrow::Cow, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use homeostat_model::number_text::plain;

use crate::{
    intake::Fault,
    protobuf::{Field, ProtobufError, Reader, Value},
};

/// Lists within lists that a value may have; beyond, it is refused. Nobody sends more than two.
const DEPTH_MAX: usize = 16;

/// Something in the way of a value.
#[derive(Debug)]
pub(super) enum ValueError {
    Protobuf(ProtobufError),
    Fault(Fault),
}

impl From<ProtobufError> for ValueError {
    fn from(error: ProtobufError) -> Self {
        Self::Protobuf(error)
    }
}

/// A key with its value as text.
pub(super) type Attribute<'a> = (&'a str, Cow<'a, str>);

/// Reads a `KeyValue`. `index` is told when it is not text.
pub(super) fn read_attribute(mut message: Reader<'_>, index: usize) -> Result<Attribute<'_>, ValueError> {
    let (mut key, mut value) = (&[][..], Cow::Borrowed(""));
    while let Some(field) = message.field()? {
        match field.number {
            1 => key = field.bytes()?,
            2 => value = as_text(field.message()?, index)?,
            _ => {}
        }
    }
    Ok((utf8(key, index)?, value))
}

fn utf8(bytes: &[u8], index: usize) -> Result<&str, ValueError> {
    str::from_utf8(bytes).map_err(|_| ValueError::Fault(Fault::Encoding { index }))
}

/// The text of an `AnyValue`; empty for none.
pub(super) fn as_text(mut value: Reader<'_>, index: usize) -> Result<Cow<'_, str>, ValueError> {
    let mut last = None;
    let whole = value;
    while let Some(field) = value.field()? {
        last = Some(field);
    }
    let Some(field) = last else { return Ok("".into()) };
    Ok(match field.number {
        1 => utf8(field.bytes()?, index)?.into(),
        7 => STANDARD.encode(field.bytes()?).into(),
        4 => number(field.double()?).into(),
        // A text of the tables that only profiles have: elsewhere it is the same as none.
        8 => "".into(),
        _ => {
            let mut out = String::new();
            put_json(whole, index, 0, &mut out)?;
            out.into()
        }
    })
}

/// Writes a value as JSON.
fn put_json(mut value: Reader<'_>, index: usize, depth: usize, out: &mut String) -> Result<(), ValueError> {
    if depth == DEPTH_MAX {
        let what = "an attribute has lists within lists, too many levels deep; flatten it";
        return Err(ValueError::Fault(Fault::Unsupported { what }));
    }
    let mut last = None;
    while let Some(field) = value.field()? {
        last = Some(field);
    }
    let Some(field) = last else {
        out.push_str("null");
        return Ok(());
    };
    match field.number {
        1 => put_json_text(utf8(field.bytes()?, index)?, out),
        2 => out.push_str(if field.uint()? == 0 { "false" } else { "true" }),
        3 => out.push_str(&(field.uint()? as i64).to_string()),
        4 => match field.double()? {
            double if double.is_finite() => out.push_str(&number(double)),
            _ => out.push_str("null"),
        },
        5 => {
            out.push('[');
            for_each(field, |n, element| {
                out.push_str(if n == 0 { "" } else { "," });
                put_json(element, index, depth + 1, out)
            })?;
            out.push(']');
        }
        6 => put_json_map(field, index, depth, out)?,
        7 => put_json_text(&STANDARD.encode(field.bytes()?), out),
        _ => out.push_str("null"),
    }
    Ok(())
}

/// Writes a `KeyValueList` as JSON, sorted by key.
fn put_json_map(field: Field<'_>, index: usize, depth: usize, out: &mut String) -> Result<(), ValueError> {
    let mut entries = Vec::new();
    for_each(field, |_, mut entry| {
        let (mut key, mut value) = (&[][..], Reader::new(&[]));
        while let Some(field) = entry.field()? {
            match field.number {
                1 => key = field.bytes()?,
                2 => value = field.message()?,
                _ => {}
            }
        }
        entries.push((utf8(key, index)?, value));
        Ok(())
    })?;
    entries.sort_by_key(|(key, _)| *key);
    out.push('{');
    for (n, (key, value)) in entries.into_iter().enumerate() {
        out.push_str(if n == 0 { "" } else { "," });
        put_json_text(key, out);
        out.push(':');
        put_json(value, index, depth + 1, out)?;
    }
    out.push('}');
    Ok(())
}

/// Calls `each` with every element of a list.
fn for_each<'a>(
    list: Field<'a>,
    mut each: impl FnMut(usize, Reader<'a>) -> Result<(), ValueError>,
) -> Result<(), ValueError> {
    let mut fields = list.message()?;
    let mut n = 0;
    while let Some(field) = fields.field()? {
        if let (1, Value::Bytes(element)) = (field.number, field.value) {
            each(n, element)?;
            n += 1;
        }
    }
    Ok(())
}

/// A text in quotes, escaped as Go escapes it: also what HTML would take for its own.
fn put_json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A number as JavaScript writes it: plain between 1e-6 and 1e21.
fn number(value: f64) -> String {
    if !value.is_finite() || value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
        return plain(value, &mut zmij::Buffer::new()).into_owned();
    }
    let text = format!("{value:e}");
    if text.contains("e-") { text } else { text.replace('e', "e+") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::{put_bytes, put_double, put_int, put_message, put_text, put_uint};

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut value = Vec::new();
        write(&mut value);
        match as_text(Reader::new(&value), 0) {
            Ok(text) => text.into_owned(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn values_are_texts() {
        assert_eq!(text(|_| {}), "");
        assert_eq!(text(|out| put_text(1, "a<b", out)), "a<b");
        assert_eq!(text(|out| put_uint(2, 1, out)), "true");
        assert_eq!(text(|out| put_int(3, -7, out)), "-7");
        assert_eq!(text(|out| put_double(4, 0.25, out)), "0.25");
        assert_eq!(text(|out| put_double(4, 1e21, out)), "1e+21");
        assert_eq!(text(|out| put_double(4, 2.5e-7, out)), "2.5e-7");
        assert_eq!(text(|out| put_double(4, 3.0, out)), "3");
        for (bytes, expected) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foob", "Zm9vYg==")]
        {
            assert_eq!(text(|out| put_bytes(7, bytes, out)), expected);
        }
    }

    #[test]
    fn lists_are_json() {
        let list = |out: &mut Vec<u8>| {
            put_message(5, out, |out| {
                put_message(1, out, |out| put_text(1, "a<\"\n", out));
                put_message(1, out, |out| put_int(3, 2, out));
                put_message(1, out, |_| {});
            });
        };
        assert_eq!(text(list), r#"["a\u003c\"\n",2,null]"#);
        let map = |out: &mut Vec<u8>| {
            put_message(6, out, |out| {
                for key in ["b", "a"] {
                    put_message(1, out, |out| {
                        put_text(1, key, out);
                        put_message(2, out, list);
                    });
                }
            });
        };
        let inner = r#"["a\u003c\"\n",2,null]"#;
        assert_eq!(text(map), format!(r#"{{"a":{inner},"b":{inner}}}"#));
    }

    #[test]
    fn depth_is_limited() {
        let mut value = Vec::new();
        put_text(1, "x", &mut value);
        for _ in 0..20_000 {
            let inner = std::mem::take(&mut value);
            put_message(5, &mut value, |out| put_bytes(1, &inner, out));
        }
        assert!(matches!(as_text(Reader::new(&value), 0), Err(ValueError::Fault(Fault::Unsupported { .. }))));
    }
}
