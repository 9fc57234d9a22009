//! Profiles: what was counted, in which stacks.
//!
//! ```text
//! strings   "main.serve" "serve.go" …                      each once
//! frames    {function, file, line, module}                 each once
//! stacks    a trie: node = (parent, frame); node 0 is the empty stack, parents come before their children
//! samples   (stack, labels) -> one number per value type
//! ```
//!
//! Samples of a service share most of each stack with their neighbours, and most functions with each other: the trie
//! holds a stack in four bytes, and everything that walks from leaves to roots is a loop over an array from its end.
//!
//! Not here: file formats (`wire`), sums and differences (`profile`), judgement (`explain-profile`).
//! Invariants: every id is inside its table; a node's parent has a smaller id; `(stack, labels)` is there once.

mod intern;
mod stacks;

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

pub use self::{
    intern::{Strings, Text},
    stacks::{Stack, Stacks},
};

/// What one column of numbers counts, as pprof names it: `cpu` in `nanoseconds`, `alloc_space` in `bytes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueType {
    /// What.
    pub kind: String,
    /// In which unit.
    pub unit: String,
}

impl ValueType {
    /// `kind` counted in `unit`.
    pub fn new(kind: &str, unit: &str) -> Self {
        Self { kind: kind.to_owned(), unit: unit.to_owned() }
    }
}

/// A place in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The function's name; the empty text when nobody knows it.
    pub function: Text,
    /// The file it is in; the empty text when nobody knows it.
    pub file: Text,
    /// Line, from 1; 0 when nobody knows it.
    pub line: u32,
    /// The executable or library; the empty text when nobody knows it.
    pub module: Text,
    /// Where in the module, for frames without a name; 0 for those with one.
    pub address: u64,
    /// The compiler put it into the frame that called it.
    pub inlined: bool,
}

/// A label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LabelValue {
    /// A text.
    Text(Text),
    /// A number and its unit.
    Number {
        /// The number.
        value: i64,
        /// Its unit; may be the empty text.
        unit: Text,
    },
}

/// Labels of a sample, sorted by name, as an id within the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelSet(u32);

impl LabelSet {
    /// No labels.
    pub const NONE: Self = Self(0);

    /// Its place among the profile's sets, from 0 and without gaps.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One row of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Where.
    pub stack: Stack,
    /// Under which labels.
    pub labels: LabelSet,
    /// How much, one number per value type.
    pub values: &'a [i64],
}

/// A profile. See the module for its shape.
#[derive(Clone, Debug)]
pub struct Profile {
    /// When it began, in nanoseconds since 1970; 0 when nobody knows it.
    pub started_ns: i64,
    /// How long it took, in nanoseconds; 0 when nobody knows it.
    pub duration_ns: i64,
    /// What happens once per sample and how often it has to happen for one; kind and unit empty when nobody knows it.
    pub period_type: ValueType,
    /// See `period_type`.
    pub period: i64,
    types: Vec<ValueType>,
    default_type: usize,
    strings: Strings,
    stacks: Stacks,
    label_sets: Vec<Box<[(Text, LabelValue)]>>,
    label_ids: BTreeMap<Box<[(Text, LabelValue)]>, LabelSet>,
    label_pairs: usize,
    rows: HashMap<(Stack, LabelSet), usize, FixedState>,
    keys: Vec<(Stack, LabelSet)>,
    values: Vec<i64>,
}

impl Profile {
    /// An empty profile that counts these things.
    pub fn new(types: Vec<ValueType>) -> Self {
        let none: Box<[(Text, LabelValue)]> = Box::default();
        Self {
            started_ns: 0,
            duration_ns: 0,
            period_type: ValueType::default(),
            period: 0,
            default_type: types.len().saturating_sub(1),
            types,
            strings: Strings::default(),
            stacks: Stacks::default(),
            label_ids: [(none.clone(), LabelSet::NONE)].into(),
            label_sets: vec![none],
            label_pairs: 0,
            rows: HashMap::default(),
            keys: Vec::new(),
            values: Vec::new(),
        }
    }

