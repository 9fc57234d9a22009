//! Profiles of `v1development`: what samples mean, with the help of the dictionary.
//!
//! A profile has one type. Where it counts samples of processor time (`samples` in `count`, a period in nanoseconds of
//! `cpu`), as profilers of whole machines do, the time is a second column, so that it is found where other clients'
//! profiles of processor time are.
//!
//! What is not kept: links to spans, instants of single samples (they are counted), attributes of mappings and
//! locations, columns within a line, addresses of frames that have a name, the original payload.

use std::{collections::BTreeMap, ops::Range};

use homeostat_model::{
    LabelsBuilder,
    labels::METRIC_NAME,
    profile::{Frame, LabelSet, LabelValue, Profile, Stack, Text, ValueType},
};

use super::{
    ATTRIBUTES_MAX, ExportError, Exported,
    dictionary::{Attribute, Dangling, Dictionary, RawValue},
    room::Room,
};
use crate::{
    otlp::name::{LabelNaming, Strategy, label_name},
    pprof::{Place, PprofLimits, push_place},
    protobuf::{ProtobufError, Reader},
};

/// Why a profile is not taken, or the whole request is not.
#[derive(Debug)]
enum Wrong {
    Request(ExportError),
    Profile(String),
}

impl From<ExportError> for Wrong {
    fn from(error: ExportError) -> Self {
        Self::Request(error)
    }
}

impl From<ProtobufError> for Wrong {
    fn from(error: ProtobufError) -> Self {
        Self::Request(error.into())
    }
}

impl From<Dangling> for Wrong {
    fn from(dangling: Dangling) -> Self {
        Self::Profile(dangling.to_string())
    }
}

/// Reads an `ExportProfilesServiceRequest`.
pub(super) fn decode(body: &[u8], limits: &PprofLimits) -> Result<Exported, ExportError> {
    let mut room = Room::new(limits);
    let (mut dictionary, mut resources) = (None, Vec::new());
    let mut message = Reader::new(body);
    while let Some(field) = message.field()? {
        match field.number {
            1 => {
                room.entry(field.offset)?;
                resources.push(field.message()?);
            }
            2 => dictionary = Some(Dictionary::read(field.message()?, &mut room)?),
            _ => {}
        }
    }
    let mut exported = Exported::default();
    for resource in resources {
        read_resource(resource, dictionary.as_ref(), &mut room, &mut exported)?;
    }
    Ok(exported)
}

