//! Blocks: immutable files of series with an index of their own.
//!
//! Opening reads the two ends and the names; everything else is read page by page when it is asked for, checked, and
//! kept for a while in a cache of bounded size.
//!
//! Not here: which blocks there are (`catalog`).
//! Invariant: a damaged page is an error that names file and offset; it never gives wrong samples.

mod bounds;
mod cache;
mod check;
mod chunks;
mod labels;
mod lookup;
mod page;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use homeostat_model::TimeMs;
use homeostat_promql::SourceError;
use homeostat_store_wal::{Disk, disk::DiskRead};
use homeostat_wire::series::{
    Malformed,
    dictionary::{Name, decode_names},
    footer::{BlockEndError, BlockVersion, Footer, HEADER_BYTES, TRAILER_BYTES, check_header, decode_trailer},
    frame::{FRAME_HEADER_BYTES, FRAME_PAYLOAD_MAX, FrameError, PageRef, open_frame},
    series_page::{SERIES_PER_PAGE, SeriesReader},
};
use thiserror::Error;

use self::page::Page;
pub(crate) use self::{
    cache::PageCache,
    chunks::{ChunkReader, SeriesChunks},
    labels::LabelReader,
    writer::{BlockWriter, Dictionary},
};

/// The file of a block: eight digits, so that a listing is in order.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:08}.block")
}

/// The number in a file name, also of one that was not finished; `None` when it is not a block's.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let name = name.strip_suffix(".new").unwrap_or(name);
    name.strip_suffix(".block").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

/// A block that cannot be read.
#[derive(Debug, Error)]
#[error("block {path} cannot be read at byte {offset}; `homeostat series verify` looks at all of them")]
pub struct BlockError {
    /// Its file.
    pub path: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// What is wrong there.
    #[source]
    pub fault: BlockFault,
}

/// What is wrong with a block.
#[derive(Debug, Error)]
pub enum BlockFault {
    /// The file system refused it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its beginning or its end.
    #[error(transparent)]
    End(#[from] BlockEndError),
    /// A page whose length or checksum does not fit.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A page that says something impossible.
    #[error(transparent)]
    Content(#[from] Malformed),
    /// A place that no page covers.
    #[error("there is no {what} with this number")]
    Missing {
        /// What was looked for.
        what: &'static str,
    },
    /// Pages that are intact and do not fit each other: a fault of ours.
    #[error("{0}")]
    Contradiction(&'static str),
    /// A page of impossible length.
    #[error("a page of {len} bytes")]
    Length {
        /// Its length.
        len: u64,
    },
}

impl From<BlockError> for SourceError {
    fn from(error: BlockError) -> Self {
        Self::Storage(Box::new(error))
    }
}

/// Bytes of the parts of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Values of samples.
    pub chunks: u64,
    /// Times of samples.
    pub times: u64,
    /// Which labels each series has, and where its chunks are.
    pub series: u64,
    /// Label values, with short lists of series.
    pub values: u64,
    /// Long lists of series by label.
    pub lists: u64,
    /// Label names, and both ends of the file.
    pub names_and_footer: u64,
}

/// An open block.
#[derive(Debug)]
pub(crate) struct Block {
    number: u64,
    path: PathBuf,
    file: Box<dyn DiskRead>,
    bytes: u64,
    version: BlockVersion,
    footer_at: PageRef,
    footer: Footer,
    names: Vec<Name>,
    cache: Arc<PageCache>,
}

impl Block {
    /// Opens a block.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, number: u64, cache: Arc<PageCache>) -> Result<Self, BlockError> {
        let path = dir.join(file_name(number));
        let fail = |offset, fault: BlockFault| BlockError { path: path.clone(), offset, fault };
        let file = disk.open(&path).map_err(|error| fail(0, error.into()))?;
        let bytes = file.len().map_err(|error| fail(0, error.into()))?;
        let (mut header, mut trailer) = ([0; HEADER_BYTES], [0; TRAILER_BYTES]);
        let trailer_at = bytes.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| fail(0, BlockEndError::Short.into()))?;
        file.read_at(0, &mut header).map_err(|error| fail(0, error.into()))?;
        let first = check_header(&header).map_err(|error| fail(0, error.into()))?;
        file.read_at(trailer_at, &mut trailer).map_err(|error| fail(trailer_at, error.into()))?;
        let (footer_at, version) = decode_trailer(&trailer).map_err(|error| fail(trailer_at, error.into()))?;
        if first != version {
            return Err(fail(0, BlockEndError::Ends { first: first as u16, last: version as u16 }.into()));
        }
        let (footer, names) = (Footer::default(), Vec::new());
        let mut block = Self { number, path, file, bytes, version, footer_at, footer, names, cache };
        let page = block.payload(footer_at)?;
        block.footer = Footer::decode(&page).map_err(|error| block.error(footer_at.offset, error))?;
        if let Some(claim) = bounds::impossible(&block.footer, bytes) {
            return Err(block.error(footer_at.offset, BlockFault::Contradiction(claim)));
        }
        let names_at = block.footer.names;
        let page = block.payload(names_at)?;
        block.names = decode_names(&page).map_err(|error| block.error(names_at.offset, error))?;
        let pairs: u64 = block.names.iter().map(|name| u64::from(name.values)).sum();
        if pairs != u64::from(block.footer.pairs) {
            return Err(block.error(names_at.offset, BlockFault::Missing { what: "pair" }));
        }
        Ok(block)
    }

