//! How long processes wait for a CPU, and what becomes of their TCP connections, counted by programs in the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    time::Duration,
};

use homeostat_gosym::little_endian::u64_at;

use crate::{
    activity::{Activity, Connections, Waits},
    histogram::Histogram,
    listening::listening,
    probes::Refused,
    processes::Targets,
    tracepoints::{Counting, Tracepoints, too_many},
};

const RUN_QUEUE: Counting = Counting {
    object: include_bytes!(concat!(env!("OUT_DIR"), "/run_queue.bpf.o")),
    programs: &["on_wakeup", "on_new", "on_switch"],
    map: "waits",
};
const TCP: Counting = Counting {
    object: include_bytes!(concat!(env!("OUT_DIR"), "/tcp.bpf.o")),
    programs: &["on_state", "on_sent_again"],
    map: "connections",
};

/// Watches processes until it is dropped.
#[derive(Debug)]
pub struct KernelWatch {
    run_queue: Option<Tracepoints>,
    tcp: Option<Tracepoints>,
    refused: Vec<Refused>,
}

impl KernelWatch {
    /// Begins to count, what the kernel allows of it; refused when it allows nothing.
    pub fn start(targets: &Targets) -> Result<Self, Refused> {
        let mut refused = Vec::new();
        let mut watch = |of: Counting| match start(of, targets) {
            Ok(started) => Some(started),
            Err(reason) => {
                refused.push(reason);
                None
            }
        };
        let (run_queue, tcp) = (watch(RUN_QUEUE), watch(TCP));
        if run_queue.is_none() && tcp.is_none() {
            return Err(refused.swap_remove(0));
        }
        if let Targets::Processes(pids) = targets {
            refused.extend(too_many(pids));
        }
        let watch = Self { run_queue, tcp, refused };
        watch.tell_listeners()?;
        Ok(watch)
    }

    /// What the kernel does not allow, or has no room for.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Counts these processes only, from now on. Where they are too many, those with the lowest numbers are counted, and the
    /// answer says so.
    pub fn watch(&self, pids: &BTreeSet<u32>) -> Result<(), Refused> {
        self.parts().try_for_each(|part| part.watch(pids))?;
        self.tell_listeners()?;
        too_many(pids).map_or(Ok(()), Err)
    }

    /// Counts no more until [`KernelWatch::resume`]; what was counted stays.
    pub fn pause(&mut self) {
        for part in [&mut self.run_queue, &mut self.tcp].into_iter().flatten() {
            part.detach();
        }
    }

    /// Counts again.
    pub fn resume(&mut self) -> Result<(), Refused> {
        [&mut self.run_queue, &mut self.tcp].into_iter().flatten().try_for_each(Tracepoints::attach)
    }

    /// What was counted so far, by process; connections that belong to nobody known are those of process 0.
    pub fn read(&self) -> Result<BTreeMap<u32, Activity>, Refused> {
        let mut all = BTreeMap::<u32, Activity>::new();
        if let Some(run_queue) = &self.run_queue {
            for (pid, bytes) in run_queue.read()? {
                all.entry(pid).or_default().waits = waits(&bytes);
            }
        }
        if let Some(tcp) = &self.tcp {
            for (pid, bytes) in tcp.read()? {
                all.entry(pid).or_default().tcp = connections(&bytes);
            }
        }
        Ok(all)
    }

    /// Time that counting took so far, on all CPUs together; zero where the kernel does not measure it.
    pub fn kernel_time(&self) -> Duration {
        self.parts().map(Tracepoints::kernel_time).sum()
    }

    /// Memory that counting takes in the kernel, in bytes, as the kernel accounts for it: that of the maps, which is fixed.
    /// Each thread of the watched processes that has waited takes less than half a KiB more until it ends, which is not told.
    pub fn kernel_bytes(&self) -> u64 {
        self.parts().map(Tracepoints::kernel_bytes).sum()
    }

    fn parts(&self) -> impl Iterator<Item = &Tracepoints> {
        [&self.run_queue, &self.tcp].into_iter().flatten()
    }

    /// Who listens already was not seen when it began to.
    fn tell_listeners(&self) -> Result<(), Refused> {
        let Some(tcp) = &self.tcp else { return Ok(()) };
        // Without its number, those that listen from now on are known.
        let Some(network) = own_network() else { return Ok(()) };
        let one_each = listening().into_iter().filter_map(|(address, pids)| Some((address.port(), *pids.first()?)));
        one_each.into_iter().try_for_each(|(port, pid)| {
            // As `struct place` of `bpf/tcp.bpf.c`.
            let place = [network, u32::from(port)].map(u32::to_ne_bytes).concat();
            tcp.put_at("listeners", &place, pid)
        })
    }
}

/// The number of this process' network namespace.
fn own_network() -> Option<u32> {
    u32::try_from(fs::metadata("/proc/self/ns/net").ok()?.ino()).ok()
}

/// Whether waits for a CPU can be counted.
pub(crate) fn try_run_queue() -> Result<(), Refused> {
    start(RUN_QUEUE, &Targets::Processes([std::process::id()].into())).map(|_| ())
}

/// Whether connections can be counted.
pub(crate) fn try_tcp() -> Result<(), Refused> {
    start(TCP, &Targets::Processes([std::process::id()].into())).map(|_| ())
}

fn start(of: Counting, targets: &Targets) -> Result<Tracepoints, Refused> {
    let mut loaded = Tracepoints::load(of, targets)?;
    loaded.attach()?;
    Ok(loaded)
}

/// As `struct waits` of `bpf/run_queue.bpf.c`.
fn waits(bytes: &[u8]) -> Option<Waits> {
    Some(Waits { by_length: Histogram::read(bytes, 0)?, sum_ns: u64_at(bytes, 8 * Histogram::SLOTS)? })
}

/// As `struct connections` of `bpf/tcp.bpf.c`.
fn connections(bytes: &[u8]) -> Option<Connections> {
    Some(Connections {
        connected: u64_at(bytes, 0)?,
        accepted: u64_at(bytes, 8)?,
        failed: u64_at(bytes, 16)?,
        ended: u64_at(bytes, 24)?,
        sent_again: u64_at(bytes, 32)?,
        segments: u64_at(bytes, 40)?,
        round_trip_us: u64_at(bytes, 48)?,
        round_trips: Histogram::read(bytes, 56)?,
    })
}
