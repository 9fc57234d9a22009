//! The tables of a request, which all its profiles point into by place. Place 0 means "none" in each.
//!
//! Invariant: all tables together hold some times the bytes of the message at most. What a profile takes out of them is charged
//! to the room of the request each time, for a short message may point to one long text again and again.

use std::borrow::Cow;

use super::{ATTRIBUTES_MAX, ExportError, room::Room};
use crate::{
    otlp::value::{ValueError, as_text},
    pprof::{Function, Mapping},
    protobuf::{ProtobufError, Reader},
};

/// Key and value.
pub(super) type Attribute<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A place in the program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Location {
    pub(super) mapping: u64,
    pub(super) address: u64,
    /// Where its lines begin and end in the list of all.
    first_line: usize,
    end_line: usize,
}

/// A key, a value and its unit.
#[derive(Clone, Debug)]
pub(super) struct RawAttribute<'a> {
    pub(super) key: u64,
    pub(super) value: RawValue<'a>,
    pub(super) unit: u64,
}

/// What an attribute says.
#[derive(Clone, Debug)]
pub(super) enum RawValue<'a> {
    /// A whole number.
    Number(i64),
    /// A text of the dictionary.
    Text(u64),
    /// Everything else, as text.
    Own(Cow<'a, str>),
}

/// All tables.
#[derive(Debug, Default)]
pub(super) struct Dictionary<'a> {
    texts: Vec<&'a [u8]>,
    functions: Vec<Function>,
    mappings: Vec<Mapping>,
    locations: Vec<Location>,
    /// Function and line, of all locations; innermost first within each.
    lines: Vec<(u64, u64)>,
    attributes: Vec<RawAttribute<'a>>,
    /// Each a message with its locations.
    stacks: Vec<Reader<'a>>,
}

/// Something points to an entry that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} {index} in the dictionary")]
pub(super) struct Dangling {
    what: &'static str,
    index: u64,
}

fn at<'t, T>(table: &'t [T], what: &'static str, index: u64) -> Result<&'t T, Dangling> {
    let found = usize::try_from(index).ok().and_then(|at| table.get(at));
    found.ok_or(Dangling { what, index })
}

impl<'a> Dictionary<'a> {
    pub(super) fn read(mut message: Reader<'a>, room: &mut Room) -> Result<Self, ExportError> {
        let mut tables = Self::default();
        while let Some(field) = message.field()? {
            if let 1..=7 = field.number {
                room.entry(field.offset)?;
            }
            match field.number {
                1 => tables.mappings.push(mapping(field.message()?)?),
                2 => {
                    let location = tables.location(field.message()?, room)?;
                    tables.locations.push(location);
                }
                3 => tables.functions.push(function(field.message()?)?),
                5 => {
                    let text = field.bytes()?;
                    room.text_len(text.len(), field.offset)?;
                    tables.texts.push(text);
                }
                6 => tables.attributes.push(attribute(field.message()?, room)?),
                7 => tables.stacks.push(field.message()?),
                _ => {}
            }
        }
        Ok(tables)
    }

    fn location(&mut self, mut message: Reader<'a>, room: &mut Room) -> Result<Location, ExportError> {
        let mut location = Location { first_line: self.lines.len(), ..Location::default() };
        while let Some(field) = message.field()? {
            match field.number {
                1 => location.mapping = field.uint()?,
                2 => location.address = field.uint()?,
                3 => {
                    room.entry(field.offset)?;
                    self.lines.push(field.message()?.two_numbers()?);
                }
                _ => {}
            }
        }
        location.end_line = self.lines.len();
        Ok(location)
    }

