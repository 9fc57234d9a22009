//! Where the newest samples of every series lie: small pages of a stream that packs each sample as it arrives.
//!
//! A series is a chain of pages, newest first; each page begins with a whole time and value and can be read without the
//! others, so that a query for the last minutes reads the last page only. Most samples take one byte: the same step of
//! time as before and a small difference of the value, which is kept as a whole number with a decimal exponent as long
//! as that gives back every bit of the float. Full precision falls back to the bytes that differ.
//!
//! Tokens of the stream (`dod`: how much the step of time differs from the one before):
//!
//! ```text
//! 0ddddddd            dod 0, decimal difference of 7 bits (zigzag)
//! 10nnnnnn            n + 1 samples with dod 0 and the value before
//! 110ddddd dddddddd   dod 0, decimal difference of 13 bits (zigzag)
//! 111ttvvv            time class t: dod 0 | 1 byte zigzag | 2 bytes zigzag | 8 bytes
//!                     value class v: 0 the value before | 1-4 difference in 2, 3, 4, 8 bytes
//!                       5 exponent (1 byte) and whole number (8 bytes) | 6 bits that differ | 7 all bits, no decimals from here
//! ```
//!
//! Never on disk: blocks have codecs of their own, the log has its records.
//! Invariant: what is pushed comes back bit by bit, in order.

use homeostat_model::TimeMs;
use homeostat_wire::{
    series::decimal::{scale, unscale},
    varint::{unzigzag, zigzag},
};

use crate::sieve::Sieve;

/// Bytes of a page with its header. At 15 s and one to two bytes a sample a page holds about a quarter of an hour; a
/// hundred thousand series that have just begun take 12.8 MB.
pub(crate) const PAGE_BYTES: usize = 128;
const STREAM_BYTES: usize = 96;
const _: () = assert!(size_of::<Page>() == PAGE_BYTES);
/// Pages of one allocation: 1 MiB, so that growing never copies.
const SLAB_PAGES: usize = (1 << 20) / PAGE_BYTES;
/// The page that does not exist.
pub(crate) const NO_PAGE: u32 = u32::MAX;
/// The exponent of a page that has given up on decimals.
const RAW: u8 = u8::MAX;
/// Largest decimal exponent that is tried: nanoseconds as seconds; each try costs a division.
const EXPONENT_MAX: u8 = 9;
/// Longest token: its first byte, a time of 8 bytes, an exponent and 8 bytes.
const TOKEN_BYTES_MAX: usize = 18;
const RUN_MAX: u8 = 63;

/// A page of one series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    first_t: TimeMs,
    first_bits: u64,
    /// The step of time before the first sample.
    step: i64,
    /// The page before this one.
    pub(crate) prev: u32,
    count: u16,
    exponent: u8,
    used: u8,
    stream: [u8; STREAM_BYTES],
}

/// What the writer of a chain has to remember of its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    pub(crate) last_t: TimeMs,
    pub(crate) last_bits: u64,
    scaled: i64,
    step: i64,
    exponent: u8,
    /// One more than the place of the run token that ends the stream; 0 when another token does.
    run_end: u8,
}

impl Default for Tail {
    fn default() -> Self {
        Self { last_t: TimeMs::MIN, last_bits: 0, scaled: 0, step: 0, exponent: 0, run_end: 0 }
    }
}

/// A token under construction.
struct Token {
    bytes: [u8; TOKEN_BYTES_MAX],
    len: usize,
}

impl Token {
    fn new() -> Self {
        Self { bytes: [0; TOKEN_BYTES_MAX], len: 1 }
    }

    fn put(&mut self, word: u64, len: usize) {
        if let Some(to) = self.bytes.get_mut(self.len..self.len + len) {
            to.copy_from_slice(word.to_le_bytes().get(..len).unwrap_or_default());
            self.len += len;
        }
    }

    fn class(&mut self, bits: u8) {
        let [first, ..] = &mut self.bytes;
        *first |= bits;
    }
}

