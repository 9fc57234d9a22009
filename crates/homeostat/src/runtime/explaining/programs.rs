//! The programs whose profiles are taken, and how much memory that takes.
//!
//! Each second what is wanted is compared with what there is: programs come and go with the configuration and with what
//! scraping finds. Windows of all programs together hold to a limit: beyond it the oldest go, whoever's they are. At the limit
//! of the whole process nothing is taken until a tenth of it is free; what is held stays, because incidents need it and it is the
//! smaller part.
//!
//! Not here: which targets are programs (`found`), taking profiles (`watch`, `kernel`).
//! Invariant: windows are over their limit by what comes within a second at most.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use homeostat_sense_scrape::spec::HttpSpec;
use homeostat_wire::exposition::{Exposition, FamilyKind};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    super::{clock::Clock, shared::lock},
    sides::Held,
    watch::{Ring, Watcher},
};
use crate::config::{Profiled, SensingSpec};

/// What is told while nothing is taken.
const PROCESS_FULL: &str = "the process has reached its limit of memory (`processMemory` of `Sensing`)";

/// What a person may want to know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::runtime) struct ProfilingState {
    programs: usize,
    windows: usize,
    bytes: u64,
    bytes_max: u64,
    rss_bytes: u64,
    rss_bytes_max: u64,
    dropped: u64,
    is_held_back: bool,
}

impl ProfilingState {
    pub(in crate::runtime) fn metrics(&self, out: &mut Exposition<'_>) {
        for (name, help, value) in [
            ("homeostat_profiling_programs", "Programs whose profiles are taken.", self.programs as u64),
            ("homeostat_profiling_windows", "Windows held for incidents to come.", self.windows as u64),
            ("homeostat_profiling_memory_bytes", "Bytes of these windows.", self.bytes),
            ("homeostat_profiling_memory_limit_bytes", "What they may have (`memory` of `Sensing`).", self.bytes_max),
            ("homeostat_profiling_process_memory_bytes", "Memory of the whole process.", self.rss_bytes),
            (
                "homeostat_profiling_process_memory_limit_bytes",
                "Memory of the whole process at which no profiles are taken (`processMemory` of `Sensing`).",
                self.rss_bytes_max,
            ),
            (
                "homeostat_profiling_held_back",
                "1 while no profiles are taken because the process has reached its limit of memory.",
                u64::from(self.is_held_back),
            ),
        ] {
            out.family(name, FamilyKind::Gauge, help).count(&[], value);
        }
        let help = "Windows dropped because all together took too much memory.";
        out.family("homeostat_profiling_windows_dropped_total", FamilyKind::Counter, help).count(&[], self.dropped);
    }
}

/// A program with what is held of it.
#[derive(Debug)]
struct Watched {
    ring: Arc<Mutex<Ring>>,
    http: Arc<HttpSpec>,
    /// `None` while nothing is taken.
    watcher: Option<Watcher>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Programs {
    clock: Clock,
    stop: CancellationToken,
    watched: BTreeMap<Profiled, Watched>,
    leaving: JoinSet<()>,
    dropped: u64,
    is_dropping: bool,
    is_held_back: bool,
}

impl Programs {
    pub(super) fn new(clock: Clock, stop: CancellationToken) -> Self {
        let (watched, leaving) = (BTreeMap::new(), JoinSet::new());
        Self { clock, stop, watched, leaving, dropped: 0, is_dropping: false, is_held_back: false }
    }

    pub(super) fn is_watched(&self, program: &Profiled) -> bool {
        self.watched.contains_key(program)
    }

    /// What is held now.
    pub(super) fn held(&self) -> Vec<Held> {
        let held = |(profiled, watched): (&Profiled, &Watched)| Held {
            profiled: profiled.clone(),
            ring: Arc::clone(&watched.ring),
        };
        self.watched.iter().map(held).collect()
    }

