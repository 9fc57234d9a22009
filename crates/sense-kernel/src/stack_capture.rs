//! A profile in the making, of CPUs or of waits: samples of the kernel are gathered.
//!
//! Not here: the names of what was gathered (`naming`).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque, btree_map::Entry},
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use homeostat_model::profile::Profile;

use crate::{
    machine::thread_time,
    module::Modules,
    naming::Gathered,
    probes::Refused,
    process::Process,
    processes::Targets,
    rate::SampleRate,
    stack_sampler::{
        COPIES_BYTES, CopiedStacks, KeptStack, ProcessKey, SampleKey, Sampled, StackCopy, StackSampler, Sum,
        TARGETS_MAX, Unwind,
    },
    unwinders::Unwinders,
    wait_share::WaitShare,
};

/// How often counts are taken over and copied stacks unwound. Copies leave the kernel earlier when half of their room is taken,
/// and new processes are looked at at once.
const DRAIN_EVERY: Duration = Duration::from_millis(250);
/// How long is waited at least, so that a ring which fills faster than it is emptied does not keep a CPU busy. As late may a
/// new process be looked at.
const DRAIN_PAUSE: Duration = Duration::from_millis(5);
/// Copies that may wait here, out of the kernel's ring: 8 MiB.
const COPIES_WAITING_MAX: usize = 512;
/// How often is looked for processes that have ended.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// Different stacks of one capture. Servers showed some thousand in a minute; 64 MiB at 20 frames each.
const STACKS_MAX: usize = 1 << 18;
/// Copies of waits that have not ended: threads that wait now. 16 bytes each.
const WAITING_MAX: usize = 1 << 16;
/// Different counts of one capture: 48 bytes each, so 72 MiB with the tree around them.
const COUNTS_MAX: usize = 1 << 20;
/// Processes of one capture, ended ones and each program of one counted: 4 KiB of mappings each, so 64 MiB.
const PROCESSES_MAX: usize = 1 << 14;
/// Programs that have begun and were not sampled yet: 4 KiB each, so 4 MiB. A machine that compiles begins some hundred a second.
const BEGUN_MAX: usize = 1024;
// The kernel has room for each of them.
const _: () = assert!(PROCESSES_MAX <= TARGETS_MAX);
/// Marks hashes of stacks that were unwound here: the kernel's have a zero there, so that they never meet.
const UNWOUND: u64 = 1 << 63;

/// How a capture went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureStats {
    /// Samples in the profile: those of CPUs, or waits that were sampled.
    pub samples: u64,
    /// Samples that found no room in the kernel's maps or here; they are not in the profile.
    pub lost: u64,
    /// Samples whose stack, or its part in the program or in the kernel, was forgotten or too many; they are in the profile
    /// without it.
    pub without_stack: u64,
    /// Addresses of stacks, each as often as it was sampled.
    pub frames: u64,
    /// Those that have a name.
    pub frames_named: u64,
    /// Processes that were seen; one that ran several programs counts for each.
    pub processes: usize,
    /// Those of them that run Go programs.
    pub go_processes: usize,
    /// Samples that were unwound from a copy.
    pub copies: u64,
    /// Samples whose stack could not be copied or found no room; they are in the profile with what the kernel found along
    /// frame pointers.
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

/// A capture of what runs on the CPUs, or of what threads wait for.
#[derive(Debug)]
pub struct StackCapture {
    sampler: StackSampler,
    sampled: Sampled,
    started: SystemTime,
    /// Processes that were asked for; none when all are.
    targets: BTreeSet<u32>,
    /// Targets that have not been sampled yet: what they are now is known even if they end soon.
    expected: BTreeMap<u32, Process>,
    /// Programs that have begun while we look, oldest first: what they are is known even if they end before their samples are
    /// read.
    begun: VecDeque<(ProcessKey, Process)>,
    processes: BTreeMap<ProcessKey, Process>,
    unwinders: Unwinders,
    modules: Modules,
    counts: BTreeMap<SampleKey, Sum>,
    /// Stacks of waits that were copied and have not ended, by what the kernel calls them.
    waiting: HashMap<u64, u64>,
    stacks: HashMap<u64, KeptStack>,
    copied: CopiedStacks,
    tidied: Instant,
    stats: CaptureStats,
}

