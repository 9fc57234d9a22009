//! A whole block read on purpose: every page, every chunk, every list, and whether they agree with each other.
//!
//! A checksum finds what a disk has changed; what is checked beyond finds what a program got wrong. One damaged page
//! hides nothing of the others: each fault is reported with the offset of its page.
//!
//! Not here: the log, the manifest (`verify`), mending (`repair`).

use std::{collections::BTreeMap, ops::Range};

use homeostat_wire::series::{
    Malformed,
    chunk_page::{ChunkKind, decode_times, for_each_chunk, for_each_times},
    dictionary::{List, for_each_value},
    footer::{HEADER_BYTES, TRAILER_BYTES},
    frame::PageRef,
    histograms, postings,
    series_page::{SERIES_PER_PAGE, SeriesReader, Slots},
    starts, values,
};

use super::{Block, BlockError, BlockFault, Parts};

/// Number and times of the samples of a chunk or a column; `None` where it could not be read.
type Span = Option<(usize, i64, i64)>;

/// Some series: how many, and a sum over their numbers that other series would hardly give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Print {
    count: u64,
    sum: u64,
}

impl Print {
    fn add(&mut self, series: u32) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(mixed(series.into()));
    }
}

/// Series between two sums that are kept: a run costs as much to add up at most, however long it is, and the sums of ten
/// million series take 80 kB.
const STRIDE: u32 = 1024;

/// Sums over the numbers of all series before each multiple of [`STRIDE`].
#[derive(Debug)]
struct Sums(Vec<u64>);

impl Sums {
    fn up_to(series: u32) -> Self {
        let mut sums = vec![0];
        let mut print = Print::default();
        for number in 0..series {
            print.add(number);
            if (number + 1).is_multiple_of(STRIDE) {
                sums.push(print.sum);
            }
        }
        Self(sums)
    }

    /// Over all numbers below one, which is not above the number of series.
    fn below(&self, series: u32) -> u64 {
        let kept = self.0.get((series / STRIDE) as usize).copied().unwrap_or_default();
        (series - series % STRIDE..series).fold(kept, |sum, number| sum.wrapping_add(mixed(number.into())))
    }

    /// The print of a list.
    fn of_list(&self, bytes: &[u8], series: u32) -> Result<Print, Malformed> {
        let mut print = Print::default();
        postings::for_each_run(bytes, series, |first, len| {
            print.count += u64::from(len);
            let sum = if len < STRIDE {
                (first..first + len).fold(0_u64, |sum, number| sum.wrapping_add(mixed(number.into())))
            } else {
                self.below(first + len).wrapping_sub(self.below(first))
            };
            print.sum = print.sum.wrapping_add(sum);
        })?;
        Ok(print)
    }
}

/// Spreads a number over 64 bits. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014),
/// the finalizer of SplitMix64.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Looks at a whole block.
pub(super) struct Check<'b> {
    block: &'b Block,
    /// Told how many bytes were read.
    read: &'b mut dyn FnMut(u64),
    report: &'b mut dyn FnMut(BlockError),
    columns: Vec<Span>,
    chunks: Vec<Span>,
    sums: Sums,
    /// For each pair the series that have it, as their pages say; worth nothing once one of them is damaged.
    having: Vec<Print>,
    series_damaged: bool,
    floats: u64,
    histograms: u64,
    /// Lists with a page of their own, each read once: labels that always come together share one.
    lists: BTreeMap<(u64, u32), Option<Print>>,
}

impl Block {
    /// Reads everything; `report` gets each fault, `read` the number of bytes after each page.
    pub(crate) fn check(&self, read: &mut dyn FnMut(u64), report: &mut dyn FnMut(BlockError)) {
        let check = Check {
            block: self,
            read,
            report,
            columns: Vec::new(),
            chunks: Vec::new(),
            sums: Sums::up_to(self.footer.series),
            having: vec![Print::default(); self.footer.pairs as usize],
            series_damaged: false,
            floats: 0,
            histograms: 0,
            lists: BTreeMap::new(),
        };
        check.run();
    }

