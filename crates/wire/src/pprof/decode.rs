//! What the tables mean.

use std::{collections::BTreeMap, ops::Range};

use homeostat_model::profile::{Frame, LabelSet, LabelValue, Profile, Stack, Text, ValueType};

use super::{
    PprofError, PprofLimits,
    place::{Place, push_place},
    tables::{Location, RawType, Tables, too_many},
};
use crate::{gzip::GzipError, protobuf::Reader};

/// Labels of one sample; programs have a handful.
const LABELS_MAX: usize = 256;

/// Reads a message without gzip around it.
pub fn decode(message: &[u8], limits: &PprofLimits) -> Result<Profile, PprofError> {
    decode_within(message, &mut { *limits })
}

/// Reads a message as [`decode`] does and takes off `room` what it needed, so that several profiles share one limit.
pub fn decode_within(message: &[u8], room: &mut PprofLimits) -> Result<Profile, PprofError> {
    let limit = room.bytes_max;
    room.bytes_max = limit.checked_sub(message.len()).ok_or(GzipError::TooLarge { limit })?;
    let tables = Tables::read(message, room)?;
    if tables.types.is_empty() {
        return Err(PprofError::NoTypes);
    }
    let types: Result<_, _> = tables.types.iter().map(|raw| value_type(&tables, *raw, room)).collect();
    let mut profile = Profile::new(types?);
    (profile.started_ns, profile.duration_ns, profile.period) = (tables.time_ns, tables.duration_ns, tables.period);
    if let Some(raw) = tables.period_type {
        profile.period_type = value_type(&tables, raw, room)?;
    }
    if tables.default_type != 0 {
        let kind = tables.text(tables.default_type, room.text_bytes_max, 0)?;
        let column = profile.column(&kind).unwrap_or(profile.default_type());
        profile.set_default_type(column);
    }
    let mut texts = Texts { tables: &tables, known: vec![None; tables.texts()], bytes_max: room.text_bytes_max };
    let places = Places::of(&mut texts, &mut profile)?;
    let mut samples = Samples { texts, places, limits: room, walked: 0, sample: Sample::default() };
    for sample in &tables.samples {
        samples.add(*sample, &mut profile)?;
    }
    let walked = samples.walked;
    room.frames_walked_max = room.frames_walked_max.saturating_sub(walked);
    room.stacks_max = room.stacks_max.saturating_sub(profile.stacks().len());
    room.entries_max = room.entries_max.saturating_sub(tables.entries);
    Ok(profile)
}

fn value_type(tables: &Tables<'_>, (kind, unit): RawType, limits: &PprofLimits) -> Result<ValueType, PprofError> {
    let text = |index| tables.text(index, limits.text_bytes_max, 0);
    Ok(ValueType::new(&text(kind)?, &text(unit)?))
}

/// Texts of the message with their ids in the profile: each is checked and kept once, however many point to it.
struct Texts<'a> {
    tables: &'a Tables<'a>,
    known: Vec<Option<Text>>,
    bytes_max: usize,
}

impl Texts<'_> {
    fn get(&mut self, index: u64, offset: usize, profile: &mut Profile) -> Result<Text, PprofError> {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(Some(text)) = self.known.get(at) {
            return Ok(*text);
        }
        let text = profile.intern(&self.tables.text(index, self.bytes_max, offset)?);
        if let Some(slot) = self.known.get_mut(at) {
            *slot = Some(text);
        }
        Ok(text)
    }
}

/// Frames of each location, from the outermost inwards, in one list.
struct Places {
    frames: Vec<Frame>,
    ranges: BTreeMap<u64, Range<usize>>,
}

impl Places {
    fn of(texts: &mut Texts<'_>, profile: &mut Profile) -> Result<Self, PprofError> {
        let mut places = Self { frames: Vec::new(), ranges: BTreeMap::new() };
        for (id, location) in &texts.tables.locations {
            let from = places.frames.len();
            places.push(texts, location, profile)?;
            if places.ranges.insert(*id, from..places.frames.len()).is_some() {
                return Err(PprofError::Twice { what: "location", id: *id, offset: location.offset });
            }
        }
        Ok(places)
    }

