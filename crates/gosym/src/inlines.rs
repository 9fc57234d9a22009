//! Calls that the compiler put into their callers: a tree a function, in a part of the file without a name.
//!
//! ```text
//! Go 1.18  i16 parent, u8 kind, u8 0, i32 file, i32 line, i32 name, i32 pc of the caller   20 bytes
//! Go 1.20  u8 kind, u8 0, 0, 0, i32 name, i32 pc of the caller, i32 first line             16 bytes
//! ```
//!
//! Trees are places in `go:func.*`, whose beginning only the runtime's record knows, in a field that moves from version to
//! version. Each word of the record behind the bounds of the functions is tried: with the right one, the trees of many functions make sense.

use crate::{
    elf::Elf,
    functions::{Functions, Record},
    header::Layout,
    little_endian::u32_at,
    pc_values::steps,
    read_at::ReadAt,
};

/// Functions whose trees must make sense before a word is believed.
const SAMPLE: usize = 64;
/// Functions that are looked at to find so many with inlined calls.
const SAMPLED_FROM: usize = 4096;
/// Steps of lists that are taken for it, some milliseconds: real lists have some dozens.
const STEPS_MAX: usize = 1 << 20;
/// Entries of one tree that are checked.
const CHECKED_ENTRIES: u32 = 256;

/// Where the trees of a program are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trees {
    base: u64,
    layout: Layout,
}

/// One inlined call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InlinedCall {
    /// Place among the names.
    pub(crate) name: u32,
    /// Distance from the function's beginning at which it is called.
    pub(crate) caller: u64,
}

impl Trees {
    /// Finds the trees at one of these addresses; `None` when no word makes sense, as in programs without any inlined call.
    pub(crate) fn find(functions: &Functions, words: &[u64], elf: &Elf, source: &impl ReadAt) -> Option<Self> {
        let layout = functions.layout();
        let step = (functions.len() / SAMPLED_FROM).max(1);
        let mut left = STEPS_MAX;
        let with_inlines = (0..functions.len()).step_by(step).filter_map(|index| {
            let record = functions.nth(index)?;
            let (list, tree) = functions.inlines(record)?;
            let values = steps(list, functions.quantum()).take(left).inspect(|_| left -= 1);
            let last = values.map(|step| step.value).max()?;
            Some((record, tree, u32::try_from(last).ok()?))
        });
        let sample: Vec<_> = with_inlines.take(SAMPLE).collect();
        if sample.is_empty() {
            return None;
        }
        words.iter().map(|base| Self { base: *base, layout }).find(|trees| {
            sample.iter().all(|(record, tree, last)| {
                (0..=(*last).min(CHECKED_ENTRIES))
                    .all(|index| trees.is_sane(functions, *record, *tree, index, elf, source))
            })
        })
    }

    /// One entry of a tree.
    pub(crate) fn call(self, tree: u32, index: u32, elf: &Elf, source: &impl ReadAt) -> Option<InlinedCall> {
        let (entry_bytes, name_at) = if self.layout == Layout::Go1_20 { (16, 4) } else { (20, 12) };
        let address = self.base.checked_add(u64::from(tree))?.checked_add(entry_bytes * u64::from(index))?;
        let (offset, there) = elf.place(address)?;
        let mut entry = [0; 20];
        let entry = entry.get_mut(..entry_bytes as usize)?;
        if there < entry_bytes || !source.read_at(offset, entry) {
            return None;
        }
        Some(InlinedCall { name: u32_at(entry, name_at)?, caller: u64::from(u32_at(entry, name_at + 4)?) })
    }

    fn is_sane(
        self,
        functions: &Functions,
        record: Record,
        tree: u32,
        index: u32,
        elf: &Elf,
        source: &impl ReadAt,
    ) -> bool {
        let call = self.call(tree, index, elf, source);
        call.is_some_and(|call| functions.is_name(call.name) && call.caller < record.end - record.start)
    }
}