impl Page {
    const EMPTY: Self = Self {
        first_t: 0,
        first_bits: 0,
        step: 0,
        prev: NO_PAGE,
        count: 0,
        exponent: 0,
        used: 0,
        stream: [0; STREAM_BYTES],
    };

    /// Time of its first sample.
    pub(crate) fn first_t(&self) -> TimeMs {
        self.first_t
    }

    /// Samples in it.
    pub(crate) fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// Begins a page with a sample; `tail` is the end of the chain so far.
    fn begin(prev: u32, tail: &mut Tail, t_ms: TimeMs, value: f64) -> Self {
        let from = if tail.exponent == RAW { 0 } else { tail.exponent };
        let mut tries = (from..=EXPONENT_MAX).chain(0..from);
        let scaled = tries.find_map(|exponent| Some((exponent, scale(value, exponent)?)));
        let (exponent, scaled) = scaled.unwrap_or((RAW, 0));
        // Between the first two samples of a series there is a step, before the first there is none.
        let step = tail.step;
        *tail = Tail { last_t: t_ms, last_bits: value.to_bits(), scaled, step, exponent, run_end: 0 };
        Self { first_t: t_ms, first_bits: value.to_bits(), step, prev, count: 1, exponent, ..Self::EMPTY }
    }

    /// Adds a sample behind the last one; false when there is no room.
    #[inline]
    fn push(&mut self, tail: &mut Tail, t_ms: TimeMs, value: f64) -> bool {
        let step = t_ms.wrapping_sub(tail.last_t);
        let dod = step.wrapping_sub(tail.step);
        let bits = value.to_bits();
        if dod == 0 {
            if bits == tail.last_bits {
                return self.push_same(tail, t_ms);
            }
            if let Some(scaled) = (tail.exponent != RAW).then(|| scale(value, tail.exponent)).flatten() {
                let difference = zigzag(scaled.wrapping_sub(tail.scaled));
                if difference < 128 {
                    let Some(slot) = self.stream.get_mut(usize::from(self.used)) else { return false };
                    *slot = difference as u8;
                    self.used += 1;
                    self.count += 1;
                    (tail.last_t, tail.last_bits, tail.scaled, tail.run_end) = (t_ms, bits, scaled, 0);
                    return true;
                }
                let at = usize::from(self.used);
                if let Some([high, low]) = self.stream.get_mut(at..at + 2).filter(|_| difference < 1 << 13) {
                    (*high, *low) = (0xc0 | (difference >> 8) as u8, difference as u8);
                    self.used += 2;
                    self.count += 1;
                    (tail.last_t, tail.last_bits, tail.scaled, tail.run_end) = (t_ms, bits, scaled, 0);
                    return true;
                }
            }
        }
        self.push_token(tail, t_ms, value, dod)
    }

    fn push_same(&mut self, tail: &mut Tail, t_ms: TimeMs) -> bool {
        let run = usize::from(tail.run_end).checked_sub(1).and_then(|at| self.stream.get_mut(at));
        if let Some(run) = run.filter(|run| **run & RUN_MAX < RUN_MAX) {
            *run += 1;
        } else {
            let Some(slot) = self.stream.get_mut(usize::from(self.used)) else { return false };
            *slot = 0x80;
            self.used += 1;
            tail.run_end = self.used;
        }
        self.count += 1;
        tail.last_t = t_ms;
        true
    }

    /// The general token.
    fn push_token(&mut self, tail: &mut Tail, t_ms: TimeMs, value: f64, dod: i64) -> bool {
        let mut token = Token::new();
        token.class(0xe0);
        match zigzag(dod) {
            0 => {}
            small @ 1..=0xff => {
                token.class(0x08);
                token.put(small, 1);
            }
            medium @ 0x100..=0xffff => {
                token.class(0x10);
                token.put(medium, 2);
            }
            _ => {
                token.class(0x18);
                token.put(dod as u64, 8);
            }
        }
        let (exponent, scaled) = encode_value(&mut token, tail, value);
        let end = usize::from(self.used) + token.len;
        let (Some(to), Some(from)) = (self.stream.get_mut(usize::from(self.used)..end), token.bytes.get(..token.len))
        else {
            return false;
        };
        to.copy_from_slice(from);
        self.used = end as u8;
        self.count += 1;
        let step = t_ms.wrapping_sub(tail.last_t);
        *tail = Tail { last_t: t_ms, last_bits: value.to_bits(), scaled, step, exponent, run_end: 0 };
        true
    }

