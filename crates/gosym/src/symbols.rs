//! A program's tables, opened: from an address to functions, files and lines.

use std::borrow::Cow;

use memchr::memmem;

use crate::{
    all_goroutines, build_info,
    elf::{Elf, NotElf},
    functions::{Function, Functions},
    header::Layout,
    inlines::Trees,
    module_data::ModuleData,
    pc_values::value_at,
    probe_site::{ProbeSite, probe_site},
    read_at::ReadAt,
};

/// Sections that hold the table of functions: the second in position-independent programs.
pub const TABLE_SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// Bytes of one table. Prometheus' has 14 MiB; the largest public Go programs stay below 100.
const TABLE_BYTES_MAX: u64 = 256 << 20;
/// Bytes that are searched for a table in a file without sections.
const SEARCHED_BYTES_MAX: u64 = 1 << 30;
/// Bytes that are searched at a time.
const PIECE_BYTES: u64 = 1 << 20;
/// Bytes that a header may have, so that none is lost between two pieces.
const HEADER_BYTES: u64 = 128;
/// Places that look like the beginning of a table and are tried.
const CANDIDATES_MAX: usize = 16;
/// Inlined calls within each other. Compilers stop much earlier; a tree that lies could go in circles.
const INLINED_DEPTH_MAX: usize = 128;

/// Why a file cannot be read as a Go program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGo {
    /// It is no program of this kind of machine.
    #[error(transparent)]
    Elf(#[from] NotElf),
    /// There is no table of functions.
    #[error("it has no Go table of functions: it is no Go program, or one of a layout that is not known")]
    NoTable,
    /// The table is there, but not what its distances count from.
    #[error("it has a Go table of functions, but where its code begins is not to be found")]
    NoText,
}

/// One function at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// With its package, such as `net/http.(*conn).serve`.
    pub function: Cow<'a, str>,
    /// As the compiler saw it; empty when unknown.
    pub file: Cow<'a, str>,
    /// From 1; 0 when unknown.
    pub line: u32,
    /// Whether it was put into the next frame.
    pub inlined: bool,
}

/// Functions of a Go program by address. Addresses are those of the file: a process that was loaded elsewhere
/// subtracts where.
#[derive(Debug)]
pub struct Symbols<S> {
    source: S,
    elf: Elf,
    functions: Functions,
    trees: Option<Trees>,
}

impl<S: ReadAt> Symbols<S> {
    /// Finds and reads the tables. Costs some milliseconds and the table's size in memory (3 to 14 MiB in the servers of a
    /// distribution), and 16 bytes a function.
    pub fn open(source: S) -> Result<Self, NotGo> {
        let elf = Elf::read(&source)?;
        let relocations = elf.relocations(&source);
        let mut found = Err(NotGo::NoTable);
        for (address, offset, len) in tables(&elf, &source) {
            let Some(table) = source.copy(offset, len.min(TABLE_BYTES_MAX)) else { continue };
            let Some(mut functions) = Functions::read(table, address, &relocations) else { continue };
            if functions.layout().has_absolute_addresses() {
                return Ok(Self { source, elf, functions, trees: None });
            }
            let records = ModuleData::candidates(&elf, &source, &relocations, address);
            let known = records.iter().find_map(|record| record.text(&elf, functions.bounds()));
            let Some(text) = known.map(|(text, _)| text).or_else(|| stated_text(&functions, &elf)) else {
                found = Err(NotGo::NoText);
                continue;
            };
            functions.set_text(text);
            let trees = known.and_then(|(_, words)| Trees::find(&functions, words, &elf, &source));
            return Ok(Self { source, elf, functions, trees });
        }
        found
    }

