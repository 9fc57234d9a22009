//! A CPU profile in the making: samples of the kernel are gathered, then named.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    thread,
    time::{Duration, Instant, SystemTime},
};

use homeostat_model::profile::{Frame, LabelSet, LabelValue, Profile, Stack, Text, ValueType};

use crate::{
    cpu_sampler::{CpuSampler, KeptStack, SampleKey, Unwind},
    module::{Modules, ResolvedFrame},
    native_symbols::NativeSymbols,
    overhead::thread_time,
    probes::Refused,
    process::Process,
    processes::Targets,
    rate::SampleRate,
    unwinder::StackUnwinder,
};

/// How often counts are taken over: so soon is a new process looked at, and four times as long copies would have room at
/// 500 samples a second.
const DRAIN_EVERY: Duration = Duration::from_millis(250);
/// Name of the kernel among modules.
const KERNEL: &str = "[kernel]";
/// Different stacks of one capture. Servers showed some thousand in a minute; 64 MiB at 20 frames each.
const STACKS_MAX: usize = 1 << 18;
/// Marks hashes of stacks that were unwound here, so that they never meet the kernel's by mistake.
const UNWOUND: u64 = 1 << 63;

/// How a capture went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureStats {
    /// Samples in the profile.
    pub samples: u64,
    /// Samples that found no room in the kernel's maps.
    pub lost: u64,
    /// Samples whose stack was forgotten or too many; they are in the profile without it.
    pub without_stack: u64,
    /// Addresses of stacks, each as often as it was sampled.
    pub frames: u64,
    /// Those that have a name.
    pub frames_named: u64,
    /// Processes that were seen.
    pub processes: usize,
    /// Samples that were unwound from a copy.
    pub copies: u64,
    /// Samples whose copy found no room; they are in the profile with what the kernel found along frame pointers.
    pub copies_missed: u64,
    /// Time that sampling took in the kernel, on all CPUs together; zero where the kernel does not measure it.
    pub kernel_time: Duration,
    /// Time on a CPU that taking samples over and unwinding took here, without looking up names.
    pub own_time: Duration,
    /// How long it lasted.
    pub duration: Duration,
}

