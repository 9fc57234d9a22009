//! One process as it was when it was first seen: its name, and what is mapped where.

use std::{fs, ops::Range};

use crate::{
    cpu_sampler::Unwind,
    memory_map::{Mapping, mappings},
    module::{Module, ModuleId, Modules},
};

/// A process, perhaps gone by now.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Its short name; empty when it had gone before anybody looked.
    pub(crate) name: String,
    /// Sorted by address, with the files behind them.
    mapped: Vec<(Mapping, Option<ModuleId>)>,
}

/// An address, as a place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) mapping: &'a Mapping,
    pub(crate) module: Option<ModuleId>,
}

impl Process {
    /// Looks at a process and opens its files.
    pub(crate) fn look(pid: u32, modules: &mut Modules) -> Self {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let mut process = Self { pid, name: name.trim_end().to_owned(), mapped: Vec::new() };
        process.look_again(modules);
        process
    }

    /// Looks again: libraries may have been loaded, or another program run. What is no longer mapped stays known as
    /// long as nothing else is there.
    pub(crate) fn look_again(&mut self, modules: &mut Modules) {
        let Ok(text) = fs::read_to_string(format!("/proc/{}/maps", self.pid)) else { return };
        for mapping in mappings(&text) {
            if self.mapped.iter().any(|(known, _)| *known == mapping) {
                continue;
            }
            self.mapped.retain(|(known, _)| known.end <= mapping.start || mapping.end <= known.start);
            let module = modules.of(self.pid, &mapping);
            self.mapped.push((mapping, module));
        }
        self.mapped.sort_by_key(|(mapping, _)| mapping.start);
    }

    /// Where an address is mapped from.
    pub(crate) fn place(&self, address: u64) -> Option<Place<'_>> {
        let after = self.mapped.partition_point(|(mapping, _)| mapping.start <= address);
        let (mapping, module) = self.mapped.get(after.checked_sub(1)?)?;
        (address < mapping.end).then_some(Place { mapping, module: *module })
    }

    /// Everything that may be run.
    pub(crate) fn mapped(&self) -> impl Iterator<Item = Place<'_>> {
        self.mapped.iter().map(|(mapping, module)| Place { mapping, module: *module })
    }

    /// How its stacks are best walked: Go keeps frame pointers, most other programs do not. With it where its Go code is.
    pub(crate) fn best_unwind(&self, modules: &Modules) -> (Unwind, Range<u64>) {
        let is_go = |place: &Place<'_>| place.module.and_then(|id| modules.get(id)).is_some_and(Module::is_go);
        match self.mapped().find(is_go) {
            Some(go) => (Unwind::FramePointers, go.mapping.start..go.mapping.end),
            None if self.mapped.is_empty() => (Unwind::FramePointers, 0..0),
            None => (Unwind::Copies, 0..0),
        }
    }
}

impl Place<'_> {
    /// The place in the file of an address.
    pub(crate) fn offset(&self, address: u64) -> u64 {
        address.wrapping_sub(self.mapping.start).wrapping_add(self.mapping.offset)
    }
}
