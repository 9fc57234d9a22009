//! Where a Go program keeps the list of all its goroutines (`runtime.allgs`).
//!
//! It has no symbol in a stripped file, but the function that adds to the list names its three words, address, length
//! and capacity, relative to itself. Every place of its code that could be such an instruction is taken; three words in
//! a row are left. Who reads the list checks what is there.

use std::collections::BTreeSet;

use crate::{elf::Elf, functions::Function, little_endian::u32_at, read_at::ReadAt};

/// Bytes of the function that are looked at; it has some 400.
const CODE_BYTES_MAX: u64 = 8192;

/// Addresses at which the three words may be, x86-64 only. `adder` is `runtime.allgadd`.
pub(crate) fn candidates(adder: &Function<'_>, elf: &Elf, source: &impl ReadAt) -> Vec<u64> {
    let code = elf.copy(source, adder.start, (adder.end - adder.start).min(CODE_BYTES_MAX)).unwrap_or_default();
    let words: BTreeSet<u64> = (0..code.len()).filter_map(|at| relative_word(&code, at, adder.start)).collect();
    let is_there = |word: u64, behind: u64| word.checked_add(behind).is_some_and(|next| words.contains(&next));
    words.iter().copied().filter(|word| is_there(*word, 8) && is_there(*word, 16)).collect()
}

/// The address in an instruction that moves a word from or to a place relative to itself: a 64-bit prefix, the code of
/// the move, a register and the mark of such a place, and the distance from the instruction's end.
fn relative_word(code: &[u8], at: usize, start: u64) -> Option<u64> {
    let &[0x48 | 0x4c, 0x8b | 0x89, place] = code.get(at..)?.first_chunk()? else { return None };
    let is_relative = place & 0b1100_0111 == 0b0000_0101;
    let distance = u32_at(code, at + 3)?.cast_signed();
    let end = start.checked_add(at as u64 + 7)?;
    end.checked_add_signed(i64::from(distance)).filter(|_| is_relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_relative_to_the_code_are_understood() {
        // mov 0x10(%rip),%rcx; mov %rax,-0x10(%rip); mov %rcx,(%rax).
        let code = [0x48, 0x8b, 0x0d, 0x10, 0, 0, 0, 0x48, 0x89, 0x05, 0xf0, 0xff, 0xff, 0xff, 0x48, 0x89, 0x08];
        let found: Vec<_> = (0..code.len()).filter_map(|at| relative_word(&code, at, 0x1000)).collect();
        assert_eq!(found, [0x1017, 0xffe]);
    }
}