fn read_resource<'a>(
    message: Reader<'a>,
    dictionary: Option<&Dictionary<'a>>,
    room: &mut Room,
    exported: &mut Exported,
) -> Result<(), ExportError> {
    let (mut resource, mut profiles) = (None, Vec::new());
    for_each(message, |number, message| {
        match number {
            1 => resource = Some(message),
            2 => for_each(message, |number, profile| {
                if number == 2 {
                    room.profile(profile.offset())?;
                    profiles.push(profile);
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    if profiles.is_empty() {
        return Ok(());
    }
    let dictionary = dictionary.ok_or(ExportError::NoDictionary)?;
    let attributes = resource.map_or(Ok(Vec::new()), |resource| dictionary.resource(resource, room))?;
    for profile in profiles {
        match Reading::new(dictionary, room).read(profile, &attributes) {
            Ok(read) => exported.profiles.push(read),
            Err(Wrong::Request(error)) => return Err(error),
            Err(Wrong::Profile(text)) => {
                exported.rejected += 1;
                if exported.message.is_empty() {
                    exported.message = format!("the profile at byte {}: {text}", profile.offset());
                }
            }
        }
    }
    Ok(())
}

/// Hands the messages of a message to `each`, with their numbers.
fn for_each<'a>(
    mut message: Reader<'a>,
    mut each: impl FnMut(u32, Reader<'a>) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    while let Some(field) = message.field()? {
        if let 1 | 2 = field.number {
            each(field.number, field.message()?)?;
        }
    }
    Ok(())
}

/// What a profile says once.
#[derive(Default)]
struct Head {
    sample_type: (u64, u64),
    period_type: (u64, u64),
    period: i64,
    started_ns: u64,
    duration_ns: u64,
    attributes: Vec<u64>,
}

impl Head {
    fn read(mut message: Reader<'_>) -> Result<Self, Wrong> {
        let mut head = Self::default();
        while let Some(field) = message.field()? {
            match field.number {
                1 => head.sample_type = field.message()?.two_numbers()?,
                3 => head.started_ns = field.fixed64()?,
                4 => head.duration_ns = field.uint()?,
                5 => head.period_type = field.message()?.two_numbers()?,
                6 => head.period = field.uint()? as i64,
                11 => indices(&mut head.attributes, |push| field.uints(push))?,
                _ => {}
            }
        }
        Ok(head)
    }
}

/// Reads the places of attributes; more than [`ATTRIBUTES_MAX`] are refused.
fn indices(
    all: &mut Vec<u64>,
    read: impl FnOnce(&mut dyn FnMut(u64)) -> Result<(), ProtobufError>,
) -> Result<(), Wrong> {
    read(&mut |index| {
        if all.len() <= ATTRIBUTES_MAX {
            all.push(index);
        }
    })?;
    if ATTRIBUTES_MAX < all.len() {
        return Err(Wrong::Profile(format!("more than {ATTRIBUTES_MAX} attributes")));
    }
    Ok(())
}

/// A profile on its way. Texts, places, stacks and labels are made once each, when the first sample needs them.
struct Reading<'d, 'a> {
    dictionary: &'d Dictionary<'a>,
    room: &'d mut Room,
    profile: Profile,
    texts: BTreeMap<u64, Text>,
    frames: Vec<Frame>,
    /// By location, frames from the outermost inwards.
    places: BTreeMap<u64, Range<usize>>,
    stacks: BTreeMap<u64, Stack>,
    labels: BTreeMap<u64, (Text, LabelValue)>,
    attributes: Vec<u64>,
}

impl<'d, 'a> Reading<'d, 'a> {
    fn new(dictionary: &'d Dictionary<'a>, room: &'d mut Room) -> Self {
        Self {
            dictionary,
            room,
            profile: Profile::new(Vec::new()),
            texts: BTreeMap::new(),
            frames: Vec::new(),
            places: BTreeMap::new(),
            stacks: BTreeMap::new(),
            labels: BTreeMap::new(),
            attributes: Vec::new(),
        }
    }

    fn read(mut self, message: Reader<'a>, resource: &[Attribute<'a>]) -> Result<(LabelsBuilder, Profile), Wrong> {
        let offset = message.offset();
        let head = Head::read(message)?;
        let period = self.begin(&head)?;
        let labels = self.series_labels(resource, &head.attributes, offset)?;
        let mut fields = message;
        while let Some(field) = fields.field()? {
            if field.number == 2 {
                self.room.entry(field.offset)?;
                self.sample(field.message()?, period)?;
            }
        }
        self.room.stacks(self.profile.stacks().len(), offset)?;
        Ok((labels, self.profile))
    }

    /// Types and times; gives how much time a sample stands for, where that is a column of its own.
    fn begin(&mut self, head: &Head) -> Result<Option<i64>, Wrong> {
        let (counted, period_type) = (self.named(head.sample_type)?, self.named(head.period_type)?);
        if counted.kind.is_empty() {
            return Err(Wrong::Profile("it does not say what it counts".to_owned()));
        }
        let is_sampled = counted == ValueType::new("samples", "count");
        let is_time = period_type == ValueType::new("cpu", "nanoseconds") && 0 < head.period;
        let period = (is_sampled && is_time).then_some(head.period);
        let types = if period.is_some() { vec![counted, period_type.clone()] } else { vec![counted] };
        self.profile = Profile::new(types);
        self.profile.started_ns = i64::try_from(head.started_ns).unwrap_or(i64::MAX);
        self.profile.duration_ns = i64::try_from(head.duration_ns).unwrap_or(i64::MAX);
        (self.profile.period_type, self.profile.period) = (period_type, head.period);
        Ok(period)
    }

    fn named(&mut self, (kind, unit): (u64, u64)) -> Result<ValueType, Wrong> {
        let (kind, unit) = (self.dictionary.text(kind)?, self.dictionary.text(unit)?);
        self.room.text(kind.len() + unit.len(), 0)?;
        Ok(ValueType::new(&kind, &unit))
    }

    /// Attributes of the resource, and over them those of the profile.
    fn series_labels(
        &mut self,
        resource: &[Attribute<'a>],
        own: &[u64],
        offset: usize,
    ) -> Result<LabelsBuilder, Wrong> {
        let mut labels = LabelsBuilder::default();
        for (key, value) in resource {
            self.series_label(&mut labels, key, value, offset)?;
        }
        for index in own {
            let attribute = self.dictionary.attribute(*index)?;
            let (key, value) = (self.dictionary.text(attribute.key)?, self.dictionary.value_text(&attribute.value)?);
            self.series_label(&mut labels, &key, &value, offset)?;
        }
        Ok(labels)
    }

    fn series_label(&mut self, labels: &mut LabelsBuilder, key: &str, value: &str, offset: usize) -> Result<(), Wrong> {
        self.room.entry(offset)?;
        self.room.text(key.len() + value.len(), offset)?;
        let name = label_name(key, Strategy::default(), LabelNaming::default());
        // What a series is called follows from what is counted.
        if let Some(name) = name.filter(|name| *name != METRIC_NAME) {
            labels.set(&name, value);
        }
        Ok(())
    }

    fn sample(&mut self, mut message: Reader<'a>, period: Option<i64>) -> Result<(), Wrong> {
        let offset = message.offset();
        let (mut stack, mut sum, mut values, mut instants) = (0, 0_i64, 0_u64, 0_u64);
        let mut attributes = std::mem::take(&mut self.attributes);
        attributes.clear();
        while let Some(field) = message.field()? {
            match field.number {
                1 => stack = field.uint()?,
                2 => indices(&mut attributes, |push| field.uints(push))?,
                4 => field.uints(|value| {
                    sum = sum.saturating_add(value as i64);
                    values += 1;
                })?,
                5 => field.fixed64s(|_| instants += 1)?,
                _ => {}
            }
        }
        if values == 0 && instants == 0 {
            return Err(Wrong::Profile(format!("byte {offset}: a sample without values and instants")));
        }
        if values != 0 && instants != 0 && values != instants {
            return Err(Wrong::Profile(format!("byte {offset}: a sample has {values} values for {instants} instants")));
        }
        if values == 0 {
            // Each instant is one.
            sum = i64::try_from(instants).unwrap_or(i64::MAX);
        }
        let stack = self.stack(stack, offset)?;
        let labels = self.sample_labels(&attributes, offset)?;
        self.attributes = attributes;
        match period {
            Some(period) => self.profile.add(stack, labels, &[sum, sum.saturating_mul(period)]),
            None => self.profile.add(stack, labels, &[sum]),
        }
        Ok(())
    }

    fn sample_labels(&mut self, attributes: &[u64], offset: usize) -> Result<LabelSet, Wrong> {
        if attributes.is_empty() {
            return Ok(LabelSet::NONE);
        }
        let mut labels = Vec::with_capacity(attributes.len());
        for index in attributes {
            self.room.entry(offset)?;
            labels.push(self.label(*index, offset)?);
        }
        Ok(self.profile.intern_labels(labels))
    }

    fn label(&mut self, index: u64, offset: usize) -> Result<(Text, LabelValue), Wrong> {
        if let Some(label) = self.labels.get(&index) {
            return Ok(*label);
        }
        let dictionary = self.dictionary;
        let attribute = dictionary.attribute(index)?;
        let key = self.text(attribute.key, offset)?;
        let value = match &attribute.value {
            RawValue::Number(value) => LabelValue::Number { value: *value, unit: self.text(attribute.unit, offset)? },
            RawValue::Text(text) => LabelValue::Text(self.text(*text, offset)?),
            RawValue::Own(text) => {
                self.room.text(text.len(), offset)?;
                LabelValue::Text(self.profile.intern(text))
            }
        };
        self.labels.insert(index, (key, value));
        Ok((key, value))
    }

    fn text(&mut self, index: u64, offset: usize) -> Result<Text, Wrong> {
        if let Some(text) = self.texts.get(&index) {
            return Ok(*text);
        }
        let text = self.dictionary.text(index)?;
        self.room.text(text.len(), offset)?;
        let text = self.profile.intern(&text);
        self.texts.insert(index, text);
        Ok(text)
    }

    /// The message has the innermost location first; the trie grows from the outermost.
    fn stack(&mut self, index: u64, offset: usize) -> Result<Stack, Wrong> {
        if let Some(stack) = self.stacks.get(&index) {
            return Ok(*stack);
        }
        let mut locations = Vec::new();
        if let Some(mut message) = self.dictionary.stack(index)? {
            while let Some(field) = message.field()? {
                // One that means nothing is looked at as well, again by each profile that has the stack.
                self.room.walk(1, field.offset)?;
                if field.number == 1 {
                    let mut all = 0;
                    field.uints(|location| {
                        all += 1;
                        // A limit of frames is one of locations; what goes beyond is refused below.
                        if self.room.stack(locations.len(), 0).is_ok() {
                            locations.push(location);
                        }
                    })?;
                    self.room.walk(all, field.offset)?;
                }
            }
        }
        let (mut stack, mut depth) = (Stack::EMPTY, 0);
        // Location 0 is none.
        for location in locations.iter().rev().filter(|location| **location != 0) {
            let range = self.place(*location, offset)?;
            depth += range.len();
            self.room.stack(depth, offset)?;
            self.room.walk(range.len(), offset)?;
            for frame in self.frames.get(range).unwrap_or_default() {
                stack = self.profile.push_frame(stack, *frame);
            }
        }
        if self.room.stacks_left() < self.profile.stacks().len() {
            self.room.stacks(self.profile.stacks().len(), offset)?;
        }
        self.stacks.insert(index, stack);
        Ok(stack)
    }

    /// Frames of a location, from the outermost inwards, by their places in the list.
    fn place(&mut self, index: u64, offset: usize) -> Result<Range<usize>, Wrong> {
        if let Some(range) = self.places.get(&index) {
            return Ok(range.clone());
        }
        let dictionary = self.dictionary;
        let location = dictionary.location_at(index)?;
        let mapping = dictionary.mapping(location.mapping)?;
        let module = self.text(mapping.file, offset)?;
        let (lines, from) = (dictionary.lines(location), self.frames.len());
        self.room.stack(lines.len(), offset)?;
        self.room.walk(lines.len(), offset)?;
        // Taken out for as long as texts are looked up.
        let mut frames = std::mem::take(&mut self.frames);
        let named = |index| {
            let function = dictionary.function(index)?;
            let name = self.text(function.name, offset)?;
            Ok::<_, Wrong>((name, if name == Text::EMPTY { name } else { self.text(function.file, offset)? }))
        };
        push_place(Place { module, address: mapping.place_of(location.address), lines }, named, &mut frames)?;
        self.frames = frames;
        let range = from..self.frames.len();
        self.places.insert(index, range.clone());
        Ok(range)
    }
}
