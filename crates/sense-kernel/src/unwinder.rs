//! Walking a copied stack by what the compiler wrote down for exceptions (`.eh_frame`): no frame pointers are needed.

use std::{collections::BTreeSet, fmt, sync::Arc};

use framehop::{
    CacheNative, ExplicitModuleSectionInfo, MayAllocateDuringUnwind, Module as UnwindModule, UnwindRegsNative,
    Unwinder as _, UnwinderNative,
};
use homeostat_gosym::ReadAt as _;

use crate::{
    cpu_sampler::StackCopy,
    module::{Module, Modules},
    process::Process,
};

/// Frames of one stack; as deep as those that the kernel walks.
const FRAMES_MAX: usize = 127;
/// Bytes of code that are kept for one file, to understand beginnings and ends of functions. Chrome has 150 MiB; without
/// it such a file's innermost frames are sometimes wrong.
const CODE_BYTES_MAX: u64 = 32 << 20;
/// Bytes of unwind tables of one file.
const TABLE_BYTES_MAX: u64 = 64 << 20;

type Bytes = Arc<[u8]>;

/// The unwinder of one process.
pub(crate) struct StackUnwinder {
    inner: UnwinderNative<Bytes, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
    /// Starts of mappings that it knows.
    known: BTreeSet<u64>,
}

impl fmt::Debug for StackUnwinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackUnwinder").field("known", &self.known).finish_non_exhaustive()
    }
}

impl StackUnwinder {
    pub(crate) fn new() -> Self {
        Self { inner: UnwinderNative::new(), cache: CacheNative::new(), known: BTreeSet::new() }
    }

    /// Takes over what the process has mapped since the last time.
    pub(crate) fn learn(&mut self, process: &Process, modules: &Modules) {
        for place in process.mapped() {
            let Some(module) = place.module.and_then(|id| modules.get(id)) else { continue };
            if !self.known.insert(place.mapping.start) {
                continue;
            }
            // What the file calls its address 0.
            let Some(address) = module.elf.address_of(place.mapping.offset) else { continue };
            let base = place.mapping.start.wrapping_sub(address);
            let range = place.mapping.start..place.mapping.end;
            self.inner.add_module(UnwindModule::new(module.path.clone(), range, base, sections(module)));
        }
    }

    /// Addresses of a copied stack, innermost first; what the kernel would have found along frame pointers.
    pub(crate) fn walk(&mut self, copy: StackCopy<'_>) -> Vec<u64> {
        let mut read = |address: u64| {
            let at = address.checked_sub(copy.sp).and_then(|at| usize::try_from(at).ok()).ok_or(())?;
            let word = copy.bytes.get(at..).and_then(|bytes| bytes.first_chunk()).ok_or(())?;
            Ok(u64::from_ne_bytes(*word))
        };
        let registers = UnwindRegsNative::new(copy.link, copy.sp, copy.fp);
        let mut frames = self.inner.iter_frames(copy.ip, registers, &mut self.cache, &mut read);
        let mut addresses = Vec::new();
        while let Ok(Some(frame)) = frames.next()
            && addresses.len() < FRAMES_MAX
        {
            addresses.push(frame.address());
        }
        addresses
    }
}

fn sections(module: &Module) -> ExplicitModuleSectionInfo<Bytes> {
    let range = |name: &str| {
        let section = module.elf.section(name)?;
        Some(section.address..section.address.checked_add(section.len_bytes)?)
    };
    let bytes = |name: &str, limit: u64| -> Option<Bytes> {
        let section = module.elf.section(name).filter(|section| section.len_bytes <= limit)?;
        Some(module.bytes().copy(section.offset, section.len_bytes)?.into())
    };
    ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: range(".text"),
        text: bytes(".text", CODE_BYTES_MAX),
        got_svma: range(".got"),
        eh_frame_svma: range(".eh_frame"),
        eh_frame: bytes(".eh_frame", TABLE_BYTES_MAX),
        eh_frame_hdr_svma: range(".eh_frame_hdr"),
        eh_frame_hdr: bytes(".eh_frame_hdr", TABLE_BYTES_MAX),
        ..ExplicitModuleSectionInfo::default()
    }
}
