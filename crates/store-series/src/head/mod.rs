//! The head: all series that are being written, their newest samples, and the index over them.
//!
//! A sample's way is short: hash of the packed labels, one probe of the table, one comparison of the labels, a few bytes
//! at the end of a page. Steps run over a whole batch one after the other, because then the processor waits for many
//! lines of memory at once instead of for one after the other.
//!
//! Not here: the log and locks (`store`), reading (`snapshot`).
//! Invariants: series are numbered from 0 without a gap, in order of their creation; a series is in the table, in the
//! index, and in the list, or in none of them.

mod append;
mod flush;
mod index;
mod late;
mod page;
mod ranks;
mod starts;
mod view;

use std::{borrow::Cow, collections::HashMap, hash::BuildHasher, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use homeostat_model::{Histogram, Labels, TimeMs};
use homeostat_promql::SourceError;

pub(crate) use self::{flush::Frozen, page::Page};
pub(crate) use self::{
    index::{Index, Name, Value},
    view::{HeadSeries, HeadView},
};
use self::{
    late::Late,
    page::{NO_PAGE, Pages, Tail},
    ranks::Ranks,
    starts::{Changes, NO_STARTS, Newest},
};
use crate::{
    report::Reason,
    select::{Lookup, Marks},
};

/// Bytes of the fixed part of a series; with labels of 250 bytes, ten entries in the index and a page it comes to about
/// half a kilobyte.
pub(crate) const SERIES_BYTES: usize = 96;
const _: () = assert!(size_of::<Series>() <= SERIES_BYTES);

/// One series.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    /// Time of its newest sample, whatever its kind.
    pub(crate) newest_t: TimeMs,
    tail: Tail,
    /// The page with its newest float.
    page: u32,
    /// The page with its newest float of earlier generations, once it has been written in this one.
    frozen: u32,
    /// The generation in which it was written last.
    written: u32,
    /// Its place among those with starts, once one of its samples had one.
    starts: u32,
    /// What the log calls it.
    log_ref: u64,
    /// The generation of the log in which its labels stand.
    generation: u32,
    state: State,
}

/// What the newest sample of a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is none.
    Empty,
    Float,
    Histogram,
}

/// An entry of the table: enough to recognise a series without touching it.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    id: u32,
}

/// All series that are being written.
#[derive(Debug)]
pub(crate) struct Head {
    series: Vec<Series>,
    table: HashTable<Slot>,
    index: Index,
    pages: Pages,
    newest_starts: Newest,
    /// What came in this generation.
    active: Part,
    /// What came before and is on its way into a block.
    frozen: Part,
    /// The newest histogram of series whose histograms are all in blocks.
    last_histograms: HashMap<u32, (TimeMs, Arc<Histogram>)>,
    /// Counts how often what is there was frozen. Labels that the log got in earlier generations may be gone from it.
    generation: u32,
    /// The generation that began with the latest flush that is complete.
    flushed: u32,
    next_ref: u64,
    ranks: Ranks,
    /// Time of the newest sample of all.
    newest_t: Option<TimeMs>,
    created: u64,
}

/// Samples of one or more generations, but for floats in order, which lie in pages.
#[derive(Debug, Default)]
struct Part {
    /// Histograms of series that have some, in order of time.
    histograms: HashMap<u32, Vec<(TimeMs, Arc<Histogram>)>>,
    /// Bytes of the histograms, about.
    histogram_bytes: usize,
    late: HashMap<u32, Late>,
    /// Since when samples in order count.
    starts: Changes,
    /// Times of the oldest and the newest sample, floats included.
    span: Option<(TimeMs, TimeMs)>,
    /// The number of all samples, floats included.
    samples: u64,
}

/// What may be accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) series_max: usize,
    pub(crate) window_ms: i64,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            series: Vec::new(),
            table: HashTable::new(),
            index: Index::default(),
            pages: Pages::default(),
            newest_starts: Newest::default(),
            active: Part::default(),
            frozen: Part::default(),
            last_histograms: HashMap::new(),
            generation: 1,
            flushed: 1,
            next_ref: 1,
            ranks: Ranks::default(),
            newest_t: None,
            created: 0,
        }
    }
}

