//! One look each second: which processes there are, what they did since the last look.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use homeostat_model::Timestamp;
use homeostat_sense_kernel::{
    Activity, HAS_PROGRAMS, KernelWatch, Segments, Targets, is_here, listening, machine_time, process_time,
    processes_at, segments,
};
use rustix::time::{ClockId, clock_gettime};

use super::{
    Served,
    governor::Governor,
    strip::{Key, Looked, Second, VERSIONS_MAX, WatchState},
};

/// Looks between two searches for processes, at first; twice as many after each search that found nothing new.
const SEARCH_EVERY: u32 = 4;
/// And at most: once in some four minutes.
const SEARCH_EVERY_MAX: u32 = 256;

/// What is known from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Sampling {
    /// Processes by endpoint, of those endpoints that are on this machine.
    processes: BTreeMap<SocketAddr, BTreeSet<u32>>,
    endpoints: BTreeSet<SocketAddr>,
    search_in: u32,
    search_every: u32,
    watch: Option<Watch>,
    before: Option<Reading>,
}

/// Programs in the kernel, counting or paused.
#[derive(Debug)]
struct Watch {
    /// `None` when they are refused: nobody asks again until the process begins anew.
    kernel: Option<KernelWatch>,
    governor: Governor,
    watched: BTreeSet<u32>,
    counts: bool,
    /// Time in the kernel and here, at the last look.
    spent: Duration,
}

/// Counters at one look.
#[derive(Debug)]
struct Reading {
    when: Instant,
    machine: Option<Duration>,
    segments: Option<Segments>,
    processes: BTreeMap<u32, Duration>,
    /// `None` where the kernel does not tell.
    activity: Option<BTreeMap<u32, Activity>>,
    /// Whether was counted since the look before.
    counted: bool,
}

impl Sampling {
    /// Looks once. Takes a millisecond; some more when processes are searched for, and some hundred when programs are loaded.
    pub(super) fn look(&mut self, at: Timestamp, served: &[Served]) -> Looked {
        self.search(served);
        let pids: BTreeSet<u32> = self.processes.values().flatten().copied().collect();
        if pids.is_empty() {
            // Nobody is here: nothing is loaded, or what was loaded goes.
            (self.watch, self.before) = (None, None);
            return Looked::default();
        }
        let watch = self.watch.get_or_insert_with(|| Watch::start(&pids));
        watch.follow(&pids);
        let now = Reading {
            when: Instant::now(),
            machine: machine_time(),
            segments: segments(),
            processes: pids.iter().filter_map(|pid| Some((*pid, process_time(*pid)?))).collect(),
            activity: watch.read(),
            counted: watch.counts,
        };
        let elapsed = self.before.as_ref().map(|before| now.when.duration_since(before.when));
        let state = watch.state(pids.len(), elapsed);
        let seconds = self.before.as_ref().map(|before| self.seconds(at, served, before, &now)).unwrap_or_default();
        self.before = Some(now);
        Looked { seconds, state }
    }

    /// Looks for processes when endpoints have changed, when one has ended, and now and then while some are missing.
    fn search(&mut self, served: &[Served]) {
        let endpoints: BTreeSet<SocketAddr> = served.iter().map(|served| served.endpoint).collect();
        let has_changed = endpoints != self.endpoints;
        if has_changed {
            self.processes.retain(|endpoint, _| endpoints.contains(endpoint));
            self.endpoints = endpoints.into_iter().filter(|endpoint| is_here(endpoint.ip())).collect();
        }
        let ends = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        let has_ended = self.processes.values().flatten().any(ends);
        if has_changed || has_ended {
            (self.search_in, self.search_every) = (0, SEARCH_EVERY);
        }
        let is_whole = self.endpoints.iter().all(|endpoint| self.processes.contains_key(endpoint));
        if self.endpoints.is_empty() || (is_whole && !has_ended) {
            return;
        }
        if let Some(less) = self.search_in.checked_sub(1) {
            self.search_in = less;
            return;
        }
        let found = listening();
        let of = |endpoint: &SocketAddr| {
            Some((*endpoint, processes_at(*endpoint, &found))).filter(|(_, pids)| !pids.is_empty())
        };
        let processes: BTreeMap<_, _> = self.endpoints.iter().filter_map(of).collect();
        self.search_every =
            if processes == self.processes { (2 * self.search_every).min(SEARCH_EVERY_MAX) } else { SEARCH_EVERY };
        self.search_in = self.search_every;
        self.processes = processes;
    }

    /// What each version did between two looks.
    fn seconds(&self, at: Timestamp, served: &[Served], before: &Reading, now: &Reading) -> Vec<(Key, Second)> {
        let mut versions = BTreeMap::<Key, BTreeSet<u32>>::new();
        for of in served {
            if let Some(pids) = self.processes.get(&of.endpoint) {
                versions.entry((of.service.clone(), of.version.clone())).or_default().extend(pids);
            }
        }
        let second = |(key, pids): (Key, BTreeSet<u32>)| (key, now.since(before, &pids, at));
        versions.into_iter().take(VERSIONS_MAX).map(second).collect()
    }
}