    /// Begins with programs that are new, leaves those that nobody wants any more, begins again with one that ended by itself,
    /// and holds to the limits. `rss_bytes` is the memory of the process.
    pub(super) fn arrange(&mut self, wanted: BTreeMap<Profiled, Arc<HttpSpec>>, limits: SensingSpec, rss_bytes: u64) {
        while self.leaving.try_join_next().is_some() {}
        self.hold_back(limits, rss_bytes);
        let is_gone = |program: &Profiled, watched: &mut Watched| wanted.get(program) != Some(&watched.http);
        for (_, gone) in self.watched.extract_if(.., is_gone) {
            leave(&mut self.leaving, gone.watcher);
        }
        for (program, http) in wanted {
            let new = || Watched { ring: Arc::default(), http, watcher: None };
            let watched = self.watched.entry(program.clone()).or_insert_with(new);
            if self.is_held_back {
                leave(&mut self.leaving, watched.watcher.take());
                lock(&watched.ring).failed(PROCESS_FULL.to_owned());
                continue;
            }
            if watched.watcher.as_ref().is_some_and(Watcher::has_ended) {
                leave(&mut self.leaving, watched.watcher.take());
            }
            let start = || Watcher::start(program, &watched.http, &watched.ring, self.clock, self.stop.child_token());
            watched.watcher.get_or_insert_with(start);
        }
        self.fit(limits.windows_bytes_max);
    }

    fn hold_back(&mut self, limits: SensingSpec, rss_bytes: u64) {
        let max = limits.rss_bytes_max;
        let is_full = (if self.is_held_back { max - max / 10 } else { max }) < rss_bytes;
        match (self.is_held_back, is_full) {
            (false, true) => tracing::warn!(rss_bytes, "no profiles are taken: {PROCESS_FULL}"),
            (true, false) => tracing::info!(rss_bytes, "profiles are taken again"),
            _ => {}
        }
        self.is_held_back = is_full;
    }

    /// Drops the oldest windows until all of them fit.
    fn fit(&mut self, bytes_max: u64) {
        let before = self.dropped;
        while bytes_max < self.bytes() {
            let rings = self.watched.values().map(|watched| &watched.ring);
            let oldest = rings.filter_map(|ring| Some((lock(ring).oldest()?, ring))).min_by_key(|(oldest, _)| *oldest);
            let Some((_, ring)) = oldest else { break };
            lock(ring).drop_oldest();
            self.dropped += 1;
        }
        let is_dropping = before < self.dropped;
        if is_dropping && !self.is_dropping {
            tracing::warn!(
                bytes_max,
                "profiles of all programs take more memory than `memory` of `Sensing`; the oldest windows go"
            );
        }
        self.is_dropping = is_dropping;
    }

    fn bytes(&self) -> u64 {
        self.watched.values().map(|watched| lock(&watched.ring).bytes() as u64).sum()
    }

    pub(super) fn state(&self, limits: SensingSpec, rss_bytes: u64) -> ProfilingState {
        ProfilingState {
            programs: self.watched.values().filter(|watched| watched.watcher.is_some()).count(),
            windows: self.watched.values().map(|watched| lock(&watched.ring).count()).sum(),
            bytes: self.bytes(),
            bytes_max: limits.windows_bytes_max,
            rss_bytes,
            rss_bytes_max: limits.rss_bytes_max,
            dropped: self.dropped,
            is_held_back: self.is_held_back,
        }
    }