    /// The same texts, stacks and labels without rows, for counting these things.
    pub fn with_types(self, types: Vec<ValueType>) -> Self {
        let default_type = types.len().saturating_sub(1);
        Self { types, default_type, rows: HashMap::default(), keys: Vec::new(), values: Vec::new(), ..self }
    }

    /// What it counts, one entry per column.
    pub fn types(&self) -> &[ValueType] {
        &self.types
    }

    /// The column that is meant when none is named.
    pub fn default_type(&self) -> usize {
        self.default_type
    }

    /// Says which column is meant when none is named. A column that is not there changes nothing.
    pub fn set_default_type(&mut self, column: usize) {
        if column < self.types.len() {
            self.default_type = column;
        }
    }

    /// The column with this kind; `None` when the profile does not count it.
    pub fn column(&self, kind: &str) -> Option<usize> {
        self.types.iter().position(|value_type| value_type.kind == kind)
    }

    /// The column that counts how often something was met: samples, objects of allocation profiles, goroutines or threads of a
    /// census; the first one of a profile that counts nothing of the kind.
    pub fn samples_column(&self) -> usize {
        let counts = ["samples", "contentions", "alloc_objects", "goroutine", "goroutines", "threads"];
        counts.iter().find_map(|kind| self.column(kind)).unwrap_or(0)
    }

    /// All texts.
    pub fn strings(&self) -> &Strings {
        &self.strings
    }

    /// The text with this id.
    pub fn text(&self, text: Text) -> &str {
        self.strings.get(text)
    }

    /// Keeps a text.
    pub fn intern(&mut self, text: &str) -> Text {
        self.strings.intern(text)
    }

    /// All stacks.
    pub fn stacks(&self) -> &Stacks {
        &self.stacks
    }

    /// Keeps a stack: `frame` called by the innermost frame of `parent`.
    pub fn push_frame(&mut self, parent: Stack, frame: Frame) -> Stack {
        self.stacks.push(parent, frame)
    }

    /// Keeps labels. They are sorted by name here; of two with one name the first in that order stays.
    pub fn intern_labels(&mut self, mut labels: Vec<(Text, LabelValue)>) -> LabelSet {
        labels.sort_unstable_by(|a, b| self.strings.get(a.0).cmp(self.strings.get(b.0)).then(a.1.cmp(&b.1)));
        labels.dedup_by_key(|(name, _)| *name);
        let labels = labels.into_boxed_slice();
        if let Some(id) = self.label_ids.get(&labels) {
            return *id;
        }
        let id = LabelSet(u32::try_from(self.label_sets.len()).unwrap_or(u32::MAX));
        self.label_pairs += labels.len();
        self.label_sets.push(labels.clone());
        self.label_ids.insert(labels, id);
        id
    }

    /// Labels by their id, sorted by name.
    pub fn labels(&self, labels: LabelSet) -> &[(Text, LabelValue)] {
        self.label_sets.get(labels.0 as usize).map_or(&[], |labels| labels)
    }

    /// All sets of labels by id; the first is the empty one.
    pub fn label_sets(&self) -> impl ExactSizeIterator<Item = (LabelSet, &[(Text, LabelValue)])> {
        // The count was checked when the sets were kept.
        self.label_sets.iter().enumerate().map(|(index, labels)| (LabelSet(index as u32), &**labels))
    }

    /// Labels of all sets together.
    pub const fn label_pairs(&self) -> usize {
        self.label_pairs
    }

    /// Adds numbers to a row, column by column; those that are missing count as zero, those beyond are ignored. Sums
    /// saturate at the ends of `i64`.
    pub fn add(&mut self, stack: Stack, labels: LabelSet, values: &[i64]) {
        let columns = self.types.len();
        let row = *self.rows.entry((stack, labels)).or_insert_with(|| {
            self.keys.push((stack, labels));
            self.values.resize(self.values.len() + columns, 0);
            self.keys.len() - 1
        });
        let sums = self.values.get_mut(row * columns..).unwrap_or_default();
        for (sum, value) in sums.iter_mut().take(columns).zip(values) {
            *sum = sum.saturating_add(*value);
        }
    }

