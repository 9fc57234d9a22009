//! Reading: the store as one query sees it.
//!
//! A selector looks into the head first and into the blocks afterwards. Samples move the other way, so it meets some of
//! them twice and none not at all; the merge leaves doubles out.
//!
//! Not here: evaluation (`promql`), matchers (`select`).

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, TryLockError},
};

use homeostat_model::{Labels, SampleRun, TimeMs};
use homeostat_promql::{Matcher, Select, SelectedSeries, SeriesSource, SourceError, Windows};
use homeostat_wire::series::series_page::Slots;

use crate::{
    block::{Block, BlockError, ChunkReader, LabelReader, SeriesChunks},
    catalog::LiveBlock,
    exemplar::SeriesExemplars,
    head::{Head, HeadSeries, HeadView},
    merge::{Merge, Runs, without},
    select::select,
    sieve::Sieve,
    store::Shared,
};

/// The store for one query.
#[derive(Clone, Debug)]
pub struct Snapshot {
    shared: Arc<Shared>,
}

/// What a question about labels or series covers.
#[derive(Clone, Copy, Debug)]
pub struct LabelQuery<'a> {
    /// Series that meet all matchers of one of the sets; without a set all series.
    pub sets: &'a [&'a [Matcher]],
    /// First instant, inclusive.
    pub start_ms: TimeMs,
    /// Last instant, inclusive.
    pub end_ms: TimeMs,
    /// Entries of the answer at most.
    pub limit: usize,
}

impl Default for LabelQuery<'_> {
    fn default() -> Self {
        Self { sets: &[], start_ms: TimeMs::MIN, end_ms: TimeMs::MAX, limit: usize::MAX }
    }
}

const EVERYTHING: &[&[Matcher]] = &[&[]];

impl<'a> LabelQuery<'a> {
    fn sets(&self) -> &'a [&'a [Matcher]] {
        if self.sets.is_empty() { EVERYTHING } else { self.sets }
    }

    /// Returns true when an index that covers `span` can answer without a look at its series.
    fn covers(&self, span: Option<(TimeMs, TimeMs)>) -> bool {
        self.sets.is_empty() && span.is_none_or(|(min, max)| self.start_ms <= min && max <= self.end_ms)
    }
}

impl Snapshot {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Names of the labels of all series that the question covers, sorted.
    pub fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<String>, SourceError> {
        let mut names = BTreeSet::new();
        let mut learn = |name: &str| {
            if !names.contains(name) {
                names.insert(name.to_owned());
            }
        };
        self.in_head(query, |head, everything| {
            if everything {
                head.index().names().iter().for_each(|name| learn(&name.text));
            } else if query.sets.is_empty() {
                let names = head.index().names().iter();
                let seen = names.filter(|name| name.values().iter().any(|value| has_samples(head, value, query)));
                seen.for_each(|name| learn(&name.text));
            } else {
                for_each_in_head(head, query, |labels| labels.iter().for_each(|(name, _)| learn(name)))?;
            }
            Ok(())
        })?;
        for live in self.blocks_of(query) {
            if covers_block(query, &live) {
                for name in live.block.names() {
                    let mut values = 0;
                    live.block.for_each_value(&name.text, |_| values += 1)?;
                    if values > 0 {
                        learn(&name.text);
                    }
                }
            } else if is_plain(query, &live) {
                let slots = live.block.slots_of_pairs()?;
                let within = within(query, &live);
                for name in live.block.names() {
                    let pairs = name.first_pair as usize..(name.first_pair + name.values) as usize;
                    if slots.as_slots().get(pairs).unwrap_or_default().iter().any(&within) {
                        learn(&name.text);
                    }
                }
            } else {
                // Few different pairs have many series: each is looked at once.
                let mut pairs = BTreeSet::new();
                for_each_in_block(&live, query, |_, entry| pairs.extend(entry.iter().copied()))?;
                let reader = LabelReader::new(&live.block);
                for pair in pairs {
                    learn(reader.name_of(pair)?);
                }
            }
        }
        Ok(names.into_iter().take(query.limit).collect())
    }

