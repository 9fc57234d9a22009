//! One look each second: which processes there are, what they did since the last look.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use homeostat_model::Timestamp;
use homeostat_sense_kernel::{
    Activity, GoActivity, GoWatch, HAS_PROGRAMS, KernelWatch, Segments, Switches, Targets, machine_times, process_time,
    resident_bytes, segments, thread_switches, thread_time,
};

use super::{
    Served,
    governor::{Cost, Governor},
    strip::{Key, Looked, Second, VERSIONS_MAX, WatchState},
    whereabouts::Whereabouts,
};

/// Looks that find nobody before programs leave the kernel: five minutes, so that a service which restarts does not have them
/// loaded again.
const IDLE_MAX: u32 = 300;

/// What is known from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Sampling {
    whereabouts: Whereabouts,
    watch: Option<Watch>,
    before: Option<Reading>,
}

/// Programs in the kernel, counting or paused.
#[derive(Debug)]
struct Watch {
    /// `None` when they are refused: nobody asks again until the process begins anew.
    kernel: Option<KernelWatch>,
    /// `None` while none of the processes is a Go program that can be watched.
    go: Option<GoWatch>,
    governor: Governor,
    watched: BTreeSet<u32>,
    counts: bool,
    /// Looks in a row that found nobody.
    idle: u32,
    /// Time in the kernel and here, at the last look.
    spent: (Duration, Duration),
}

/// Counters at one look.
#[derive(Debug)]
struct Reading {
    when: Instant,
    machine: Option<Duration>,
    idle: Option<Duration>,
    segments: Option<Segments>,
    processes: BTreeMap<u32, Duration>,
    /// By process and thread; processes without are left out.
    switches: BTreeMap<u32, BTreeMap<u32, Switches>>,
    resident: BTreeMap<u32, u64>,
    /// `None` where the kernel does not tell.
    activity: Option<BTreeMap<u32, Activity>>,
    /// Of processes that are or were watched; `None` where it could not be read.
    go: Option<BTreeMap<u32, GoActivity>>,
    /// Whether was counted since the look before.
    counted: bool,
}

impl Sampling {
    /// Looks once. Takes a millisecond; some more when processes are searched for, and some hundred when programs are loaded.
    pub(super) fn look(&mut self, at: Timestamp, served: &[Served]) -> Looked {
        self.whereabouts.look(served.iter().map(|served| served.endpoint).collect());
        let pids: BTreeSet<u32> = self.whereabouts.processes().values().flatten().copied().collect();
        if pids.is_empty() {
            // Nobody is here: nothing is loaded, or what was loaded rests and goes in time.
            self.before = None;
            self.watch = self.watch.take().and_then(Watch::rest);
            return Looked::default();
        }
        let watch = self.watch.get_or_insert_with(|| Watch::start(&pids));
        watch.follow(&pids);
        watch.wake();
        let (machine, idle) = machine_times().unzip();
        let now = Reading {
            when: Instant::now(),
            machine,
            idle,
            segments: segments(),
            processes: pids.iter().filter_map(|pid| Some((*pid, process_time(*pid)?))).collect(),
            switches: pids.iter().filter_map(|pid| Some((*pid, thread_switches(*pid)?))).collect(),
            resident: pids.iter().filter_map(|pid| Some((*pid, resident_bytes(*pid)?))).collect(),
            activity: watch.read(),
            go: watch.read_go(),
            counted: watch.counts,
        };
        let elapsed = self.before.as_ref().map(|before| now.when.duration_since(before.when));
        let state = watch.state(pids.len(), elapsed);
        let seconds = self.before.as_ref().map(|before| self.seconds(at, served, before, &now)).unwrap_or_default();
        self.before = Some(now);
        Looked { seconds, state }
    }