    /// A text; what is no UTF-8 in it is replaced, so it has up to three times the bytes of a text of the message.
    pub(super) fn text(&self, index: u64) -> Result<Cow<'a, str>, Dangling> {
        if index == 0 {
            return Ok(Cow::Borrowed(""));
        }
        at(&self.texts, "text", index).map(|text| String::from_utf8_lossy(text))
    }

    pub(super) fn function(&self, index: u64) -> Result<Function, Dangling> {
        if index == 0 { Ok(Function::default()) } else { at(&self.functions, "function", index).copied() }
    }

    pub(super) fn mapping(&self, index: u64) -> Result<Mapping, Dangling> {
        if index == 0 { Ok(Mapping::default()) } else { at(&self.mappings, "mapping", index).copied() }
    }

    pub(super) fn location_at(&self, index: u64) -> Result<Location, Dangling> {
        at(&self.locations, "location", index).copied()
    }

    /// Function and line of a location, innermost first.
    pub(super) fn lines(&self, location: Location) -> &[(u64, u64)] {
        self.lines.get(location.first_line..location.end_line).unwrap_or_default()
    }

    /// The message with a stack's locations; none for the stack that nobody knows.
    pub(super) fn stack(&self, index: u64) -> Result<Option<Reader<'a>>, Dangling> {
        if index == 0 { Ok(None) } else { at(&self.stacks, "stack", index).copied().map(Some) }
    }

    pub(super) fn attribute(&self, index: u64) -> Result<&RawAttribute<'a>, Dangling> {
        at(&self.attributes, "attribute", index)
    }

    /// A value as text.
    pub(super) fn value_text<'v>(&self, value: &'v RawValue<'a>) -> Result<Cow<'v, str>, Dangling> {
        match value {
            RawValue::Number(number) => Ok(number.to_string().into()),
            RawValue::Text(index) => self.text(*index),
            RawValue::Own(text) => Ok(Cow::Borrowed(text)),
        }
    }

    /// Attributes of a resource, each with its key and its value as text.
    pub(super) fn resource(&self, mut message: Reader<'a>, room: &mut Room) -> Result<Vec<Attribute<'a>>, ExportError> {
        let mut attributes = Vec::new();
        while let Some(field) = message.field()? {
            if field.number == 1 {
                if attributes.len() == ATTRIBUTES_MAX {
                    let what = "attributes of a resource";
                    return Err(ExportError::TooMany { what, limit: ATTRIBUTES_MAX as u64, offset: field.offset });
                }
                attributes.push(self.key_value(field.message()?, room)?);
            }
        }
        Ok(attributes)
    }

    /// Of a key or value that comes several times the last one counts, and one copy at a time is made.
    fn key_value(&self, mut message: Reader<'a>, room: &mut Room) -> Result<Attribute<'a>, ExportError> {
        let offset = message.offset();
        let (mut key, mut value) = (RawValue::Own(Cow::Borrowed("")), Reader::new(&[]));
        while let Some(field) = message.field()? {
            match field.number {
                1 => {
                    let text = field.bytes()?;
                    room.text_len(text.len(), field.offset)?;
                    key = RawValue::Own(String::from_utf8_lossy(text));
                }
                2 => value = field.message()?,
                3 => key = RawValue::Text(field.uint()?),
                _ => {}
            }
        }
        let value = read_value(value, room)?;
        let mut text = |value: RawValue<'a>| -> Result<Cow<'a, str>, ExportError> {
            let text = match value {
                RawValue::Number(number) => Cow::Owned(number.to_string()),
                RawValue::Text(index) => {
                    self.text(index).map_err(|dangling| ExportError::Attribute(dangling.to_string()))?
                }
                RawValue::Own(text) => text,
            };
            room.text(text.len(), offset)?;
            Ok(text)
        };
        Ok((text(key)?, text(value)?))
    }
}

/// Reads an `AnyValue`. It is as long as a text may be at most, so that what is made of it is some times that.
fn read_value<'a>(value: Reader<'a>, room: &Room) -> Result<RawValue<'a>, ExportError> {
    room.text_len(value.as_bytes().len(), value.offset())?;
    let (mut rest, mut last) = (value, None);
    while let Some(field) = rest.field()? {
        last = Some(field);
    }
    match last {
        Some(field) if field.number == 3 => Ok(RawValue::Number(field.uint()? as i64)),
        Some(field) if field.number == 8 => Ok(RawValue::Text(field.uint()?)),
        _ => Ok(RawValue::Own(as_text(value, 0).map_err(of_value)?)),
    }
}

fn of_value(error: ValueError) -> ExportError {
    match error {
        ValueError::Protobuf(source) => ExportError::Malformed { source },
        ValueError::Fault(fault) => ExportError::Attribute(fault.to_string()),
    }
}

fn mapping(mut message: Reader<'_>) -> Result<Mapping, ProtobufError> {
    let mut mapping = Mapping::default();
    while let Some(field) = message.field()? {
        match field.number {
            1 => mapping.start = field.uint()?,
            3 => mapping.file_offset = field.uint()?,
            4 => mapping.file = field.uint()?,
            _ => {}
        }
    }
    Ok(mapping)
}

fn function(mut message: Reader<'_>) -> Result<Function, ProtobufError> {
    let (mut function, mut system_name) = (Function::default(), 0);
    while let Some(field) = message.field()? {
        match field.number {
            1 => function.name = field.uint()?,
            2 => system_name = field.uint()?,
            3 => function.file = field.uint()?,
            _ => {}
        }
    }
    if function.name == 0 {
        function.name = system_name;
    }
    Ok(function)
}

fn attribute<'a>(mut message: Reader<'a>, room: &mut Room) -> Result<RawAttribute<'a>, ExportError> {
    let (mut key, mut value, mut unit) = (0, Reader::new(&[]), 0);
    while let Some(field) = message.field()? {
        match field.number {
            1 => key = field.uint()?,
            2 => value = field.message()?,
            3 => unit = field.uint()?,
            _ => {}
        }
    }
    let offset = value.offset();
    let value = read_value(value, room)?;
    if let RawValue::Own(text) = &value {
        room.text(text.len(), offset)?;
    }
    Ok(RawAttribute { key, value, unit })
}
