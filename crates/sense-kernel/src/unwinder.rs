//! Walking a copied stack by what the compiler wrote down for exceptions (`.eh_frame`): no frame pointers are needed.

use std::{collections::BTreeMap, fmt};

use framehop::{
    CacheNative, MayAllocateDuringUnwind, Module as UnwindModule, UnwindRegsNative, Unwinder as _, UnwinderNative,
};

use crate::{
    memory_map::Mapping,
    module::Modules,
    process::{Place, Process},
    stack_sampler::StackCopy,
    unwind_tables::Bytes,
};

/// Frames of one stack; as deep as those that the kernel walks.
const FRAMES_MAX: usize = 127;

/// The unwinder of one process.
pub(crate) struct StackUnwinder {
    inner: UnwinderNative<Bytes, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
    /// What it knows, by where it begins.
    known: BTreeMap<u64, Mapping>,
    /// Which state of the process that is; `None` before the first.
    revision: Option<u32>,
}

impl fmt::Debug for StackUnwinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackUnwinder").field("known", &self.known).finish_non_exhaustive()
    }
}

impl StackUnwinder {
    pub(crate) fn new() -> Self {
        Self { inner: UnwinderNative::new(), cache: CacheNative::new(), known: BTreeMap::new(), revision: None }
    }

    /// Takes over what the process has mapped since the last time. Costs nothing while that stays as it is.
    pub(crate) fn learn(&mut self, process: &Process, modules: &mut Modules) {
        if self.revision == Some(process.revision()) {
            return;
        }
        self.revision = Some(process.revision());
        let mut before = std::mem::take(&mut self.known);
        for place in process.mapped() {
            let start = place.mapping.start;
            let same = before.get(&start).is_some_and(|known| known == place.mapping);
            if same && let Some(known) = before.remove(&start) {
                self.known.insert(start, known);
                continue;
            }
            if before.remove(&start).is_some() {
                self.inner.remove_module(start);
            }
            if self.add(place, modules).is_some() {
                self.known.insert(start, place.mapping.clone());
            }
        }
        for gone in before.into_keys() {
            self.inner.remove_module(gone);
        }
    }

    fn add(&mut self, place: Place<'_>, modules: &mut Modules) -> Option<()> {
        let id = place.module?;
        let tables = modules.tables(id)?;
        let module = modules.get(id)?;
        // What the file calls its address 0.
        let base = place.mapping.start.wrapping_sub(module.elf.address_of(place.mapping.offset)?);
        let range = place.mapping.start..place.mapping.end;
        self.inner.add_module(UnwindModule::new(module.path.clone(), range, base, tables.sections()));
        Some(())
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