impl CaptureStats {
    /// Share of one CPU that sampling took.
    pub fn cost(&self) -> f64 {
        (self.kernel_time + self.own_time).as_secs_f64() / self.duration.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// A capture of CPU samples.
#[derive(Debug)]
pub struct CpuCapture {
    sampler: CpuSampler,
    rate: SampleRate,
    started: SystemTime,
    processes: BTreeMap<u32, Process>,
    unwinders: BTreeMap<u32, StackUnwinder>,
    modules: Modules,
    counts: BTreeMap<SampleKey, u64>,
    stacks: HashMap<u64, KeptStack>,
    stats: CaptureStats,
}

impl CpuCapture {
    /// Starts one. [`Unwind::Copies`] copies stacks of programs that seem to keep no frame pointers, and walks those of
    /// others as the kernel does.
    pub fn start(targets: &Targets, rate: SampleRate, unwind: Unwind) -> Result<Self, Refused> {
        let sampler = CpuSampler::start(targets, rate, unwind)?;
        let mut capture = Self {
            sampler,
            rate,
            started: SystemTime::now(),
            processes: BTreeMap::new(),
            unwinders: BTreeMap::new(),
            modules: Modules::default(),
            counts: BTreeMap::new(),
            stacks: HashMap::new(),
            stats: CaptureStats::default(),
        };
        if let Targets::Processes(pids) = targets {
            for pid in pids {
                capture.meet(*pid)?;
            }
        }
        Ok(capture)
    }

    /// Takes over what the kernel has gathered, and counts what that took.
    fn drain(&mut self) -> Result<(), Refused> {
        let before = thread_time();
        let drained = self.take_over();
        self.stats.own_time += thread_time().saturating_sub(before);
        drained
    }

    /// Takes over what the kernel has gathered. Processes are looked at when they are first seen here: what has ended by
    /// then has no names. Copied stacks wait in 8 MiB, 500 of them.
    fn take_over(&mut self) -> Result<(), Refused> {
        let mut fresh = BTreeSet::new();
        for (key, count) in self.sampler.counts()? {
            self.meet(key.pid)?;
            self.keep_stack(key.kernel);
            if self.keep_stack(key.user) {
                fresh.insert((key.pid, key.user));
            }
            self.count(key, count);
        }
        self.look_again(&fresh);
        self.drain_copies()
    }

    /// Gathers for a time.
    pub fn gather(&mut self, duration: Duration) -> Result<(), Refused> {
        let end = Instant::now() + duration;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            thread::sleep(left.min(DRAIN_EVERY));
            self.drain()?;
        }
        Ok(())
    }

    /// Ends the capture and gives everything a name.
    pub fn finish(mut self) -> Result<(Profile, CaptureStats), Refused> {
        let duration = self.started.elapsed().unwrap_or_default();
        self.drain()?;
        (self.stats.lost, self.stats.copies_missed) = (self.sampler.lost(), self.sampler.copies_missed());
        self.stats.processes = self.processes.len();
        (self.stats.kernel_time, self.stats.duration) = (self.sampler.kernel_time(), duration);
        let Self { sampler, rate, started, processes, modules, counts, stacks, stats, .. } = self;
        // Nothing is sampled while names are looked up.
        drop(sampler);
        let mut naming = Naming { modules, native: NativeSymbols::new(), kernel: HashMap::new(), stats };
        let profile = naming.profile(rate, started, duration, &processes, &counts, &stacks);
        Ok((profile, naming.stats))
    }

    /// Looks at a process that is seen for the first time.
    fn meet(&mut self, pid: u32) -> Result<(), Refused> {
        if self.processes.contains_key(&pid) {
            return Ok(());
        }
        let process = Process::look(pid, &mut self.modules);
        let (best, code) = process.best_unwind(&self.modules);
        let unwind = if self.sampler.can_copy() { best } else { Unwind::FramePointers };
        self.sampler.treat(pid, unwind, code)?;
        self.processes.insert(pid, process);
        Ok(())
    }

    /// Reads a stack out of the kernel, once; whether it was new.
    fn keep_stack(&mut self, hash: u64) -> bool {
        if hash == 0 || self.stacks.contains_key(&hash) || STACKS_MAX <= self.stacks.len() {
            return false;
        }
        let stack = self.sampler.stack(hash);
        stack.is_some_and(|stack| self.stacks.insert(hash, stack).is_none())
    }

    fn count(&mut self, key: SampleKey, count: u64) {
        *self.counts.entry(key).or_default() += count;
        self.stats.samples += count;
    }

    /// Processes whose new stacks lead to where nothing was known: a library was loaded, or another program run.
    fn look_again(&mut self, fresh: &BTreeSet<(u32, u64)>) {
        let mut changed = BTreeSet::new();
        for (pid, hash) in fresh {
            let (Some(process), Some(stack)) = (self.processes.get(pid), self.stacks.get(hash)) else { continue };
            if stack.addresses.iter().any(|address| process.place(*address).is_none()) {
                changed.insert(*pid);
            }
        }
        for pid in changed {
            if let Some(process) = self.processes.get_mut(&pid) {
                process.look_again(&mut self.modules);
            }
        }
    }

    fn drain_copies(&mut self) -> Result<(), Refused> {
        if !self.sampler.can_copy() {
            return Ok(());
        }
        let mut samples = Vec::new();
        let Self { sampler, processes, unwinders, modules, .. } = &mut *self;
        let mut looked_again = BTreeSet::new();
        sampler.copies(|copy| {
            let process = processes.entry(copy.pid).or_insert_with(|| Process::look(copy.pid, modules));
            let unwinder = unwinders.entry(copy.pid).or_insert_with(StackUnwinder::new);
            if process.place(copy.ip).is_none() && looked_again.insert(copy.pid) {
                process.look_again(modules);
            }
            unwinder.learn(process, modules);
            samples.push((copy.pid, copy.kernel, unwinder.walk(copy)));
        })?;
        for (pid, kernel, addresses) in samples {
            self.keep_stack(kernel);
            let user = hash(&addresses);
            if self.stacks.len() < STACKS_MAX {
                self.stacks.entry(user).or_insert_with(|| KeptStack { addresses, top: 0 });
            }
            self.stats.copies += 1;
            self.count(SampleKey { pid, user, kernel }, 1);
        }
        Ok(())
    }
}

fn hash(addresses: &[u64]) -> u64 {
    let mixed = addresses.iter().fold(addresses.len() as u64, |hash, address| {
        let hash = (hash ^ address).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 29)
    });
    mixed | UNWOUND
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
        rate: SampleRate,
        started: SystemTime,
        duration: Duration,
        processes: &BTreeMap<u32, Process>,
        counts: &BTreeMap<SampleKey, u64>,
        stacks: &HashMap<u64, KeptStack>,
    ) -> Profile {
        let cpu = ValueType::new("cpu", "nanoseconds");
        let mut profile = Profile::new(vec![ValueType::new("samples", "count"), cpu.clone()]);
        let since_1970 = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        profile.started_ns = i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX);
        profile.duration_ns = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        (profile.period_type, profile.period) = (cpu, rate.period_ns());
        let none = KeptStack::default();
        for (key, count) in counts {
            let Some(process) = processes.get(&key.pid) else { continue };
            let stack = |hash: u64| stacks.get(&hash).unwrap_or(&none);
            let (user, kernel) = (self.whole(process, stack(key.user)), &stack(key.kernel).addresses);
            if user.is_empty() && kernel.is_empty() {
                self.stats.without_stack += count;
            }
            let mut at = Stack::EMPTY;
            for (index, address) in user.iter().enumerate().rev() {
                at = self.push_user(&mut profile, at, process, *address, index, *count);
            }
            for (index, address) in kernel.iter().enumerate().rev() {
                at = self.push_kernel(&mut profile, at, *address, index, *count);
            }
            let labels = labels(&mut profile, process);
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            profile.add(at, labels, &[count, count.saturating_mul(rate.period_ns())]);
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

    fn push_kernel(&mut self, profile: &mut Profile, caller: Stack, address: u64, index: usize, count: u64) -> Stack {
        let address = if index == 0 { address } else { address.saturating_sub(1) };
        let native = &self.native;
        let name = self.kernel.entry(address).or_insert_with(|| native.kernel(&[address]).pop().unwrap_or_default());
        self.stats.frames += count;
        let module = profile.intern(KERNEL);
        if name.is_empty() {
            return profile.push_frame(caller, frame(module, address));
        }
        self.stats.frames_named += count;
        let function = profile.intern(name);
        profile.push_frame(caller, Frame { function, ..frame(module, 0) })
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
