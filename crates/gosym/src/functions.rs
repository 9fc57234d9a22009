//! The table of functions: which one an address lies in, its name, files and lines.

use std::borrow::Cow;

use crate::{
    elf::Relocation,
    header::{Header, Layout},
    little_endian::{u32_at, u64_at},
    pc_values::value_at,
};

/// Functions of one program. Prometheus has 63,000, Kubernetes' largest binaries 200,000; at 16 bytes each 64 MiB.
const FUNCTIONS_MAX: u64 = 4 << 20;
/// Bytes of one name; names of generic functions spell out their types.
const NAME_BYTES_MAX: usize = 1 << 16;

/// Number of the list with indexes of inlined calls, among a function's lists; since Go 1.12.
const PCDATA_INLINE_INDEX: u32 = 2;
/// Number of the tree of inlined calls, among a function's data; since Go 1.12.
const FUNCDATA_INLINE_TREE: u32 = 3;

/// A function that was compiled for itself: its name and where it is in the file's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// With its package, such as `net/http.(*conn).serve`.
    pub name: Cow<'a, str>,
    /// First address.
    pub start: u64,
    /// First address behind it; padding counts.
    pub end: u64,
}

/// The table, read and checked.
#[derive(Debug)]
pub(crate) struct Functions {
    table: Vec<u8>,
    header: Header,
    /// Start and place of each function, sorted. Starts are addresses, or distances from the start of text.
    entries: Vec<(u64, u64)>,
    /// End of the last one.
    end: u64,
    /// What starts count from.
    text: u64,
}

/// One function's record, read lazily.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// First address.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Where its record is in the table.
    at: usize,
}

impl Functions {
    /// Reads a table. `address` is where it stands, for words in it that the loader fills in.
    pub(crate) fn read(table: Vec<u8>, address: u64, relocations: &[Relocation]) -> Option<Self> {
        let header = Header::read(&table)?;
        if FUNCTIONS_MAX < header.functions {
            return None;
        }
        let count = header.functions as usize;
        let is_absolute = header.layout.has_absolute_addresses();
        let width = if is_absolute { 8 } else { 4 };
        let list = table.get(header.function_list..)?;
        // The list ends with the end of the last function, without a place.
        let list = list.get(..count.checked_mul(2 * width)?.checked_add(width)?)?;
        let list_address = address.wrapping_add(header.function_list as u64);
        let start = |at: usize| {
            if !is_absolute {
                return u32_at(list, at).map(u64::from);
            }
            let address = list_address.wrapping_add(at as u64);
            match relocations.binary_search_by_key(&address, |(address, _)| *address) {
                Ok(found) => relocations.get(found).map(|(_, value)| *value),
                Err(_) => u64_at(list, at),
            }
        };
        let place = |at: usize| if is_absolute { u64_at(list, at) } else { u32_at(list, at).map(u64::from) };
        let entries: Option<Vec<_>> =
            (0..count).map(|index| Some((start(2 * width * index)?, place(2 * width * index + width)?))).collect();
        let (entries, end) = (entries?, start(2 * width * count)?);
        let is_sorted = entries.is_sorted_by_key(|(start, _)| *start);
        let is_within = entries.last().is_some_and(|(last, _)| *last <= end);
        (is_sorted && is_within).then_some(Self { table, header, entries, end, text: 0 })
    }

    pub(crate) fn layout(&self) -> Layout {
        self.header.layout
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Start of the first and end of the last function, as the table has them.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        (self.entries.first().map_or(0, |(start, _)| *start), self.end)
    }

    /// Says what starts count from.
    pub(crate) fn set_text(&mut self, text: u64) {
        self.text = text;
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The function with this number in the order of addresses.
    pub(crate) fn nth(&self, index: usize) -> Option<Record> {
        let (start, place) = *self.entries.get(index)?;
        let end = self.entries.get(index + 1).map_or(self.end, |(next, _)| *next);
        let base = if self.layout() == Layout::Go1_2 { 0 } else { self.header.function_list };
        let at = usize::try_from(place).ok()?.checked_add(base)?;
        Some(Record { start: start.checked_add(self.text)?, end: end.checked_add(self.text)?, at })
    }

    /// The function that an address lies in.
    pub(crate) fn at(&self, address: u64) -> Option<Record> {
        let distance = address.checked_sub(self.text)?;
        let after = self.entries.partition_point(|(start, _)| *start <= distance);
        self.nth(after.checked_sub(1)?).filter(|record| address < record.end)
    }

    pub(crate) fn name(&self, record: Record) -> Option<Cow<'_, str>> {
        self.name_at(self.field(record, 0)? as usize)
    }

