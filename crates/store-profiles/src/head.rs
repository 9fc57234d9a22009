//! Profiles in memory: a shard for each two hours, in it symbols once for each service and series with their pages.
//!
//! A question takes the services it wants as they are and reads them without a lock. What is pushed meanwhile changes a copy
//! of its service, once a question, and pages that are full are shared by both.
//!
//! Not here: the log, objects, time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use homeostat_model::profile::Profile;
use homeostat_profile::Translation;
use homeostat_store_wal::Ticket;
use homeostat_wire::profiles::{Rows, Subject, put_entry, symbols_bytes_max};

use crate::{
    limits::{FOOTER_BYTES_FULL, LABELS_BYTES_MAX, PAGE_BYTES, SYMBOLS_BYTES_MAX},
    names::{BlockName, shard_of},
};

/// The label that says whose profile it is.
pub(crate) const SERVICE: &str = "service_name";

/// What a stack, a frame, a text cost in memory, roughly and with their tables.
const STACK_BYTES: usize = 40;
const FRAME_BYTES: usize = 80;
const TEXT_BYTES: usize = 100;
/// The same for a set of labels of samples, which is there twice, and for each label in it.
const LABEL_SET_BYTES: usize = 120;
const LABEL_BYTES: usize = 64;

/// What a service, a series, a page and a run of records need in a footer beside their texts, at most.
const FOOTER_SERVICE: usize = 64;
const FOOTER_SERIES: usize = 64;
const FOOTER_PAGE: usize = 64;
const FOOTER_RUN: usize = 20;

/// All profiles of two hours that are in no object yet.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) start_ms: i64,
    /// When its first profile came.
    pub(crate) opened_ms: i64,
    pub(crate) partitions: BTreeMap<String, Arc<Partition>>,
    /// Numbers of their records in the log, ascending.
    pub(crate) records: Vec<u64>,
    /// Of the last one.
    pub(crate) ticket: Option<Ticket>,
    series: usize,
    bytes: usize,
    /// What its footer will take, at most.
    footer_bytes: usize,
}

/// One service.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    /// Texts, frames, stacks and labels; it has no rows.
    pub(crate) symbols: Profile,
    pub(crate) series: HashMap<Subject, Series>,
}

/// One series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) pages: Vec<Arc<Page>>,
}

/// Some profiles of a series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) bytes: Vec<u8>,
    pub(crate) min_ns: i64,
    pub(crate) max_ns: i64,
    pub(crate) profiles: u64,
    last_ns: i64,
}

impl Shard {
    pub(crate) fn new(start_ms: i64, opened_ms: i64) -> Self {
        let (partitions, records) = (BTreeMap::new(), Vec::new());
        Self { start_ms, opened_ms, partitions, records, ticket: None, series: 0, bytes: 0, footer_bytes: 0 }
    }

    /// Memory that it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The name of its object, which its records make; `None` when it holds nothing.
    pub(crate) fn name(&self, log: u64) -> Option<BlockName> {
        let (first, last) = (*self.records.first()?, *self.records.last()?);
        Some(BlockName { start_ms: self.start_ms, log, first, last })
    }

    /// Series that it has.
    pub(crate) fn series(&self) -> usize {
        self.series
    }

    /// Returns true for a series that it has.
    pub(crate) fn has(&self, subject: &Subject) -> bool {
        let partition = self.partitions.get(subject.labels.value(SERVICE));
        partition.is_some_and(|partition| partition.series.contains_key(subject))
    }

    /// Returns true when the object that it becomes can still be read after one more profile with so many bytes of symbols.
    pub(crate) fn fits(&self, subject: &Subject, symbols_bytes: usize) -> bool {
        let partition = self.partitions.get(subject.labels.value(SERVICE));
        let there = partition.map_or(0, |partition| symbols_bytes_max(&partition.symbols));
        there + symbols_bytes <= SYMBOLS_BYTES_MAX && self.footer_bytes + 2 * LABELS_BYTES_MAX <= FOOTER_BYTES_FULL
    }

    /// Takes a profile, which is record `record` of the log.
    pub(crate) fn add(&mut self, record: u64, subject: Subject, profile: &Profile) {
        let service = subject.labels.value(SERVICE);
        if !self.partitions.contains_key(service) {
            self.footer_bytes += FOOTER_SERVICE + service.len();
        }
        let partition = self.partitions.entry(service.to_owned()).or_insert_with(|| Arc::new(Partition::new()));
        let partition = Arc::make_mut(partition);
        let before = partition.memory_bytes();
        let rows = partition.rows(profile);
        let mut grown = partition.memory_bytes() - before;
        let (series, footer_bytes) = (&mut self.series, &mut self.footer_bytes);
        let pages = &mut partition
            .series
            .entry(subject)
            .or_insert_with_key(|subject| {
                *series += 1;
                *footer_bytes += FOOTER_SERIES + subject.bytes();
                grown += subject.bytes() + size_of::<Subject>() + size_of::<Series>();
                Series::default()
            })
            .pages;
        if pages.last().is_none_or(|page| PAGE_BYTES <= page.bytes.len()) {
            *footer_bytes += FOOTER_PAGE;
            grown += size_of::<Page>();
            pages.push(Arc::new(Page { min_ns: i64::MAX, max_ns: i64::MIN, ..Page::default() }));
        }
        if let Some(page) = pages.last_mut().map(Arc::make_mut) {
            let before = page.bytes.len();
            page.add(profile, &rows);
            grown += page.bytes.len() - before;
        }
        self.bytes += grown + size_of::<u64>();
        if self.records.last().is_none_or(|last| last + 1 != record) {
            self.footer_bytes += FOOTER_RUN;
        }
        self.records.push(record);
    }
}

