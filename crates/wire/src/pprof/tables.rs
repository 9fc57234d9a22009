//! Where everything is: the message's tables, still in its own numbers.

use std::{borrow::Cow, collections::BTreeMap};

use super::{PprofError, PprofLimits};
use crate::protobuf::Reader;

/// A function.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Function {
    pub(crate) name: u64,
    pub(crate) file: u64,
}

/// An executable or library that is mapped into memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) file_offset: u64,
    pub(crate) file: u64,
}

/// A place in the program, with the functions that the compiler inlined there, innermost first.
#[derive(Clone, Debug, Default)]
pub(super) struct Location {
    pub(super) mapping: u64,
    pub(super) address: u64,
    /// Function and line.
    pub(super) lines: Vec<(u64, u64)>,
    pub(super) offset: usize,
}

/// A value type as indexes of texts.
pub(super) type RawType = (u64, u64);

/// Everything of a message.
#[derive(Debug, Default)]
pub(super) struct Tables<'a> {
    texts: Vec<&'a [u8]>,
    /// Of all tables together.
    pub(super) entries: usize,
    pub(super) types: Vec<RawType>,
    pub(super) samples: Vec<Reader<'a>>,
    mappings: BTreeMap<u64, Mapping>,
    pub(super) locations: Vec<(u64, Location)>,
    functions: BTreeMap<u64, Function>,
    pub(super) time_ns: i64,
    pub(super) duration_ns: i64,
    pub(super) period_type: Option<RawType>,
    pub(super) period: i64,
    pub(super) default_type: u64,
}

/// How many entries there still may be.
struct Room {
    left: usize,
    limit: usize,
}

impl Room {
    fn take(&mut self, offset: usize) -> Result<(), PprofError> {
        self.left = self.left.checked_sub(1).ok_or(too_many("entries of all tables", self.limit, offset))?;
        Ok(())
    }
}

pub(super) fn too_many(what: &'static str, limit: usize, offset: usize) -> PprofError {
    PprofError::TooMany { what, limit: limit as u64, offset }
}

impl<'a> Tables<'a> {
    pub(super) fn read(message: &'a [u8], limits: &PprofLimits) -> Result<Self, PprofError> {
        let mut tables = Self::default();
        let mut room = Room { left: limits.entries_max, limit: limits.entries_max };
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            if let 1..=6 = field.number {
                room.take(field.offset)?;
            }
            match field.number {
                1 if tables.types.len() == limits.columns_max => {
                    return Err(too_many("columns", limits.columns_max, field.offset));
                }
                1 => tables.types.push(field.message()?.two_numbers()?),
                2 => tables.samples.push(field.message()?),
                3 => {
                    let (id, mapping) = mapping(field.message()?)?;
                    put(&mut tables.mappings, "mapping", id, mapping, field.offset)?;
                }
                4 => tables.locations.push(location(field.message()?, &mut room)?),
                5 => {
                    let (id, function) = function(field.message()?)?;
                    put(&mut tables.functions, "function", id, function, field.offset)?;
                }
                6 => tables.texts.push(field.bytes()?),
                9 => tables.time_ns = field.uint()? as i64,
                10 => tables.duration_ns = field.uint()? as i64,
                11 => tables.period_type = Some(field.message()?.two_numbers()?),
                12 => tables.period = field.uint()? as i64,
                14 => tables.default_type = field.uint()?,
                _ => {}
            }
        }
        tables.entries = room.limit - room.left;
        Ok(tables)
    }

    /// How many texts there are.
    pub(super) fn texts(&self) -> usize {
        self.texts.len()
    }

    /// A text of at most so many bytes; what is no UTF-8 in it is replaced. Costs what it is long.
    pub(super) fn text(&self, index: u64, bytes_max: usize, offset: usize) -> Result<Cow<'a, str>, PprofError> {
        if index == 0 {
            return Ok(Cow::Borrowed(""));
        }
        let text = usize::try_from(index).ok().and_then(|index| self.texts.get(index));
        let text = text.ok_or(PprofError::Dangling { what: "text", id: index, offset })?;
        let fits =
            |len: usize| if len <= bytes_max { Ok(()) } else { Err(too_many("bytes in a text", bytes_max, offset)) };
        fits(text.len())?;
        let text = String::from_utf8_lossy(text);
        // Replacements are longer than what they replace.
        fits(text.len())?;
        Ok(text)
    }

    /// A function; 0 is the one that nobody knows.
    pub(super) fn function(&self, id: u64, offset: usize) -> Result<Function, PprofError> {
        find(&self.functions, "function", id, offset)
    }

    /// A mapping; 0 is the one that nobody knows.
    pub(super) fn mapping(&self, id: u64, offset: usize) -> Result<Mapping, PprofError> {
        find(&self.mappings, "mapping", id, offset)
    }
}

fn find<T: Copy + Default>(
    table: &BTreeMap<u64, T>,
    what: &'static str,
    id: u64,
    offset: usize,
) -> Result<T, PprofError> {
    if id == 0 {
        return Ok(T::default());
    }
    table.get(&id).copied().ok_or(PprofError::Dangling { what, id, offset })
}

fn put<T>(
    table: &mut BTreeMap<u64, T>,
    what: &'static str,
    id: u64,
    entry: T,
    offset: usize,
) -> Result<(), PprofError> {
    match table.insert(id, entry) {
        None => Ok(()),
        Some(_) => Err(PprofError::Twice { what, id, offset }),
    }
}

fn mapping(mut message: Reader<'_>) -> Result<(u64, Mapping), PprofError> {
    let (mut id, mut mapping) = (0, Mapping::default());
    while let Some(field) = message.field()? {
        match field.number {
            1 => id = field.uint()?,
            2 => mapping.start = field.uint()?,
            4 => mapping.file_offset = field.uint()?,
            5 => mapping.file = field.uint()?,
            _ => {}
        }
    }
    Ok((id, mapping))
}

fn location(mut message: Reader<'_>, room: &mut Room) -> Result<(u64, Location), PprofError> {
    let (mut id, mut location) = (0, Location { offset: message.offset(), ..Location::default() });
    while let Some(field) = message.field()? {
        match field.number {
            1 => id = field.uint()?,
            2 => location.mapping = field.uint()?,
            3 => location.address = field.uint()?,
            4 => {
                room.take(field.offset)?;
                location.lines.push(field.message()?.two_numbers()?);
            }
            _ => {}
        }
    }
    Ok((id, location))
}

fn function(mut message: Reader<'_>) -> Result<(u64, Function), PprofError> {
    let (mut id, mut function, mut system_name) = (0, Function::default(), 0);
    while let Some(field) = message.field()? {
        match field.number {
            1 => id = field.uint()?,
            2 => function.name = field.uint()?,
            3 => system_name = field.uint()?,
            4 => function.file = field.uint()?,
            _ => {}
        }
    }
    if function.name == 0 {
        function.name = system_name;
    }
    Ok((id, function))
}
