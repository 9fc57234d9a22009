//! Profiles in memory: a shard for each two hours, in it symbols once for each service and series with their pages.
//!
//! Not here: the log, objects, time.

use std::collections::{BTreeMap, HashMap};

use homeostat_model::{
    Labels,
    profile::{LabelSet, Profile, Stack},
};
use homeostat_profile::Translation;
use homeostat_store_wal::Ticket;
use homeostat_wire::profiles::{Rows, Subject, put_entry};

use crate::{
    error::NotStored,
    limits::{PAGE_BYTES, SERIES_MAX},
    names::shard_of,
};

/// The label that says whose profile it is.
pub(crate) const SERVICE: &str = "service_name";

/// What a stack, a frame, a text cost in memory, roughly and with their tables.
const STACK_BYTES: usize = 40;
const FRAME_BYTES: usize = 80;
const TEXT_BYTES: usize = 100;

/// All profiles of two hours that are in no object yet.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) start_ms: i64,
    /// When its first profile came.
    pub(crate) opened_ms: i64,
    pub(crate) partitions: BTreeMap<String, Partition>,
    /// Numbers of their records in the log, ascending.
    pub(crate) records: Vec<u64>,
    /// Of the last one.
    pub(crate) ticket: Option<Ticket>,
    series: usize,
    bytes: usize,
}

/// One service.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Texts, frames, stacks and labels; it has no rows.
    pub(crate) symbols: Profile,
    pub(crate) series: HashMap<Subject, Series>,
}

/// One series.
#[derive(Debug, Default)]
pub(crate) struct Series {
    pub(crate) pages: Vec<Page>,
}

/// Some profiles of a series.
#[derive(Debug, Default)]
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
        Self { start_ms, opened_ms, partitions, records, ticket: None, series: 0, bytes: 0 }
    }

    /// Memory that it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Says beforehand whether [`Self::add`] would find room for a series.
    pub(crate) fn check(&self, subject: &Subject) -> Result<(), NotStored> {
        let partition = self.partitions.get(subject.labels.value(SERVICE));
        let known = partition.is_some_and(|partition| partition.series.contains_key(subject));
        if known || self.series < SERIES_MAX { Ok(()) } else { Err(NotStored::Series { limit: SERIES_MAX }) }
    }

    /// Takes a profile, which is record `record` of the log.
    pub(crate) fn add(&mut self, record: u64, subject: Subject, profile: &Profile) {
        let service = subject.labels.value(SERVICE);
        let partition = match self.partitions.get_mut(service) {
            Some(partition) => partition,
            None => self.partitions.entry(service.to_owned()).or_insert_with(Partition::new),
        };
        let before = partition.symbol_bytes();
        let rows = partition.rows(profile);
        let mut grown = partition.symbol_bytes() - before;
        let series = &mut self.series;
        let pages = &mut partition
            .series
            .entry(subject)
            .or_insert_with_key(|subject| {
                *series += 1;
                grown += subject.labels.heap_bytes() + size_of::<Subject>() + size_of::<Series>();
                Series::default()
            })
            .pages;
        if pages.last().is_none_or(|page| PAGE_BYTES <= page.bytes.len()) {
            pages.push(Page { min_ns: i64::MAX, max_ns: i64::MIN, ..Page::default() });
        }
        if let Some(page) = pages.last_mut() {
            let before = page.bytes.len();
            page.add(profile, &rows);
            grown += page.bytes.len() - before;
        }
        self.bytes += grown;
        self.records.push(record);
    }
}

impl Partition {
    fn new() -> Self {
        Self { symbols: Profile::new(Vec::new()), series: HashMap::new() }
    }

    fn symbol_bytes(&self) -> usize {
        let (stacks, texts) = (self.symbols.stacks(), self.symbols.strings().len());
        stacks.len() * STACK_BYTES + stacks.frames().len() * FRAME_BYTES + texts * TEXT_BYTES
    }

    /// A profile's rows in the numbers of this partition, whose symbols grow by what was not known.
    fn rows(&mut self, profile: &Profile) -> Rows {
        let mut translation = Translation::new(profile, &mut self.symbols, |_| true);
        let mut sorted: Vec<(Stack, LabelSet, &[i64])> = Vec::with_capacity(profile.rows().len());
        for row in profile.rows() {
            let labels = translation.labels(row.labels, &mut self.symbols);
            sorted.push((translation.stack(row.stack), labels, row.values));
        }
        sorted.sort_unstable_by_key(|(stack, labels, _)| (*stack, *labels));
        let column = |index: usize| sorted.iter().map(|row| row.2.get(index).copied().unwrap_or(0)).collect();
        Rows {
            // Tables count in 32 bits.
            stacks: sorted.iter().map(|row| row.0.index() as u32).collect(),
            labels: sorted.iter().map(|row| row.1.index() as u32).collect(),
            columns: (0..profile.types().len()).map(column).collect(),
        }
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

/// What the profiles of a series have in common with this one.
pub(crate) fn subject_of(labels: Labels, profile: &Profile) -> Subject {
    Subject {
        labels,
        types: profile.types().to_vec(),
        default_type: profile.default_type(),
        period_type: profile.period_type.clone(),
        period: profile.period,
    }
}

/// The shard that a profile belongs to.
pub(crate) const fn shard_of_profile(profile: &Profile) -> i64 {
    shard_of(profile.started_ns / 1_000_000)
}