    /// Appends its samples to two columns.
    pub(crate) fn decode(&self, t_ms: &mut Vec<TimeMs>, values: &mut Vec<f64>) {
        self.walk(|at| {
            t_ms.push(at.t);
            values.push(at.value());
        });
    }

    /// As [`Self::decode`], for samples that a sieve lets through.
    pub(crate) fn decode_through(&self, sieve: &mut Sieve, t_ms: &mut Vec<TimeMs>, values: &mut Vec<f64>) {
        self.walk(|at| {
            if sieve.has(at.t) {
                t_ms.push(at.t);
                values.push(at.value());
            }
        });
    }

    /// Visits its samples in order.
    #[inline]
    fn walk(&self, mut visit: impl FnMut(&Reading)) {
        if self.count == 0 {
            return;
        }
        let exponent = self.exponent;
        let scaled = if exponent == RAW { 0 } else { scale(f64::from_bits(self.first_bits), exponent).unwrap_or(0) };
        let mut at = Reading { t: self.first_t, step: self.step, bits: self.first_bits, scaled, exponent };
        visit(&at);
        let mut stream = self.stream.get(..usize::from(self.used)).unwrap_or_default();
        while let Some((&token, rest)) = stream.split_first() {
            stream = rest;
            match token {
                0..0x80 => {
                    at.t = at.t.wrapping_add(at.step);
                    at.add(unzigzag(token.into()));
                }
                0x80..0xc0 => {
                    for _ in 0..token & RUN_MAX {
                        at.t = at.t.wrapping_add(at.step);
                        visit(&at);
                    }
                    at.t = at.t.wrapping_add(at.step);
                }
                0xc0..0xe0 => {
                    at.t = at.t.wrapping_add(at.step);
                    let Some((&low, rest)) = stream.split_first() else { return };
                    stream = rest;
                    at.add(unzigzag(u64::from(token & 0x1f) << 8 | u64::from(low)));
                }
                _ => at.token(token, &mut stream),
            }
            visit(&at);
        }
    }
}

/// Appends the value's class and bytes; gives exponent and whole number from here on.
fn encode_value(token: &mut Token, tail: &Tail, value: f64) -> (u8, i64) {
    let bits = value.to_bits();
    if bits == tail.last_bits {
        return (tail.exponent, tail.scaled);
    }
    if tail.exponent != RAW {
        if let Some(scaled) = scale(value, tail.exponent) {
            let difference = scaled.wrapping_sub(tail.scaled);
            let (class, len) = match 71 - zigzag(difference).leading_zeros() {
                ..24 => (1, 2),
                24..32 => (2, 3),
                32..40 => (3, 4),
                _ => (4, 8),
            };
            token.class(class);
            token.put(zigzag(difference), len);
            return (tail.exponent, scaled);
        }
        let finer = (tail.exponent + 1..=EXPONENT_MAX).find_map(|exponent| Some((exponent, scale(value, exponent)?)));
        if let Some((exponent, scaled)) = finer {
            token.class(5);
            token.put(exponent.into(), 1);
            token.put(scaled as u64, 8);
            return (exponent, scaled);
        }
        token.class(7);
        token.put(bits, 8);
        return (RAW, 0);
    }
    let differ = bits ^ tail.last_bits;
    let (skip, end) = ((differ.trailing_zeros() / 8) as usize, 8 - (differ.leading_zeros() / 8) as usize);
    token.class(6);
    token.put((skip << 4 | (end - skip)) as u64, 1);
    token.put(differ >> (8 * skip), end - skip);
    (RAW, 0)
}