impl StackCapture {
    /// Starts one of the CPUs. [`Unwind::Copies`] copies stacks of programs that seem to keep no frame pointers, and walks those
    /// of others as the kernel does.
    pub fn of_cpus(targets: &Targets, rate: SampleRate, unwind: Unwind) -> Result<Self, Refused> {
        Self::start_with_room(targets, Sampled::Cpu(rate), unwind, COPIES_BYTES)
    }

    /// Starts one of where threads wait: each wait that ends while it lasts, with the stack at which it began. Threads that
    /// could go on and have to leave the CPU to others do not wait.
    pub fn of_waits(targets: &Targets, share: WaitShare, unwind: Unwind) -> Result<Self, Refused> {
        Self::start_with_room(targets, Sampled::Waits(share), unwind, COPIES_BYTES)
    }

    fn start_with_room(
        targets: &Targets,
        sampled: Sampled,
        unwind: Unwind,
        copies_bytes: u32,
    ) -> Result<Self, Refused> {
        let mut capture = Self {
            sampler: StackSampler::start(targets, sampled, unwind, copies_bytes)?,
            sampled,
            started: SystemTime::now(),
            targets: BTreeSet::new(),
            expected: BTreeMap::new(),
            begun: VecDeque::new(),
            processes: BTreeMap::new(),
            unwinders: Unwinders::default(),
            modules: Modules::default(),
            counts: BTreeMap::new(),
            waiting: HashMap::new(),
            stacks: HashMap::new(),
            copied: CopiedStacks::default(),
            tidied: Instant::now(),
            stats: CaptureStats::default(),
        };
        if let Targets::Processes(pids) = targets {
            capture.targets.clone_from(pids);
            for pid in pids {
                let process = Process::look(*pid, &mut capture.modules);
                // Which of those with its number it is, its first sample says.
                capture.treat(ProcessKey { pid: *pid, born: 0 }, &process)?;
                capture.expected.insert(*pid, process);
            }
        }
        Ok(capture)
    }

    /// Looks at those who are new to the kernel's program. It may have taken somebody known for another one: the last counts of
    /// what a process ran before come late.
    fn welcome(&mut self) -> Result<(), Refused> {
        let mut newcomers = self.sampler.newcomers();
        newcomers.dedup();
        newcomers.into_iter().try_for_each(|newcomer| match self.processes.get(&newcomer.process) {
            Some(process) => self.treat(newcomer.process, process),
            None if newcomer.begins => {
                self.remember(newcomer.process);
                Ok(())
            }
            None => self.meet(newcomer.process).map(|_has_room| ()),
        })
    }

    /// Looks at a process that has begun a program. It is looked at once more when it is sampled: it loads libraries by then.
    fn remember(&mut self, key: ProcessKey) {
        if BEGUN_MAX <= self.begun.len() {
            self.begun.pop_front();
        }
        self.begun.push_back((key, Process::look(key.pid, &mut self.modules)));
    }

    /// Takes over what the kernel has gathered. Processes are looked at when they are first seen here: what has ended by
    /// then has no names.
    fn drain(&mut self) -> Result<(), Refused> {
        let mut fresh = BTreeSet::new();
        let counts = self.sampler.counts()?;
        // Copies that these counts speak of have left the kernel before them.
        self.take_over_copies()?;
        for (mut key, sum) in counts {
            if !self.meet(key.process)? {
                self.stats.lost += sum.count;
                continue;
            }
            key.user = self.waiting.remove(&key.user).unwrap_or(key.user);
            self.keep_stack(key.kernel);
            if self.keep_stack(key.user) {
                fresh.insert((key.process, key.user));
            }
            self.count(key, sum);
        }
        self.look_again(&fresh);
        if TIDY_EVERY <= self.tidied.elapsed() {
            self.tidied = Instant::now();
            self.tidy();
        }
        Ok(())
    }

    /// Gathers for a time.
    pub fn gather(&mut self, duration: Duration) -> Result<(), Refused> {
        let before = thread_time();
        let gathered = self.gather_until(Instant::now() + duration);
        self.stats.own_time += thread_time().saturating_sub(before);
        gathered
    }

    fn gather_until(&mut self, end: Instant) -> Result<(), Refused> {
        let mut due = Instant::now() + DRAIN_EVERY;
        loop {
            let now = Instant::now();
            if due.min(end) <= now || COPIES_WAITING_MAX <= self.sampler.copies_waiting() {
                self.drain()?;
                due = now + DRAIN_EVERY;
            }
            if end <= now {
                return Ok(());
            }
            self.sampler.wait(due.min(end).saturating_duration_since(now))?;
            self.welcome()?;
            thread::sleep(end.saturating_duration_since(Instant::now()).min(DRAIN_PAUSE));
        }
    }