    /// Values of a label among all series that the question covers, sorted.
    pub fn label_values(&self, name: &str, query: &LabelQuery<'_>) -> Result<Vec<String>, SourceError> {
        let mut values = BTreeSet::new();
        let mut learn = |value: &str| {
            if !values.contains(value) {
                values.insert(value.to_owned());
            }
        };
        self.in_head(query, |head, everything| {
            if everything {
                let known = head.index().name(name).map(crate::head::Name::values).unwrap_or_default();
                for value in known {
                    learn(&value.text);
                }
            } else if query.sets.is_empty() {
                let known = head.index().name(name).map(crate::head::Name::values).unwrap_or_default();
                known.iter().filter(|value| has_samples(head, value, query)).for_each(|value| learn(&value.text));
            } else {
                for_each_in_head(head, query, |labels| labels.get(name).into_iter().for_each(&mut learn))?;
            }
            Ok(())
        })?;
        for live in self.blocks_of(query) {
            if covers_block(query, &live) {
                live.block.for_each_value(name, &mut learn)?;
                continue;
            }
            if is_plain(query, &live) {
                let slots = live.block.slots_of_pairs()?;
                let within = within(query, &live);
                live.block.for_each_numbered_value(name, |pair, value| {
                    if slots.as_slots().get(pair as usize).is_some_and(&within) {
                        learn(value);
                    }
                })?;
                continue;
            }
            let Some(range) = live.block.pairs_of(name) else { continue };
            let mut pairs = BTreeSet::new();
            for_each_in_block(&live, query, |_, entry| {
                pairs.extend(entry.iter().copied().filter(|pair| range.contains(pair)));
            })?;
            let mut reader = LabelReader::new(&live.block);
            for pair in pairs {
                learn(reader.value_of(pair)?);
            }
        }
        Ok(values.into_iter().take(query.limit).collect())
    }

    /// All series that the question covers, sorted.
    pub fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, SourceError> {
        let mut series = Vec::new();
        self.in_head(query, |head, _| for_each_in_head(head, query, |labels| series.push(labels.clone())))?;
        series.sort_unstable();
        for live in self.blocks_of(query) {
            let mut reader = LabelReader::new(&live.block);
            let (mut more, mut failed) = (Vec::new(), None);
            for_each_in_block(&live, query, |_, pairs| match reader.labels(pairs) {
                Ok(labels) => more.push(labels),
                Err(error) => failed = Some(error),
            })?;
            if let Some(error) = failed {
                return Err(error.into());
            }
            series = merge_sorted(series, more);
        }
        series.truncate(query.limit);
        Ok(series)
    }

    /// Exemplars of all series that the question covers, sorted by series; per series in order of time.
    pub fn exemplars(&self, query: &LabelQuery<'_>) -> Vec<SeriesExemplars> {
        let mut found = self.shared.exemplars().select(query.sets(), query.start_ms, query.end_ms);
        found.truncate(query.limit);
        found
    }

    /// Looks into the head, with whether all of its series belong to the answer.
    fn in_head(
        &self,
        query: &LabelQuery<'_>,
        look: impl FnOnce(&Head, bool) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        let head = self.shared.head();
        // Series stay in the head for a while after their samples have moved into blocks: they count as of its time.
        let deleted = self.shared.catalog.live().iter().any(|live| !live.gone.is_empty());
        let everything = !deleted && head.span().is_some() && query.covers(head.span());
        // Without samples in that time no series of the head belongs to the answer.
        let overlaps = head.span().is_some_and(|(min, max)| min <= query.end_ms && query.start_ms <= max);
        if everything || overlaps { look(&head, everything) } else { Ok(()) }
    }

    fn blocks_of(&self, query: &LabelQuery<'_>) -> Vec<LiveBlock> {
        let live = self.shared.catalog.live();
        live.iter().filter(|live| live.block.overlaps(query.start_ms, query.end_ms)).cloned().collect()
    }
}

