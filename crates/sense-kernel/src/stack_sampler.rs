//! A sampler's kernel side: a program on the clock of each CPU, or where threads leave a CPU to wait, and what it has counted.

use std::{
    fmt, io, mem,
    ops::Range,
    os::fd::AsFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use homeostat_gosym::little_endian::{u32_at, u64_at};
use libbpf_rs::{ErrorKind, Link, MapCore as _, MapFlags, RingBuffer, RingBufferBuilder};
use rustix::thread::{MembarrierCommand, membarrier};

use crate::{
    kernel_program::{KernelProgram, refused},
    overhead::{KernelClock, program_time},
    perf_event::{cpu_clock, online_cpus},
    probes::Refused,
    processes::Targets,
    rate::SampleRate,
    wait_share::WaitShare,
};

const CPU: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cpu.bpf.o"));
const WAITS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/off_cpu.bpf.o"));
/// The program that tells which processes begin a program.
const BEGINS: &str = "on_exec";
/// Processes that can be told how to be walked, as in `bpf/stacks.h`.
pub(crate) const TARGETS_MAX: usize = 1 << 14;
/// Counts that are read with one call: 512 of 40 bytes at most.
const BATCH: u32 = 512;
/// Where the kernel cannot say that a program which began on the other buffer has ended: it takes some microseconds.
const SETTLED_AFTER: Duration = Duration::from_millis(1);
/// Room for copied stacks: 510 of 16.1 KiB. A quarter of a second's at 2000 samples a second; when half is taken, we are
/// woken up.
pub(crate) const COPIES_BYTES: u32 = 8 << 20;
/// Copies that are taken over at a time, so that what comes meanwhile does not keep us: four times as many as wait.
const COPIES_MAX: usize = 2048;
/// Bytes of a copy before those of the stack.
const COPY_HEAD_BYTES: usize = 64;

/// What is sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sampled {
    /// What runs on the CPUs.
    Cpu(SampleRate),
    /// Where threads leave a CPU to wait, and for how long.
    Waits(WaitShare),
}

/// What was counted of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Samples.
    pub(crate) count: u64,
    /// How long they lasted together, where they are waits; else 0.
    pub(crate) ns: u64,
}

/// How a process' stacks are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwind {
    /// In the kernel along frame pointers: cheap; right where all code keeps them.
    FramePointers,
    /// From a copy of the stack's top, by what the compiler says about every place of the program.
    Copies,
}

/// Which process, and which program of it: numbers of processes are given again, and a process may run another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ProcessKey {
    pub(crate) pid: u32,
    /// A hash of when it began and how many programs it has run.
    pub(crate) born: u32,
}

/// What was counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SampleKey {
    pub(crate) process: ProcessKey,
    /// Hashes of stacks; 0 is none.
    pub(crate) user: u64,
    pub(crate) kernel: u64,
}

/// A stack as it was walked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptStack {
    /// Innermost first.
    pub(crate) addresses: Vec<u64>,
    /// What lay on top of the stack if it is an address of code, else 0.
    pub(crate) top: u64,
}

/// The top of a stack, as the kernel copied it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackCopy<'a> {
    pub(crate) process: ProcessKey,
    /// Hash of the kernel's part.
    pub(crate) kernel: u64,
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    pub(crate) fp: u64,
    /// Where the innermost function returns to on machines that keep that in a register, else `ip` again.
    pub(crate) link: u64,
    /// What stands for the user's stack in the key of a wait; 0 where the copy itself is the sample.
    pub(crate) id: u64,
    /// From `sp` on.
    pub(crate) bytes: &'a [u8],
}

/// Copied stacks that were taken out of the kernel's ring, one after the other, without the unused end of each.
#[derive(Debug, Default)]
pub(crate) struct CopiedStacks {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl CopiedStacks {
    pub(crate) fn iter(&self) -> impl Iterator<Item = StackCopy<'_>> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| stack_copy(self.bytes.get(start..*end)?))
    }