    /// The functions at an address, innermost first: calls that were inlined, then the function itself. Empty for addresses
    /// of no function. For a return address ask one less: it belongs to what follows the call.
    ///
    /// Inlined calls are told apart since Go 1.18; in older programs the function has the line of what was inlined.
    pub fn frames(&self, address: u64) -> Vec<Frame<'_>> {
        let mut frames = Vec::new();
        let Some(record) = self.functions.at(address) else { return frames };
        let inlines = self.trees.and_then(|trees| Some((trees, self.functions.inlines(record)?)));
        let mut at = address;
        while let Some((trees, (list, tree))) = inlines
            && frames.len() < INLINED_DEPTH_MAX
        {
            let index = value_at(list, self.functions.quantum(), at - record.start);
            let call = index.and_then(|index| trees.call(tree, u32::try_from(index).ok()?, &self.elf, &self.source));
            let Some(call) = call.filter(|call| call.caller < record.end - record.start) else { break };
            let Some(function) = self.functions.name_at(call.name as usize) else { break };
            let (file, line) = self.functions.line(record, at);
            frames.push(Frame { function, file, line, inlined: true });
            at = record.start + call.caller;
        }
        let (file, line) = self.functions.line(record, at);
        let function = self.functions.name(record).unwrap_or_default();
        frames.push(Frame { function, file, line, inlined: false });
        frames
    }

    /// Bytes that the function at an address has put on the stack there. Where it is 0, as in small functions that call no
    /// other, the return address lies on top, and the frame pointer is still the caller's: a walk along frame pointers
    /// leaves the caller out.
    pub fn stack_bytes(&self, address: u64) -> Option<i32> {
        self.functions.stack_bytes(self.functions.at(address)?, address)
    }

    /// The function of a name, such as `runtime.main`. Looks at all of them.
    pub fn function(&self, name: &str) -> Option<Function<'_>> {
        (0..self.functions.len()).find_map(|index| {
            let record = self.functions.nth(index).filter(|record| self.functions.is_called(*record, name))?;
            Some(Function { name: self.functions.name(record)?, start: record.start, end: record.end })
        })
    }

    /// All functions in the order of their addresses.
    pub fn functions(&self) -> impl Iterator<Item = Function<'_>> {
        (0..self.functions.len()).filter_map(|index| {
            let record = self.functions.nth(index)?;
            Some(Function { name: self.functions.name(record)?, start: record.start, end: record.end })
        })
    }

    /// The table's layout: which versions of Go may have made the program.
    pub fn layout(&self) -> Layout {
        self.functions.layout()
    }

    /// The version of Go that made the program, such as `go1.19.8`; known since Go 1.18.
    pub fn go_version(&self) -> Option<String> {
        build_info::version(&self.elf, &self.source)
    }

    /// Addresses at which the runtime may keep the list of all goroutines: three words, the address of the list of
    /// addresses, its length, its capacity. x86-64 only; a guess, to be checked by who reads there.
    pub fn goroutine_lists(&self) -> Vec<u64> {
        let adder = self.function("runtime.allgadd");
        adder.map(|adder| all_goroutines::candidates(&adder, &self.elf, &self.source)).unwrap_or_default()
    }

    /// Where a probe on a function costs one trap, and each call is seen once; `None` when its beginning is not understood.
    /// x86-64 only.
    pub fn probe_site(&self, function: &Function<'_>) -> Option<ProbeSite> {
        probe_site(function, &self.elf, &self.source)
    }

    /// Whether inlined calls can be told.
    pub fn knows_inlined_calls(&self) -> bool {
        self.trees.is_some()
    }

    /// Segments and sections of the file.
    pub fn elf(&self) -> &Elf {
        &self.elf
    }

    /// Where the bytes come from.
    pub fn source(&self) -> &S {
        &self.source
    }
}

/// Go until 1.25 says it in the header, unless the loader fills it in.
fn stated_text(functions: &Functions, elf: &Elf) -> Option<u64> {
    let text = functions.header().text_start;
    (elf.is_code(text) && text != 0 && text.checked_add(functions.bounds().1).is_some()).then_some(text)
}

/// Address, place and length of what may be tables: the section that is called so, else everything that begins like one.
fn tables(elf: &Elf, source: &impl ReadAt) -> Vec<(u64, u64, u64)> {
    let mut found: Vec<_> = TABLE_SECTIONS
        .iter()
        .filter_map(|name| elf.section(name))
        .map(|section| (section.address, section.offset, section.len_bytes))
        .collect();
    if found.is_empty() {
        let mut budget = SEARCHED_BYTES_MAX;
        for segment in elf.loaded() {
            let len = segment.file_bytes.min(budget);
            budget -= len;
            headers(source, segment.offset, len, |into| {
                if found.len() < CANDIDATES_MAX {
                    let address = segment.address.saturating_add(into);
                    found.push((address, segment.offset.saturating_add(into), segment.file_bytes - into));
                }
            });
        }
    }
    found
}

/// Calls `found` with the distance of everything that begins like a table.
fn headers(source: &impl ReadAt, offset: u64, len: u64, mut found: impl FnMut(u64)) {
    // The last three bytes of all magics and the two zeros behind them.
    let finder = memmem::Finder::new(b"\xff\xff\xff\0\0");
    let mut from = 0;
    while from < len {
        // A header may lie across two pieces.
        let piece_len = (PIECE_BYTES + HEADER_BYTES).min(len - from);
        let Some(piece) = offset.checked_add(from).and_then(|at| source.copy(at, piece_len)) else { return };
        for at in finder.find_iter(&piece).filter_map(|at| at.checked_sub(1)) {
            let is_new = at as u64 + from == 0 || (at as u64) < PIECE_BYTES;
            if at % 8 == 0 && is_new && piece.get(at..).is_some_and(begins_like_a_table) {
                found(from + at as u64);
            }
        }
        from += PIECE_BYTES;
    }
}

/// Whether these bytes can be a header; its offsets are checked when the table is read.
fn begins_like_a_table(bytes: &[u8]) -> bool {
    let magic = bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    magic.is_some_and(|magic| Layout::of_magic(magic).is_some())
        && matches!(bytes.get(4..8), Some([0, 0, 1 | 2 | 4, 8]))
}