fn covers_block(query: &LabelQuery<'_>, live: &LiveBlock) -> bool {
    live.gone.is_empty() && query.covers(Some((live.entry.min_ms, live.entry.max_ms)))
}

/// Returns true when the question has no matchers and nothing was deleted from the block: its pairs alone can answer.
fn is_plain(query: &LabelQuery<'_>, live: &LiveBlock) -> bool {
    live.gone.is_empty() && query.sets.is_empty()
}

/// Tells which slots of a block overlap the time of a question.
fn within(query: &LabelQuery<'_>, live: &LiveBlock) -> impl Fn(&(u8, u8)) -> bool + use<> {
    let footer = live.block.footer();
    let slots = Slots::new(footer.min_ms, footer.max_ms);
    let (from, to) = (slots.of(query.start_ms), slots.of(query.end_ms));
    move |(first, last)| first <= last && *first <= to && from <= *last
}

/// Returns true when a series with this label has samples in the time of a question. Mostly the first one has.
fn has_samples(head: &Head, value: &crate::head::Value, query: &LabelQuery<'_>) -> bool {
    value.series.iter().any(|id| head.has_samples(*id, query.start_ms, query.end_ms))
}

fn for_each_in_head(head: &Head, query: &LabelQuery<'_>, mut visit: impl FnMut(&Labels)) -> Result<(), SourceError> {
    for id in chosen(head, query)? {
        if head.has_samples(id, query.start_ms, query.end_ms)
            && let Some(series) = head.get(id)
        {
            visit(&series.labels);
        }
    }
    Ok(())
}

/// Visits series of a block that the question covers, with their pairs, in the order of their labels.
fn for_each_in_block(
    live: &LiveBlock,
    query: &LabelQuery<'_>,
    mut visit: impl FnMut(u32, &[u32]),
) -> Result<(), SourceError> {
    let footer = live.block.footer();
    let slots = Slots::new(footer.min_ms, footer.max_ms);
    let (from, to) = (slots.of(query.start_ms), slots.of(query.end_ms));
    live.block.for_each_series(chosen(&*live.block, query)?, |number, entry| {
        let wholly_gone =
            || live.gone_of(number).iter().any(|(min, max)| *min <= footer.min_ms && footer.max_ms <= *max);
        if entry.slots.0 <= to && from <= entry.slots.1 && !wholly_gone() {
            visit(number, &entry.pairs);
        }
        Ok(())
    })?;
    Ok(())
}

/// Series that meet one of the sets.
fn chosen(index: &impl crate::select::Lookup, query: &LabelQuery<'_>) -> Result<Vec<u32>, SourceError> {
    let mut ids = Vec::new();
    for set in query.sets() {
        ids.extend(select(index, set)?);
    }
    if query.sets.len() > 1 {
        ids.sort_unstable();
        ids.dedup();
    }
    Ok(ids)
}

fn merge_sorted(one: Vec<Labels>, other: Vec<Labels>) -> Vec<Labels> {
    if one.is_empty() {
        return other;
    }
    let mut merged = Vec::with_capacity(one.len().max(other.len()));
    let (mut one, mut other) = (one.into_iter().peekable(), other.into_iter().peekable());
    loop {
        let next = match (one.peek(), other.peek()) {
            (Some(a), Some(b)) => match a.cmp(b) {
                std::cmp::Ordering::Less => one.next(),
                std::cmp::Ordering::Greater => other.next(),
                std::cmp::Ordering::Equal => {
                    other.next();
                    one.next()
                }
            },
            (Some(_), None) => one.next(),
            (None, _) => other.next(),
        };
        match next {
            Some(labels) => merged.push(labels),
            None => return merged,
        }
    }
}

/// Series of one selector that are sorted by comparing without giving it a thought: a millisecond.
const SORTED_BY_HAND_MAX: usize = 500;