    /// Rows in the order in which they were first added.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        let columns = self.types.len();
        self.keys.iter().enumerate().map(move |(row, (stack, labels))| Row {
            stack: *stack,
            labels: *labels,
            values: self.values.get(row * columns..(row + 1) * columns).unwrap_or_default(),
        })
    }

    /// Changes every number.
    pub fn map_values(&mut self, change: impl Fn(i64) -> i64) {
        for value in &mut self.values {
            *value = change(*value);
        }
    }

    /// Keeps the rows for which `keep` says so. Stacks and texts stay, whether a row still needs them or not.
    pub fn retain(&mut self, keep: impl Fn(Row<'_>) -> bool) {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for row in self.rows().filter(|row| keep(*row)) {
            keys.push((row.stack, row.labels));
            values.extend_from_slice(row.values);
        }
        self.rows = keys.iter().enumerate().map(|(index, key)| (*key, index)).collect();
        (self.keys, self.values) = (keys, values);
    }

    /// Sum of a column; 0 for one that is not there.
    pub fn total(&self, column: usize) -> i64 {
        self.rows().filter_map(|row| row.values.get(column).copied()).fold(0, i64::saturating_add)
    }

    /// How a frame is called when it is shown: its function, or its place in its module.
    pub fn frame_name(&self, frame: &Frame) -> String {
        let function = self.text(frame.function);
        if !function.is_empty() {
            return function.to_owned();
        }
        let module = self.text(frame.module);
        let module = module.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown");
        format!("{module}+{:#x}", frame.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(profile: &mut Profile, name: &str) -> Frame {
        let (function, none) = (profile.intern(name), Text::EMPTY);
        Frame { function, file: none, line: 0, module: none, address: 0, inlined: false }
    }

    #[test]
    fn equal_rows_are_one_and_sums_saturate() {
        let mut profile = Profile::new(vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")]);
        let main = frame(&mut profile, "main");
        let stack = profile.push_frame(Stack::EMPTY, main);
        assert_eq!(profile.push_frame(Stack::EMPTY, main), stack);
        profile.add(stack, LabelSet::NONE, &[1, i64::MAX]);
        profile.add(stack, LabelSet::NONE, &[2, 5, 7]);
        profile.add(stack, LabelSet::NONE, &[1]);
        let rows: Vec<_> = profile.rows().collect();
        assert_eq!(rows, [Row { stack, labels: LabelSet::NONE, values: &[4, i64::MAX] }]);
        assert_eq!((profile.total(0), profile.total(9)), (4, 0));
    }

    #[test]
    fn labels_are_sorted_and_kept_once() {
        let mut profile = Profile::new(vec![ValueType::new("samples", "count")]);
        let (a, b, x) = (profile.intern("a"), profile.intern("b"), profile.intern("x"));
        let number = LabelValue::Number { value: 7, unit: Text::EMPTY };
        let one = profile.intern_labels(vec![(b, number), (a, LabelValue::Text(x)), (b, number)]);
        assert_eq!(profile.intern_labels(vec![(a, LabelValue::Text(x)), (b, number)]), one);
        assert_eq!(profile.labels(one).len(), 2);
        assert_eq!(profile.labels(one)[0].0, a);
        assert_eq!(profile.intern_labels(Vec::new()), LabelSet::NONE);
    }

    #[test]
    fn a_frame_without_a_name_is_called_by_its_place() {
        let mut profile = Profile::new(Vec::new());
        let module = profile.intern("/usr/lib/libc.so.6");
        let mut unknown = frame(&mut profile, "");
        unknown.address = 0x1f;
        assert_eq!(profile.frame_name(&unknown), "unknown+0x1f");
        unknown.module = module;
        assert_eq!(profile.frame_name(&unknown), "libc.so.6+0x1f");
    }
}