    /// Ends the capture and gives everything a name.
    pub fn finish(self) -> Result<(Profile, CaptureStats), Refused> {
        Ok(self.stop()?.named())
    }

    /// Ends the capture. Names are looked up when they are asked for, which takes seconds where programs are large.
    pub fn stop(mut self) -> Result<Gathered, Refused> {
        // What is sampled after this would not be in the profile.
        self.sampler.detach();
        let duration = self.started.elapsed().unwrap_or_default();
        let before = thread_time();
        self.drain()?;
        self.stats.own_time += thread_time().saturating_sub(before);
        self.stats.lost += self.sampler.lost();
        self.stats.copies_missed = self.sampler.copies_missed();
        self.stats.processes = self.processes.len();
        (self.stats.kernel_time, self.stats.duration) = (self.sampler.kernel_time(), duration);
        self.stats.go_processes = self.processes.values().filter(|process| process.is_go(&self.modules)).count();
        let Self { sampler, sampled, started, processes, modules, counts, stacks, stats, .. } = self;
        drop(sampler);
        Ok(Gathered { sampled, started, processes, modules, counts, stacks, stats })
    }

    /// Looks at a process that is seen for the first time; whether it has room.
    fn meet(&mut self, key: ProcessKey) -> Result<bool, Refused> {
        if self.processes.contains_key(&key) {
            return Ok(true);
        }
        if PROCESSES_MAX <= self.processes.len() {
            return Ok(false);
        }
        let begun = self.begun.iter().position(|(known, _)| *known == key);
        let begun = begun.and_then(|at| self.begun.remove(at)).map(|(_, process)| process);
        let process = match begun.or_else(|| self.expected.remove(&key.pid)) {
            Some(mut process) => {
                process.look_anew(&mut self.modules);
                process
            }
            None => Process::look(key.pid, &mut self.modules),
        };
        // Who had this number before, or what it ran before, is not seen any more.
        self.unwinders.retain(|known| known.pid != key.pid);
        self.treat(key, &process)?;
        self.processes.insert(key, process);
        Ok(true)
    }

    /// Says how its stacks are walked.
    fn treat(&self, key: ProcessKey, process: &Process) -> Result<(), Refused> {
        let (best, code) = process.best_unwind(&self.modules);
        let can_copy = self.sampler.can_copy() && self.unwinders.has_room();
        self.sampler.treat(key, if can_copy { best } else { Unwind::FramePointers }, code)
    }

    /// Lets go of what belongs to processes that have ended; their names and stacks stay.
    fn tidy(&mut self) {
        let runs = |pid: u32| Path::new(&format!("/proc/{pid}")).exists();
        let Self { sampler, unwinders, targets, .. } = self;
        unwinders.retain(|key| runs(key.pid));
        // Another process may get its number.
        targets.retain(|pid| {
            let runs = runs(*pid);
            if !runs {
                sampler.forget(*pid);
            }
            runs
        });
    }

    /// Reads a stack out of the kernel, once; whether it was new.
    fn keep_stack(&mut self, hash: u64) -> bool {
        if hash == 0 || self.stacks.contains_key(&hash) || STACKS_MAX <= self.stacks.len() {
            return false;
        }
        let stack = self.sampler.stack(hash);
        stack.is_some_and(|stack| self.stacks.insert(hash, stack).is_none())
    }

