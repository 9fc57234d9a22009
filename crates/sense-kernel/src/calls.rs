//! Calls that processes answer and make, read from heads of what they receive and send.
//!
//! A program in the kernel finds them and copies them into a ring, see `bpf/calls.bpf.c`, and wakes nobody up: whoever has started
//! this takes them some twenty times a second, see [`KernelCalls::EVERY`]. What they mean is found out by `calls`.
//! Invariant: bodies stay where they are.

use std::{
    collections::BTreeSet,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use homeostat_calls::{Call, CallReader, Event, Told, What};
use homeostat_gosym::little_endian::{u32_at, u64_at};
use libbpf_rs::{MapCore as _, MapFlags, RingBuffer, RingBufferBuilder};

use crate::{
    call_counts::CallCounts,
    kernel_program::refused,
    probes::Refused,
    processes::Targets,
    tracepoints::{Counting, Tracepoints, too_many},
};

const CALLS: Counting = Counting {
    object: include_bytes!(concat!(env!("OUT_DIR"), "/calls.bpf.o")),
    programs: &["on_received", "on_sent", "on_state"],
    map: "connections",
};

/// As `struct event` of `bpf/calls_walk.h`, without the bytes behind it.
const HEAD_BYTES: usize = 48;
/// Events that are taken at a time: as many as the ring of 4 MiB holds of the smallest.
const EVENTS_MAX: usize = (4 << 20) / (HEAD_BYTES + 8);

/// Follows the calls of processes until it is dropped.
#[derive(Debug)]
pub struct KernelCalls {
    ring: Ring,
    programs: Tracepoints,
    reader: CallReader,
    epoch: u32,
    pieces: Pieces,
}

/// Events that were taken out of the kernel's ring, one after the other.
#[derive(Debug, Default)]
struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

struct Ring {
    ring: RingBuffer<'static>,
    pieces: Arc<Mutex<Pieces>>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl KernelCalls {
    /// How often the kernel's ring is to be emptied. It has 4 MiB: 50 ms of 70,000 requests a second with heads of 512 bytes.
    pub const EVERY: Duration = Duration::from_millis(50);

    /// Begins to follow.
    pub fn start(pids: &BTreeSet<u32>) -> Result<Self, Refused> {
        let mut programs = Tracepoints::load(CALLS, &Targets::Processes(pids.clone()))?;
        let ring = Ring::of(&programs)?;
        programs.attach()?;
        Ok(Self { ring, programs, reader: CallReader::default(), epoch: 0, pieces: Pieces::default() })
    }

    /// Follows these processes only, from now on. Where they are too many, those with the lowest numbers are followed, and the
    /// answer says so.
    pub fn watch(&self, pids: &BTreeSet<u32>) -> Result<(), Refused> {
        self.programs.watch(pids)?;
        too_many(pids).map_or(Ok(()), Err)
    }

    /// Sees nothing until [`KernelCalls::resume`]. Requests that wait are unknown. What was seen before should be taken before.
    pub fn pause(&mut self) {
        self.programs.detach();
        self.reader.forget();
    }

    /// Goes on.
    pub fn resume(&mut self) -> Result<(), Refused> {
        // Streams went on meanwhile: what is known of them is over.
        self.epoch = self.epoch.wrapping_add(1);
        self.programs.put("epochs", 0, self.epoch)?;
        self.programs.attach()
    }

    /// Adds the calls that have ended since the last time, those of one connection in order.
    pub fn take(&mut self, calls: &mut Vec<Call>) {
        self.ring.take(&mut self.pieces);
        for record in self.pieces.iter() {
            // What was told before a pause and is taken after it.
            if let Some((event, _)) = event_of(record).filter(|(_, epoch)| *epoch == self.epoch) {
                self.reader.take(&event, calls);
            }
        }
    }

    /// The bytes that left the kernel for the last [`KernelCalls::take`], message by message: for who checks what this process is
    /// given. There is nothing of bodies in them.
    pub fn told(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().filter_map(|record| record.get(HEAD_BYTES..))
    }

    /// What could not be told so far.
    pub fn counts(&self) -> CallCounts {
        let stats = self.reader.stats();
        CallCounts {
            lost: self.count(0),
            given_up: self.count(1),
            unanswered: stats.unanswered,
            unasked: stats.unasked,
        }
    }

    /// Time that the programs in the kernel took so far, on all CPUs together; zero where the kernel does not measure it.
    pub fn kernel_time(&self) -> Duration {
        self.programs.kernel_time()
    }

    /// Memory in the kernel: fixed, whatever the processes do. In bytes.
    pub fn kernel_bytes(&self) -> u64 {
        self.programs.kernel_bytes()
    }

    fn count(&self, kind: u32) -> u64 {
        let map = self.programs.map("counts").ok();
        let of_cpus = map.and_then(|map| map.lookup_percpu(&kind.to_ne_bytes(), MapFlags::ANY).ok()?);
        of_cpus.unwrap_or_default().iter().filter_map(|bytes| u64_at(bytes, 0)).sum()
    }
}

impl Pieces {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.bytes.get(start..*end))
    }
}

