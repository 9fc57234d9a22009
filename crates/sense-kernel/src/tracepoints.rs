//! Programs on tracepoints of the kernel that count by process in a map of their own.

use std::{collections::BTreeSet, os::fd::AsFd as _, time::Duration};

use homeostat_gosym::little_endian::u32_at;
use libbpf_rs::{Link, Map, MapCore as _, MapFlags, ProgramMut};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    kernel_program::{KernelProgram, refused},
    overhead::{KernelClock, map_bytes, program_time},
    probes::Refused,
    processes::Targets,
};

/// Entries that are read with one call: 512 of some 300 bytes.
const BATCH: u32 = 512;
/// Processes that can be chosen, as in `bpf/targets.h`.
pub(crate) const TARGETS_MAX: usize = 4096;

/// An object for the kernel and the names in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counting {
    pub(crate) object: &'static [u8],
    pub(crate) programs: &'static [&'static str],
    /// The map that counts by process.
    pub(crate) map: &'static str,
}

/// Programs that count until this is dropped.
#[derive(Debug)]
pub(crate) struct Tracepoints {
    /// Detached before the programs go.
    links: Vec<Link>,
    program: KernelProgram,
    of: Counting,
    /// Without it the cost is not known.
    _clock: Option<KernelClock>,
}

impl Tracepoints {
    /// Loads the programs. They count from [`Tracepoints::attach`] on.
    pub(crate) fn load(of: Counting, targets: &Targets) -> Result<Self, Refused> {
        let program = KernelProgram::load(of.object, of.programs, &[])?;
        let loaded = Self { links: Vec::new(), program, of, _clock: KernelClock::start() };
        let only_targets = u32::from(*targets != Targets::Machine);
        loaded.put("settings", 0, only_targets)?;
        if let Targets::Processes(pids) = targets {
            loaded.watch(pids)?;
        }
        Ok(loaded)
    }

    /// Begins to count, or goes on. What programs had remembered of connections and waits is void after a pause.
    pub(crate) fn attach(&mut self) -> Result<(), Refused> {
        if self.links.is_empty() {
            self.count_from_now()?;
        }
        for name in self.of.programs.iter().skip(self.links.len()) {
            let link = self.program.program(name)?.attach_trace();
            self.links.push(link.map_err(|error| refused(&format!("the tracepoint of `{name}`"), &error))?);
        }
        Ok(())
    }

    /// As `bpf/counting_since.h`; programs that remember nothing do not have it.
    fn count_from_now(&self) -> Result<(), Refused> {
        let name = "counting_since";
        let Ok(map) = self.program.map(name) else { return Ok(()) };
        // The clock of `bpf_ktime_get_ns`.
        let now = clock_gettime(ClockId::Monotonic);
        let now_ns = 1_000_000_000 * u64::try_from(now.tv_sec).unwrap_or(0) + u64::try_from(now.tv_nsec).unwrap_or(0);
        let written = map.update(&0_u32.to_ne_bytes(), &now_ns.to_ne_bytes(), MapFlags::ANY);
        written.map_err(|error| refused(&format!("the map `{name}`"), &error))
    }

    /// Counts no more. What was counted stays.
    pub(crate) fn detach(&mut self) {
        self.links.clear();
    }

    /// Counts these processes only, from now on: the first [`TARGETS_MAX`] of them, see [`too_many`].
    pub(crate) fn watch(&self, pids: &BTreeSet<u32>) -> Result<(), Refused> {
        let map = self.program.map("targets")?;
        let pids: BTreeSet<u32> = pids.iter().copied().take(TARGETS_MAX).collect();
        let known: Vec<u32> = map.keys().filter_map(|key| u32_at(&key, 0)).collect();
        for gone in known.iter().filter(|pid| !pids.contains(pid)) {
            // It is gone already if this fails.
            let _gone = map.delete(&gone.to_ne_bytes());
        }
        pids.iter().try_for_each(|pid| self.put("targets", *pid, 1))
    }

    /// A program, for who attaches it elsewhere than at the tracepoint that it names.
    pub(crate) fn program(&self, name: &str) -> Result<ProgramMut<'_>, Refused> {
        self.program.program(name)
    }

    /// A map besides the one that counts.
    pub(crate) fn map(&self, name: &str) -> Result<Map<'_>, Refused> {
        self.program.map(name)
    }

    /// Writes one number of a map of numbers.
    pub(crate) fn put(&self, map: &str, key: u32, value: u32) -> Result<(), Refused> {
        self.put_at(map, &key.to_ne_bytes(), value)
    }

    /// Writes one number of a map whose keys are more than a number.
    pub(crate) fn put_at(&self, map: &str, key: &[u8], value: u32) -> Result<(), Refused> {
        let written = self.program.map(map)?.update(key, &value.to_ne_bytes(), MapFlags::ANY);
        written.map_err(|error| refused(&format!("the map `{map}`"), &error))
    }

    /// What was counted so far, by process.
    pub(crate) fn read(&self) -> Result<Vec<(u32, Vec<u8>)>, Refused> {
        let map = self.program.map(self.of.map)?;
        let found = map.lookup_batch(BATCH, MapFlags::ANY, MapFlags::ANY);
        let found = found.map_err(|error| refused(&format!("the map `{}`", self.of.map), &error))?;
        Ok(found.filter_map(|(key, value)| Some((u32_at(&key, 0)?, value))).collect())
    }

    /// Time that the programs took so far, on all CPUs together; zero where the kernel does not measure it.
    pub(crate) fn kernel_time(&self) -> Duration {
        let time = |name: &&str| program_time(self.program.program(name).ok()?.as_fd());
        self.of.programs.iter().filter_map(time).sum()
    }

    /// Memory of the maps, in bytes.
    pub(crate) fn kernel_bytes(&self) -> u64 {
        self.program.maps().map(|map| map_bytes(map.as_fd())).sum()
    }
}

/// That some of these processes are not watched.
pub(crate) fn too_many(pids: &BTreeSet<u32>) -> Option<Refused> {
    (TARGETS_MAX < pids.len()).then(|| Refused {
        what: format!("watching {} processes", pids.len()),
        reason: format!("{TARGETS_MAX} can be watched at a time; those with the lowest numbers are"),
        remedy: "",
    })
}
