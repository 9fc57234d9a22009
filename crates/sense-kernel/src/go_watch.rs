//! Watching Go's runtime from outside: probes on four of its functions, in every process that runs the file.
//!
//! Probes belong to a file, so several processes of one program share them; whom they count says a list of processes. Who
//! runs the same program and is not in the list takes the trap and is not counted. No probe stands on a return: Go moves
//! stacks, and what a return probe leaves on one would be lost.
//!
//! Invariant: sites that are hit too often go, together with the others of their file, at the next look.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use homeostat_gosym::{SiteInstruction, little_endian::u64_at};
use libbpf_rs::{Link, MapCore as _, MapFlags, UprobeMultiOpts, UprobeOpts};

use crate::{
    go_activity::{GoActivity, PAUSED_THE_WORLD},
    go_sites::{FUNCTIONS, FileKey, Site, file_of, sites},
    histogram::Histogram,
    kernel_program::refused,
    probes::Refused,
    processes::Targets,
    tracepoints::{Counting, Tracepoints},
};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/go_runtime.bpf.o"));
/// Files whose probes can be told apart at a time: 256 sites in the kernel's map of hits.
const FILES_MAX: usize = 64;
/// Probes of a site that may be hit in a second: 1 % of a CPU at half a microsecond each. A runtime that stops the world so often
/// does nothing else; it is the guard against functions that mean something else by now.
const HITS_PER_SECOND_MAX: f64 = 20_000.0;
/// What one hit costs beside our program, as measured on a virtual machine: the trap, and acting out an instruction.
const TRAP: Duration = Duration::from_nanos(500);
/// Marks sites in cookies at which jumps that are taken do not count.
const COOKIE_STACK_CHECK: u64 = 0x1_0000;
/// Long pauses of which the end is kept.
const LONG_KEPT: usize = 8;

/// How probes are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// All sites of a file at once, since Linux 6.6.
    Many,
    /// One by one, with cookies since Linux 5.15.
    One,
}

/// A program's file with its probes.
#[derive(Debug)]
struct Probed {
    /// Which sites of the kernel's map are its own: the index of the first.
    first: usize,
    sites: Vec<Site>,
    /// None while nothing is counted.
    links: Vec<Link>,
    /// It was hit too often, and is not watched any more.
    is_left: bool,
    pids: BTreeSet<u32>,
}

/// Hits of all sites at a look.
#[derive(Debug)]
struct Hits {
    at: Instant,
    sites: Vec<u64>,
}

/// Watches Go programs until it is dropped.
#[derive(Debug)]
pub struct GoWatch {
    /// Detached before the program goes.
    files: BTreeMap<FileKey, Probed>,
    counts: Tracepoints,
    way: Way,
    hits_per_second_max: f64,
    /// Places of files in the kernel's map that were ever used.
    slots: usize,
    hits: Hits,
    /// No probe stands anywhere for now.
    is_paused: bool,
    /// By process, why it is not watched.
    refused: BTreeMap<u32, Refused>,
}

impl GoWatch {
    /// Begins to watch those of these processes that run Go programs which are understood; refused when none is.
    pub fn start(pids: &BTreeSet<u32>) -> Result<Self, Refused> {
        Self::start_with_limit(pids, HITS_PER_SECOND_MAX)
    }

    fn start_with_limit(pids: &BTreeSet<u32>, hits_per_second_max: f64) -> Result<Self, Refused> {
        // Nothing is loaded for nobody.
        let mut tried = pids.iter().map(|pid| file_of(*pid).and_then(|(_, file)| sites(*pid, file)));
        if let Some(Err(refused)) = tried.next()
            && tried.all(|found| found.is_err())
        {
            return Err(refused);
        }
        Self::start_in(Way::Many, pids, hits_per_second_max)
            .or_else(|_| Self::start_in(Way::One, pids, hits_per_second_max))
    }

    fn start_in(way: Way, pids: &BTreeSet<u32>, hits_per_second_max: f64) -> Result<Self, Refused> {
        let mut watch = Self {
            files: BTreeMap::new(),
            counts: load(way)?,
            way,
            hits_per_second_max,
            slots: 0,
            hits: Hits { at: Instant::now(), sites: Vec::new() },
            is_paused: false,
            refused: BTreeMap::new(),
        };
        let long_ns = u32::try_from(PAUSED_THE_WORLD.longer_than.as_nanos()).unwrap_or(u32::MAX);
        watch.counts.put("long_ns", 0, long_ns)?;
        watch.watch(pids)?;
        match watch.refused.pop_first() {
            Some((_, refused)) if watch.files.is_empty() => Err(refused),
            first => {
                watch.refused.extend(first);
                Ok(watch)
            }
        }
    }