    fn count(&mut self, key: SampleKey, sum: Sum) {
        let has_room = self.counts.len() < COUNTS_MAX;
        match self.counts.entry(key) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.count += sum.count;
                known.ns = known.ns.saturating_add(sum.ns);
            }
            Entry::Vacant(new) if has_room => _ = new.insert(sum),
            Entry::Vacant(_) => {
                self.stats.lost += sum.count;
                return;
            }
        }
        self.stats.samples += sum.count;
    }

    /// Processes whose new stacks lead to where nothing was known: a library was loaded.
    fn look_again(&mut self, fresh: &BTreeSet<(ProcessKey, u64)>) {
        let mut changed = BTreeSet::new();
        for (key, hash) in fresh {
            let (Some(process), Some(stack)) = (self.processes.get(key), self.stacks.get(hash)) else { continue };
            if stack.addresses.iter().any(|address| process.place(*address).is_none()) {
                changed.insert(*key);
            }
        }
        for key in changed {
            if let Some(process) = self.processes.get_mut(&key) {
                process.look_again_in_time(&mut self.modules);
            }
        }
    }

    /// Unwinds the copied stacks. They are out of the ring by then: reading a new file's tables keeps nobody waiting.
    fn take_over_copies(&mut self) -> Result<(), Refused> {
        let mut copied = std::mem::take(&mut self.copied);
        self.sampler.copies(&mut copied);
        let mut looked_at = BTreeSet::new();
        for copy in copied.iter() {
            let is_wait = copy.id != 0;
            if !self.meet(copy.process)? {
                // A wait is lost when its count comes.
                self.stats.lost += u64::from(!is_wait);
                continue;
            }
            let addresses = self.unwind(copy, &mut looked_at)?;
            self.keep_stack(copy.kernel);
            let user = hash(&addresses);
            if self.stacks.len() < STACKS_MAX {
                self.stacks.entry(user).or_insert_with(|| KeptStack { addresses, top: 0 });
            }
            self.stats.copies += 1;
            if !is_wait {
                let one = Sum { count: 1, ns: 0 };
                self.count(SampleKey { process: copy.process, user, kernel: copy.kernel }, one);
            } else if self.waiting.len() < WAITING_MAX {
                // Without room its count will lack the stack.
                self.waiting.insert(copy.id, user);
            }
        }
        self.copied = copied;
        Ok(())
    }

    fn unwind(&mut self, copy: StackCopy<'_>, looked_at: &mut BTreeSet<ProcessKey>) -> Result<Vec<u64>, Refused> {
        let Self { sampler, processes, unwinders, modules, .. } = self;
        let Some(process) = processes.get_mut(&copy.process) else { return Ok(vec![copy.ip]) };
        if process.place(copy.ip).is_none() && looked_at.insert(copy.process) {
            process.look_again_in_time(modules);
        }
        if !unwinders.has_room_for(copy.process) {
            // The same without a copy, from now on.
            sampler.treat(copy.process, Unwind::FramePointers, 0..0)?;
        }
        Ok(unwinders.walk(copy, process, modules))
    }
}

fn hash(addresses: &[u64]) -> u64 {
    let mixed = addresses.iter().fold(addresses.len() as u64, |hash, address| {
        let hash = (hash ^ address).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 29)
    });
    mixed | UNWOUND
}

#[cfg(test)]
mod tests {
    use homeostat_model::profile::LabelValue;

    use super::*;

    /// A program that works until it is dropped.
    struct Busy(std::process::Child);

    impl Drop for Busy {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn who_is_new_is_told_with_the_first_sample() {
        if let Err(refused) = crate::stack_sampler::try_clock() {
            println!("SKIPPED: CPU profiles: {refused}");
            return;
        }
        let mut capture = StackCapture::of_cpus(&Targets::Machine, SampleRate::DEFAULT, Unwind::FramePointers).unwrap();
        let busy = Busy(std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap());
        let pid = busy.0.id();
        let known =
            |capture: &StackCapture| capture.processes.iter().any(|(key, of)| key.pid == pid && of.name == "sh");
        while !known(&capture) {
            capture.sampler.wait(Duration::from_secs(1)).unwrap();
            capture.welcome().unwrap();
        }
        assert!(capture.counts.is_empty(), "nothing was taken over for it");
        // What was told before it was known may still be in the ring. From now on it is known, however often it is sampled.
        capture.sampler.wait(Duration::ZERO).unwrap();
        drop(capture.sampler.newcomers());
        capture.sampler.wait(Duration::from_millis(500)).unwrap();
        let late = capture.sampler.newcomers();
        assert!(late.iter().all(|newcomer| newcomer.process.pid != pid), "{late:?}");
    }

    #[test]
    fn who_was_taken_for_another_is_treated_again() {
        if let Err(refused) = crate::stack_sampler::try_clock() {
            println!("SKIPPED: CPU profiles: {refused}");
            return;
        }
        let busy = Busy(std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap());
        let pid = busy.0.id();
        let targets = Targets::processes([pid]).unwrap();
        let mut capture = StackCapture::of_cpus(&targets, SampleRate::DEFAULT, Unwind::FramePointers).unwrap();
        while capture.processes.is_empty() {
            capture.sampler.wait(Duration::from_secs(1)).unwrap();
            capture.welcome().unwrap();
        }
        // The last counts of what it ran before come late.
        let key = *capture.processes.keys().next().unwrap();
        let earlier = ProcessKey { born: key.born.wrapping_add(1), ..key };
        capture.meet(earlier).unwrap();
        assert_eq!(capture.sampler.treated(pid), Some(earlier));
        while capture.sampler.treated(pid) != Some(key) {
            capture.sampler.wait(Duration::from_secs(1)).unwrap();
            capture.welcome().unwrap();
        }
    }