    fn push(&mut self, texts: &mut Texts<'_>, location: &Location, profile: &mut Profile) -> Result<(), PprofError> {
        let Location { mapping, address, lines, offset } = location;
        let mapping = texts.tables.mapping(*mapping, *offset)?;
        let module = texts.get(mapping.file, *offset, profile)?;
        let place = Place { module, address: mapping.place_of(*address), lines };
        let named = |index| {
            let function = texts.tables.function(index, *offset)?;
            let name = texts.get(function.name, *offset, profile)?;
            let file = if name == Text::EMPTY { name } else { texts.get(function.file, *offset, profile)? };
            Ok((name, file))
        };
        push_place(place, named, &mut self.frames)
    }

    fn get(&self, id: u64, offset: usize) -> Result<&[Frame], PprofError> {
        let range = self.ranges.get(&id).ok_or(PprofError::Dangling { what: "location", id, offset })?;
        Ok(self.frames.get(range.clone()).unwrap_or_default())
    }
}

/// A sample in the message's numbers; one for all, so that reading them allocates nothing.
#[derive(Default)]
struct Sample {
    locations: Vec<u64>,
    values: Vec<i64>,
    labels: Vec<(Text, LabelValue)>,
}

struct Samples<'a> {
    texts: Texts<'a>,
    places: Places,
    limits: &'a PprofLimits,
    walked: u64,
    sample: Sample,
}

impl Samples<'_> {
    fn add(&mut self, message: Reader<'_>, profile: &mut Profile) -> Result<(), PprofError> {
        let offset = message.offset();
        self.read(message, profile)?;
        let (values, columns) = (self.sample.values.len(), profile.types().len());
        if values != columns {
            return Err(PprofError::Columns { values, columns, offset });
        }
        let stack = self.stack(profile, offset)?;
        let labels = match self.sample.labels.as_slice() {
            [] => LabelSet::NONE,
            labels => profile.intern_labels(labels.to_vec()),
        };
        profile.add(stack, labels, &self.sample.values);
        Ok(())
    }

    fn read(&mut self, mut message: Reader<'_>, profile: &mut Profile) -> Result<(), PprofError> {
        let Sample { locations, values, labels } = &mut self.sample;
        locations.clear();
        values.clear();
        labels.clear();
        while let Some(field) = message.field()? {
            match field.number {
                // What goes beyond is refused, so it need not be kept.
                1 => field.uints(|id| {
                    if locations.len() <= self.limits.stack_frames_max {
                        locations.push(id);
                    }
                })?,
                2 => field.uints(|value| {
                    if values.len() <= self.limits.columns_max {
                        values.push(value as i64);
                    }
                })?,
                3 if labels.len() == LABELS_MAX => {
                    return Err(too_many("labels of a sample", LABELS_MAX, field.offset));
                }
                3 => labels.push(label(&mut self.texts, field.message()?, profile)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// The message has the innermost location first; the trie grows from the outermost.
    fn stack(&mut self, profile: &mut Profile, offset: usize) -> Result<Stack, PprofError> {
        let too_many = |what, limit| Err(PprofError::TooMany { what, limit, offset });
        let mut stack = Stack::EMPTY;
        let mut depth = 0;
        for id in self.sample.locations.iter().rev() {
            let frames = self.places.get(*id, offset)?;
            depth += frames.len();
            if self.limits.stack_frames_max < depth {
                return too_many("frames in a stack", self.limits.stack_frames_max as u64);
            }
            for frame in frames {
                stack = profile.push_frame(stack, *frame);
            }
        }
        self.walked += depth as u64;
        if self.limits.frames_walked_max < self.walked {
            return too_many("frames in all samples", self.limits.frames_walked_max);
        }
        if self.limits.stacks_max < profile.stacks().len() {
            return too_many("different stacks", self.limits.stacks_max as u64);
        }
        Ok(stack)
    }
}

fn label(
    texts: &mut Texts<'_>,
    mut message: Reader<'_>,
    profile: &mut Profile,
) -> Result<(Text, LabelValue), PprofError> {
    let offset = message.offset();
    let (mut name, mut text, mut number, mut unit) = (0, 0, 0, 0);
    while let Some(field) = message.field()? {
        match field.number {
            1 => name = field.uint()?,
            2 => text = field.uint()?,
            3 => number = field.uint()? as i64,
            4 => unit = field.uint()?,
            _ => {}
        }
    }
    let name = texts.get(name, offset, profile)?;
    let value = if text == 0 {
        LabelValue::Number { value: number, unit: texts.get(unit, offset, profile)? }
    } else {
        LabelValue::Text(texts.get(text, offset, profile)?)
    };
    Ok((name, value))
}