    /// Why processes are not watched, or not any more.
    pub fn refused(&self) -> impl Iterator<Item = (u32, &Refused)> {
        self.refused.iter().map(|(pid, refused)| (*pid, refused))
    }

    /// Processes that are watched.
    pub fn watched(&self) -> BTreeSet<u32> {
        let probed = self.files.values().filter(|file| !file.is_left);
        probed.flat_map(|file| file.pids.iter().copied()).collect()
    }

    /// Watches these processes only, from now on. Those that are new have their program's tables read: some milliseconds each.
    pub fn watch(&mut self, pids: &BTreeSet<u32>) -> Result<(), Refused> {
        for file in self.files.values_mut() {
            file.pids.retain(|pid| pids.contains(pid));
        }
        self.files.retain(|_, file| !file.pids.is_empty());
        self.refused.retain(|pid, _| pids.contains(pid));
        let known = self.watched();
        let new: Vec<u32> = pids.iter().filter(|pid| !known.contains(pid)).copied().collect();
        for pid in new {
            if !self.refused.contains_key(&pid)
                && let Err(refused) = self.admit(pid)
            {
                self.refused.insert(pid, refused);
            }
        }
        self.counts.watch(&self.watched())
    }

    /// Takes all probes away until [`GoWatch::resume`]; what was counted stays.
    pub fn pause(&mut self) {
        self.is_paused = true;
        self.files.values_mut().for_each(|file| file.links.clear());
        // Who stopped the world before the pause and starts it after has not stopped it for so long.
        if let Ok(stopped) = self.counts.map("stopped") {
            for pid in stopped.keys().collect::<Vec<_>>() {
                // It is gone already if this fails.
                let _gone = stopped.delete(&pid);
            }
        }
    }

    /// Sets the probes again. A program whose file they cannot be set in is refused; others are watched all the same.
    pub fn resume(&mut self) {
        self.is_paused = false;
        for (key, mut file) in std::mem::take(&mut self.files) {
            if !file.is_left && file.links.is_empty() {
                // The number may be another program's by now. Where nobody runs the file, it is admitted anew with whoever does.
                let runs_it = |pid: &&u32| file_of(**pid).is_ok_and(|(now, _)| now == key);
                let Some(pid) = file.pids.iter().find(runs_it).copied() else { continue };
                match self.attach(pid, file.first, &file.sites) {
                    Ok(links) => file.links = links,
                    Err(refused) => {
                        self.refused.extend(file.pids.iter().map(|pid| (*pid, refused.clone())));
                        continue;
                    }
                }
            }
            self.files.insert(key, file);
        }
    }

    /// What happened so far, by process. Probes that are hit too often since the last look go.
    pub fn look(&mut self) -> Result<BTreeMap<u32, GoActivity>, Refused> {
        self.guard()?;
        let read = self.counts.read()?.into_iter();
        Ok(read.filter_map(|(pid, bytes)| Some((pid, activity(&bytes)?))).collect())
    }

    /// Time that watching took so far, on all CPUs together: our program's, and the traps as they were measured elsewhere.
    pub fn kernel_time(&self) -> Duration {
        let hits: u64 = self.read_hits().unwrap_or_default().iter().sum();
        self.counts.kernel_time() + TRAP.saturating_mul(u32::try_from(hits).unwrap_or(u32::MAX))
    }

    /// Memory that watching takes in the kernel, in bytes.
    pub fn kernel_bytes(&self) -> u64 {
        self.counts.kernel_bytes()
    }

    fn admit(&mut self, pid: u32) -> Result<(), Refused> {
        let (key, file) = file_of(pid)?;
        if let Some(known) = self.files.get_mut(&key) {
            known.pids.insert(pid);
            let is_left = known.is_left;
            return if is_left { Err(self.too_often(pid)) } else { Ok(()) };
        }
        let sites = sites(pid, file)?;
        let taken: BTreeSet<usize> = self.files.values().map(|file| file.first).collect();
        let Some(slot) = (0..FILES_MAX).find(|slot| !taken.contains(&(slot * FUNCTIONS.len()))) else {
            let reason = format!("{FILES_MAX} programs are watched already");
            return Err(Refused { what: format!("probes in process {pid}"), reason, remedy: "" });
        };
        let first = slot * FUNCTIONS.len();
        let links = if self.is_paused { Vec::new() } else { self.attach(pid, first, &sites)? };
        self.slots = self.slots.max(slot + 1);
        self.files.insert(key, Probed { first, sites, links, is_left: false, pids: [pid].into() });
        Ok(())
    }

