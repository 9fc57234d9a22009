//! Samples that were gathered get their names: profiles of CPUs or of waits.
//!
//! Not here: taking samples and unwinding stacks (`stack_capture`).

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, SystemTime},
};

use homeostat_model::profile::{Frame, LabelSet, LabelValue, Profile, Stack, Text, ValueType};

use crate::{
    module::{Modules, ResolvedFrame},
    native_symbols::NativeSymbols,
    process::Process,
    stack_capture::CaptureStats,
    stack_sampler::{KeptStack, ProcessKey, SampleKey, Sampled, Sum},
};

/// Innermost frames of the kernel among which those of leaving the CPU are: our program's, two of tracing, three of `schedule` and
/// its kind, and some to spare.
const SWITCH_FRAMES_MAX: usize = 10;
/// Name of the kernel among modules.
const KERNEL: &str = "[kernel]";

/// Samples of a capture that has ended, by address.
#[derive(Debug)]
pub struct Gathered {
    pub(crate) sampled: Sampled,
    pub(crate) started: SystemTime,
    pub(crate) processes: BTreeMap<ProcessKey, Process>,
    pub(crate) modules: Modules,
    pub(crate) counts: BTreeMap<SampleKey, Sum>,
    pub(crate) stacks: HashMap<u64, KeptStack>,
    pub(crate) stats: CaptureStats,
}

impl Gathered {
    /// Gives everything a name. Programs may have ended meanwhile: their files are open.
    pub fn named(self) -> (Profile, CaptureStats) {
        let Self { sampled, started, processes, modules, counts, stacks, stats } = self;
        let mut naming = Naming { modules, native: NativeSymbols::new(), kernel: HashMap::new(), stats };
        let profile = naming.profile(sampled, started, stats.duration, &processes, &counts, &stacks);
        (profile, naming.stats)
    }
}

/// Whether a stack is not there that was sampled, or its part in the program or in the kernel.
fn lacks_stack(key: &SampleKey, stacks: &HashMap<u64, KeptStack>) -> bool {
    let is_forgotten = |hash: u64| hash != 0 && !stacks.contains_key(&hash);
    is_forgotten(key.user) || is_forgotten(key.kernel) || (key.user == 0 && key.kernel == 0)
}

/// Gives names to addresses.
struct Naming {
    modules: Modules,
    native: NativeSymbols,
    kernel: HashMap<u64, String>,
    stats: CaptureStats,
}