impl Partition {
    fn new() -> Self {
        Self { symbols: Profile::new(Vec::new()), series: HashMap::new() }
    }

    /// Memory of its symbols, roughly.
    fn memory_bytes(&self) -> usize {
        let (stacks, texts) = (self.symbols.stacks(), self.symbols.strings());
        let labels = self.symbols.label_sets().len() * LABEL_SET_BYTES + self.symbols.label_pairs() * LABEL_BYTES;
        let texts = texts.len() * TEXT_BYTES + texts.bytes();
        stacks.len() * STACK_BYTES + stacks.frames().len() * FRAME_BYTES + texts + labels
    }

    /// A profile's rows in the numbers of this partition, whose symbols grow by what was not known.
    fn rows(&mut self, profile: &Profile) -> Rows {
        let mut translation = Translation::new(profile, &mut self.symbols, |_| true);
        let mut rows = Vec::with_capacity(profile.rows().len());
        for row in profile.rows() {
            let labels = translation.labels(row.labels, &mut self.symbols);
            // Tables count in 32 bits.
            rows.push((translation.stack(row.stack).index() as u32, labels.index() as u32, row.values));
        }
        Rows::sorted(rows, profile.types().len())
    }
}

impl Page {
    fn add(&mut self, profile: &Profile, rows: &Rows) {
        put_entry(self.last_ns, profile.started_ns, profile.duration_ns, rows, &mut self.bytes);
        self.last_ns = profile.started_ns;
        self.min_ns = self.min_ns.min(profile.started_ns);
        self.max_ns = self.max_ns.max(profile.started_ns);
        self.profiles += 1;
    }
}

/// The shard that a profile belongs to.
pub(crate) const fn shard_of_profile(profile: &Profile) -> i64 {
    shard_of(profile.started_ns / 1_000_000)
}

#[cfg(test)]
mod tests {
    use homeostat_model::{
        Labels,
        profile::{LabelSet, LabelValue, Stack, Text, ValueType},
    };

    use super::*;
    use crate::store::State;

    fn profile(started_ns: i64) -> Profile {
        let mut profile = Profile::new(vec![ValueType::new("samples", "count")]);
        profile.started_ns = started_ns;
        profile.add(Stack::EMPTY, LabelSet::NONE, &[1]);
        profile
    }

    fn subject(profile: &Profile) -> Subject {
        Subject::of(Labels::new([(SERVICE, "shop")]), profile)
    }

    #[test]
    fn what_a_question_holds_does_not_change_and_holds_nobody_up() {
        let mut shard = Shard::new(0, 0);
        shard.add(1, subject(&profile(1)), &profile(1));
        let held: Vec<Arc<Partition>> = shard.partitions.values().cloned().collect();
        shard.add(2, subject(&profile(2)), &profile(2));
        let profiles = |partition: &Partition| -> u64 {
            partition.series.values().flat_map(|series| &series.pages).map(|page| page.profiles).sum()
        };
        assert_eq!(held.iter().map(|partition| profiles(partition)).sum::<u64>(), 1);
        assert_eq!(shard.partitions.values().map(|partition| profiles(partition)).sum::<u64>(), 2);
    }

    #[test]
    fn long_texts_label_sets_and_types_count_as_memory() {
        let mut shard = Shard::new(0, 0);
        let mut large = profile(1);
        large.intern(&"x".repeat(50_000));
        let (name, text) = (large.intern("span"), large.intern(&"y".repeat(60_000)));
        for span in 0..1_000 {
            let unit = Text::EMPTY;
            let labels = vec![(name, LabelValue::Text(text)), (text, LabelValue::Number { value: span, unit })];
            let labels = large.intern_labels(labels);
            large.add(Stack::EMPTY, labels, &[1]);
        }
        shard.add(1, subject(&large), &large);
        // Texts that nothing needs are not taken over; a thousand sets of two labels are.
        assert!(60_000 + 1_000 * 200 < shard.bytes(), "{}", shard.bytes());
        let before = shard.bytes();
        let mut typed = profile(2);
        typed.period_type = ValueType::new(&"z".repeat(9_000), "");
        shard.add(2, subject(&typed), &typed);
        assert!(before + 9_000 < shard.bytes());
    }

    #[test]
    fn a_shard_becomes_an_object_before_it_is_too_large_to_be_read() {
        let (mut state, profile) = (State::default(), profile(1));
        let subject = subject(&profile);
        let sizes = |state: &State| (state.open.len(), state.rolling.len());
        state.shard_for(0, &subject, SYMBOLS_BYTES_MAX, 0).add(1, subject.clone(), &profile);
        assert_eq!(sizes(&state), (1, 0));
        state.shard_for(0, &subject, SYMBOLS_BYTES_MAX / 2, 0).add(2, subject.clone(), &profile);
        assert_eq!(sizes(&state), (1, 0));
        state.shard_for(0, &subject, SYMBOLS_BYTES_MAX, 0).add(3, subject.clone(), &profile);
        assert_eq!(sizes(&state), (1, 1));
        // Many series with long labels: the footer.
        for record in 4..4_000 {
            let (number, long) = (record.to_string(), "x".repeat(LABELS_BYTES_MAX - 100));
            let labels = Labels::new([(SERVICE, "shop"), ("long", long.as_str()), ("number", number.as_str())]);
            let subject = Subject::of(labels, &profile);
            state.shard_for(0, &subject, 0, 0).add(record, subject, &profile);
        }
        assert_eq!(sizes(&state), (1, 2));
    }
}
