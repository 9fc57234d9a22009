//! The first words of a table of functions: which layout it has and where its parts are.
//!
//! ```text
//! all      u32 magic, u8 0, u8 0, u8 bytes of the smallest instruction, u8 bytes of a pointer
//! Go 1.2   word functions; the list of functions follows; offsets count from the table's beginning
//! Go 1.16  word functions, files; offsets of: names, files of units, files, values of pcs, functions
//! Go 1.18  word functions, files, start of text; offsets as in 1.16; addresses of functions count from the start of text
//! Go 1.20  as 1.18; a function has one more field, the line at which it begins
//! ```

use crate::little_endian::{u32_at, u64_at};

/// Layouts of the table, called by the first Go that wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// Go 1.2 to 1.15.
    Go1_2,
    /// Go 1.16 and 1.17.
    Go1_16,
    /// Go 1.18 and 1.19.
    Go1_18,
    /// Go 1.20 and newer, to 1.27 at least.
    Go1_20,
}

impl Layout {
    pub(crate) fn of_magic(magic: u32) -> Option<Self> {
        match magic {
            0xffff_fffb => Some(Self::Go1_2),
            0xffff_fffa => Some(Self::Go1_16),
            0xffff_fff0 => Some(Self::Go1_18),
            0xffff_fff1 => Some(Self::Go1_20),
            _ => None,
        }
    }

    /// Whether addresses of functions are words of their own; later they are distances from the start of text.
    pub(crate) fn has_absolute_addresses(self) -> bool {
        self <= Self::Go1_16
    }
}

/// Where the parts of a table are, as offsets from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) layout: Layout,
    /// Steps of program counters: 1 on x86-64, 4 on arm64.
    pub(crate) quantum: u8,
    pub(crate) functions: u64,
    /// As the file has it: 0 since Go 1.26 and in programs that the loader moves.
    pub(crate) text_start: u64,
    pub(crate) names: usize,
    pub(crate) unit_files: usize,
    pub(crate) files: usize,
    pub(crate) pc_values: usize,
    /// The list of functions, and since Go 1.16 what offsets of functions count from.
    pub(crate) function_list: usize,
}

impl Header {
    /// `None` when these are not the first bytes of a table for a 64-bit machine.
    pub(crate) fn read(table: &[u8]) -> Option<Self> {
        let layout = Layout::of_magic(u32_at(table, 0)?)?;
        let &[0, 0, quantum @ (1 | 2 | 4), 8] = table.get(4..8)? else { return None };
        let word = |index: usize| u64_at(table, 8 + 8 * index);
        let place = |index: usize| {
            word(index).and_then(|offset| usize::try_from(offset).ok()).filter(|offset| *offset <= table.len())
        };
        let functions = word(0)?;
        let first = match layout {
            Layout::Go1_2 => {
                let list = 16;
                return Some(Self {
                    layout,
                    quantum,
                    functions,
                    text_start: 0,
                    names: 0,
                    unit_files: 0,
                    files: usize::try_from(functions).ok().and_then(|count| files_of_go1_2(table, list, count))?,
                    pc_values: 0,
                    function_list: list,
                });
            }
            Layout::Go1_16 => 2,
            Layout::Go1_18 | Layout::Go1_20 => 3,
        };
        Some(Self {
            layout,
            quantum,
            functions,
            text_start: if first == 3 { word(2)? } else { 0 },
            names: place(first)?,
            unit_files: place(first + 1)?,
            files: place(first + 2)?,
            pc_values: place(first + 3)?,
            function_list: place(first + 4)?,
        })
    }
}

/// Go 1.2 tells the place of the files after the list of functions and the end of the last one.
fn files_of_go1_2(table: &[u8], list: usize, functions: usize) -> Option<usize> {
    let at = functions.checked_mul(16)?.checked_add(list)?.checked_add(8)?;
    u32_at(table, at).map(|offset| offset as usize).filter(|offset| *offset <= table.len())
}