impl Naming {
    fn profile(
        &mut self,
        sampled: Sampled,
        started: SystemTime,
        duration: Duration,
        processes: &BTreeMap<ProcessKey, Process>,
        counts: &BTreeMap<SampleKey, Sum>,
        stacks: &HashMap<u64, KeptStack>,
    ) -> Profile {
        let mut profile = empty(sampled);
        let since_1970 = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        profile.started_ns = i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX);
        profile.duration_ns = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let none = KeptStack::default();
        for (key, sum) in counts {
            let Some(process) = processes.get(&key.process) else { continue };
            let count = &sum.count;
            let stack = |hash: u64| stacks.get(&hash).unwrap_or(&none);
            let user = self.whole(process, stack(key.user));
            let kernel = &stack(key.kernel).addresses;
            let cut = self.frames_of_switch(sampled, kernel);
            if lacks_stack(key, stacks) {
                self.stats.without_stack += count;
            }
            let mut at = Stack::EMPTY;
            for (index, address) in user.iter().enumerate().rev() {
                at = self.push_user(&mut profile, at, process, *address, index, *count);
            }
            for (index, address) in kernel.iter().enumerate().skip(cut).rev() {
                at = self.push_kernel(&mut profile, at, *address, index, *count);
            }
            let labels = labels(&mut profile, process);
            profile.add(at, labels, &values(sampled, *sum));
        }
        profile
    }

    /// The addresses of a stack, with the caller of a function that has no frame of its own.
    fn whole(&self, process: &Process, stack: &KeptStack) -> Vec<u64> {
        let mut addresses = stack.addresses.clone();
        let returns_to_top = || {
            let innermost = *addresses.first()?;
            let place = process.place(innermost)?;
            let module = self.modules.get(place.module?)?;
            Some(module.returns_to_top(module.elf.address_of(place.offset(innermost))?))
        };
        if stack.top != 0 && returns_to_top() == Some(true) {
            addresses.insert(1, stack.top);
        }
        addresses
    }

    fn push_user(
        &mut self,
        profile: &mut Profile,
        caller: Stack,
        process: &Process,
        address: u64,
        index: usize,
        count: u64,
    ) -> Stack {
        // All but the innermost are return addresses: the call stands before them.
        let address = if index == 0 { address } else { address.saturating_sub(1) };
        self.stats.frames += count;
        let place = process.place(address);
        let offset = place.map(|place| place.offset(address));
        let module = place.and_then(|place| place.module).and_then(|id| self.modules.get_mut(id));
        let Some((module, offset)) = module.zip(offset) else {
            let name = profile.intern(place.map_or("[unknown]", |place| &place.mapping.path));
            // What the kernel maps itself, such as its clock, is known by where it is mapped.
            return profile.push_frame(caller, frame(name, offset.unwrap_or(address)));
        };
        let name = profile.intern(&module.path);
        let address = module.elf.address_of(offset).unwrap_or(offset);
        let found = module.frames(address, &self.native);
        if found.is_empty() {
            return profile.push_frame(caller, frame(name, address));
        }
        self.stats.frames_named += count;
        found.iter().rev().fold(caller, |caller, found| {
            let ResolvedFrame { function, file, line, inlined } = found;
            let (function, file) = (profile.intern(function), profile.intern(file));
            let frame = Frame { function, file, line: *line, module: name, address: 0, inlined: *inlined };
            profile.push_frame(caller, frame)
        })
    }

    /// How many of the kernel's innermost addresses every wait has: our program, and the way from leaving the CPU to it. The one
    /// behind them is what the thread waits in.
    fn frames_of_switch(&mut self, sampled: Sampled, addresses: &[u64]) -> usize {
        if matches!(sampled, Sampled::Cpu(_)) {
            return 0;
        }
        let near = addresses.get(..SWITCH_FRAMES_MAX.min(addresses.len())).unwrap_or_default();
        let last = near.iter().rposition(|address| {
            let name = self.kernel_name(address.saturating_sub(1));
            name.trim_start_matches('_').starts_with("schedule")
        });
        last.map_or(0, |last| last + 1)
    }

    /// The name of a function of the kernel, looked up once.
    fn kernel_name(&mut self, address: u64) -> &str {
        let native = &self.native;
        self.kernel.entry(address).or_insert_with(|| native.kernel(&[address]).pop().unwrap_or_default())
    }

    fn push_kernel(&mut self, profile: &mut Profile, caller: Stack, address: u64, index: usize, count: u64) -> Stack {
        let address = if index == 0 { address } else { address.saturating_sub(1) };
        self.stats.frames += count;
        let module = profile.intern(KERNEL);
        let name = profile.intern(self.kernel_name(address));
        if name == Text::EMPTY {
            return profile.push_frame(caller, frame(module, address));
        }
        self.stats.frames_named += count;
        profile.push_frame(caller, Frame { function: name, ..frame(module, 0) })
    }
}

/// A profile of such samples, without any.
fn empty(sampled: Sampled) -> Profile {
    match sampled {
        Sampled::Cpu(rate) => {
            let cpu = ValueType::new("cpu", "nanoseconds");
            let mut profile = Profile::new(vec![ValueType::new("samples", "count"), cpu.clone()]);
            (profile.period_type, profile.period) = (cpu, rate.period_ns());
            profile
        }
        Sampled::Waits(_) => {
            Profile::new(vec![ValueType::new("waits", "count"), ValueType::new("off_cpu", "nanoseconds")])
        }
    }
}

/// What samples count for: how many, and how long.
fn values(sampled: Sampled, sum: Sum) -> [i64; 2] {
    match sampled {
        Sampled::Cpu(rate) => {
            let count = i64::try_from(sum.count).unwrap_or(i64::MAX);
            [count, count.saturating_mul(rate.period_ns())]
        }
        Sampled::Waits(share) => [share.whole(sum.count), share.whole(sum.ns)],
    }
}

/// A frame without a name.
fn frame(module: Text, address: u64) -> Frame {
    Frame { function: Text::EMPTY, file: Text::EMPTY, line: 0, module, address, inlined: false }
}

/// Which process it was: its number and its name.
fn labels(profile: &mut Profile, process: &Process) -> LabelSet {
    let (pid, name) = (profile.intern("pid"), profile.intern("process"));
    let number = LabelValue::Number { value: i64::from(process.pid), unit: Text::EMPTY };
    let text = LabelValue::Text(profile.intern(&process.name));
    profile.intern_labels(vec![(pid, number), (name, text)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_stack_is_told_wherever_it_was() {
        let stacks = HashMap::from([(1, KeptStack::default()), (2, KeptStack::default())]);
        let lacks = |user, kernel| {
            let process = ProcessKey { pid: 1, born: 0 };
            lacks_stack(&SampleKey { process, user, kernel }, &stacks)
        };
        assert!(!lacks(1, 2) && !lacks(1, 0) && !lacks(0, 2));
        assert!(lacks(3, 2), "the program's part is gone");
        assert!(lacks(1, 3), "the kernel's part is gone");
        assert!(lacks(0, 0), "there was none");
    }
}