    /// Bytes of its parts, by what the footer says.
    pub(crate) fn parts(&self) -> Parts {
        let sum = |pages: &[(PageRef, u64)]| pages.iter().map(|(page, _)| u64::from(page.len)).sum();
        let footer = &self.footer;
        let series = footer.series_pages.iter().map(|page| u64::from(page.len)).sum();
        let ends = (HEADER_BYTES + TRAILER_BYTES) as u64 + u64::from(self.footer_at.len) + u64::from(footer.names.len);
        let (values, chunks, times) = (sum(&footer.values), sum(&footer.chunk_pages), sum(&footer.time_pages));
        let lists = self.bytes.saturating_sub(ends + series + values + chunks + times);
        Parts { chunks, times, series, values, lists, names_and_footer: ends }
    }
}

impl Check<'_> {
    fn run(mut self) {
        self.time_pages();
        self.chunk_pages();
        self.series_pages();
        self.values_pages();
        self.coverage();
        let footer = &self.block.footer;
        let counted = (self.floats, self.histograms) == (footer.floats, footer.histograms);
        if self.chunks.iter().all(Option::is_some) && !counted {
            self.say(self.block.footer_at.offset, BlockFault::Contradiction("samples are not as many as its end says"));
        }
    }

    fn say(&mut self, offset: u64, fault: impl Into<BlockFault>) {
        (self.report)(self.block.error(offset, fault));
    }

    /// A page's payload; a fault is reported.
    fn payload(&mut self, at: PageRef) -> Option<Vec<u8>> {
        let payload = self.block.payload(at);
        (self.read)(at.len.into());
        payload.map_err(|error| (self.report)(error)).ok()
    }

    fn time_pages(&mut self) {
        let footer = &self.block.footer;
        self.columns = vec![None; footer.times as usize];
        let mut column = Vec::new();
        for (place, (at, first)) in footer.time_pages.iter().enumerate() {
            let next = footer.time_pages.get(place + 1).map_or(footer.times.into(), |(_, first)| *first);
            let Some(payload) = self.payload(*at) else { continue };
            let mut spans = Vec::new();
            let mut failed = None;
            let walked = for_each_times(&payload, |bytes| {
                column.clear();
                let read = decode_times(bytes, &mut column);
                failed = failed.or(read.err());
                spans.push(span(&column).filter(|_| read.is_ok()));
                true
            });
            if let Some(error) = walked.err().or(failed) {
                self.say(at.offset, error);
            }
            fill(&mut self.columns, *first, &spans);
            if spans.len() as u64 != next - first {
                self.say(at.offset, BlockFault::Missing { what: "column of times" });
            }
        }
    }

    fn chunk_pages(&mut self) {
        let footer = &self.block.footer;
        let Ok(count) = usize::try_from(footer.chunks) else { return };
        // What a lie about the number would cost is bounded by the file: each chunk takes two bytes at least.
        self.chunks = vec![None; count.min(self.block.bytes as usize)];
        let (mut scratch, mut floats, mut some) = (values::Scratch::default(), Vec::new(), Vec::new());
        for (place, (at, first)) in footer.chunk_pages.iter().enumerate() {
            let next = footer.chunk_pages.get(place + 1).map_or(footer.chunks, |(_, first)| *first);
            let Some(payload) = self.payload(*at) else { continue };
            let (mut spans, mut bad) = (Vec::new(), false);
            let columns = &self.columns;
            let (mut floats_read, mut histograms_read) = (0, 0);
            let walked = for_each_chunk(&payload, |chunk| {
                let Some(times) = columns.get(chunk.times as usize) else {
                    bad = true;
                    spans.push(None);
                    return true;
                };
                // Without its times a chunk cannot be read; that was reported with the times.
                let read = times.filter(|(count, first, _)| match chunk.kind {
                    ChunkKind::Floats => {
                        floats.clear();
                        let mut rest = chunk.bytes;
                        let since = starts::decode(&mut rest, *count, *first, chunk.kind);
                        let read = values::decode(&mut rest, *count, &mut scratch, &mut floats);
                        floats_read += *count as u64;
                        since.is_some() && read.is_some() && rest.is_empty()
                    }
                    ChunkKind::Histograms => {
                        some.clear();
                        histograms_read += *count as u64;
                        let mut rest = chunk.bytes;
                        let since = starts::decode(&mut rest, *count, *first, chunk.kind);
                        since.is_some() && histograms::decode(rest, *count, &mut scratch, &mut some).is_some()
                    }
                });
                bad |= times.is_some() && read.is_none();
                spans.push(read);
                true
            });
            self.floats += floats_read;
            self.histograms += histograms_read;
            if let Err(error) = walked {
                self.say(at.offset, error);
            }
            if bad {
                self.say(at.offset, BlockFault::Contradiction("a chunk cannot be unpacked"));
            }
            fill(&mut self.chunks, *first, &spans);
            if spans.len() as u64 != next - first {
                self.say(at.offset, BlockFault::Missing { what: "chunk" });
            }
        }
    }

    fn series_pages(&mut self) {
        let footer = &self.block.footer;
        let mut next_chunk = Some(0);
        for (place, at) in footer.series_pages.iter().enumerate() {
            let left = footer.series as usize - (place * SERIES_PER_PAGE).min(footer.series as usize);
            let Some(payload) = self.payload(*at) else {
                (self.series_damaged, next_chunk) = (true, None);
                continue;
            };
            let numbers =
                (place * SERIES_PER_PAGE) as u32..(place * SERIES_PER_PAGE + left.min(SERIES_PER_PAGE)) as u32;
            if let Err(fault) = self.series_page(&payload, numbers, &mut next_chunk) {
                (self.series_damaged, next_chunk) = (true, None);
                self.say(at.offset, fault);
            }
        }
        if next_chunk.is_some_and(|next| next != footer.chunks) {
            self.say(self.block.footer_at.offset, BlockFault::Contradiction("chunks that belong to no series"));
        }
    }

    fn series_page(
        &mut self,
        page: &[u8],
        numbers: Range<u32>,
        next_chunk: &mut Option<u64>,
    ) -> Result<(), BlockFault> {
        let footer = &self.block.footer;
        let slots = Slots::new(footer.min_ms, footer.max_ms);
        let mut reader = SeriesReader::new(page, footer.pairs)?;
        for number in numbers {
            let entry = reader.read()?.ok_or(BlockFault::Missing { what: "series" })?;
            if next_chunk.is_some_and(|next| next != entry.first_chunk) {
                return Err(BlockFault::Contradiction("a series whose chunks are not those behind the series before"));
            }
            let end = entry.first_chunk.saturating_add(entry.chunks.into());
            *next_chunk = Some(end);
            for pair in &entry.pairs {
                if let Some(having) = self.having.get_mut(*pair as usize) {
                    having.add(number);
                }
            }
            let chunks = self.chunks.get(entry.first_chunk as usize..end as usize);
            let chunks = chunks.ok_or(BlockFault::Missing { what: "chunk" })?;
            let mut known = chunks.iter().flatten();
            let ascend = known.clone().is_sorted_by(|(_, _, end), (_, begin, _)| end < begin);
            let (first, last) = (known.clone().next(), known.next_back());
            let as_said = chunks.iter().any(Option::is_none)
                || first.zip(last).is_some_and(|((_, first, _), (_, _, last))| {
                    (slots.of(*first), slots.of(*last)) == entry.slots
                        && footer.min_ms <= *first
                        && *last <= footer.max_ms
                });
            if !ascend || !as_said {
                return Err(BlockFault::Contradiction("a series whose samples are not at the times that it says"));
            }
        }
        match reader.read()? {
            None => Ok(()),
            Some(_) => Err(BlockFault::Contradiction("more series in a page than there may be")),
        }
    }

    fn values_pages(&mut self) {
        let footer = &self.block.footer;
        for (place, (at, first)) in footer.values.iter().enumerate() {
            let next = footer.values.get(place + 1).map_or(footer.pairs.into(), |(_, first)| *first);
            let Some(payload) = self.payload(*at) else { continue };
            let mut listed = Vec::new();
            let mut before: Option<String> = None;
            let mut pair = *first;
            let mut descends = false;
            let walked = for_each_value(&payload, |text, list| {
                let begins = self.block.names.binary_search_by_key(&pair, |name| name.first_pair.into()).is_ok();
                descends |= !begins && before.as_deref().is_some_and(|before| text <= before);
                before = Some(text.to_owned());
                listed.push(match list {
                    List::Inline(bytes) => Err(bytes.to_vec()),
                    List::At(page) => Ok(page),
                });
                pair += 1;
                true
            });
            if let Err(error) = walked {
                self.say(at.offset, error);
            }
            if descends {
                self.say(at.offset, BlockFault::Contradiction("values that do not ascend"));
            }
            if pair != next {
                self.say(at.offset, BlockFault::Missing { what: "value" });
            }
            for (pair, list) in (*first..).zip(listed) {
                self.list(at.offset, pair as usize, list);
            }
        }
    }

    fn list(&mut self, offset: u64, pair: usize, list: Result<PageRef, Vec<u8>>) {
        let (offset, print) = match list {
            Err(bytes) => (offset, self.print(offset, &bytes)),
            Ok(page) => (page.offset, self.print_of_page(page)),
        };
        let Some(print) = print else { return };
        if !self.series_damaged && self.having.get(pair) != Some(&print) {
            self.say(offset, BlockFault::Contradiction("a list that has other series than have the label"));
        }
    }

    fn print_of_page(&mut self, page: PageRef) -> Option<Print> {
        if let Some(known) = self.lists.get(&(page.offset, page.len)) {
            return *known;
        }
        let print = self.payload(page).and_then(|bytes| self.print(page.offset, &bytes));
        self.lists.insert((page.offset, page.len), print);
        print
    }

    /// What a list says; a fault is reported.
    fn print(&mut self, offset: u64, bytes: &[u8]) -> Option<Print> {
        let print = self.sums.of_list(bytes, self.block.footer.series);
        print.map_err(|error| self.say(offset, error)).ok()
    }

    /// Pages lie one behind the other, without a gap.
    fn coverage(&mut self) {
        let footer = &self.block.footer;
        let numbered = footer.values.iter().chain(&footer.chunk_pages).chain(&footer.time_pages);
        let mut pages: Vec<(u64, u64)> = numbered
            .map(|(page, _)| page)
            .chain(&footer.series_pages)
            .chain([&footer.names, &self.block.footer_at])
            .map(|page| (page.offset, page.end()))
            .chain(self.lists.keys().map(|(offset, len)| (*offset, offset.saturating_add((*len).into()))))
            .collect();
        pages.sort_unstable();
        let mut end = HEADER_BYTES as u64;
        for (begin, page_end) in pages {
            if begin != end {
                self.say(end.min(begin), BlockFault::Contradiction("bytes that belong to no page, or to two"));
            }
            end = page_end;
        }
        if end + TRAILER_BYTES as u64 != self.block.bytes {
            self.say(end, BlockFault::Contradiction("bytes that belong to no page"));
        }
    }
}

fn span(times: &[i64]) -> Span {
    Some((times.len(), *times.first()?, *times.last()?))
}

fn fill(all: &mut [Span], first: u64, spans: &[Span]) {
    let slots = usize::try_from(first).ok().and_then(|first| all.get_mut(first..)).unwrap_or_default();
    for (slot, span) in slots.iter_mut().zip(spans) {
        *slot = *span;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_of_runs_are_those_of_their_numbers(series in 1_u32..5000, from in 0_u32..5000, to in 0_u32..5000) {
            let (from, to) = (from.min(to).min(series), from.max(to).min(series));
            let sums = Sums::up_to(series);
            let mut one_by_one = Print::default();
            (from..to).for_each(|number| one_by_one.add(number));
            prop_assert_eq!(sums.below(to).wrapping_sub(sums.below(from)), one_by_one.sum);
        }
    }
}