/// Hashes packed labels for the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelHasher(RandomState);

impl LabelHasher {
    #[inline]
    pub(crate) fn hash(&self, packed: &str) -> u32 {
        self.0.hash_one(packed) as u32
    }
}

/// Spreads 32 bits over the 64 that the table takes its place and its tag from.
#[inline]
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Head {
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Series> {
        self.series.get(id as usize)
    }

    pub(crate) fn newest_t(&self) -> Option<TimeMs> {
        self.newest_t
    }

    pub(crate) fn samples(&self) -> u64 {
        self.active.samples + self.frozen.samples
    }

    pub(crate) fn created(&self) -> u64 {
        self.created
    }

    /// Times of its oldest and its newest sample.
    pub(crate) fn span(&self) -> Option<(TimeMs, TimeMs)> {
        match (self.frozen.span, self.active.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        }
    }

    /// Bytes that its samples take.
    pub(crate) fn sample_bytes(&self) -> usize {
        let starts = self.active.starts.bytes() + self.frozen.starts.bytes();
        self.pages.used_bytes() + self.active.histogram_bytes + self.frozen.histogram_bytes + starts
    }

    /// A series that may be this one: a look at the hash only.
    #[inline]
    fn guess(&self, hash: u32) -> Option<u32> {
        self.table.find(spread(hash), |slot| slot.hash == hash).map(|slot| slot.id)
    }

    #[inline]
    fn is(&self, id: u32, packed: &str) -> bool {
        self.series.get(id as usize).is_some_and(|series| series.labels.as_packed() == packed)
    }

    /// The series with these labels.
    pub(crate) fn find(&self, hash: u32, packed: &str) -> Option<u32> {
        let slot = self.table.find(spread(hash), |slot| slot.hash == hash && self.is(slot.id, packed))?;
        Some(slot.id)
    }

    /// The series with these labels, created if need be.
    fn find_or_create(&mut self, hash: u32, packed: &str, limits: Limits) -> Result<u32, Reason> {
        if let Some(id) = self.find(hash, packed) {
            return Ok(id);
        }
        if limits.series_max.min(NO_PAGE as usize) <= self.series.len() {
            return Err(Reason::SeriesLimit);
        }
        // A batch holds nothing else than sorted labels; the log is checked where it is read.
        let labels = Labels::from_packed(packed).ok_or(Reason::SeriesLimit)?;
        let id = self.series.len() as u32;
        self.index.add(id, &labels);
        self.series.push(Series {
            labels,
            newest_t: TimeMs::MIN,
            tail: Tail::default(),
            page: NO_PAGE,
            frozen: NO_PAGE,
            written: 0,
            starts: NO_STARTS,
            log_ref: 0,
            generation: 0,
            state: State::Empty,
        });
        self.table.insert_unique(spread(hash), Slot { hash, id }, |slot| spread(slot.hash));
        self.created += 1;
        Ok(id)
    }
}

impl Lookup for Head {
    fn series_len(&self) -> usize {
        self.series.len()
    }

    fn list(&self, name: &str, value: &str) -> Result<Cow<'_, [u32]>, SourceError> {
        Ok(Cow::Borrowed(self.index.series(name, value)))
    }

    fn values_len(&self, name: &str) -> Option<usize> {
        self.index.name(name).map(|name| name.values().len())
    }

    fn mark(
        &self,
        name: &str,
        _beginning: &str,
        wanted: &mut dyn FnMut(&str) -> bool,
        marks: &mut Marks,
    ) -> Result<(), SourceError> {
        let values = self.index.name(name).map(Name::values).unwrap_or_default();
        for value in values.iter().filter(|value| wanted(&value.text)) {
            marks.add(&value.series);
        }
        Ok(())
    }

    fn look(&self, series: u32, name: &str, test: &mut dyn FnMut(&str) -> bool) -> Option<bool> {
        Some(test(self.get(series)?.labels.value(name)))
    }
}