    fn push(&mut self, record: &[u8]) {
        let len = u32_at(record, 56).map_or(0, |len| COPY_HEAD_BYTES + len as usize);
        if let Some(used) = record.get(..len) {
            self.bytes.extend_from_slice(used);
            self.ends.push(self.bytes.len());
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// A process that is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newcomer {
    pub(crate) process: ProcessKey,
    /// It begins a program and may never be sampled.
    pub(crate) begins: bool,
}

type Newcomers = Vec<Newcomer>;

/// The rings of copied stacks and of newcomers, and what came out of them.
struct Rings {
    ring: RingBuffer<'static>,
    copies: Arc<Mutex<CopiedStacks>>,
    newcomers: Arc<Mutex<Newcomers>>,
}

impl fmt::Debug for Rings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rings").finish_non_exhaustive()
    }
}

impl Rings {
    fn of(program: &KernelProgram) -> Result<Self, Refused> {
        let (copies, newcomers) = (Arc::<Mutex<CopiedStacks>>::default(), Arc::<Mutex<Newcomers>>::default());
        let (copies_into, newcomers_into) = (Arc::clone(&copies), Arc::clone(&newcomers));
        let maps = (program.map("copies")?, program.map("newcomers")?);
        let mut ring = RingBufferBuilder::new();
        // Only copied here: until this returns, the kernel has no room for others.
        let took_copies = ring.add(&maps.0, move |record| {
            lock(&copies_into).push(record);
            0
        });
        took_copies.map_err(|error| broken(&error))?;
        let took_newcomers = ring.add(&maps.1, move |record| {
            lock(&newcomers_into).extend(newcomer(record));
            0
        });
        took_newcomers.map_err(|error| broken(&error))?;
        Ok(Self { ring: ring.build().map_err(|error| broken(&error))?, copies, newcomers })
    }

    /// Waits until half of the room for copies is taken or somebody new is sampled, or for a time.
    fn wait(&self, at_most: Duration) -> Result<(), Refused> {
        match self.ring.poll(at_most) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(broken(&error)),
            _ => Ok(()),
        }
    }

    fn take(&self, into: &mut CopiedStacks) {
        into.clear();
        // A number of records or a negative error; there is none besides those of the callbacks, which have none.
        let _taken = self.ring.consume_raw_n(COPIES_MAX);
        mem::swap(into, &mut lock(&self.copies));
    }
}

/// Locks, whatever happened to another holder: there is none.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken(error: &libbpf_rs::Error) -> Refused {
    refused("the sampler's copies of stacks", error)
}

/// A sampler that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct StackSampler {
    /// Detached before the program goes.
    links: Vec<Link>,
    rings: Rings,
    /// Whether stacks are copied.
    copies: bool,
    program: KernelProgram,
    name: &'static str,
    /// Without it the cost is not known.
    _clock: Option<KernelClock>,
    buffer: u32,
    only_targets: bool,
}

impl StackSampler {
    /// Starts sampling. CPUs can be sampled without copies where the kernel allows less; processes are still walked by frame pointers until
    /// [`StackSampler::treat`] says otherwise. `copies_bytes` is a power of two.
    pub(crate) fn start(
        targets: &Targets,
        sampled: Sampled,
        unwind: Unwind,
        copies_bytes: u32,
    ) -> Result<Self, Refused> {
        if let Targets::Processes(pids) = targets
            && TARGETS_MAX < pids.len()
        {
            return Err(Refused {
                what: format!("a profile of {} processes", pids.len()),
                reason: format!("{TARGETS_MAX} are the most"),
                remedy: "choose fewer, or the whole machine",
            });
        }
        let (program, name) = load(sampled, unwind, copies_bytes)?;
        let rings = Rings::of(&program)?;
        let mut sampler = Self {
            links: Vec::new(),
            rings,
            copies: unwind == Unwind::Copies,
            program,
            name,
            _clock: KernelClock::start(),
            buffer: 0,
            only_targets: *targets != Targets::Machine,
        };
        sampler.settle()?;
        if let Targets::Processes(pids) = targets {
            for pid in pids {
                sampler.treat(ProcessKey { pid: *pid, born: 0 }, Unwind::FramePointers, 0..0)?;
            }
        }
        match sampled {
            Sampled::Cpu(rate) => sampler.attach_clocks(rate)?,
            Sampled::Waits(share) => sampler.attach_switches(share)?,
        }
        // Without it, processes are looked at when they are first sampled.
        let told = sampler.program.program(BEGINS).ok().and_then(|program| program.attach_trace().ok());
        sampler.links.extend(told);
        Ok(sampler)
    }