/// A series that a selector has found, and where its samples are.
struct Found {
    labels: Labels,
    head: Option<HeadSeries>,
    /// Blocks in the order in which they were written, with the series' number and chunks there.
    blocks: Vec<(Arc<BlockSource>, u32, SeriesChunks)>,
}

/// A block for the length of a query.
struct BlockSource {
    live: LiveBlock,
    readers: Readers,
}

/// Readers of a block's chunks: one for each that reads at a time, as long as there are some left. They are made when they
/// are needed, and those behind the first keep less: all together 960 KiB of columns at most, and a page each.
struct Readers {
    block: Arc<Block>,
    sieve: Option<Sieve>,
    seats: [Mutex<Option<ChunkReader>>; READERS],
}

/// Those who read one block at the same time without waiting.
const READERS: usize = 8;
/// Bytes of columns of times of each reader but the first.
const TIMES_OF_OTHERS_BYTES_MAX: usize = 64 << 10;

impl Readers {
    fn new(block: &Arc<Block>, sieve: Option<Sieve>) -> Self {
        Self { block: Arc::clone(block), sieve, seats: Default::default() }
    }

    /// Reads a chunk with the first reader that nobody uses; when all are used, waits for one that the chunk decides.
    fn read(&self, chunk: u64, start_ms: TimeMs, end_ms: TimeMs) -> Result<Option<SampleRun>, BlockError> {
        let free = self.seats.iter().enumerate().find_map(|(at, seat)| match seat.try_lock() {
            Ok(seat) => Some((at, seat)),
            Err(TryLockError::Poisoned(poisoned)) => Some((at, poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        });
        let waited = || {
            let at = chunk as usize % READERS;
            Some((at, self.seats.get(at)?.lock().unwrap_or_else(PoisonError::into_inner)))
        };
        let Some((at, mut seat)) = free.or_else(waited) else { return Ok(None) };
        let make = || {
            let reader = ChunkReader::new(Arc::clone(&self.block), self.sieve);
            if at == 0 { reader } else { reader.keeping(TIMES_OF_OTHERS_BYTES_MAX) }
        };
        seat.get_or_insert_with(make).read(chunk, start_ms, end_ms)
    }
}

impl SeriesSource for Snapshot {
    fn select<'a>(&'a self, wanted: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        self.chosen(wanted, None)
    }

    fn select_windows<'a>(
        &'a self,
        wanted: &Select<'_>,
        windows: &Windows,
    ) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        self.chosen(wanted, Some(Sieve::new(*windows)))
    }
}

impl Snapshot {
    fn chosen<'a>(&'a self, wanted: &Select<'_>, sieve: Option<Sieve>) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        let (start_ms, end_ms) = (wanted.start_ms, wanted.end_ms);
        let (view, ranked) = {
            let head = self.shared.head();
            let mut ids = select(&*head, wanted.matchers)?;
            if SORTED_BY_HAND_MAX < ids.len() && head.wants_ranks() {
                self.shared.orders.want_ranks();
            }
            let ranked = head.sort_ranked(&mut ids);
            head.view(&ids, ranked, start_ms, end_ms, sieve.as_ref())
        };
        let HeadView { series, pages } = view;
        let series = in_order(series, ranked);
        let in_head =
            |series: HeadSeries| Found { labels: series.labels.clone(), head: Some(series), blocks: Vec::new() };
        let mut found: Vec<Found> = series.into_iter().map(in_head).collect();
        let query = LabelQuery { sets: &[wanted.matchers], start_ms, end_ms, limit: usize::MAX };
        for live in self.blocks_of(&query) {
            found = merge_found(found, in_block(live, &query, sieve)?);
        }
        let open = |found: Found| {
            let labels = found.labels.clone();
            let pages = Arc::clone(&pages);
            // Unpacked when it is asked for, one series after the other.
            let runs = std::iter::once_with(move || found.runs(&pages, start_ms, end_ms, sieve.as_ref())).flatten();
            SelectedSeries { labels, runs: Box::new(runs) }
        };
        Ok(found.into_iter().map(open).collect())
    }
}