    #[test]
    fn stacks_of_the_kernel_never_meet_those_unwound_here() {
        if let Err(refused) = crate::stack_sampler::try_clock() {
            println!("SKIPPED: CPU profiles: {refused}");
            return;
        }
        let _busy = Busy(std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap());
        let mut capture = StackCapture::of_cpus(&Targets::Machine, SampleRate::DEFAULT, Unwind::FramePointers).unwrap();
        // One in a thousand million would pass without the mark.
        while capture.stacks.len() < 30 {
            capture.gather(Duration::from_millis(500)).unwrap();
        }
        assert!(capture.stacks.keys().all(|hash| hash & UNWOUND == 0));
        assert!(hash(&[1, 2]) & UNWOUND != 0);
    }

    /// Works for a moment when it is told to, and ends; nobody looks from then on until it has ended.
    #[test]
    fn what_ends_before_its_samples_are_read_keeps_its_names() {
        if let Err(refused) = crate::stack_sampler::try_clock() {
            println!("SKIPPED: CPU profiles: {refused}");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (program, shell) = (dir.path().join("brief"), std::fs::canonicalize("/bin/sh").unwrap());
        std::fs::copy(&shell, &program).unwrap();
        let script = "read begin; exec $0 -c 'read work; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'";
        let mut begins = std::process::Command::new("sh");
        begins.args(["-c", script]).arg(&program).stdin(std::process::Stdio::piped());
        let mut brief = begins.spawn().unwrap();
        let pid = brief.id();
        let targets = Targets::processes([pid]).unwrap();
        let rate = SampleRate::new(997).unwrap();
        let mut capture = StackCapture::of_cpus(&targets, rate, Unwind::FramePointers).unwrap();
        let mut say = |what: &[u8]| std::io::Write::write_all(brief.stdin.as_mut().unwrap(), what).unwrap();
        say(b"begin\n");
        let is_known = |capture: &StackCapture| {
            let begun = capture.begun.iter().map(|(_, process)| process);
            begun.chain(capture.processes.values()).any(|process| process.name == "brief")
        };
        while !is_known(&capture) {
            capture.sampler.wait(Duration::from_secs(1)).unwrap();
            capture.welcome().unwrap();
        }
        say(b"work\n");
        brief.wait().unwrap();
        let (profile, stats) = capture.finish().unwrap();
        let mut modules = BTreeSet::new();
        for row in profile.rows() {
            let name = profile.labels(row.labels).iter().find_map(|(name, value)| match value {
                LabelValue::Text(text) if profile.text(*name) == "process" => Some(profile.text(*text)),
                _ => None,
            });
            // What the shell did before is in it, too.
            assert!(matches!(name, Some("sh" | "brief")), "{name:?}: {stats:?}");
            if name == Some("brief") {
                modules.extend(profile.stacks().walk(row.stack).map(|frame| profile.text(frame.module).to_owned()));
            }
        }
        // Copies of one file are one.
        let names = [program, shell].map(|path| modules.contains(path.to_str().unwrap()));
        assert!(names.contains(&true), "{modules:?} of {stats:?}");
    }

    #[test]
    fn copies_are_taken_over_before_they_find_no_room() {
        if let Err(refused) = crate::stack_sampler::try_copies() {
            println!("SKIPPED: copied stacks: {refused}");
            return;
        }
        let busy = Busy(std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap());
        let targets = Targets::processes([busy.0.id()]).unwrap();
        // Room for 15, where a quarter of a second brings up to 100.
        let rate = Sampled::Cpu(SampleRate::new(401).unwrap());
        let mut capture = StackCapture::start_with_room(&targets, rate, Unwind::Copies, 1 << 18).unwrap();
        while capture.stats.copies < 100 {
            capture.gather(Duration::from_millis(500)).unwrap();
        }
        let (_, stats) = capture.finish().unwrap();
        assert!(2 * stats.copies_missed <= stats.copies, "{stats:?}");
    }
}
