//! Which blocks a store consists of, and from where on its log is needed.
//!
//! The manifest is replaced as a whole, so a flush, a merge or a deletion takes effect at one instant: files that it does
//! not name do not exist, records of the log before `log_from` are in blocks.
//!
//! ```text
//! magic `HSTATMAN`, version u16 LE, reserved u16 = 0, then a frame with
//!   next block, log_from, blocks n, n × (number, bytes, first time zigzag, length of time,
//!   time that half of its series reach zigzag, series, samples)
//!   gone n, n × (block, first time zigzag, length of time, length, series as `postings`)
//! ```

use super::{
    footer::{BlockEndError, HEADER_BYTES, VERSION},
    frame::{FrameError, open_frame, put_frame},
    reader::{Malformed, Reader},
};
use crate::varint::{put, zigzag};

/// First bytes of a manifest.
pub const MANIFEST_MAGIC: [u8; 8] = *b"HSTATMAN";

/// A store's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The number that the next block gets.
    pub next_block: u64,
    /// The first record of the log that is not in a block.
    pub log_from: u64,
    /// All blocks, in the order in which their samples were written: of two samples at one time the earlier block's counts.
    pub blocks: Vec<BlockEntry>,
    /// What was deleted from blocks and is still in their files.
    pub gone: Vec<Gone>,
}

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// Its number, which is its file's name.
    pub number: u64,
    /// Length of its file.
    pub bytes: u64,
    /// Time of its first sample.
    pub min_ms: i64,
    /// Time of its last sample.
    pub max_ms: i64,
    /// Half of its series have their last sample at this time or later.
    pub settled_ms: i64,
    /// Series.
    pub series: u64,
    /// Floats and histograms.
    pub samples: u64,
}

/// Samples that were deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The block that holds them.
    pub block: u64,
    /// First instant, inclusive.
    pub min_ms: i64,
    /// Last instant, inclusive.
    pub max_ms: i64,
    /// The series, as `postings`.
    pub series: Vec<u8>,
}

/// Why bytes are not a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The beginning.
    #[error(transparent)]
    Header(#[from] BlockEndError),
    /// The frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// What is in it.
    #[error(transparent)]
    Content(#[from] Malformed),
}

impl Manifest {
    /// The file's contents.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        put(self.next_block, &mut payload);
        put(self.log_from, &mut payload);
        put(self.blocks.len() as u64, &mut payload);
        for block in &self.blocks {
            put(block.number, &mut payload);
            put(block.bytes, &mut payload);
            put_range(block.min_ms, block.max_ms, &mut payload);
            put(zigzag(block.settled_ms), &mut payload);
            put(block.series, &mut payload);
            put(block.samples, &mut payload);
        }
        put(self.gone.len() as u64, &mut payload);
        for gone in &self.gone {
            put(gone.block, &mut payload);
            put_range(gone.min_ms, gone.max_ms, &mut payload);
            put(gone.series.len() as u64, &mut payload);
            payload.extend_from_slice(&gone.series);
        }
        let mut out = Vec::with_capacity(payload.len() + 20);
        out.extend_from_slice(&MANIFEST_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        put_frame(&payload, &mut out);
        out
    }

    /// Reads a file.
    pub fn decode(file: &[u8]) -> Result<Self, ManifestError> {
        let (header, frame) = file.split_first_chunk::<HEADER_BYTES>().ok_or(BlockEndError::Short)?;
        let &[m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, r0, r1] = header;
        if [m0, m1, m2, m3, m4, m5, m6, m7] != MANIFEST_MAGIC || [r0, r1] != [0, 0] {
            return Err(BlockEndError::Magic.into());
        }
        let found = u16::from_le_bytes([v0, v1]);
        if found != VERSION {
            return Err(BlockEndError::Version { found }.into());
        }
        let mut reader = Reader::new(open_frame(frame)?);
        let mut manifest = Self { next_block: reader.number()?, log_from: reader.number()?, ..Self::default() };
        for _ in 0..reader.count()? {
            let (number, bytes) = (reader.number()?, reader.number()?);
            let (min_ms, max_ms) = take_range(&mut reader)?;
            let settled_ms = reader.signed()?;
            let (series, samples) = (reader.number()?, reader.number()?);
            manifest.blocks.push(BlockEntry { number, bytes, min_ms, max_ms, settled_ms, series, samples });
        }
        for _ in 0..reader.count()? {
            let block = reader.number()?;
            let (min_ms, max_ms) = take_range(&mut reader)?;
            let len = reader.count()?;
            manifest.gone.push(Gone { block, min_ms, max_ms, series: reader.bytes(len)?.to_vec() });
        }
        reader.end()?;
        Ok(manifest)
    }
}

fn put_range(min_ms: i64, max_ms: i64, out: &mut Vec<u8>) {
    put(zigzag(min_ms), out);
    put(max_ms.abs_diff(min_ms), out);
}

fn take_range(reader: &mut Reader<'_>) -> Result<(i64, i64), Malformed> {
    let min_ms = reader.signed()?;
    let error = reader.error("a range of time that leaves the calendar");
    Ok((min_ms, min_ms.checked_add_unsigned(reader.number()?).ok_or(error)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_and_every_flip_and_cut_is_noticed() {
        let block = BlockEntry {
            number: 7,
            bytes: 1 << 40,
            min_ms: i64::MIN,
            max_ms: i64::MAX,
            settled_ms: -3,
            series: 5,
            samples: 9,
        };
        let manifest = Manifest {
            next_block: 8,
            log_from: 1234,
            blocks: vec![BlockEntry { number: 3, min_ms: 0, max_ms: 0, ..block }, block],
            gone: vec![Gone { block: 7, min_ms: -5, max_ms: 5, series: vec![1, 2, 3] }],
        };
        let file = manifest.encode();
        assert_eq!(Manifest::decode(&file), Ok(manifest));
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&flipped).is_err(), "bit {bit}");
        }
        for cut in 0..file.len() {
            assert!(Manifest::decode(&file[..cut]).is_err(), "cut at {cut}");
        }
    }
}
