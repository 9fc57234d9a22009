//! As much of ELF as finding tables needs: segments, sections, relocations by addition, the build id.
//!
//! Only 64-bit little-endian files: x86-64 and arm64, where programs of the kernel profile.
//!
//! Source: System V ABI, "Object Files"; processor supplements of x86-64 and AArch64 for the relocation numbers.

use crate::{
    little_endian::{u16_at, u32_at, u64_at},
    read_at::ReadAt,
};

/// Segments that are read; real programs have about ten.
const SEGMENTS_MAX: u16 = 256;
/// Sections that are read; Go programs have below a hundred, C++ ones with a section a function are not linked programs.
const SECTIONS_MAX: u16 = 4096;
/// Bytes of section names.
const NAMES_BYTES_MAX: u64 = 1 << 20;
/// Relocations that are read: 24 bytes each, so 48 MiB; Debian's largest position-independent programs have some 400,000.
const RELOCATIONS_MAX: u64 = 2 << 20;
/// Bytes of notes, among them the build id.
const NOTES_BYTES_MAX: u64 = 1 << 16;
/// Entries of the dynamic table.
const DYNAMIC_MAX: u64 = 4096;

/// Why a file is no program that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotElf {
    /// It does not begin like one.
    #[error("it is no ELF file")]
    Magic,
    /// For a machine with 32 bits or the other byte order.
    #[error("it is an ELF file, but not a 64-bit little-endian one")]
    Class,
    /// A table lies outside of the file.
    #[error("its {0} lies outside of the file")]
    Outside(&'static str),
}

/// A part of the file that is mapped when the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// 1 is mapped, 2 holds the dynamic table, 4 notes.
    pub kind: u32,
    /// Bit 0 may be executed, bit 1 written, bit 2 read.
    pub flags: u32,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// Where they are when nothing is moved.
    pub address: u64,
    /// Bytes of the file; memory beyond them is zero.
    pub file_bytes: u64,
    /// Bytes in memory.
    pub memory_bytes: u64,
}

impl Segment {
    /// Whether it is mapped.
    pub fn is_loaded(&self) -> bool {
        self.kind == 1
    }

    /// Whether the program may run it.
    pub fn is_executable(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// A named part of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Such as `.text`.
    pub name: String,
    /// Where it is when the program runs and nothing is moved; 0 when it is not mapped.
    pub address: u64,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// Its bytes.
    pub len_bytes: u64,
}

/// What a file says about itself.
#[derive(Clone, Debug)]
pub struct Elf {
    /// Whether it may be loaded anywhere (a library or a position-independent program).
    pub is_relocatable: bool,
    /// In the order of the file.
    pub segments: Vec<Segment>,
    /// In the order of the file; none in files whose section table was cut off.
    pub sections: Vec<Section>,
}

/// A word that the loader fills in: its address and the value before anything is moved.
pub(crate) type Relocation = (u64, u64);

impl Elf {
    /// Reads the tables of a file.
    pub fn read(source: &impl ReadAt) -> Result<Self, NotElf> {
        let mut header = [0; 64];
        if !source.read_at(0, &mut header) || !header.starts_with(b"\x7fELF") {
            return Err(NotElf::Magic);
        }
        if header.get(4..6) != Some(&[2, 1]) {
            return Err(NotElf::Class);
        }
        let segments = segments(source, &header).ok_or(NotElf::Outside("segment table"))?;
        // A missing section table is no reason to refuse: programs run without.
        let sections = sections(source, &header).unwrap_or_default();
        Ok(Self { is_relocatable: u16_at(&header, 16) == Some(3), segments, sections })
    }

    /// The section of a name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Mapped segments.
    pub fn loaded(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.is_loaded())
    }

    /// Whether the program may run what is at an address.
    pub(crate) fn is_code(&self, address: u64) -> bool {
        self.loaded().any(|segment| {
            segment.is_executable() && segment.address <= address && address - segment.address < segment.memory_bytes
        })
    }

    /// Where the byte of an address is in the file, and how many follow it there.
    pub fn place(&self, address: u64) -> Option<(u64, u64)> {
        self.loaded().find_map(|segment| {
            let into = address.checked_sub(segment.address).filter(|into| *into < segment.file_bytes)?;
            Some((segment.offset.checked_add(into)?, segment.file_bytes - into))
        })
    }

