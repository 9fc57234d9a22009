//! Pages of chunks and pages of columns of times.
//!
//! A chunk is a column of values; its times stand in a column of their own, which chunks share: all series of one
//! target are measured at the same instants, so those instants are stored once.
//!
//! ```text
//! chunk page  n, n × (number of the column of times minus the one before, zigzag; length << 1 | is histograms),
//!             n × starts, if any (`starts`), and values (`values` or `histograms`)
//! time page   n, n × length, n × (count, `ints`)
//! ```

use super::{
    ints,
    reader::{Malformed, Reader},
};
use crate::varint::{put, zigzag};

/// Samples of one chunk at most: four hours at 15 s. Longer ones pack hardly better, and a query unpacks whole chunks.
pub const CHUNK_SAMPLES_MAX: usize = 1024;

/// What the values of a chunk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    /// Floats (`values`).
    Floats,
    /// Native histograms (`histograms`).
    Histograms,
}

/// One chunk of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The number of its column of times.
    pub times: u32,
    /// What its values are.
    pub kind: ChunkKind,
    /// Its starts, if any (`starts`), and its values.
    pub bytes: &'a [u8],
}

/// Collects a page of chunks.
#[derive(Debug, Default)]
pub struct ChunkPageBuilder {
    count: u64,
    before: u32,
    directory: Vec<u8>,
    bytes: Vec<u8>,
}

impl ChunkPageBuilder {
    /// Adds a chunk whose values `write` appends.
    pub fn add(&mut self, times: u32, kind: ChunkKind, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let len = (self.bytes.len() - start) as u64;
        put(zigzag(i64::from(times) - i64::from(self.before)), &mut self.directory);
        put(len << 1 | u64::from(kind == ChunkKind::Histograms), &mut self.directory);
        self.before = times;
        self.count += 1;
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.directory.len() + self.bytes.len()
    }

    /// Returns true when nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends the page and begins a new one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        put(self.count, out);
        out.extend_from_slice(&self.directory);
        out.extend_from_slice(&self.bytes);
        self.directory.clear();
        self.bytes.clear();
        (self.count, self.before) = (0, 0);
    }
}

/// Visits the chunks of a page in order; ends early when `visit` says false.
pub fn for_each_chunk<'a>(page: &'a [u8], mut visit: impl FnMut(Chunk<'a>) -> bool) -> Result<(), Malformed> {
    let mut reader = Reader::new(page);
    let count = reader.count()?;
    let mut directory = reader.clone();
    for _ in 0..count {
        reader.number()?;
        reader.number()?;
    }
    let mut before = 0_u32;
    for _ in 0..count {
        before = before.wrapping_add(directory.signed()? as u32);
        let head = directory.number()?;
        let kind = if head & 1 == 0 { ChunkKind::Floats } else { ChunkKind::Histograms };
        let len = usize::try_from(head >> 1).map_err(|_| directory.error("a chunk is too long"))?;
        if !visit(Chunk { times: before, kind, bytes: reader.bytes(len)? }) {
            return Ok(());
        }
    }
    reader.end()
}

/// Appends a column of times, which ascend.
pub fn encode_times(t_ms: &[i64], scratch: &mut ints::Scratch, out: &mut Vec<u8>) {
    put(t_ms.len() as u64, out);
    ints::encode(t_ms, scratch, out);
}

/// Appends the times of a column that fills `bytes`.
pub fn decode_times(bytes: &[u8], out: &mut Vec<i64>) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    let error = reader.error("a column of times is none");
    let count = usize::try_from(reader.number()?).ok().filter(|count| *count <= CHUNK_SAMPLES_MAX).ok_or(error)?;
    let start = out.len();
    out.reserve(count);
    ints::decode(&mut reader.rest, count, out).ok_or(error)?;
    reader.end()?;
    if out.get(start..).is_some_and(|times| times.is_sorted_by(|a, b| a < b)) { Ok(()) } else { Err(error) }
}

/// Collects a page of columns of times.
#[derive(Debug, Default)]
pub struct TimePageBuilder {
    count: u64,
    directory: Vec<u8>,
    bytes: Vec<u8>,
}

impl TimePageBuilder {
    /// Adds a column, encoded by [`encode_times`].
    pub fn add(&mut self, column: &[u8]) {
        put(column.len() as u64, &mut self.directory);
        self.bytes.extend_from_slice(column);
        self.count += 1;
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.directory.len() + self.bytes.len()
    }

    /// Returns true when nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends the page and begins a new one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        put(self.count, out);
        out.extend_from_slice(&self.directory);
        out.extend_from_slice(&self.bytes);
        self.directory.clear();
        self.bytes.clear();
        self.count = 0;
    }
}

/// Visits the columns of a page in order, as [`decode_times`] reads them; ends early when `visit` says false.
pub fn for_each_times<'a>(page: &'a [u8], mut visit: impl FnMut(&'a [u8]) -> bool) -> Result<(), Malformed> {
    let mut reader = Reader::new(page);
    let count = reader.count()?;
    let mut directory = reader.clone();
    for _ in 0..count {
        reader.number()?;
    }
    for _ in 0..count {
        let len = usize::try_from(directory.number()?).map_err(|_| directory.error("a column is too long"))?;
        if !visit(reader.bytes(len)?) {
            return Ok(());
        }
    }
    reader.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_and_every_cut_is_noticed() {
        let chunks =
            [(5, ChunkKind::Floats, &b"one"[..]), (4, ChunkKind::Histograms, b""), (1 << 30, ChunkKind::Floats, b"3")];
        let mut builder = ChunkPageBuilder::default();
        for (times, kind, bytes) in chunks {
            builder.add(times, kind, |out| out.extend_from_slice(bytes));
        }
        let mut page = Vec::new();
        builder.finish(&mut page);
        let mut back = Vec::new();
        for_each_chunk(&page, |chunk| {
            back.push((chunk.times, chunk.kind, chunk.bytes));
            true
        })
        .unwrap();
        assert_eq!(back, chunks);
        for cut in 0..page.len() {
            assert!(for_each_chunk(&page[..cut], |_| true).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn times_come_back_and_must_ascend() {
        let mut scratch = ints::Scratch::default();
        let mut builder = TimePageBuilder::default();
        let columns: [Vec<i64>; 3] = [vec![i64::MIN, 0, i64::MAX], vec![7], (0..900).map(|i| i * 15_000).collect()];
        for column in &columns {
            let mut bytes = Vec::new();
            encode_times(column, &mut scratch, &mut bytes);
            builder.add(&bytes);
        }
        let mut page = Vec::new();
        builder.finish(&mut page);
        assert!(page.len() < 60);
        let mut back = Vec::new();
        for_each_times(&page, |bytes| {
            let mut column = Vec::new();
            decode_times(bytes, &mut column).unwrap();
            back.push(column);
            true
        })
        .unwrap();
        assert_eq!(back, columns);
        for cut in 0..page.len() {
            assert!(for_each_times(&page[..cut], |_| true).is_err(), "cut at {cut}");
        }
        let mut equal = Vec::new();
        encode_times(&[3, 3], &mut scratch, &mut equal);
        assert!(decode_times(&equal, &mut Vec::new()).is_err());
    }
}
