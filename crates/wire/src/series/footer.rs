//! The two ends of a block file: how it is recognised, and where everything in it lies.
//!
//! ```text
//! header   magic `HSTATBLK`, version u16 LE (`BlockVersion`), reserved u16 = 0
//! ...      pages
//! footer   a page: see `Footer`
//! trailer  offset of the footer u64 LE, its length u32 LE, version u16 LE, reserved u16 = 0,
//!          CRC-32C of these 16 bytes u32 LE, magic `HSTATBLK`
//! ```
//!
//! A file without a whole trailer was never finished.

use thiserror::Error;

use super::{
    frame::PageRef,
    reader::{Malformed, Reader},
    series_page::SERIES_PER_PAGE,
};
use crate::varint::{put, zigzag};

/// First and last bytes of a block.
pub const MAGIC: [u8; 8] = *b"HSTATBLK";
/// The version of the format described here, without starts; manifests have it too.
pub const VERSION: u16 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 12;
/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 28;

/// What a block holds and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footer {
    /// Time of its first sample.
    pub min_ms: i64,
    /// Time of its last sample.
    pub max_ms: i64,
    /// Half of its series have their last sample at this time or later: how far it reaches, one odd series or not.
    pub settled_ms: i64,
    /// Series.
    pub series: u32,
    /// Pairs of label name and value.
    pub pairs: u32,
    /// Chunks.
    pub chunks: u64,
    /// Columns of times.
    pub times: u32,
    /// Floats.
    pub floats: u64,
    /// Native histograms.
    pub histograms: u64,
    /// The page of label names.
    pub names: PageRef,
    /// Pages of label values, each with the number of its first pair.
    pub values: Vec<(PageRef, u64)>,
    /// Pages of series, [`SERIES_PER_PAGE`] each.
    pub series_pages: Vec<PageRef>,
    /// Pages of chunks, each with the number of its first chunk.
    pub chunk_pages: Vec<(PageRef, u64)>,
    /// Pages of columns of times, each with the number of its first column.
    pub time_pages: Vec<(PageRef, u64)>,
}

/// What a block may hold. Programs that know no starts refuse blocks with them by their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockVersion {
    /// No chunk has starts.
    #[default]
    Plain = VERSION as isize,
    /// Chunks may have starts (`starts`).
    Starts = 2,
}

impl BlockVersion {
    fn of(found: u16) -> Result<Self, BlockEndError> {
        match found {
            VERSION => Ok(Self::Plain),
            2 => Ok(Self::Starts),
            found => Err(BlockEndError::Version { found }),
        }
    }
}

/// Why bytes are not the beginning or the end of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockEndError {
    /// Too short.
    #[error("the file is cut short")]
    Short,
    /// Other first or last bytes.
    #[error("this is not a block, or it is cut short: `HSTATBLK` is missing")]
    Magic,
    /// A version that this program does not know.
    #[error("format version {found} is not known here; a newer program has written it")]
    Version {
        /// As read.
        found: u16,
    },
    /// The two ends are of different versions.
    #[error("the first bytes say format version {first}, the last ones {last}: one of them is damaged")]
    Ends {
        /// Of the header.
        first: u16,
        /// Of the trailer.
        last: u16,
    },
    /// The checksum does not fit.
    #[error("the last bytes are damaged: stored checksum {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// As read.
        stored: u32,
        /// As it should be.
        computed: u32,
    },
}

/// The header's bytes.
pub fn encode_header(version: BlockVersion) -> [u8; HEADER_BYTES] {
    let [m0, m1, m2, m3, m4, m5, m6, m7] = MAGIC;
    let [v0, v1] = (version as u16).to_le_bytes();
    [m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, 0, 0]
}

/// Checks a header; gives the version.
pub fn check_header(bytes: &[u8]) -> Result<BlockVersion, BlockEndError> {
    let &[m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, _, _] =
        bytes.first_chunk::<HEADER_BYTES>().ok_or(BlockEndError::Short)?;
    if [m0, m1, m2, m3, m4, m5, m6, m7] != MAGIC {
        return Err(BlockEndError::Magic);
    }
    BlockVersion::of(u16::from_le_bytes([v0, v1]))
}

/// The trailer's bytes.
pub fn encode_trailer(footer: PageRef, version: BlockVersion) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TRAILER_BYTES);
    bytes.extend_from_slice(&footer.offset.to_le_bytes());
    bytes.extend_from_slice(&footer.len.to_le_bytes());
    bytes.extend_from_slice(&(version as u16).to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(&MAGIC);
    bytes
}

/// Reads a trailer: where the footer lies, and the version.
pub fn decode_trailer(bytes: &[u8]) -> Result<(PageRef, BlockVersion), BlockEndError> {
    let (fields, rest) = bytes.split_first_chunk::<16>().ok_or(BlockEndError::Short)?;
    let (&stored, magic) = rest.split_first_chunk::<4>().ok_or(BlockEndError::Short)?;
    if magic != MAGIC {
        return Err(BlockEndError::Magic);
    }
    let (stored, computed) = (u32::from_le_bytes(stored), crc32c::crc32c(fields));
    if stored != computed {
        return Err(BlockEndError::Checksum { stored, computed });
    }
    let &[o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3, v0, v1, _, _] = fields;
    let version = BlockVersion::of(u16::from_le_bytes([v0, v1]))?;
    let footer = PageRef {
        offset: u64::from_le_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
        len: u32::from_le_bytes([l0, l1, l2, l3]),
    };
    Ok((footer, version))
}

