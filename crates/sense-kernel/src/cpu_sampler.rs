//! The CPU sampler's kernel side: a clock and a program on each CPU, and what they have counted.

use std::{io, ops::Range, os::fd::AsFd as _, thread, time::Duration};

use libbpf_rs::{Link, MapCore as _, MapFlags, RingBufferBuilder};

use crate::{
    kernel_program::{KernelProgram, refused},
    overhead::{KernelClock, program_time},
    perf_event::{cpu_clock, online_cpus},
    probes::Refused,
    processes::Targets,
    rate::SampleRate,
};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cpu.bpf.o"));
/// Counts that are read with one call: 512 of 32 bytes.
const BATCH: u32 = 512;
/// A program that began on the other buffer has ended by then; it takes some microseconds.
const SETTLED_AFTER: Duration = Duration::from_millis(1);

/// How a process' stacks are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwind {
    /// In the kernel along frame pointers: cheap; right where all code keeps them.
    FramePointers,
    /// From a copy of the stack's top, by what the compiler says about every place of the program.
    Copies,
}

/// What was counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SampleKey {
    pub(crate) pid: u32,
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
    pub(crate) pid: u32,
    /// Hash of the kernel's part.
    pub(crate) kernel: u64,
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    pub(crate) fp: u64,
    /// Where the innermost function returns to on machines that keep that in a register, else `ip` again.
    pub(crate) link: u64,
    /// From `sp` on.
    pub(crate) bytes: &'a [u8],
}

/// A sampler that runs until it is dropped.
#[derive(Debug)]
pub struct CpuSampler {
    /// Detached before the program goes.
    links: Vec<Link>,
    program: KernelProgram,
    name: &'static str,
    /// Without it the cost is not known.
    _clock: Option<KernelClock>,
    buffer: u32,
    only_targets: bool,
    copies: bool,
}

impl CpuSampler {
    /// Starts sampling. With copies the kernel must allow more; processes are still walked by frame pointers until
    /// [`CpuSampler::treat`] says otherwise.
    pub(crate) fn start(targets: &Targets, rate: SampleRate, unwind: Unwind) -> Result<Self, Refused> {
        let full = KernelProgram::load(OBJECT, "sample_cpu").map(|program| (program, "sample_cpu"));
        let (program, name) = match full {
            Err(_) if unwind == Unwind::FramePointers => {
                (KernelProgram::load(OBJECT, "sample_cpu_plainly")?, "sample_cpu_plainly")
            }
            full => full?,
        };
        let mut sampler = Self {
            links: Vec::new(),
            program,
            name,
            _clock: KernelClock::start(),
            buffer: 0,
            only_targets: *targets != Targets::Machine,
            copies: unwind == Unwind::Copies,
        };
        sampler.settle()?;
        if let Targets::Processes(pids) = targets {
            for pid in pids {
                sampler.treat(*pid, Unwind::FramePointers, 0..0)?;
            }
        }
        let no_cpu = |error: io::Error| Refused {
            what: "the clock of a CPU".to_owned(),
            reason: error.to_string(),
            remedy: "run as root or with CAP_PERFMON; kernel.perf_event_paranoid above 2 needs it too",
        };
        for cpu in online_cpus().map_err(no_cpu)? {
            let clock = cpu_clock(cpu, rate).map_err(no_cpu)?;
            // The link takes the clock and closes it.
            let clock = std::os::fd::IntoRawFd::into_raw_fd(clock);
            let attached = sampler.program.program(name)?.attach_perf_event(clock);
            let link = attached.map_err(|error| refused("a program on the clock of a CPU", &error))?;
            sampler.links.push(link);
        }
        Ok(sampler)
    }

    /// Says how a process is walked from now on, and where its code is if the word on top of the stack matters.
    pub(crate) fn treat(&self, pid: u32, how: Unwind, code: Range<u64>) -> Result<(), Refused> {
        let how: u64 = match how {
            Unwind::FramePointers => 1,
            Unwind::Copies => 2,
        };
        let target: Vec<u8> = [how, code.start, code.end].into_iter().flat_map(u64::to_le_bytes).collect();
        let written = self.program.map("targets")?.update(&pid.to_ne_bytes(), &target, MapFlags::ANY);
        written.map_err(|error| refused("a target of the sampler", &error))
    }

