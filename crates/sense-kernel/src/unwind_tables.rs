//! What a compiler wrote down about the stack at every place of a file: kept once for a file, however many processes run it.

use std::sync::Arc;

use framehop::ExplicitModuleSectionInfo;
use homeostat_gosym::{ReadAt, elf::Elf};

/// Bytes of code that are kept for one file, to understand beginnings and ends of functions. Chrome has 150 MiB; without
/// it such a file's innermost frames are sometimes wrong.
const CODE_BYTES_MAX: u64 = 32 << 20;
/// Bytes of unwind tables of one file.
const TABLE_BYTES_MAX: u64 = 64 << 20;

pub(crate) type Bytes = Arc<[u8]>;

/// Sections of one file, shared by everybody who unwinds it.
#[derive(Clone, Debug)]
pub(crate) struct UnwindTables {
    sections: ExplicitModuleSectionInfo<Bytes>,
}

impl UnwindTables {
    /// Reads them; what there is no room for in `bytes_left` is left out, the code first: what stays of the stack then is
    /// walked by frame pointers.
    pub(crate) fn read(elf: &Elf, source: &impl ReadAt, bytes_left: &mut u64) -> Self {
        let range = |name: &str| {
            let section = elf.section(name)?;
            Some(section.address..section.address.checked_add(section.len_bytes)?)
        };
        let mut bytes = |name: &str, limit: u64| -> Option<Bytes> {
            let section = elf.section(name).filter(|section| section.len_bytes <= limit.min(*bytes_left))?;
            let bytes: Bytes = source.copy(section.offset, section.len_bytes)?.into();
            *bytes_left -= section.len_bytes;
            Some(bytes)
        };
        let (eh_frame_hdr, eh_frame) = (bytes(".eh_frame_hdr", TABLE_BYTES_MAX), bytes(".eh_frame", TABLE_BYTES_MAX));
        let text = bytes(".text", CODE_BYTES_MAX);
        Self {
            sections: ExplicitModuleSectionInfo {
                base_svma: 0,
                text_svma: range(".text"),
                text,
                got_svma: range(".got"),
                eh_frame_svma: range(".eh_frame"),
                eh_frame,
                eh_frame_hdr_svma: range(".eh_frame_hdr"),
                eh_frame_hdr,
                ..ExplicitModuleSectionInfo::default()
            },
        }
    }

    pub(crate) fn sections(&self) -> ExplicitModuleSectionInfo<Bytes> {
        self.sections.clone()
    }
}