impl Footer {
    /// Appends the footer's page: varints in the order of the fields; times as differences to the first one; a page
    /// as distance to the end of the one before in its list, and length; numbers of first entries as differences.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put(zigzag(self.min_ms), out);
        put(self.max_ms.abs_diff(self.min_ms), out);
        put(self.settled_ms.abs_diff(self.min_ms), out);
        let counts =
            [self.series.into(), self.pairs.into(), self.chunks, self.times.into(), self.floats, self.histograms];
        for count in counts {
            put(count, out);
        }
        put_page(self.names, 0, out);
        put_numbered(&self.values, out);
        put(self.series_pages.len() as u64, out);
        let mut end = 0;
        for page in &self.series_pages {
            put_page(*page, end, out);
            end = page.end();
        }
        put_numbered(&self.chunk_pages, out);
        put_numbered(&self.time_pages, out);
    }

    /// Reads the footer's page; what it says about itself fits together.
    pub fn decode(page: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(page);
        let min_ms = reader.signed()?;
        let error = reader.error("a range of time that leaves the calendar");
        let max_ms = min_ms.checked_add_unsigned(reader.number()?).ok_or(error)?;
        let settled_ms = min_ms.checked_add_unsigned(reader.number()?).filter(|t| *t <= max_ms).ok_or(error)?;
        let mut footer = Self { min_ms, max_ms, settled_ms, ..Self::default() };
        footer.series = reader.small()?;
        footer.pairs = reader.small()?;
        footer.chunks = reader.number()?;
        footer.times = reader.small()?;
        footer.floats = reader.number()?;
        footer.histograms = reader.number()?;
        footer.names = take_page(&mut reader, 0)?;
        footer.values = take_numbered(&mut reader, footer.pairs.into())?;
        let mut end = 0;
        for _ in 0..reader.count()? {
            let page = take_page(&mut reader, end)?;
            end = page.end();
            footer.series_pages.push(page);
        }
        if footer.series_pages.len() != (footer.series as usize).div_ceil(SERIES_PER_PAGE) {
            return Err(reader.error("pages of series that do not fit their number"));
        }
        footer.chunk_pages = take_numbered(&mut reader, footer.chunks)?;
        footer.time_pages = take_numbered(&mut reader, footer.times.into())?;
        reader.end()?;
        Ok(footer)
    }
}

fn put_page(page: PageRef, end: u64, out: &mut Vec<u8>) {
    put(page.offset.wrapping_sub(end), out);
    put(page.len.into(), out);
}

fn take_page(reader: &mut Reader<'_>, end: u64) -> Result<PageRef, Malformed> {
    let error = reader.error("a page beyond everything");
    let offset = end.checked_add(reader.number()?).ok_or(error)?;
    let page = PageRef { offset, len: reader.small()? };
    if page.end() == u64::MAX { Err(error) } else { Ok(page) }
}

fn put_numbered(pages: &[(PageRef, u64)], out: &mut Vec<u8>) {
    put(pages.len() as u64, out);
    let (mut end, mut before) = (0, 0);
    for (page, first) in pages {
        put_page(*page, end, out);
        put(first - before, out);
        (end, before) = (page.end(), *first);
    }
}

/// Pages with the numbers of their first entries, which begin at 0, ascend, and stay below `limit`.
fn take_numbered(reader: &mut Reader<'_>, limit: u64) -> Result<Vec<(PageRef, u64)>, Malformed> {
    let mut pages: Vec<(PageRef, u64)> = Vec::new();
    let (mut end, mut first) = (0, 0_u64);
    for index in 0..reader.count()? {
        let error = reader.error("a page that begins at an impossible entry");
        let page = take_page(reader, end)?;
        let more = reader.number()?;
        first = first.checked_add(more).filter(|first| *first < limit).ok_or(error)?;
        if (index == 0) != (more == 0) {
            return Err(error);
        }
        end = page.end();
        pages.push((page, first));
    }
    if pages.is_empty() && limit > 0 { Err(reader.error("pages are missing")) } else { Ok(pages) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        let page = |offset, len| PageRef { offset, len };
        Footer {
            min_ms: i64::MIN,
            max_ms: i64::MAX,
            settled_ms: 17,
            series: 65,
            pairs: 9,
            chunks: 70,
            times: 2,
            floats: 1 << 40,
            histograms: 3,
            names: page(1 << 33, 17),
            values: vec![(page(900, 40), 0), (page(950, 41), 5)],
            series_pages: vec![page(12, 100), page(112, 20)],
            chunk_pages: vec![(page(200, 100), 0), (page(350, 50), 69)],
            time_pages: vec![(page(300, 50), 0)],
        }
    }

    #[test]
    fn a_footer_comes_back_and_every_cut_is_noticed() {
        let mut page = Vec::new();
        footer().encode(&mut page);
        assert_eq!(Footer::decode(&page), Ok(footer()));
        for cut in 0..page.len() {
            assert!(Footer::decode(&page[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn both_ends_are_recognised_and_every_flip_is_noticed() {
        for version in [BlockVersion::Plain, BlockVersion::Starts] {
            assert_eq!(check_header(&encode_header(version)), Ok(version));
        }
        assert_eq!(check_header(b"HSTATBLK\x03\0\0\0"), Err(BlockEndError::Version { found: 3 }));
        assert_eq!(check_header(b"HSTAT"), Err(BlockEndError::Short));
        let (page, version) = (PageRef { offset: 1 << 50, len: 99 }, BlockVersion::Starts);
        let trailer = encode_trailer(page, version);
        assert_eq!(trailer.len(), TRAILER_BYTES);
        assert_eq!(decode_trailer(&trailer), Ok((page, version)));
        for bit in 0..trailer.len() * 8 {
            let mut flipped = trailer.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_trailer(&flipped).is_err(), "bit {bit}");
        }
    }
}