    /// What each version did between two looks.
    fn seconds(&self, at: Timestamp, served: &[Served], before: &Reading, now: &Reading) -> Vec<(Key, Second)> {
        let mut versions = BTreeMap::<Key, BTreeSet<u32>>::new();
        for of in served {
            if let Some(pids) = self.whereabouts.processes().get(&of.endpoint) {
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
        let mut go = None::<GoActivity>;
        if let Some((all, was)) = self.go.as_ref().zip(before.go.as_ref()).filter(|_| self.counted) {
            for (pid, now) in pids.iter().filter_map(|pid| all.get_key_value(pid)) {
                let since = was.get(pid).map_or_else(|| now.clone(), |was| now.since(was));
                go.get_or_insert_default().add(&since);
            }
        }
        Second {
            at,
            length_s: self.when.duration_since(before.when).as_secs_f64(),
            cpu_s: cpu.as_secs_f64(),
            others_cpu_s: machine.saturating_sub(cpu).as_secs_f64(),
            idle_s: self.idle.zip(before.idle).map(|(now, was)| now.saturating_sub(was).as_secs_f64()),
            switches: pids.iter().map(|pid| self.switches_since(before, *pid)).try_fold(
                Switches::default(),
                |sum, more| {
                    let more = more?;
                    Some(Switches {
                        voluntary: sum.voluntary.saturating_add(more.voluntary),
                        involuntary: sum.involuntary.saturating_add(more.involuntary),
                    })
                },
            ),
            resident_bytes: pids.iter().map(|pid| self.resident.get(pid).copied()).sum(),
            segments,
            activity,
            go,
        }
    }
}

impl Reading {
    /// Of threads that are there: one that began since has done so from nothing.
    fn switches_since(&self, before: &Self, pid: u32) -> Option<Switches> {
        let (now, before) = (self.switches.get(&pid)?, before.switches.get(&pid)?);
        let mut sum = Switches::default();
        for (thread, now) in now {
            let was = before.get(thread).copied().unwrap_or_default();
            sum.voluntary += now.voluntary.saturating_sub(was.voluntary);
            sum.involuntary += now.involuntary.saturating_sub(was.involuntary);
        }
        Some(sum)
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
        let go = start_go(pids);
        let spent = spent(kernel.as_ref(), go.as_ref());
        let (counts, watched) = (kernel.is_some() || go.is_some(), pids.clone());
        Self { counts, kernel, go, governor: Governor::default(), watched, idle: 0, spent }
    }

    /// Nobody is here: counts nothing, and is gone after a while. That the kernel refuses stays known.
    fn rest(mut self) -> Option<Self> {
        self.count(false);
        // Probes belong to a program's file, which may be another one when it is back.
        self.go = None;
        self.watched.clear();
        self.idle = self.idle.saturating_add(1);
        (self.kernel.is_none() || self.idle < IDLE_MAX).then_some(self)
    }

    /// Somebody is here again.
    fn wake(&mut self) {
        if 0 < self.idle {
            self.idle = 0;
            self.count(true);
        }
    }

    fn follow(&mut self, pids: &BTreeSet<u32>) {
        if self.watched == *pids {
            return;
        }
        self.watched.clone_from(pids);
        if let Some(Err(refused)) = self.kernel.as_ref().map(|kernel| kernel.watch(pids)) {
            tracing::warn!("programs in the kernel cannot be told whom to watch: {refused}");
        }
        match &mut self.go {
            None => {
                self.go = start_go(pids);
                if let Some(go) = self.go.as_mut().filter(|_| !self.counts) {
                    go.pause();
                }
            }
            Some(go) => {
                if let Err(refused) = go.watch(pids) {
                    tracing::warn!("probes on Go's runtime cannot be told whom to watch: {refused}");
                }
            }
        }
    }

    fn read(&self) -> Option<BTreeMap<u32, Activity>> {
        let kernel = self.kernel.as_ref()?;
        kernel
            .read()
            .inspect_err(|refused| tracing::warn!("what the kernel has counted cannot be read: {refused}"))
            .ok()
    }

    /// Stops and collections of each Go program that is watched, none at first, and of those that were.
    fn read_go(&mut self) -> Option<BTreeMap<u32, GoActivity>> {
        let Some(go) = &mut self.go else { return Some(BTreeMap::new()) };
        let read = go.look().inspect_err(|refused| {
            tracing::warn!("what probes on Go's runtime have counted cannot be read: {refused}");
        });
        let mut all = read.ok()?;
        for pid in go.watched() {
            all.entry(pid).or_default();
        }
        Some(all)
    }

    /// What the look has cost, and whether the next second is counted.
    fn state(&mut self, processes: usize, elapsed: Option<Duration>) -> WatchState {
        let spent = spent(self.kernel.as_ref(), self.go.as_ref());
        let before = std::mem::replace(&mut self.spent, spent);
        // The first look loads programs, once; that is no cost of going on.
        if let Some(elapsed) = elapsed.filter(|elapsed| !elapsed.is_zero()) {
            let (counting, anyway) = (spent.0.saturating_sub(before.0), spent.1.saturating_sub(before.1));
            let counts = self.governor.step(Cost::of(counting, anyway, elapsed));
            self.count(counts);
        }
        WatchState {
            processes,
            runs: Some(self.kernel.is_some()),
            counted: if self.kernel.is_some() || self.go.is_some() { self.governor.share() } else { 0.0 },
            cost: self.governor.average(),
            kernel_bytes: self.kernel.as_ref().map_or(0, KernelWatch::kernel_bytes)
                + self.go.as_ref().map_or(0, GoWatch::kernel_bytes),
        }
    }

    fn count(&mut self, counts: bool) {
        if self.counts == counts || (self.kernel.is_none() && self.go.is_none()) {
            return;
        }
        if let Some(kernel) = &mut self.kernel {
            if !counts {
                kernel.pause();
            } else if let Err(refused) = kernel.resume() {
                tracing::warn!("programs in the kernel cannot count again: {refused}");
                return;
            }
        }
        match &mut self.go {
            Some(go) if counts => go.resume(),
            Some(go) => go.pause(),
            None => {}
        }
        self.counts = counts;
    }
}

/// Watches those that run Go programs; `None` when none of them does, or the kernel refuses it.
fn start_go(pids: &BTreeSet<u32>) -> Option<GoWatch> {
    let started = GoWatch::start(pids).inspect_err(|refused| tracing::debug!("no Go program is watched: {refused}"));
    started.ok()
}

/// Time in the kernel's programs and of this thread so far.
fn spent(kernel: Option<&KernelWatch>, go: Option<&GoWatch>) -> (Duration, Duration) {
    let in_kernel = [kernel.map(KernelWatch::kernel_time), go.map(GoWatch::kernel_time)];
    (in_kernel.into_iter().flatten().sum(), thread_time())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::{SocketAddr, TcpListener},
        path::Path,
        process::{Command, Stdio},
    };

    use super::*;

    /// For examples: no machine has it.
    const ELSEWHERE: &str = "192.0.2.1:80";

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
            // This very process: it has some MiB, and its threads switch.
            assert!(
                second.switches.is_some() && second.resident_bytes.is_some_and(|bytes| 1 << 20 < bytes),
                "{second:?}"
            );
            cpu_s += second.cpu_s;
        }
        drop(listener);
    }

    #[test]
    fn nobody_is_watched_where_nobody_answers() {
        // Nobody can listen on this port.
        let nobody = "127.0.0.1:0".parse().unwrap();
        let mut sampling = Sampling::default();
        for _ in 0..3 {
            let looked = sampling.look(Timestamp::default(), &served(nobody));
            assert_eq!((looked.seconds.len(), looked.state), (0, WatchState::default()));
        }
        sampling.look(Timestamp::default(), &served(ELSEWHERE.parse().unwrap()));
        assert!(sampling.watch.is_none());
    }

    #[test]
    fn programs_rest_while_a_service_restarts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (there, gone) = (served(listener.local_addr().unwrap()), served("127.0.0.1:0".parse().unwrap()));
        let mut sampling = Sampling::default();
        let mut state = |served: &[Served], looks: u32| {
            for _ in 0..looks {
                sampling.look(Timestamp::default(), served);
            }
            sampling.watch.as_ref().map(|watch| (watch.kernel.is_some(), watch.counts))
        };
        let (runs, counts) = state(&there, 1).unwrap();
        assert_eq!(runs, counts);
        assert_eq!(state(&gone, 3), Some((runs, false)));
        assert_eq!(state(&there, 1), Some((runs, runs)));
        assert_eq!(state(&gone, IDLE_MAX), (!runs).then_some((false, false)), "what was refused stays known");
    }

    /// A Go program that listens and collects as it is told.
    struct Collecting(std::process::Child);

    impl Drop for Collecting {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn collections_of_a_go_program_stand_in_its_seconds() {
        let probes = homeostat_sense_kernel::examine();
        let probe = probes.into_iter().find(|probe| probe.name == "go-runtime").unwrap();
        if probe.state != homeostat_sense_kernel::ProbeState::Ok || !cfg!(target_arch = "x86_64") {
            println!("SKIPPED: collections of Go programs: {:?}", probe.state);
            return;
        }
        let (dir, here) = (tempfile::tempdir().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")));
        let program = dir.path().join("collecting");
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&program).current_dir(here.join("../sense-kernel/tests/programs/collecting"));
        let Ok(built) = go.env("GOCACHE", here.join("../../target/go-cache")).status() else {
            println!("SKIPPED: collections of Go programs: there is no `go` (package golang-go)");
            return;
        };
        assert!(built.success());
        let child = Command::new(program).arg("listen").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut program = Collecting(child.unwrap());
        let mut said = BufReader::new(program.0.stdout.take().unwrap());
        let mut listen = || {
            let mut line = String::new();
            said.read_line(&mut line).unwrap();
            line.trim().to_owned()
        };
        let served = served(listen().parse().unwrap());
        listen();
        let mut sampling = Sampling::default();
        sampling.look(Timestamp::default(), &served);
        program.0.stdin.as_mut().unwrap().write_all(b"collect 7\n").unwrap();
        let collections = listen();
        let looked = sampling.look(Timestamp::default(), &served);
        let [(_, second)] = looked.seconds.as_slice() else { panic!("{looked:?}") };
        let go = second.go.as_ref().unwrap();
        assert!(
            collections.starts_with(&format!("{} ", go.collections)) && 7 <= go.collections,
            "{collections} {go:?}"
        );
        assert!(2 * go.collections <= go.pauses.count() && 0 < go.stopped_ns, "{go:?}");
        let quiet = sampling.look(Timestamp::default(), &served);
        assert_eq!(quiet.seconds[0].1.go.as_ref().map(|go| (go.collections, go.stopped_ns)), Some((0, 0)));
    }
}