    fn attach(&self, pid: u32, first: usize, sites: &[Site]) -> Result<Vec<Link>, Refused> {
        const EVERY_PROCESS: i32 = -1;
        // The very file, even when it was deleted or another one has its name by now.
        let path = format!("/proc/{pid}/exe");
        let what = format!("probes in the program of process {pid}");
        let failed = |error: libbpf_rs::Error| refused(&what, &error);
        let offset = |site: &Site| usize::try_from(site.offset).unwrap_or(usize::MAX);
        let program = self.counts.program(self.way.program())?;
        match self.way {
            Way::Many => {
                let opts = UprobeMultiOpts {
                    offsets: sites.iter().map(offset).collect(),
                    cookies: sites.iter().map(|site| cookie(first, site)).collect(),
                    ..UprobeMultiOpts::default()
                };
                let link = program.attach_uprobe_multi_with_opts(EVERY_PROCESS, path, "", opts).map_err(failed)?;
                Ok(vec![link])
            }
            Way::One => sites
                .iter()
                .map(|site| {
                    let opts = UprobeOpts { cookie: cookie(first, site), ..UprobeOpts::default() };
                    program.attach_uprobe_with_opts(EVERY_PROCESS, &path, offset(site), opts).map_err(failed)
                })
                .collect(),
        }
    }

    fn too_often(&self, pid: u32) -> Refused {
        let limit = self.hits_per_second_max;
        let reason = format!("a function of its program was called more than {limit:.0} times a second");
        Refused { what: format!("probes in process {pid}"), reason, remedy: "" }
    }

    /// Takes probes away that are hit too often.
    fn guard(&mut self) -> Result<(), Refused> {
        let now = Hits { at: Instant::now(), sites: self.read_hits()? };
        let before = std::mem::replace(&mut self.hits, now);
        // Looks that follow each other closely would call a burst a rate.
        let seconds = self.hits.at.duration_since(before.at).as_secs_f64().max(1.0);
        let hits_max = self.hits_per_second_max * seconds;
        for file in self.files.values_mut().filter(|file| !file.is_left) {
            let own = (file.first..file.first + FUNCTIONS.len()).zip(FUNCTIONS);
            let more = |index: usize| {
                let count = |hits: &Hits| hits.sites.get(index).copied().unwrap_or(0);
                count(&self.hits).saturating_sub(count(&before)) as f64
            };
            let Some((hits, name)) = own.map(|(index, name)| (more(index), name)).find(|(hits, _)| hits_max < *hits)
            else {
                continue;
            };
            file.links.clear();
            file.is_left = true;
            let reason = format!("`{name}` was called {:.0} times a second: too often to be watched", hits / seconds);
            for pid in &file.pids {
                let what = format!("probes in process {pid}");
                self.refused.insert(*pid, Refused { what, reason: reason.clone(), remedy: "" });
            }
        }
        Ok(())
    }

    fn read_hits(&self) -> Result<Vec<u64>, Refused> {
        let map = self.counts.map("hits")?;
        let hits = |site: usize| {
            let key = u32::try_from(site).unwrap_or(u32::MAX).to_ne_bytes();
            let of_cpus = map.lookup_percpu(&key, MapFlags::ANY).map_err(|error| refused("hits of probes", &error))?;
            Ok(of_cpus.iter().flatten().filter_map(|count| u64_at(count, 0)).sum())
        };
        (0..self.slots * FUNCTIONS.len()).map(hits).collect()
    }
}

impl Way {
    fn program(self) -> &'static str {
        match self {
            Self::Many => "on_function_of_many",
            Self::One => "on_function_of_one",
        }
    }
}

/// Whether the kernel takes our program and a probe in a program.
pub(crate) fn try_probes() -> Result<(), Refused> {
    load(Way::Many).or_else(|_| load(Way::One)).map(|_| ())
}

fn load(way: Way) -> Result<Tracepoints, Refused> {
    let programs = match way {
        Way::Many => &["on_function_of_many"],
        Way::One => &["on_function_of_one"],
    };
    let of = Counting { object: OBJECT, programs, map: "runtimes" };
    Tracepoints::load(of, &Targets::Processes(BTreeSet::new()))
}

fn cookie(first: usize, site: &Site) -> u64 {
    let check = if site.instruction == SiteInstruction::StackCheck { COOKIE_STACK_CHECK } else { 0 };
    (first + site.function) as u64 | check
}