    /// Ends all, and waits for it.
    pub(super) async fn stop(mut self) {
        for watched in std::mem::take(&mut self.watched).into_values() {
            leave(&mut self.leaving, watched.watcher);
        }
        while self.leaving.join_next().await.is_some() {}
    }
}

fn leave(leaving: &mut JoinSet<()>, watcher: Option<Watcher>) {
    if let Some(watcher) = watcher {
        leaving.spawn(watcher.stop());
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::{Span, Timestamp};

    use super::{
        super::watch::{Measured, Window},
        *,
    };
    use crate::config::Taken;

    const LIMITS: SensingSpec = SensingSpec { windows_bytes_max: 1_000, rss_bytes_max: 10_000 };

    /// Programs at addresses where nobody answers.
    fn wanted(versions: &[&str]) -> BTreeMap<Profiled, Arc<HttpSpec>> {
        let program = |version: &&str| Profiled {
            service: "shop".parse().unwrap(),
            version: version.parse().unwrap(),
            endpoint: "127.0.0.1:9".to_owned(),
            taken: Taken::ByItself { base: "http://127.0.0.1:9".to_owned() },
            window: Span::from_secs(10),
            capture: Span::from_secs(30),
        };
        versions.iter().map(|version| (program(version), Arc::default())).collect()
    }

    fn push(programs: &Programs, version: &str, at_s: i64, bytes: usize) {
        let held = programs.held().into_iter().find(|held| held.profiled.version.as_str() == version).unwrap();
        let (from, to) = (Timestamp::from_unix_ms(at_s * 1_000), Timestamp::from_unix_ms((at_s + 10) * 1_000));
        lock(&held.ring).push(Window { measured: Measured::Cpu, from, to, packed: vec![0; bytes].into() });
    }

    /// When the windows began that are held of each program.
    fn begins(programs: &Programs) -> Vec<Vec<i64>> {
        let of = |held: Held| lock(&held.ring).windows().iter().map(|window| window.from.unix_ms() / 1_000).collect();
        programs.held().into_iter().map(of).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn windows_of_all_hold_to_one_limit_and_the_oldest_go() {
        let mut programs = Programs::new(Clock::start(None), CancellationToken::new());
        programs.arrange(wanted(&["v1", "v2"]), LIMITS, 0);
        for (version, at_s) in [("v1", 0), ("v2", 5), ("v1", 10), ("v2", 15)] {
            push(&programs, version, at_s, 250);
        }
        programs.arrange(wanted(&["v1", "v2"]), LIMITS, 0);
        assert_eq!(begins(&programs), [[0, 10], [5, 15]], "what fits is held");
        push(&programs, "v2", 25, 500);
        programs.arrange(wanted(&["v1", "v2"]), LIMITS, 0);
        assert_eq!(begins(&programs), [vec![10], vec![15, 25]]);
        let state = programs.state(LIMITS, 5_000);
        assert_eq!((state.windows, state.bytes, state.dropped), (3, 1_000, 2));
        let mut text = String::new();
        state.metrics(&mut Exposition::new(&mut text));
        for line in [
            "homeostat_profiling_programs 2\n",
            "homeostat_profiling_memory_bytes 1000\n",
            "homeostat_profiling_memory_limit_bytes 1000\n",
            "homeostat_profiling_process_memory_bytes 5000\n",
            "homeostat_profiling_process_memory_limit_bytes 10000\n",
            "homeostat_profiling_held_back 0\n",
            "homeostat_profiling_windows_dropped_total 2\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        push(&programs, "v1", 30, 2_000);
        programs.arrange(wanted(&["v1", "v2"]), LIMITS, 0);
        assert_eq!((programs.bytes(), programs.dropped), (0, 6), "one that never fits goes too");
        programs.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_of_the_process_nothing_is_taken_and_what_is_held_stays() {
        let mut programs = Programs::new(Clock::start(None), CancellationToken::new());
        let taking = |programs: &mut Programs, rss_bytes| {
            programs.arrange(wanted(&["v1"]), LIMITS, rss_bytes);
            programs.state(LIMITS, rss_bytes).programs
        };
        assert_eq!(taking(&mut programs, 10_000), 1);
        push(&programs, "v1", 0, 100);
        assert_eq!(taking(&mut programs, 10_001), 0);
        assert_eq!(begins(&programs), [[0]]);
        assert_eq!(lock(&programs.held()[0].ring).trouble().as_deref(), Some(PROCESS_FULL), "an incident says why");
        assert_eq!(taking(&mut programs, 9_001), 0, "not at every byte");
        assert_eq!(taking(&mut programs, 9_000), 1);
        assert_eq!(begins(&programs), [[0]]);
        programs.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_spoken_to_in_another_way_is_another_program() {
        let mut programs = Programs::new(Clock::start(None), CancellationToken::new());
        programs.arrange(wanted(&["v1", "v2"]), LIMITS, 0);
        push(&programs, "v1", 0, 100);
        push(&programs, "v2", 0, 100);
        let mut other = wanted(&["v1", "v2"]);
        *other.values_mut().next().unwrap() = Arc::new(HttpSpec { follow_redirects: true, ..HttpSpec::default() });
        programs.arrange(other, LIMITS, 0);
        assert_eq!(begins(&programs), [vec![], vec![0]]);
        programs.arrange(wanted(&[]), LIMITS, 0);
        assert_eq!(programs.held().len(), 0);
        programs.stop().await;
    }
}
