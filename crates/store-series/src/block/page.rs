//! Pages of a block, checked and taken apart as far as every reader needs it.

use homeostat_wire::series::{
    Malformed,
    chunk_page::{ChunkKind, for_each_chunk, for_each_times},
    dictionary::{List, for_each_value},
    frame::PageRef,
};

/// A page in memory.
#[derive(Debug)]
pub(crate) enum Page {
    /// As it is: series, lists.
    Raw(Vec<u8>),
    /// Chunks: the payload, and where each lies in it.
    Chunks { bytes: Vec<u8>, chunks: Vec<ChunkAt> },
    /// Columns of times: the payload, and where each begins and ends.
    Times { bytes: Vec<u8>, columns: Vec<(u32, u32)> },
    /// Label values.
    Values(Values),
    /// No page of the file, but what all pages of series say together: for each pair of name and value the slots of
    /// the first and the last sample of the series that have it; the first one is larger when there are none.
    Slots(Vec<(u8, u8)>),
}

/// A chunk within its page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkAt {
    pub(crate) times: u32,
    pub(crate) kind: ChunkKind,
    start: u32,
    end: u32,
}

/// Label values of a page.
#[derive(Debug, Default)]
pub(crate) struct Values {
    texts: String,
    /// Where each text ends.
    ends: Vec<u32>,
    lists: Vec<OwnList>,
}

/// Where the list of a value's series is.
#[derive(Clone, Debug)]
pub(crate) enum OwnList {
    Inline(Box<[u8]>),
    At(PageRef),
}

impl Page {
    pub(crate) fn raw(payload: Vec<u8>) -> Self {
        Self::Raw(payload)
    }

    pub(crate) fn chunks(payload: Vec<u8>) -> Result<Self, Malformed> {
        let mut chunks = Vec::new();
        let whole = payload.len();
        // Chunks lie one behind the other up to the end.
        let mut left = 0;
        for_each_chunk(&payload, |chunk| {
            chunks.push(ChunkAt { times: chunk.times, kind: chunk.kind, start: 0, end: chunk.bytes.len() as u32 });
            left += chunk.bytes.len();
            true
        })?;
        let mut start = (whole - left) as u32;
        for chunk in &mut chunks {
            (chunk.start, chunk.end) = (start, start + chunk.end);
            start = chunk.end;
        }
        Ok(Self::Chunks { bytes: payload, chunks })
    }

    pub(crate) fn times(payload: Vec<u8>) -> Result<Self, Malformed> {
        let mut columns = Vec::new();
        let (whole, mut left) = (payload.len(), 0);
        for_each_times(&payload, |column| {
            columns.push((0, column.len() as u32));
            left += column.len();
            true
        })?;
        let mut start = (whole - left) as u32;
        for (from, to) in &mut columns {
            (*from, *to) = (start, start + *to);
            start = *to;
        }
        Ok(Self::Times { bytes: payload, columns })
    }

    pub(crate) fn values(payload: &[u8]) -> Result<Self, Malformed> {
        let mut values = Values::default();
        for_each_value(payload, |text, list| {
            values.texts.push_str(text);
            values.ends.push(values.texts.len() as u32);
            values.lists.push(match list {
                List::Inline(bytes) => OwnList::Inline(bytes.into()),
                List::At(page) => OwnList::At(page),
            });
            true
        })?;
        Ok(Self::Values(values))
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        64 + match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Chunks { bytes, chunks } => bytes.len() + chunks.len() * size_of::<ChunkAt>(),
            Self::Times { bytes, columns } => bytes.len() + columns.len() * 8,
            Self::Slots(slots) => slots.len() * 2,
            Self::Values(values) => {
                let inline = |list: &OwnList| if let OwnList::Inline(bytes) = list { bytes.len() } else { 0 };
                let lists: usize = values.lists.iter().map(|list| size_of::<OwnList>() + inline(list)).sum();
                values.texts.len() + values.ends.len() * 4 + lists
            }
        }
    }

    pub(crate) fn as_raw(&self) -> &[u8] {
        if let Self::Raw(bytes) = self { bytes } else { &[] }
    }

    /// A chunk by its place in the page.
    pub(crate) fn chunk(&self, at: usize) -> Option<(ChunkAt, &[u8])> {
        let Self::Chunks { bytes, chunks } = self else { return None };
        let chunk = *chunks.get(at)?;
        Some((chunk, bytes.get(chunk.start as usize..chunk.end as usize)?))
    }

    /// A column of times by its place in the page.
    pub(crate) fn column(&self, at: usize) -> Option<&[u8]> {
        let Self::Times { bytes, columns } = self else { return None };
        let (start, end) = *columns.get(at)?;
        bytes.get(start as usize..end as usize)
    }

    pub(crate) fn as_slots(&self) -> &[(u8, u8)] {
        if let Self::Slots(slots) = self { slots } else { &[] }
    }

    pub(crate) fn as_values(&self) -> Option<&Values> {
        if let Self::Values(values) = self { Some(values) } else { None }
    }
}

impl Values {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A value by its place in the page.
    pub(crate) fn text(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)? as usize;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        self.texts.get(start..end)
    }

    pub(crate) fn list(&self, at: usize) -> Option<&OwnList> {
        self.lists.get(at)
    }
}
