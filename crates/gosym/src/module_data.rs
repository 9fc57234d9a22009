//! The runtime's record of a program's parts (`runtime.moduledata`), found by value.
//!
//! It has no symbol in a stripped file, and its fields move from version to version. But its first word is the address of
//! the table of functions, and what is wanted from it can be told by what it must be: the bounds of all functions are two
//! neighbouring words as far apart as the table says. So nothing here depends on where a field is.

use memchr::memmem;

use crate::{
    elf::{Elf, Relocation},
    little_endian::u64_at,
    read_at::ReadAt,
};

/// Words that are looked at behind the first one; the interesting ones were among the first 45 in all versions so far.
const WORDS: u64 = 80;
/// Bytes of data segments that are searched.
const SEARCHED_BYTES_MAX: u64 = 256 << 20;
/// Bytes that are searched at a time.
const PIECE_BYTES: u64 = 1 << 20;
/// Places that may be the record and are looked at.
const CANDIDATES_MAX: usize = 64;

/// The first words of what may be the record.
#[derive(Clone, Debug)]
pub(crate) struct ModuleData {
    words: Vec<u64>,
}

impl ModuleData {
    /// All places whose first word is the address of the table.
    pub(crate) fn candidates(elf: &Elf, source: &impl ReadAt, relocations: &[Relocation], table: u64) -> Vec<Self> {
        let moved = relocations.iter().filter(|(_, value)| *value == table).map(|(address, _)| *address);
        let mut places: Vec<u64> = moved.take(CANDIDATES_MAX).collect();
        let mut budget = SEARCHED_BYTES_MAX;
        for segment in elf.loaded().filter(|segment| segment.flags & 2 != 0) {
            let len = segment.file_bytes.min(budget);
            budget -= len;
            words_equal(source, segment.offset, len, table, |into| {
                if places.len() < CANDIDATES_MAX {
                    places.push(segment.address.saturating_add(into));
                }
            });
        }
        places.into_iter().filter_map(|place| Self::read(elf, source, relocations, place)).collect()
    }

    fn read(elf: &Elf, source: &impl ReadAt, relocations: &[Relocation], address: u64) -> Option<Self> {
        let (offset, there) = elf.place(address)?;
        let bytes = source.copy(offset, there.min(8 * WORDS))?;
        let mut words: Vec<u64> = bytes.chunks_exact(8).filter_map(|word| u64_at(word, 0)).collect();
        let first = relocations.partition_point(|(place, _)| *place < address);
        for (place, value) in relocations.get(first..)?.iter().take(words.len()) {
            let word = usize::try_from((place - address) / 8).ok().and_then(|index| words.get_mut(index));
            if let Some(word) = word {
                *word = *value;
            }
        }
        Some(Self { words })
    }

    /// What addresses of functions count from: the bounds of all functions less those that the table has. With it the words
    /// behind the bounds.
    pub(crate) fn text(&self, elf: &Elf, (first, end): (u64, u64)) -> Option<(u64, &[u64])> {
        (0..self.words.len()).find_map(|index| {
            let (&[from, to], rest) = self.words.get(index..)?.split_first_chunk()?;
            let text = from.checked_sub(first)?;
            (to.checked_sub(end) == Some(text) && first < end && elf.is_code(from)).then_some((text, rest))
        })
    }
}

/// Calls `found` with the distance of every aligned word that has this value.
fn words_equal(source: &impl ReadAt, offset: u64, len: u64, value: u64, mut found: impl FnMut(u64)) {
    let needle = value.to_le_bytes();
    let finder = memmem::Finder::new(&needle);
    let mut from = 0;
    while from < len {
        let piece_len = PIECE_BYTES.min(len - from);
        let Some(piece) = offset.checked_add(from).and_then(|at| source.copy(at, piece_len)) else { return };
        finder.find_iter(&piece).filter(|at| at % 8 == 0).for_each(|at| found(from + at as u64));
        from += piece_len;
    }
}