    fn attach_clocks(&mut self, rate: SampleRate) -> Result<(), Refused> {
        let no_cpu = |error: io::Error| Refused {
            what: "the clock of a CPU".to_owned(),
            reason: error.to_string(),
            remedy: "run as root or with CAP_PERFMON; kernel.perf_event_paranoid above 2 needs it too",
        };
        for cpu in online_cpus().map_err(no_cpu)? {
            let clock = cpu_clock(cpu, rate).map_err(no_cpu)?;
            // The link takes the clock and closes it.
            let clock = std::os::fd::IntoRawFd::into_raw_fd(clock);
            let attached = self.program.program(self.name)?.attach_perf_event(clock);
            let link = attached.map_err(|error| refused("a program on the clock of a CPU", &error))?;
            self.links.push(link);
        }
        Ok(())
    }

    fn attach_switches(&mut self, share: WaitShare) -> Result<(), Refused> {
        let limit = share.limit().to_ne_bytes();
        let written = self.program.map("sampled")?.update(&0_u32.to_ne_bytes(), &limit, MapFlags::ANY);
        written.map_err(|error| refused("the share of waits", &error))?;
        let attached = self.program.program(self.name)?.attach_trace();
        self.links.push(attached.map_err(|error| refused("a program where threads leave a CPU", &error))?);
        Ok(())
    }

    /// Says how a process is walked from now on, and where its code is if the word on top of the stack matters.
    pub(crate) fn treat(&self, process: ProcessKey, how: Unwind, code: Range<u64>) -> Result<(), Refused> {
        let how: u32 = match how {
            Unwind::FramePointers => 1,
            Unwind::Copies => 2,
        };
        let how = [how, process.born].into_iter().flat_map(u32::to_ne_bytes);
        let target: Vec<u8> = how.chain([code.start, code.end].into_iter().flat_map(u64::to_ne_bytes)).collect();
        let written = self.program.map("targets")?.update(&process.pid.to_ne_bytes(), &target, MapFlags::ANY);
        written.map_err(|error| refused("a target of the sampler", &error))
    }

    /// Nothing is known of a process any more: it has ended, and another one may get its number.
    pub(crate) fn forget(&self, pid: u32) {
        let targets = self.program.map("targets").ok();
        // Whom nobody told anything about is forgotten already.
        let _unknown = targets.map(|targets| targets.delete(&pid.to_ne_bytes()));
    }

    /// Which of those that have had a number the kernel's program knows.
    #[cfg(test)]
    pub(crate) fn treated(&self, pid: u32) -> Option<ProcessKey> {
        let target = self.program.map("targets").ok()?.lookup(&pid.to_ne_bytes(), MapFlags::ANY).ok()??;
        Some(ProcessKey { pid, born: u32_at(&target, 4)? })
    }

    /// Whether stacks can be copied.
    pub(crate) fn can_copy(&self) -> bool {
        self.copies
    }

    /// Samples no more. What was counted is still there.
    pub(crate) fn detach(&mut self) {
        self.links.clear();
    }

    /// Waits until half of the room for copies is taken or somebody new is sampled, or for a time.
    pub(crate) fn wait(&self, at_most: Duration) -> Result<(), Refused> {
        self.rings.wait(at_most)
    }

    /// Processes that were sampled since the last time before they were looked at, several times when that was late; and those
    /// that have begun a program.
    pub(crate) fn newcomers(&self) -> Vec<Newcomer> {
        mem::take(&mut lock(&self.rings.newcomers))
    }

    /// Copies that have come out of the ring and wait.
    pub(crate) fn copies_waiting(&self) -> usize {
        lock(&self.rings.copies).ends.len()
    }