impl Ring {
    fn of(programs: &Tracepoints) -> Result<Self, Refused> {
        let pieces = Arc::<Mutex<Pieces>>::default();
        let into = Arc::clone(&pieces);
        let map = programs.map("events")?;
        let broken = |error: libbpf_rs::Error| refused("the ring of messages", &error);
        let mut ring = RingBufferBuilder::new();
        // Only copied here: until this returns, the kernel has no room for others.
        let added = ring.add(&map, move |record| {
            let mut pieces = lock(&into);
            pieces.bytes.extend_from_slice(record);
            let end = pieces.bytes.len();
            pieces.ends.push(end);
            0
        });
        added.map_err(broken)?;
        Ok(Self { ring: ring.build().map_err(broken)?, pieces })
    }

    fn take(&self, into: &mut Pieces) {
        into.bytes.clear();
        into.ends.clear();
        // A number of records or a negative error; there is none besides those of the callback, which has none.
        let _taken = self.ring.consume_raw_n(EVENTS_MAX);
        mem::swap(into, &mut lock(&self.pieces));
    }
}

/// Locks, whatever happened to another holder: there is none.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As `struct event` of `bpf/calls_walk.h`; with the epoch that it belongs to.
fn event_of(record: &[u8]) -> Option<(Event<'_>, u32)> {
    let (port_and_what, taken) = (u32_at(record, 40)?.to_ne_bytes(), u32_at(record, 28)? as usize);
    let [p0, p1, w0, w1] = port_and_what;
    let what = match u16::from_ne_bytes([w0, w1]) {
        0 => What::Received,
        1 => What::Sent,
        2 => What::WeEnded,
        3 => What::TheyEnded,
        4 => What::Gone,
        _ => return None,
    };
    let (length, sequence) = (u32_at(record, 24)?, u32_at(record, 36)?);
    let is_end = !matches!(what, What::Received | What::Sent);
    let event = Event {
        connection: u64_at(record, 0)?,
        at_ns: u64_at(record, 8)?,
        offset: u64_at(record, 16)?,
        length: if is_end { 0 } else { length },
        process: u32_at(record, 32)?,
        sequence: if is_end { 0 } else { sequence },
        told: if is_end { Told { received: sequence, sent: length } } else { Told::default() },
        port: u16::from_ne_bytes([p0, p1]),
        what,
        bytes: record.get(HEAD_BYTES..)?.get(..taken)?,
    };
    Some((event, u32_at(record, 44)?))
}

/// Whether calls can be followed.
pub(crate) fn try_it() -> Result<(), Refused> {
    KernelCalls::start(&[std::process::id()].into()).map(|_| ())
}
