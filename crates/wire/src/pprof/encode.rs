//! A profile as the message, every table entry once.

use std::collections::BTreeMap;

use homeostat_model::profile::{Frame, LabelValue, Profile, Stack, Text, ValueType};

use crate::protobuf::{put_int, put_message, put_packed_uints, put_text, put_uint};

/// Writes the message, without gzip around it.
pub fn encode(profile: &Profile) -> Vec<u8> {
    let mut writer = Writer::new(profile);
    for value_type in profile.types() {
        writer.value_type(1, value_type);
    }
    let mut locations = Vec::new();
    for row in profile.rows() {
        writer.locations_of(row.stack, &mut locations);
        let labels: Vec<_> = profile.labels(row.labels).iter().map(|label| writer.label(*label)).collect();
        put_message(2, &mut writer.out, |out| {
            put_packed_uints(1, locations.iter().copied(), out);
            put_packed_uints(2, row.values.iter().map(|value| *value as u64), out);
            for (name, text, number, unit) in labels {
                put_message(3, out, |out| {
                    put_uint(1, name, out);
                    if text != 0 {
                        put_uint(2, text, out);
                    }
                    if number != 0 {
                        put_int(3, number, out);
                    }
                    if unit != 0 {
                        put_uint(4, unit, out);
                    }
                });
            }
        });
    }
    writer.finish()
}

/// Texts of the message; its table begins with the empty one.
#[derive(Debug)]
struct Texts<'a> {
    ids: BTreeMap<&'a str, u64>,
    list: Vec<&'a str>,
}

impl Default for Texts<'_> {
    fn default() -> Self {
        Self { ids: [("", 0)].into(), list: vec![""] }
    }
}

impl<'a> Texts<'a> {
    fn id(&mut self, text: &'a str) -> u64 {
        *self.ids.entry(text).or_insert_with(|| {
            self.list.push(text);
            self.list.len() as u64 - 1
        })
    }
}

struct Writer<'a> {
    profile: &'a Profile,
    out: Vec<u8>,
    texts: Texts<'a>,
    /// Frames of one place, innermost first, as their indexes.
    locations: BTreeMap<Box<[usize]>, u64>,
    functions: BTreeMap<(Text, Text), u64>,
    mappings: BTreeMap<Text, u64>,
    group: Vec<usize>,
}

impl<'a> Writer<'a> {
    fn new(profile: &'a Profile) -> Self {
        Self {
            profile,
            out: Vec::new(),
            texts: Texts::default(),
            locations: BTreeMap::new(),
            functions: BTreeMap::new(),
            mappings: BTreeMap::new(),
            group: Vec::new(),
        }
    }

    fn value_type(&mut self, field: u32, value_type: &'a ValueType) {
        let (kind, unit) = (self.texts.id(&value_type.kind), self.texts.id(&value_type.unit));
        put_message(field, &mut self.out, |out| {
            put_uint(1, kind, out);
            put_uint(2, unit, out);
        });
    }

    /// Ids of a stack's places, innermost first. Inlined frames share the place of the frame they were put into.
    fn locations_of(&mut self, stack: Stack, ids: &mut Vec<u64>) {
        ids.clear();
        let stacks = self.profile.stacks();
        let mut at = stack;
        while let Some(index) = stacks.frame_index(at) {
            self.group.push(index);
            let is_inlined = stacks.frame(at).is_some_and(|frame| frame.inlined);
            at = stacks.parent(at);
            if !is_inlined || at == Stack::EMPTY {
                let group = std::mem::take(&mut self.group).into_boxed_slice();
                ids.push(self.location(group));
            }
        }
    }

    fn location(&mut self, group: Box<[usize]>) -> u64 {
        if let Some(id) = self.locations.get(&group) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        let frames: Vec<Frame> =
            group.iter().filter_map(|index| self.profile.stacks().frames().get(*index)).copied().collect();
        let module = frames.last().map_or(Text::EMPTY, |frame| frame.module);
        let address = frames.last().map_or(0, |frame| frame.address);
        let mapping = self.mapping(module);
        // A place whose only frame has no name has no lines at all.
        let is_unknown = matches!(frames.as_slice(), [frame] if frame.function == Text::EMPTY);
        let lines: Vec<(u64, u32)> =
            frames.iter().filter(|_| !is_unknown).map(|frame| (self.function(frame), frame.line)).collect();
        put_message(4, &mut self.out, |out| {
            put_uint(1, id, out);
            if mapping != 0 {
                put_uint(2, mapping, out);
            }
            if address != 0 {
                put_uint(3, address, out);
            }
            for (function, line) in lines {
                put_message(4, out, |out| {
                    if function != 0 {
                        put_uint(1, function, out);
                    }
                    put_uint(2, u64::from(line), out);
                });
            }
        });
        self.locations.insert(group, id);
        id
    }

    fn function(&mut self, frame: &Frame) -> u64 {
        if frame.function == Text::EMPTY {
            return 0;
        }
        let next = self.functions.len() as u64 + 1;
        let id = *self.functions.entry((frame.function, frame.file)).or_insert(next);
        if id == next {
            let name = self.texts.id(self.profile.text(frame.function));
            let file = self.texts.id(self.profile.text(frame.file));
            put_message(5, &mut self.out, |out| {
                put_uint(1, id, out);
                put_uint(2, name, out);
                put_uint(3, name, out);
                put_uint(4, file, out);
            });
        }
        id
    }

    /// Modules are written as if they began at address 0: the addresses of frames are places in their files.
    fn mapping(&mut self, module: Text) -> u64 {
        if module == Text::EMPTY {
            return 0;
        }
        let next = self.mappings.len() as u64 + 1;
        let id = *self.mappings.entry(module).or_insert(next);
        if id == next {
            let file = self.texts.id(self.profile.text(module));
            put_message(3, &mut self.out, |out| {
                put_uint(1, id, out);
                put_uint(3, u64::MAX, out);
                put_uint(5, file, out);
                // Symbols are known already: tools need not look for the file.
                put_uint(7, 1, out);
            });
        }
        id
    }

    /// Name, text, number and unit.
    fn label(&mut self, (name, value): (Text, LabelValue)) -> (u64, u64, i64, u64) {
        let name = self.texts.id(self.profile.text(name));
        match value {
            LabelValue::Text(text) => (name, self.texts.id(self.profile.text(text)), 0, 0),
            LabelValue::Number { value, unit } => (name, 0, value, self.texts.id(self.profile.text(unit))),
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let profile = self.profile;
        put_int(9, profile.started_ns, &mut self.out);
        put_int(10, profile.duration_ns, &mut self.out);
        self.value_type(11, &profile.period_type);
        put_int(12, profile.period, &mut self.out);
        if let Some(default) = profile.types().get(profile.default_type()) {
            let kind = self.texts.id(&default.kind);
            put_uint(14, kind, &mut self.out);
        }
        for text in &self.texts.list {
            put_text(6, text, &mut self.out);
        }
        self.out
    }
}