    /// The address at which a byte of the file is mapped, when nothing is moved. Files are mapped by whole pages, so the end
    /// of one segment may be mapped once more before the next one; the executable one comes first.
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        const PAGE_BYTES: u64 = 4096;
        let holds = |segment: &&Segment| {
            let end = segment.offset.saturating_add(segment.file_bytes.max(1));
            let end = end.checked_next_multiple_of(PAGE_BYTES).unwrap_or(u64::MAX);
            (segment.offset & !(PAGE_BYTES - 1)..end).contains(&offset)
        };
        let found = self.loaded().filter(|segment| segment.is_executable()).find(holds);
        let segment = found.or_else(|| self.loaded().find(holds))?;
        Some(segment.address.wrapping_add(offset).wrapping_sub(segment.offset))
    }

    /// A copy of `len` bytes at an address.
    pub fn copy(&self, source: &impl ReadAt, address: u64, len: u64) -> Option<Vec<u8>> {
        let (offset, there) = self.place(address)?;
        if there < len { None } else { source.copy(offset, len) }
    }

    /// The build id: a name of exactly these bytes that linkers put into a note.
    pub fn build_id(&self, source: &impl ReadAt) -> Option<Vec<u8>> {
        let notes = self.segments.iter().filter(|segment| segment.kind == 4);
        notes.filter_map(|segment| source.copy(segment.offset, segment.file_bytes.min(NOTES_BYTES_MAX))).find_map(
            |notes| {
                let mut notes = notes.as_slice();
                loop {
                    let (name_len, value_len) = (u32_at(notes, 0)? as usize, u32_at(notes, 4)? as usize);
                    let value_at = 12_usize.checked_add(name_len.checked_next_multiple_of(4)?)?;
                    let end = value_at.checked_add(value_len)?;
                    // 3 is the number of build ids among GNU's notes.
                    if u32_at(notes, 8) == Some(3) && notes.get(12..)?.starts_with(b"GNU\0") {
                        return notes.get(value_at..end).filter(|id| !id.is_empty()).map(<[u8]>::to_vec);
                    }
                    notes = notes.get(end.checked_next_multiple_of(4)?..)?;
                }
            },
        )
    }

    /// Words that the loader fills in with an address of this very file, sorted by address. Empty for programs that are
    /// not moved.
    pub(crate) fn relocations(&self, source: &impl ReadAt) -> Vec<Relocation> {
        let mut found = self.read_relocations(source).unwrap_or_default();
        found.sort_unstable();
        found
    }

    fn read_relocations(&self, source: &impl ReadAt) -> Option<Vec<Relocation>> {
        const TABLE: u64 = 7;
        const TABLE_BYTES: u64 = 8;
        const X86_64_RELATIVE: u32 = 8;
        const AARCH64_RELATIVE: u32 = 1027;
        if !self.is_relocatable {
            return None;
        }
        let dynamic = self.segments.iter().find(|segment| segment.kind == 2)?;
        let dynamic = source.copy(dynamic.offset, dynamic.file_bytes.min(16 * DYNAMIC_MAX))?;
        let entry = |kind: u64| {
            dynamic.chunks_exact(16).find(|entry| u64_at(entry, 0) == Some(kind)).and_then(|entry| u64_at(entry, 8))
        };
        let len = entry(TABLE_BYTES)?.min(24 * RELOCATIONS_MAX);
        let table = self.copy(source, entry(TABLE)?, len)?;
        let relative =
            table.chunks_exact(24).filter(|entry| matches!(u32_at(entry, 8), Some(X86_64_RELATIVE | AARCH64_RELATIVE)));
        Some(relative.filter_map(|entry| Some((u64_at(entry, 0)?, u64_at(entry, 16)?))).collect())
    }
}

fn segments(source: &impl ReadAt, header: &[u8]) -> Option<Vec<Segment>> {
    const ENTRY_BYTES: usize = 56;
    let (offset, entry_bytes) = (u64_at(header, 32)?, u16_at(header, 54)?);
    let count = u16_at(header, 56)?.min(SEGMENTS_MAX);
    if count == 0 {
        return Some(Vec::new());
    }
    if usize::from(entry_bytes) != ENTRY_BYTES {
        return None;
    }
    let table = source.copy(offset, u64::from(count) * ENTRY_BYTES as u64)?;
    let segment = |entry: &[u8]| {
        Some(Segment {
            kind: u32_at(entry, 0)?,
            flags: u32_at(entry, 4)?,
            offset: u64_at(entry, 8)?,
            address: u64_at(entry, 16)?,
            file_bytes: u64_at(entry, 32)?,
            memory_bytes: u64_at(entry, 40)?,
        })
    };
    table.chunks_exact(ENTRY_BYTES).map(segment).collect()
}

fn sections(source: &impl ReadAt, header: &[u8]) -> Option<Vec<Section>> {
    const ENTRY_BYTES: usize = 64;
    let (offset, entry_bytes) = (u64_at(header, 40)?, u16_at(header, 58)?);
    let count = u16_at(header, 60)?.min(SECTIONS_MAX);
    if usize::from(entry_bytes) != ENTRY_BYTES {
        return None;
    }
    let table = source.copy(offset, u64::from(count) * ENTRY_BYTES as u64)?;
    let names = table.chunks_exact(ENTRY_BYTES).nth(usize::from(u16_at(header, 62)?))?;
    let names = source.copy(u64_at(names, 24)?, u64_at(names, 32)?.min(NAMES_BYTES_MAX))?;
    let section = |entry: &[u8]| {
        let name = names.get(u32_at(entry, 0)? as usize..)?;
        let name = name.get(..memchr::memchr(0, name)?)?;
        // 8 has no bytes in the file.
        let len_bytes = if u32_at(entry, 4)? == 8 { 0 } else { u64_at(entry, 32)? };
        Some(Section {
            name: String::from_utf8_lossy(name).into_owned(),
            address: u64_at(entry, 16)?,
            offset: u64_at(entry, 24)?,
            len_bytes,
        })
    };
    Some(table.chunks_exact(ENTRY_BYTES).filter_map(section).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_mapped_twice_belongs_to_the_code() {
        // As linkers lay out programs: the code begins within the page in which the constants end.
        let segment = |flags, offset, address, bytes| Segment {
            kind: 1,
            flags,
            offset,
            address,
            file_bytes: bytes,
            memory_bytes: bytes,
        };
        let segments = vec![segment(4, 0, 0, 0x127d8), segment(5, 0x127e0, 0x137e0, 0x3c9a0)];
        let elf = Elf { is_relocatable: true, segments, sections: Vec::new() };
        assert_eq!(elf.address_of(0x12000), Some(0x13000), "where the page of the code begins");
        assert_eq!(elf.address_of(0x127e0), Some(0x137e0));
        assert_eq!(elf.address_of(0x11000), Some(0x11000));
        assert_eq!(elf.address_of(0x50000), None);
    }
}