    /// Takes what was counted since the last time.
    pub(crate) fn counts(&mut self) -> Result<Vec<(SampleKey, Sum)>, Refused> {
        let full = if self.buffer == 0 { "counts_0" } else { "counts_1" };
        self.buffer ^= 1;
        self.settle()?;
        // Programs run between two quiet states of a CPU, and this waits until each CPU has had one. Kernels that are told
        // never to disturb some CPUs refuse it.
        if membarrier(MembarrierCommand::Global).is_err() {
            thread::sleep(SETTLED_AFTER);
        }
        let map = self.program.map(full)?;
        let taken = map.lookup_and_delete_batch(BATCH, MapFlags::ANY, MapFlags::ANY);
        let taken = taken.map_err(|error| refused("the sampler's counts", &error))?;
        Ok(taken.filter_map(|(key, sum)| Some((sample_key(&key)?, read_sum(&sum)?))).collect())
    }

    /// Takes the copied stacks since the last time in exchange for a place to put others.
    pub(crate) fn copies(&self, into: &mut CopiedStacks) {
        self.rings.take(into);
    }

    /// A stack by its hash; `None` when it was forgotten.
    pub(crate) fn stack(&self, hash: u64) -> Option<KeptStack> {
        let found = self.program.map("stacks").ok()?.lookup(&hash.to_ne_bytes(), MapFlags::ANY).ok()??;
        let frames = u32_at(&found, 0)? as usize;
        let addresses = found.get(16..)?.chunks_exact(8).take(frames);
        let addresses = addresses.filter_map(|address| u64_at(address, 0)).collect();
        Some(KeptStack { addresses, top: u64_at(&found, 8)? })
    }

    /// Time that the program took so far, on all CPUs together; zero where the kernel does not measure it.
    pub(crate) fn kernel_time(&self) -> Duration {
        let time = |name| program_time(self.program.program(name).ok()?.as_fd());
        [self.name, BEGINS].into_iter().filter_map(time).sum()
    }

    /// Samples that found no room, so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost_of(0)
    }

    /// Stacks that could not be copied or found no room, so far; their samples are counted all the same.
    pub(crate) fn copies_missed(&self) -> u64 {
        self.lost_of(1)
    }

    fn lost_of(&self, kind: u32) -> u64 {
        let of_cpus = self.program.map("lost").ok();
        let of_cpus = of_cpus.and_then(|lost| lost.lookup_percpu(&kind.to_ne_bytes(), MapFlags::ANY).ok()?);
        of_cpus.iter().flatten().filter_map(|count| u64_at(count, 0)).sum()
    }

    /// Writes the settings that the program reads at each tick.
    fn settle(&self) -> Result<(), Refused> {
        let mut settings = u32::from(self.only_targets).to_ne_bytes().to_vec();
        settings.extend(self.buffer.to_ne_bytes());
        let written = self.program.map("settings")?.update(&0_u32.to_ne_bytes(), &settings, MapFlags::ANY);
        written.map_err(|error| refused("the sampler's settings", &error))
    }
}

/// Whether a clock can be had and the plain program is taken.
pub(crate) fn try_clock() -> Result<(), Refused> {
    try_with(Unwind::FramePointers)
}

/// Whether the program that copies stacks is taken as well.
pub(crate) fn try_copies() -> Result<(), Refused> {
    try_with(Unwind::Copies)
}

/// Whether waits can be sampled.
pub(crate) fn try_waits() -> Result<(), Refused> {
    StackSampler::start(&own(), Sampled::Waits(WaitShare::ALL), Unwind::Copies, COPIES_BYTES).map(|_| ())
}

fn try_with(unwind: Unwind) -> Result<(), Refused> {
    StackSampler::start(&own(), Sampled::Cpu(SampleRate::DEFAULT), unwind, COPIES_BYTES).map(|_| ())
}

fn own() -> Targets {
    Targets::Processes([std::process::id()].into())
}