/// State of a reader.
struct Reading {
    t: TimeMs,
    step: i64,
    /// The value's bits, once the page has given up on decimals.
    bits: u64,
    scaled: i64,
    exponent: u8,
}

impl Reading {
    #[inline]
    fn add(&mut self, difference: i64) {
        self.scaled = self.scaled.wrapping_add(difference);
    }

    /// The value; a division, which only those who look pay for.
    #[inline]
    fn value(&self) -> f64 {
        if self.exponent == RAW { f64::from_bits(self.bits) } else { unscale(self.scaled, self.exponent) }
    }

    fn token(&mut self, token: u8, stream: &mut &[u8]) {
        let dod = match token >> 3 & 3 {
            0 => 0,
            1 => unzigzag(take(stream, 1)),
            2 => unzigzag(take(stream, 2)),
            _ => take(stream, 8) as i64,
        };
        self.step = self.step.wrapping_add(dod);
        self.t = self.t.wrapping_add(self.step);
        match token & 7 {
            class @ 1..=4 => {
                let len = [0, 2, 3, 4, 8].get(usize::from(class)).copied().unwrap_or(0);
                self.add(unzigzag(take(stream, len)));
            }
            5 => {
                self.exponent = take(stream, 1) as u8;
                self.scaled = take(stream, 8) as i64;
            }
            6 => {
                let shape = take(stream, 1) as usize;
                self.bits ^= take(stream, shape & 15) << (8 * (shape >> 4));
            }
            7 => {
                self.bits = take(stream, 8);
                self.exponent = RAW;
            }
            _ => {}
        }
    }
}

fn take(stream: &mut &[u8], len: usize) -> u64 {
    let Some((head, rest)) = stream.split_at_checked(len) else { return 0 };
    *stream = rest;
    let mut word = [0; 8];
    if let Some(to) = word.get_mut(..len) {
        to.copy_from_slice(head);
    }
    u64::from_le_bytes(word)
}

/// All pages of a head.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    slabs: Vec<Box<[Page]>>,
    free: Vec<u32>,
    begun: usize,
}

impl Pages {
    /// Adds a sample to the chain that ends in page `last`; gives the page that it ends in now. `seal` begins a new
    /// page in any case.
    #[inline]
    pub(crate) fn push(&mut self, last: u32, seal: bool, tail: &mut Tail, t_ms: TimeMs, value: f64) -> u32 {
        if !seal
            && let Some(page) = self.get_mut(last)
            && page.push(tail, t_ms, value)
        {
            return last;
        }
        let page = Page::begin(last, tail, t_ms, value);
        self.add(page)
    }

    fn add(&mut self, page: Page) -> u32 {
        let id = self.free.pop().unwrap_or_else(|| {
            if self.begun == self.slabs.len() * SLAB_PAGES {
                self.slabs.push(vec![Page::EMPTY; SLAB_PAGES].into());
            }
            self.begun += 1;
            (self.begun - 1) as u32
        });
        if let Some(slot) = self.get_mut(id) {
            *slot = page;
        }
        id
    }

