//! Which Go made a program: a note that the linker leaves in every one.
//!
//! ```text
//! 14 bytes "\xff Go buildinf:", u8 bytes of a pointer, u8 flags; at 32, when flag 2 is set: length (variable), version
//! ```
//!
//! Before Go 1.18 the version stands elsewhere and only a pointer to it here; it is not read then.
//!
//! Source: the Go source tree, `debug/buildinfo/buildinfo.go`.

use crate::{elf::Elf, read_at::ReadAt};

/// The version as the linker wrote it, such as `go1.19.8`.
pub(crate) fn version(elf: &Elf, source: &impl ReadAt) -> Option<String> {
    const VERSION_IS_HERE: u8 = 2;
    let section = elf.section(".go.buildinfo")?;
    // Versions are some ten bytes; distributions add a few words.
    let note = source.copy(section.offset, section.len_bytes.min(256))?;
    if !note.starts_with(b"\xff Go buildinf:") || note.get(15)? & VERSION_IS_HERE == 0 {
        return None;
    }
    let len = usize::from(*note.get(32)?);
    // One byte of length holds what a version needs; longer ones set its highest bit.
    let text = note.get(33..)?.get(..len).filter(|_| len < 128)?;
    String::from_utf8(text.to_vec()).ok()
}