/// The program that samples, and its name.
fn load(sampled: Sampled, unwind: Unwind, copies_bytes: u32) -> Result<(KernelProgram, &'static str), Refused> {
    let load = |object, name| {
        let sizes = [("copies", copies_bytes)];
        let loaded = KernelProgram::load(object, &[name, BEGINS], &sizes);
        let loaded = loaded.or_else(|_| KernelProgram::load(object, &[name], &sizes));
        loaded.map(|program| (program, name))
    };
    match sampled {
        Sampled::Waits(_) => load(WAITS, "sample_wait"),
        Sampled::Cpu(_) => match load(CPU, "sample_cpu") {
            Err(_) if unwind == Unwind::FramePointers => load(CPU, "sample_cpu_plainly"),
            full => full,
        },
    }
}

/// One number where samples are only counted, two where they last.
fn read_sum(bytes: &[u8]) -> Option<Sum> {
    Some(Sum { count: u64_at(bytes, 0)?, ns: u64_at(bytes, 8).unwrap_or(0) })
}

fn process_key(bytes: &[u8]) -> Option<ProcessKey> {
    Some(ProcessKey { pid: u32_at(bytes, 0)?, born: u32_at(bytes, 4)? })
}

fn newcomer(bytes: &[u8]) -> Option<Newcomer> {
    Some(Newcomer { process: process_key(bytes)?, begins: u32_at(bytes, 8)? != 0 })
}

fn sample_key(bytes: &[u8]) -> Option<SampleKey> {
    Some(SampleKey { process: process_key(bytes)?, user: u64_at(bytes, 8)?, kernel: u64_at(bytes, 16)? })
}

/// Process, the kernel's stack, four registers, id, length, bytes.
fn stack_copy(record: &[u8]) -> Option<StackCopy<'_>> {
    Some(StackCopy {
        process: process_key(record)?,
        kernel: u64_at(record, 8)?,
        ip: u64_at(record, 16)?,
        sp: u64_at(record, 24)?,
        fp: u64_at(record, 32)?,
        link: u64_at(record, 40)?,
        id: u64_at(record, 48)?,
        bytes: record.get(COPY_HEAD_BYTES..)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(pid: u32, stack: &[u8]) -> Vec<u8> {
        let mut record = [pid.to_le_bytes(), 7_u32.to_le_bytes()].concat();
        record.extend((1..=6_u64).flat_map(u64::to_le_bytes));
        record.extend((stack.len() as u64).to_le_bytes());
        record.extend(stack);
        // What follows the stack's end is not written by the kernel.
        record.extend([0xff; 100]);
        record
    }

    #[test]
    fn copies_are_kept_without_their_unused_end() {
        let mut copies = CopiedStacks::default();
        copies.push(&record(1, b"stack"));
        copies.push(b"too short to be one");
        copies.push(&record(2, b""));
        let seen: Vec<_> =
            copies.iter().map(|copy| (copy.process.pid, copy.process.born, copy.ip, copy.id, copy.bytes)).collect();
        assert_eq!(seen, [(1, 7, 2, 6, &b"stack"[..]), (2, 7, 2, 6, b"")]);
        copies.clear();
        assert_eq!(copies.iter().count(), 0);
    }

    #[test]
    fn no_process_of_many_is_forgotten() {
        if let Err(refused) = try_clock() {
            println!("SKIPPED: CPU profiles: {refused}");
            return;
        }
        // Nobody needs to have these numbers.
        let many = |count: usize| Targets::Processes((0..count as u32).map(|at| u32::MAX - at).collect());
        let start = |targets| {
            StackSampler::start(&targets, Sampled::Cpu(SampleRate::DEFAULT), Unwind::FramePointers, COPIES_BYTES)
        };
        let sampler = start(many(TARGETS_MAX)).unwrap();
        let known = (0..TARGETS_MAX as u32).filter(|at| sampler.treated(u32::MAX - at).is_some());
        assert_eq!(known.count(), TARGETS_MAX);
        let refused = start(many(TARGETS_MAX + 1)).unwrap_err();
        assert!(refused.to_string().contains("16384 are the most"), "{refused}");
    }
}