    /// A page.
    pub(crate) fn get(&self, id: u32) -> Option<&Page> {
        self.slabs.get(id as usize / SLAB_PAGES)?.get(id as usize % SLAB_PAGES)
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Page> {
        self.slabs.get_mut(id as usize / SLAB_PAGES)?.get_mut(id as usize % SLAB_PAGES)
    }

    /// The pages of a chain from `last` back to its first one.
    pub(crate) fn chain(&self, last: u32) -> impl Iterator<Item = &Page> {
        std::iter::successors(self.get(last), |page| self.get(page.prev))
    }

    /// Cuts a chain in two: the page behind `frozen` becomes the first one of its own.
    pub(crate) fn cut(&mut self, last: u32, frozen: u32) {
        let mut at = last;
        while let Some(page) = self.get_mut(at) {
            if page.prev == frozen {
                page.prev = NO_PAGE;
                return;
            }
            at = page.prev;
        }
    }

    /// Gives the pages of a chain back.
    pub(crate) fn free_chain(&mut self, last: u32) {
        let mut at = last;
        while let Some(page) = self.get_mut(at) {
            let prev = page.prev;
            page.prev = NO_PAGE;
            self.free.push(at);
            at = prev;
        }
    }

    /// Bytes in use.
    pub(crate) fn used_bytes(&self) -> usize {
        (self.begun - self.free.len()) * PAGE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::sample::stale_marker;
    use proptest::prelude::*;

    use super::*;

    fn written(samples: &[(TimeMs, f64)]) -> (Pages, u32) {
        let (mut pages, mut tail, mut last) = (Pages::default(), Tail::default(), NO_PAGE);
        for (t_ms, value) in samples {
            last = pages.push(last, false, &mut tail, *t_ms, *value);
        }
        (pages, last)
    }

    fn read(pages: &Pages, last: u32) -> Vec<(TimeMs, u64)> {
        let mut chain: Vec<&Page> = pages.chain(last).collect();
        chain.reverse();
        let (mut t_ms, mut values) = (Vec::new(), Vec::new());
        for page in &chain {
            page.decode(&mut t_ms, &mut values);
        }
        assert_eq!(t_ms.len(), chain.iter().map(|page| page.count()).sum::<usize>());
        t_ms.into_iter().zip(values.into_iter().map(f64::to_bits)).collect()
    }

    #[track_caller]
    fn check(samples: &[(TimeMs, f64)]) -> usize {
        let (pages, last) = written(samples);
        let expected: Vec<_> = samples.iter().map(|(t, v)| (*t, v.to_bits())).collect();
        assert_eq!(read(&pages, last), expected);
        pages.chain(last).map(|page| usize::from(page.used)).sum()
    }

    fn every_15_s(values: impl IntoIterator<Item = f64>) -> Vec<(TimeMs, f64)> {
        values.into_iter().enumerate().map(|(i, value)| (1_700_000_000_000 + 15_000 * i as i64, value)).collect()
    }

    #[test]
    fn usual_series_take_about_a_byte_a_sample() {
        assert!(check(&every_15_s([7.0; 1000])) < 40, "a constant");
        assert!(check(&every_15_s((0..1000).map(|i| f64::from(i * 31)))) < 1100, "a counter");
        assert!(check(&every_15_s((0..1000).map(|i| f64::from(i % 60) / 100.0))) < 1100, "two decimals");
        assert!(check(&every_15_s((0..1000).map(|i| 1e18 + f64::from(i) * 4096.0))) < 3500, "nanoseconds");
    }

    #[test]
    fn odd_values_come_back() {
        let odd = [
            0.0,
            -0.0,
            1.5,
            0.1,
            f64::NAN,
            stale_marker(),
            f64::from_bits(0xfff8_0000_dead_beef),
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            -1e300,
            0.1 + 0.2,
            1e15 + 0.3,
            9_007_199_254_740_993.0,
        ];
        let twice = odd.iter().flat_map(|a| odd.iter().flat_map(move |b| [*a, *b, *b]));
        check(&every_15_s(twice));
    }

    #[test]
    fn times_at_the_ends_come_back() {
        let times = [i64::MIN, i64::MIN + 1, -1, 0, 1, 1 << 40, i64::MAX - 1, i64::MAX];
        check(&times.map(|t| (t, 1.0)));
    }

    fn arb_values() -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![
            4 => (-1000_i64..1000, 0_u8..4).prop_map(|(n, e)| n as f64 / 10_f64.powi(e.into())),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => any::<i64>().prop_map(|n| n as f64),
            2 => Just(7.25),
        ];
        proptest::collection::vec(value, 1..300)
    }

    proptest! {
        #[test]
        fn arbitrary_samples_come_back(
            values in arb_values(),
            steps in proptest::collection::vec(prop_oneof![3 => Just(15_000_i64), 1 => 1_i64..100_000, 1 => 1_i64..1 << 50], 300),
        ) {
            let mut t = -5_000;
            let samples: Vec<_> = values.iter().zip(steps).map(|(value, step)| { t += step; (t, *value) }).collect();
            check(&samples);
        }
    }
}
