//! One process as it was while it was seen: its name, and what is mapped where.

use std::{fs, mem, ops::Range};

use crate::{
    memory_map::{MAPPINGS_MAX, Mapping, mappings},
    module::{Module, ModuleId, Modules},
    stack_sampler::Unwind,
};

/// How often looking again in vain makes us wait twice as long before the next time: from 1 to 32 readings of the kernel's
/// counts, 8 s. Programs that write their own code have addresses that no look explains.
const VAIN_LOOKS_MAX: u32 = 5;

/// A process, perhaps gone by now.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Its short name; empty when it had gone before anybody looked.
    pub(crate) name: String,
    /// Sorted by address, with the files behind them.
    mapped: Vec<(Mapping, Option<ModuleId>)>,
    /// How often that has changed.
    revision: u32,
    /// Looks in a row that found nothing new.
    vain_looks: u32,
    /// Looks that are left out before the next.
    left_out: u32,
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
        let mut process =
            Self { pid, name: String::new(), mapped: Vec::new(), revision: 0, vain_looks: 0, left_out: 0 };
        process.look_anew(modules);
        process
    }

    /// Looks at everything again: it was known before it was sampled, and may run another program by now.
    pub(crate) fn look_anew(&mut self, modules: &mut Modules) {
        if let Ok(name) = fs::read_to_string(format!("/proc/{}/comm", self.pid)) {
            name.trim_end().clone_into(&mut self.name);
        }
        self.look_again(modules);
    }

    /// Looks again unless that was in vain lately.
    pub(crate) fn look_again_in_time(&mut self, modules: &mut Modules) {
        if let Some(fewer) = self.left_out.checked_sub(1) {
            self.left_out = fewer;
            return;
        }
        let before = self.revision;
        self.look_again(modules);
        if self.revision == before {
            self.vain_looks = (self.vain_looks + 1).min(VAIN_LOOKS_MAX);
            self.left_out = 1 << self.vain_looks;
        } else {
            self.vain_looks = 0;
        }
    }

    /// Looks again: libraries may have been loaded. What is no longer mapped stays known as long as nothing else is there.
    fn look_again(&mut self, modules: &mut Modules) {
        let Ok(text) = fs::read_to_string(format!("/proc/{}/maps", self.pid)) else { return };
        let pid = self.pid;
        self.merge(mappings(&text), |mapping| modules.of(pid, mapping));
    }

    /// Takes over what is mapped now, sorted by address and without overlaps, as the kernel tells it. Programs that write their
    /// own code map more and more of it: what is gone stays as long as there is room.
    fn merge(&mut self, now: Vec<Mapping>, mut open: impl FnMut(&Mapping) -> Option<ModuleId>) {
        let before = mem::take(&mut self.mapped);
        let known = |mapping: &Mapping| {
            let at = before.binary_search_by_key(&mapping.start, |(known, _)| known.start).ok()?;
            before.get(at).filter(|(known, _)| known == mapping)
        };
        let mut changed = false;
        let mut mapped: Vec<_> = Vec::with_capacity(before.len().max(now.len()));
        for mapping in &now {
            let module = known(mapping).map(|(_, module)| *module);
            changed |= module.is_none();
            mapped.push((mapping.clone(), module.unwrap_or_else(|| open(mapping))));
        }
        for old in before {
            let after = now.partition_point(|mapping| mapping.start < old.0.end);
            let last = after.checked_sub(1).and_then(|at| now.get(at));
            let has_room = mapped.len() < MAPPINGS_MAX;
            if has_room && last.is_none_or(|mapping| mapping.end <= old.0.start) {
                mapped.push(old);
            }
        }
        mapped.sort_by_key(|(mapping, _)| mapping.start);
        self.mapped = mapped;
        self.revision = self.revision.wrapping_add(u32::from(changed));
    }

    /// Changes whenever something else is mapped.
    pub(crate) fn revision(&self) -> u32 {
        self.revision
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
        match self.go_code(modules) {
            Some(go) => (Unwind::FramePointers, go.mapping.start..go.mapping.end),
            None if self.mapped.is_empty() => (Unwind::FramePointers, 0..0),
            None => (Unwind::Copies, 0..0),
        }
    }

    /// Whether it runs a program that was written in Go.
    pub(crate) fn is_go(&self, modules: &Modules) -> bool {
        self.go_code(modules).is_some()
    }

    fn go_code(&self, modules: &Modules) -> Option<Place<'_>> {
        let is_go = |place: &Place<'_>| place.module.and_then(|id| modules.get(id)).is_some_and(Module::is_go);
        self.mapped().find(is_go)
    }
}

impl Place<'_> {
    /// The place in the file of an address.
    pub(crate) fn offset(&self, address: u64) -> u64 {
        address.wrapping_sub(self.mapping.start).wrapping_add(self.mapping.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(ranges: &[(u64, u64)]) -> Process {
        let mut process = Process::look(u32::MAX, &mut Modules::default());
        assert_eq!((process.name.as_str(), process.revision()), ("", 0), "nobody has this number");
        process.merge(mapped(ranges), |_| None);
        process
    }

    fn mapped(ranges: &[(u64, u64)]) -> Vec<Mapping> {
        let mapping = |(start, end): &(u64, u64)| Mapping {
            start: *start,
            end: *end,
            offset: 0,
            file: (1, *start),
            path: String::new(),
        };
        ranges.iter().map(mapping).collect()
    }

    fn ranges(process: &Process) -> Vec<(u64, u64)> {
        process.mapped().map(|place| (place.mapping.start, place.mapping.end)).collect()
    }

    #[test]
    fn what_is_mapped_is_taken_over_and_what_is_gone_stays_where_nothing_else_is() {
        let mut process = process(&[(10, 20), (30, 40), (50, 60), (70, 80)]);
        assert_eq!(process.revision(), 1);
        let mut opened = Vec::new();
        process.merge(mapped(&[(5, 11), (30, 40), (59, 61)]), |mapping| {
            opened.push(mapping.start);
            None
        });
        assert_eq!(ranges(&process), [(5, 11), (30, 40), (59, 61), (70, 80)]);
        assert_eq!((opened, process.revision()), (vec![5, 59], 2), "what is known is not opened again");
        process.merge(mapped(&[(30, 40)]), |_| None);
        assert_eq!(process.revision(), 2, "nothing new is no change");
        assert_eq!(process.place(60).map(|place| place.mapping.start), Some(59));
        assert!([11, 29, 61, 80].iter().all(|address| process.place(*address).is_none()));
    }

    #[test]
    fn what_is_gone_stays_as_long_as_there_is_room() {
        let pages =
            |from: u64| (0..MAPPINGS_MAX as u64 - 1).map(move |page| (10 * (from + page), 10 * (from + page) + 10));
        let now = |from| mapped(&pages(from).collect::<Vec<_>>());
        let mut process = process(&[]);
        for from in [0, 1_000_000, 2_000_000] {
            process.merge(now(from), |_| None);
        }
        assert_eq!(process.mapped.len(), MAPPINGS_MAX);
        assert!(process.place(20_000_000).is_some(), "what is there now comes first");
    }

    #[test]
    fn looks_in_vain_become_rarer() {
        let mut process = process(&[]);
        let waits: Vec<u32> = (0..70)
            .map(|_| {
                process.look_again_in_time(&mut Modules::default());
                process.left_out
            })
            .collect();
        let looks: Vec<usize> = (0..70).filter(|at| *at == 0 || waits[at - 1] == 0).collect();
        assert_eq!(looks, [0, 3, 8, 17, 34, 67]);
    }
}