    pub(crate) fn footer(&self) -> &Footer {
        &self.footer
    }

    /// What it may hold.
    pub(crate) fn version(&self) -> BlockVersion {
        self.version
    }

    /// Length of its file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn names(&self) -> &[Name] {
        &self.names
    }

    /// Returns true when it may have a sample between two instants.
    pub(crate) fn overlaps(&self, start_ms: TimeMs, end_ms: TimeMs) -> bool {
        self.footer.min_ms <= end_ms && start_ms <= self.footer.max_ms
    }

    /// Something that is said about this block elsewhere does not fit it.
    pub(crate) fn malformed(&self, error: Malformed) -> BlockError {
        self.error(0, error)
    }

    fn error(&self, offset: u64, fault: impl Into<BlockFault>) -> BlockError {
        BlockError { path: self.path.clone(), offset, fault: fault.into() }
    }

    /// Reads and checks a page.
    fn payload(&self, at: PageRef) -> Result<Vec<u8>, BlockError> {
        let len = u64::from(at.len);
        let possible = FRAME_HEADER_BYTES as u64..=(FRAME_HEADER_BYTES + FRAME_PAYLOAD_MAX) as u64;
        if !possible.contains(&len) || self.bytes < at.end() {
            return Err(self.error(at.offset, BlockFault::Length { len }));
        }
        let mut frame = vec![0; at.len as usize];
        self.file.read_at(at.offset, &mut frame).map_err(|error| self.error(at.offset, error))?;
        open_frame(&frame).map_err(|error| self.error(at.offset, error))?;
        frame.drain(..FRAME_HEADER_BYTES);
        Ok(frame)
    }

    fn page(
        &self,
        at: PageRef,
        take_apart: impl FnOnce(Vec<u8>) -> Result<Page, Malformed>,
    ) -> Result<Arc<Page>, BlockError> {
        self.cache.get((self.number, at.offset), || {
            take_apart(self.payload(at)?).map_err(|error| self.error(at.offset, error))
        })
    }

    /// The page of a numbered list that holds an entry, and the entry's place in it.
    fn numbered(
        &self,
        pages: &[(PageRef, u64)],
        entry: u64,
        what: &'static str,
    ) -> Result<(PageRef, usize), BlockError> {
        let at = pages.partition_point(|(_, first)| *first <= entry);
        match at.checked_sub(1).and_then(|at| pages.get(at)) {
            Some((page, first)) => Ok((*page, (entry - first) as usize)),
            None => Err(self.error(0, BlockFault::Missing { what })),
        }
    }

    /// A page of label values by its place among them.
    fn values_page(&self, at: usize) -> Result<Arc<Page>, BlockError> {
        let (page, _) =
            *self.footer.values.get(at).ok_or_else(|| self.error(0, BlockFault::Missing { what: "value" }))?;
        self.page(page, |payload| Page::values(&payload))
    }

    /// A page of series by its place among them.
    fn series_page(&self, at: usize) -> Result<Arc<Page>, BlockError> {
        let page = self.footer.series_pages.get(at);
        let page = *page.ok_or_else(|| self.error(0, BlockFault::Missing { what: "series" }))?;
        self.page(page, |payload| Ok(Page::raw(payload)))
    }

    /// For each pair of name and value when about its series have samples. Costs a look at every series once, and is
    /// kept in the cache from then on.
    pub(crate) fn slots_of_pairs(&self) -> Result<Arc<Page>, BlockError> {
        // No page of the file begins there.
        self.cache.get((self.number, u64::MAX), || {
            let mut slots = vec![(u8::MAX, 0); self.footer.pairs as usize];
            self.for_each_series(0..self.footer.series, |_, entry| {
                for pair in &entry.pairs {
                    if let Some((first, last)) = slots.get_mut(*pair as usize) {
                        (*first, *last) = ((*first).min(entry.slots.0), (*last).max(entry.slots.1));
                    }
                }
                Ok(())
            })?;
            Ok(Page::Slots(slots))
        })
    }

    /// Visits series by number, ascending.
    pub(crate) fn for_each_series(
        &self,
        numbers: impl IntoIterator<Item = u32>,
        mut visit: impl FnMut(u32, &homeostat_wire::series::series_page::SeriesEntry) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        let mut numbers = numbers.into_iter().peekable();
        while let Some(number) = numbers.peek().copied() {
            let place = number as usize / SERIES_PER_PAGE;
            let page = self.series_page(place)?;
            let offset = self.footer.series_pages.get(place).map_or(0, |page| page.offset);
            let fail = |error: Malformed| self.error(offset, error);
            let mut reader = SeriesReader::new(page.as_raw(), self.footer.pairs).map_err(fail)?;
            let mut at = (place * SERIES_PER_PAGE) as u32;
            while let Some(wanted) = numbers.next_if(|number| *number as usize / SERIES_PER_PAGE == place) {
                loop {
                    let missing = || self.error(offset, BlockFault::Missing { what: "series" });
                    let entry = reader.read().map_err(fail)?.ok_or_else(missing)?;
                    at += 1;
                    if at - 1 == wanted {
                        visit(wanted, entry)?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