/// Series whose first so many are sorted by label already.
fn in_order(mut series: Vec<HeadSeries>, ranked: usize) -> Vec<HeadSeries> {
    let mut others = series.split_off(ranked.min(series.len()));
    if others.is_empty() {
        return series;
    }
    others.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
    if series.is_empty() {
        return others;
    }
    // Few among many: the place of each is searched for.
    let mut merged = Vec::with_capacity(series.len() + others.len());
    let mut rest = series.into_iter();
    for other in others {
        let before = rest.as_slice().partition_point(|series| series.labels < other.labels);
        merged.extend(rest.by_ref().take(before));
        merged.push(other);
    }
    merged.extend(rest);
    merged
}

/// Series of a block that a selector wants, in the order of their labels.
fn in_block(live: LiveBlock, query: &LabelQuery<'_>, sieve: Option<Sieve>) -> Result<Vec<Found>, SourceError> {
    let readers = Readers::new(&live.block, sieve);
    let source = Arc::new(BlockSource { live, readers });
    let block = &source.live.block;
    let footer = block.footer();
    let slots = Slots::new(footer.min_ms, footer.max_ms);
    let (from, to) = (slots.of(query.start_ms), slots.of(query.end_ms));
    let mut labels = LabelReader::new(block);
    let mut found = Vec::new();
    block.for_each_series(chosen(&**block, query)?, |number, entry| {
        if entry.slots.0 <= to && from <= entry.slots.1 {
            let chunks = SeriesChunks { first: entry.first_chunk, count: entry.chunks };
            let labels = labels.labels(&entry.pairs)?;
            found.push(Found { labels, head: None, blocks: vec![(Arc::clone(&source), number, chunks)] });
        }
        Ok(())
    })?;
    Ok(found)
}

fn merge_found(one: Vec<Found>, other: Vec<Found>) -> Vec<Found> {
    if one.is_empty() {
        return other;
    }
    let mut merged = Vec::with_capacity(one.len().max(other.len()));
    let (mut one, mut other) = (one.into_iter().peekable(), other.into_iter().peekable());
    loop {
        let next = match (one.peek(), other.peek()) {
            (Some(a), Some(b)) => match a.labels.cmp(&b.labels) {
                std::cmp::Ordering::Less => one.next(),
                std::cmp::Ordering::Greater => other.next(),
                std::cmp::Ordering::Equal => one.next().map(|mut found| {
                    found.blocks.extend(other.next().into_iter().flat_map(|other| other.blocks));
                    found
                }),
            },
            (Some(_), None) => one.next(),
            (None, _) => other.next(),
        };
        match next {
            Some(found) => merged.push(found),
            None => return merged,
        }
    }
}

impl Found {
    fn runs<'a>(
        self,
        pages: &[crate::head::Page],
        start_ms: TimeMs,
        end_ms: TimeMs,
        sieve: Option<&Sieve>,
    ) -> Runs<'a> {
        let mut sequences: Vec<Runs<'a>> = Vec::new();
        for (source, number, chunks) in self.blocks {
            sequences.push(block_runs(source, number, chunks, start_ms, end_ms));
        }
        let of_head = self.head.map(|head| head.runs(pages, start_ms, end_ms, sieve)).unwrap_or_default();
        sequences.extend(of_head.into_iter().map(|run: SampleRun| Box::new(std::iter::once(Ok(run))) as Runs<'a>));
        Merge::runs(sequences)
    }
}

fn block_runs<'a>(
    source: Arc<BlockSource>,
    number: u32,
    chunks: SeriesChunks,
    start_ms: TimeMs,
    end_ms: TimeMs,
) -> Runs<'a> {
    let gone = source.live.gone_of(number);
    let read = move |chunk| source.readers.read(chunk, start_ms, end_ms).map_err(SourceError::from).transpose();
    let runs = (chunks.first..chunks.first + u64::from(chunks.count)).filter_map(read);
    if gone.is_empty() { Box::new(runs) } else { Box::new(without(runs, gone)) }
}