/// As `struct go_runtime` of `bpf/go_runtime.bpf.c`.
fn activity(bytes: &[u8]) -> Option<GoActivity> {
    let word = |index: usize| u64_at(bytes, 8 * (Histogram::SLOTS + index));
    let longs = usize::try_from(word(4)?).unwrap_or(usize::MAX).min(LONG_KEPT);
    let mut long_at_ns = (0..longs).map(|at| word(5 + at)).collect::<Option<Vec<u64>>>()?;
    long_at_ns.sort_unstable();
    Some(GoActivity {
        pauses: Histogram::read(bytes, 0)?,
        stopped_ns: word(0)?,
        longest_ns: word(1)?,
        collections_begun: word(2)?,
        collections: word(3)?,
        long_at_ns,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        path::Path,
        process::{Child, ChildStdout, Command, Stdio},
    };

    use super::*;

    struct Collecting {
        child: Child,
        said: BufReader<ChildStdout>,
        collections: u64,
    }

    impl Drop for Collecting {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    impl Collecting {
        /// `None`, said aloud, without Go or where probes are refused.
        fn start(dir: &Path) -> Option<Self> {
            if let Err(refused) = try_probes() {
                println!("SKIPPED: probes on Go's runtime: {refused}");
                return None;
            }
            let program = dir.join("collecting");
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/collecting");
            let cache = program.ancestors().nth(1).unwrap().join("cache");
            let mut go = Command::new("go");
            go.args(["build", "-o"]).arg(&program).current_dir(source).env("GOCACHE", cache);
            let Ok(built) = go.status() else {
                println!("SKIPPED: collections of Go programs: there is no `go` (package golang-go)");
                return None;
            };
            assert!(built.success());
            let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let said = BufReader::new(child.stdout.take().unwrap());
            let mut started = Self { child, said, collections: 0 };
            started.listen();
            Some(started)
        }

        fn listen(&mut self) -> u64 {
            let mut line = String::new();
            self.said.read_line(&mut line).unwrap();
            let now = line.split(' ').next().unwrap().parse().unwrap();
            now - std::mem::replace(&mut self.collections, now)
        }

        fn collect(&mut self) -> u64 {
            self.child.stdin.as_mut().unwrap().write_all(b"collect 20\n").unwrap();
            self.listen()
        }
    }

    #[test]
    fn sites_that_are_hit_too_often_are_left_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let Some(mut program) = Collecting::start(dir.path()) else { return };
        let pid = program.child.id();
        let mut watch = GoWatch::start_with_limit(&[pid].into(), 1e-6).unwrap();
        let collections = program.collect();
        assert_eq!(watch.look().unwrap().get(&pid).map(|seen| seen.collections), Some(collections));
        let told: Vec<String> = watch.refused().map(|(pid, refused)| format!("{pid} {refused}")).collect();
        assert!(told.len() == 1 && told[0].contains("times a second"), "{told:?}");
        assert!(watch.watched().is_empty());
        program.collect();
        assert_eq!(watch.look().unwrap().get(&pid).map(|seen| seen.collections), Some(collections), "none is seen");
    }

    #[test]
    fn what_happens_in_a_pause_is_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        let Some(mut program) = Collecting::start(dir.path()) else { return };
        let pid = program.child.id();
        let mut watch = GoWatch::start(&[pid].into()).unwrap();
        let counted = program.collect();
        watch.pause();
        program.collect();
        let hits = watch.read_hits().unwrap();
        program.collect();
        assert_eq!(watch.read_hits().unwrap(), hits, "nobody takes a trap");
        assert_eq!(watch.watched(), [pid].into(), "it is watched, and rests");
        let seen = watch.look().unwrap()[&pid].clone();
        assert_eq!(seen.collections, counted);
        watch.resume();
        let more = program.collect();
        let after = watch.look().unwrap()[&pid].since(&seen);
        assert_eq!(after.collections, more);
        assert!((2 * more..=3 * more).contains(&after.pauses.count()), "{after:?}");
        assert_eq!(watch.refused().count(), 0);
        // Who begins in a pause is not probed before its end.
        let mut watch = GoWatch::start(&[pid].into()).unwrap();
        watch.watch(&BTreeSet::new()).unwrap();
        watch.pause();
        watch.watch(&[pid].into()).unwrap();
        program.collect();
        assert_eq!(watch.look().unwrap().get(&pid).map_or(0, |seen| seen.collections), 0);
        watch.resume();
        let more = program.collect();
        assert_eq!(watch.look().unwrap()[&pid].collections, more);
    }

    #[test]
    fn both_ways_of_attaching_count_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let Some(mut program) = Collecting::start(dir.path()) else { return };
        let pid = program.child.id();
        for way in [Way::Many, Way::One] {
            let mut watch = match GoWatch::start_in(way, &[pid].into(), HITS_PER_SECOND_MAX) {
                Ok(watch) => watch,
                Err(refused) => {
                    println!("SKIPPED: {way:?} sites at once: {refused}");
                    continue;
                }
            };
            let collections = program.collect();
            let seen = watch.look().unwrap();
            let seen = &seen[&pid];
            assert_eq!(seen.collections, collections, "{way:?}");
            assert!((2 * collections..=3 * collections).contains(&seen.pauses.count()), "{way:?}: {seen:?}");
            assert!(Duration::ZERO < watch.kernel_time() && 0 < watch.kernel_bytes());
        }
    }
}