impl Reading {
    fn since(&self, before: &Self, pids: &BTreeSet<u32>, at: Timestamp) -> Second {
        let time = |pid: &u32| Some(self.processes.get(pid)?.saturating_sub(*before.processes.get(pid)?));
        let cpu: Duration = pids.iter().filter_map(time).sum();
        let machine = self.machine.zip(before.machine).map(|(now, was)| now.saturating_sub(was)).unwrap_or_default();
        let segments = self.segments.zip(before.segments).map(|(now, was)| Segments {
            sent: now.sent.saturating_sub(was.sent),
            sent_again: now.sent_again.saturating_sub(was.sent_again),
        });
        let both = self.activity.as_ref().zip(before.activity.as_ref()).filter(|_| self.counted);
        let activity = both.map(|(now, was)| {
            let mut sum = Activity::default();
            for pid in pids {
                if let Some(activity) = now.get(pid) {
                    sum.add(&was.get(pid).map_or_else(|| activity.clone(), |was| activity.since(was)));
                }
            }
            sum
        });
        Second {
            at,
            length_s: self.when.duration_since(before.when).as_secs_f64(),
            cpu_s: cpu.as_secs_f64(),
            others_cpu_s: machine.saturating_sub(cpu).as_secs_f64(),
            segments,
            activity,
        }
    }
}

impl Watch {
    fn start(pids: &BTreeSet<u32>) -> Self {
        let kernel = match KernelWatch::start(&Targets::Processes(pids.clone())) {
            Ok(kernel) => {
                for refused in kernel.refused() {
                    tracing::info!("of this machine's kernel not everything can be told: {refused}");
                }
                Some(kernel)
            }
            Err(refused) => {
                // Whoever built it without knows, and `homeostat doctor` says it.
                if HAS_PROGRAMS {
                    tracing::info!("this machine's kernel does not tell how long processes wait: {refused}");
                }
                None
            }
        };
        let spent = spent(kernel.as_ref());
        Self { counts: kernel.is_some(), kernel, governor: Governor::default(), watched: pids.clone(), spent }
    }

    fn follow(&mut self, pids: &BTreeSet<u32>) {
        let Some(kernel) = self.kernel.as_ref().filter(|_| self.watched != *pids) else { return };
        if let Err(refused) = kernel.watch(pids) {
            tracing::warn!("programs in the kernel cannot be told whom to watch: {refused}");
        }
        self.watched.clone_from(pids);
    }

    fn read(&self) -> Option<BTreeMap<u32, Activity>> {
        let kernel = self.kernel.as_ref()?;
        kernel
            .read()
            .inspect_err(|refused| tracing::warn!("what the kernel has counted cannot be read: {refused}"))
            .ok()
    }

    /// What the look has cost, and whether the next second is counted.
    fn state(&mut self, processes: usize, elapsed: Option<Duration>) -> WatchState {
        let spent = spent(self.kernel.as_ref());
        let cost = spent.saturating_sub(self.spent);
        self.spent = spent;
        // The first look loads programs, once; that is no cost of going on.
        if let Some(elapsed) = elapsed.filter(|elapsed| !elapsed.is_zero()) {
            let counts = self.governor.step(cost.as_secs_f64() / elapsed.as_secs_f64());
            self.count(counts);
        }
        WatchState {
            processes,
            runs: Some(self.kernel.is_some()),
            counted: if self.kernel.is_some() { self.governor.share() } else { 0.0 },
            cost: self.governor.average(),
            kernel_bytes: self.kernel.as_ref().map_or(0, KernelWatch::kernel_bytes),
        }
    }

    fn count(&mut self, counts: bool) {
        let Some(kernel) = self.kernel.as_mut().filter(|_| self.counts != counts) else { return };
        let done = if counts {
            kernel.resume()
        } else {
            kernel.pause();
            Ok(())
        };
        match done {
            Ok(()) => self.counts = counts,
            Err(refused) => tracing::warn!("programs in the kernel cannot count again: {refused}"),
        }
    }
}

/// Time in the kernel's programs and of this thread so far.
fn spent(kernel: Option<&KernelWatch>) -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let own = Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0));
    own + kernel.map(KernelWatch::kernel_time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn served(endpoint: SocketAddr) -> Vec<Served> {
        vec![Served { service: "shop".parse().unwrap(), version: "v1".parse().unwrap(), endpoint }]
    }

    #[test]
    fn the_process_behind_an_endpoint_is_found_and_measured() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let served = served(listener.local_addr().unwrap());
        let mut sampling = Sampling::default();
        let at = Timestamp::from_unix_ms(1_800_000_000_000);
        assert!(sampling.look(at, &served).seconds.is_empty(), "there is nothing to compare with yet");
        // Until the kernel's clock of this process, of 10 ms, has moved.
        let mut cpu_s = 0.0;
        while cpu_s == 0.0 {
            let mut work = 0_u64;
            for _ in 0..10_000_000 {
                work = std::hint::black_box(work + 1);
            }
            let looked = sampling.look(at, &served);
            assert_eq!(looked.state.processes, 1);
            let [(key, second)] = looked.seconds.as_slice() else { panic!("{looked:?}") };
            assert_eq!((key.0.as_str(), key.1.as_str(), second.at), ("shop", "v1", at));
            assert!(0.0 < second.length_s && second.segments.is_some());
            cpu_s += second.cpu_s;
        }
        drop(listener);
    }

    #[test]
    fn nobody_is_watched_where_nobody_answers() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut sampling = Sampling::default();
        for _ in 0..3 {
            let looked = sampling.look(Timestamp::default(), &served(nobody));
            assert_eq!((looked.seconds.len(), looked.state), (0, WatchState::default()));
        }
        // An address for examples, which no machine has: nobody is even looked for.
        let elsewhere = "192.0.2.1:80".parse().unwrap();
        sampling.look(Timestamp::default(), &served(elsewhere));
        assert!(sampling.endpoints.is_empty() && sampling.watch.is_none());
    }
}