    /// A name by its place among the names.
    pub(crate) fn name_at(&self, offset: usize) -> Option<Cow<'_, str>> {
        self.text_at(self.header.names.checked_add(offset)?)
    }

    /// Whether a function is called so, without a look at the rest of a long name.
    pub(crate) fn is_called(&self, record: Record, name: &str) -> bool {
        let at = self.field(record, 0).and_then(|offset| self.header.names.checked_add(offset as usize));
        let rest = at.and_then(|at| self.table.get(at..)).and_then(|rest| rest.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Whether a name begins at this place: what stands before it has ended.
    pub(crate) fn is_name(&self, offset: u32) -> bool {
        let at = self.header.names.saturating_add(offset as usize);
        let before = at.checked_sub(1).and_then(|before| self.table.get(before));
        (before == Some(&0) || offset == 0) && self.table.get(at).is_some_and(|byte| *byte != 0)
    }

    /// File and line at an address of a function.
    pub(crate) fn line(&self, record: Record, address: u64) -> (Cow<'_, str>, u32) {
        let distance = address.saturating_sub(record.start);
        let value = |field| {
            let list = self.list(self.field(record, field)?)?;
            u32::try_from(value_at(list, self.header.quantum, distance)?).ok()
        };
        let file = value(4).and_then(|number| self.file(record, number)).unwrap_or_default();
        (file, value(5).unwrap_or(0))
    }

    /// Bytes that a function has put on the stack at an address, its frame pointer included.
    pub(crate) fn stack_bytes(&self, record: Record, address: u64) -> Option<i32> {
        let list = self.list(self.field(record, 3)?)?;
        value_at(list, self.header.quantum, address.checked_sub(record.start)?)
    }

    /// The list of indexes into a function's tree of inlined calls, and the tree's place; `None` when nothing is inlined.
    pub(crate) fn inlines(&self, record: Record) -> Option<(&[u8], u32)> {
        if self.layout() < Layout::Go1_18 {
            return None;
        }
        let lists = self.field(record, 6)?;
        let last_field = if self.layout() == Layout::Go1_20 { 40 } else { 36 };
        // Kind, flag, nothing, and the number of data.
        let data = u32::from(*self.table.get(record.at.checked_add(last_field + 3)?)?);
        if lists <= PCDATA_INLINE_INDEX || data <= FUNCDATA_INLINE_TREE {
            return None;
        }
        let word =
            |index: u32| u32_at(&self.table, record.at.checked_add(last_field + 4)?.checked_add(4 * index as usize)?);
        let tree = word(lists.checked_add(FUNCDATA_INLINE_TREE)?)?;
        let list = word(PCDATA_INLINE_INDEX)?;
        (tree != u32::MAX && list != 0).then_some((self.list(list)?, tree))
    }

    pub(crate) fn quantum(&self) -> u8 {
        self.header.quantum
    }

    /// A field of four bytes; number 0 is the name. The start before them has four bytes since Go 1.18.
    fn field(&self, record: Record, number: usize) -> Option<u32> {
        let start_bytes = if self.layout().has_absolute_addresses() { 8 } else { 4 };
        u32_at(&self.table, record.at.checked_add(start_bytes)?.checked_add(4 * number)?)
    }

    fn list(&self, offset: u32) -> Option<&[u8]> {
        // A place of 0 says that there is none.
        self.table.get(self.header.pc_values.checked_add(offset as usize)?..).filter(|_| offset != 0)
    }

    fn file(&self, record: Record, number: u32) -> Option<Cow<'_, str>> {
        let header = &self.header;
        if self.layout() == Layout::Go1_2 {
            let at = (number as usize).checked_mul(4)?.checked_add(header.files)?;
            return self.text_at(u32_at(&self.table, at)? as usize);
        }
        let unit = self.field(record, 7)?;
        let at = (unit.checked_add(number)? as usize).checked_mul(4)?.checked_add(header.unit_files)?;
        let offset = u32_at(&self.table, at).filter(|offset| *offset != u32::MAX)?;
        self.text_at(header.files.checked_add(offset as usize)?)
    }

    fn text_at(&self, at: usize) -> Option<Cow<'_, str>> {
        let rest = self.table.get(at..)?;
        let rest = rest.get(..NAME_BYTES_MAX).unwrap_or(rest);
        rest.get(..memchr::memchr(0, rest)?).map(String::from_utf8_lossy)
    }
}
