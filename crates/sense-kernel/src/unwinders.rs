//! The unwinders of processes, at most so many; others are walked along frame pointers.

use std::collections::BTreeMap;

use crate::{
    module::Modules,
    process::Process,
    stack_sampler::{ProcessKey, StackCopy},
    unwinder::StackUnwinder,
};

/// Processes whose stacks are unwound at a time: 24 KiB each without tables, so 48 MiB.
const UNWINDERS_MAX: usize = 2048;

/// Unwinders by process.
#[derive(Debug)]
pub(crate) struct Unwinders {
    known: BTreeMap<ProcessKey, StackUnwinder>,
    /// Knows no file, so it follows frame pointers: for those that find no room.
    plain: StackUnwinder,
    room: usize,
}

impl Default for Unwinders {
    fn default() -> Self {
        Self::with_room(UNWINDERS_MAX)
    }
}

impl Unwinders {
    fn with_room(room: usize) -> Self {
        Self { known: BTreeMap::new(), plain: StackUnwinder::new(), room }
    }

    /// Whether another process can have one.
    pub(crate) fn has_room(&self) -> bool {
        self.known.len() < self.room
    }

    /// Whether a process has one or can have one.
    pub(crate) fn has_room_for(&self, process: ProcessKey) -> bool {
        self.has_room() || self.known.contains_key(&process)
    }

    /// Addresses of a copied stack, innermost first. `process` is whose stack it is.
    pub(crate) fn walk(&mut self, copy: StackCopy<'_>, process: &Process, modules: &mut Modules) -> Vec<u64> {
        if !self.has_room_for(copy.process) {
            return self.plain.walk(copy);
        }
        let unwinder = self.known.entry(copy.process).or_insert_with(StackUnwinder::new);
        unwinder.learn(process, modules);
        unwinder.walk(copy)
    }

    /// Lets go of the others.
    pub(crate) fn retain(&mut self, keep: impl Fn(ProcessKey) -> bool) {
        self.known.retain(|key, _| keep(*key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_room_is_walked_along_frame_pointers() {
        let mut modules = Modules::default();
        let process = Process::look(u32::MAX, &mut modules);
        // Saved frame pointer and return address, twice; the second frame is the outermost.
        let (sp, code) = (0x7000_0000_u64, 0x40_0000_u64);
        let stack: Vec<u8> = [sp + 16, code + 1, 0, code + 2].into_iter().flat_map(u64::to_ne_bytes).collect();
        let copy = |pid| StackCopy {
            process: ProcessKey { pid, born: 1 },
            kernel: 0,
            ip: code,
            sp,
            fp: sp,
            link: code,
            id: 0,
            bytes: &stack,
        };
        let mut unwinders = Unwinders::with_room(1);
        for pid in [1, 2, 3] {
            let walked = unwinders.walk(copy(pid), &process, &mut modules);
            assert_eq!(walked.get(..2), Some(&[code, code + 1][..]), "{walked:x?}");
            assert_eq!(unwinders.has_room_for(copy(pid).process), pid == 1);
            assert_eq!(unwinders.known.keys().map(|key| key.pid).collect::<Vec<_>>(), [1]);
        }
        unwinders.retain(|key| key.pid != 1);
        assert!(unwinders.has_room());
        unwinders.walk(copy(3), &process, &mut modules);
        assert_eq!(unwinders.known.len(), 1);
    }
}