    /// Whether stacks can be copied.
    pub(crate) fn can_copy(&self) -> bool {
        self.copies
    }

    /// Takes what was counted since the last time.
    pub(crate) fn counts(&mut self) -> Result<Vec<(SampleKey, u64)>, Refused> {
        let full = if self.buffer == 0 { "counts_0" } else { "counts_1" };
        self.buffer ^= 1;
        self.settle()?;
        thread::sleep(SETTLED_AFTER);
        let map = self.program.map(full)?;
        let taken = map.lookup_and_delete_batch(BATCH, MapFlags::ANY, MapFlags::ANY);
        let taken = taken.map_err(|error| refused("the sampler's counts", &error))?;
        Ok(taken.filter_map(|(key, count)| Some((sample_key(&key)?, word(&count, 0)?))).collect())
    }

    /// Takes the copied stacks since the last time.
    pub(crate) fn copies(&self, mut each: impl FnMut(StackCopy<'_>)) -> Result<(), Refused> {
        let broken = |error| refused("the sampler's copies of stacks", &error);
        let map = self.program.map("copies")?;
        let mut ring = RingBufferBuilder::new();
        ring.add(&map, move |record| {
            if let Some(copy) = stack_copy(record) {
                each(copy);
            }
            0
        })
        .map_err(broken)?;
        ring.build().and_then(|ring| ring.consume()).map_err(broken)
    }

    /// A stack by its hash; `None` when it was forgotten.
    pub(crate) fn stack(&self, hash: u64) -> Option<KeptStack> {
        let found = self.program.map("stacks").ok()?.lookup(&hash.to_ne_bytes(), MapFlags::ANY).ok()??;
        let frames = half(&found, 0)? as usize;
        let addresses = found.get(16..)?.chunks_exact(8).take(frames).filter_map(|address| word(address, 0)).collect();
        Some(KeptStack { addresses, top: word(&found, 8)? })
    }

    /// Time that the program took so far, on all CPUs together; zero where the kernel does not measure it.
    pub(crate) fn kernel_time(&self) -> Duration {
        let program = self.program.program(self.name).ok();
        program.and_then(|program| program_time(program.as_fd())).unwrap_or_default()
    }

    /// Samples that found no room, so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost_of(0) + self.lost_of(1)
    }

    /// Copies of stacks that found no room, so far.
    pub(crate) fn copies_missed(&self) -> u64 {
        self.lost_of(2)
    }

    fn lost_of(&self, kind: u32) -> u64 {
        let of_cpus = self.program.map("lost").ok();
        let of_cpus = of_cpus.and_then(|lost| lost.lookup_percpu(&kind.to_ne_bytes(), MapFlags::ANY).ok()?);
        of_cpus.iter().flatten().filter_map(|count| word(count, 0)).sum()
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

fn try_with(unwind: Unwind) -> Result<(), Refused> {
    CpuSampler::start(&Targets::Processes([std::process::id()].into()), SampleRate::DEFAULT, unwind).map(|_| ())
}

fn sample_key(bytes: &[u8]) -> Option<SampleKey> {
    Some(SampleKey { pid: half(bytes, 0)?, user: word(bytes, 8)?, kernel: word(bytes, 16)? })
}

/// Process, length, the kernel's stack, four registers, bytes.
fn stack_copy(record: &[u8]) -> Option<StackCopy<'_>> {
    Some(StackCopy {
        pid: half(record, 0)?,
        kernel: word(record, 8)?,
        ip: word(record, 16)?,
        sp: word(record, 24)?,
        fp: word(record, 32)?,
        link: word(record, 40)?,
        bytes: record.get(48..)?.get(..half(record, 4)? as usize)?,
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}
