//! Samples services by the kernel, window after window, on a thread of its own.
//!
//! Every window begins with nothing and gives back everything at its end, so that an agent that runs for months holds no more
//! than one window needs. Processes of a command are looked for at the beginning of each.
//!
//! Not here: sampling itself (`sense-kernel`), what it may cost (`governor`).

use std::{
    collections::BTreeSet,
    fs, iter,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use homeostat_model::profile::Profile;
use homeostat_sense_kernel::{Refused, SampleRate, Targets, processes_named};
use homeostat_sense_scrape::fetch::now_ms;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{
    board::{Board, Sampling},
    desk::Desk,
    governor::{Duty, Level},
    parts::{Members, part},
    service::{ServiceSpec, Source},
};

/// How long before sampling that was refused is tried again: somebody may have changed a setting of the kernel.
const AGAIN_AFTER: Duration = Duration::from_mins(5);
/// How soon a stop is noticed.
const SLICE: Duration = Duration::from_millis(250);

/// Samples all services that ask for it.
#[derive(Debug)]
pub(super) struct Sampler {
    pub(super) services: Vec<ServiceSpec>,
    pub(super) rate: SampleRate,
    pub(super) window: Duration,
    pub(super) desk: Arc<Desk>,
    pub(super) board: Arc<Board>,
    pub(super) runtime: Handle,
    pub(super) stop: CancellationToken,
}

/// What a window gave.
#[derive(Debug)]
struct Window {
    profile: Profile,
    samples: u64,
    lost: u64,
    kernel_time: Duration,
    /// Why it is less than was asked for; empty when it is not.
    lacks: String,
}

impl Sampler {
    /// Works until it is stopped. Blocks.
    pub(super) fn run(self) {
        while !self.stop.is_cancelled() {
            let level = self.board.duty.borrow().level();
            let rate = match level {
                Level::Full => self.rate,
                Level::Half => self.rate.halved(),
                Level::Off => {
                    self.board.set_sampling(Sampling::Off);
                    self.wait(level, None);
                    continue;
                }
            };
            let members = members_of(self.services.iter().map(|service| &service.source));
            let Some(targets) = targets_of(&members) else {
                if self.board.set_sampling(Sampling::NobodyThere) {
                    let services: Vec<&str> = self.services.iter().map(|service| service.name.as_str()).collect();
                    tracing::warn!(
                        services = services.join(", "),
                        "no process of these services is there; they are looked for at every window"
                    );
                }
                self.wait(level, Some(self.window));
                continue;
            };
            match self.window(&targets, rate) {
                Ok(Some(window)) => self.queue(&window, &members, rate, &targets),
                // Given up for its memory.
                Ok(None) => {}
                Err(refused) => self.refused(&refused, level),
            }
        }
    }

    /// Says what is refused, and waits before it is tried again.
    fn refused(&self, refused: &Refused, level: Level) {
        let text = format!("sampling by the kernel is refused (probe `cpu`): {refused}");
        if self.board.set_sampling(Sampling::Refused(text.clone())) {
            tracing::error!("{text}; other services go on, and it is tried again every {} s", AGAIN_AFTER.as_secs());
        }
        self.wait(level, Some(AGAIN_AFTER));
    }

    /// Waits until there is something to do: `until`, another level than this, or the end.
    fn wait(&self, level: Level, until: Option<Duration>) {
        let mut duty = self.board.duty.subscribe();
        self.runtime.block_on(async {
            let timer = async {
                match until {
                    Some(until) => tokio::time::sleep(until).await,
                    None => std::future::pending().await,
                }
            };
            let changed = duty.wait_for(|duty: &Duty| duty.level() != level);
            tokio::select! {
                () = self.stop.cancelled() => {}
                _ = changed => {}
                () = timer => {}
            }
        });
    }

    /// Samples for a window; `None` when it was given up.
    fn window(&self, targets: &Targets, rate: SampleRate) -> Result<Option<Window>, Refused> {
        let mut capture = Capture::start(targets, rate)?;
        self.board.has_sampled.store(true, Ordering::Relaxed);
        let end = Instant::now() + self.window;
        while self.goes_on(end) {
            capture.gather(SLICE.min(end.saturating_duration_since(Instant::now())))?;
        }
        // Giving names to what was gathered would need more memory.
        if self.memory_is_full() {
            return Ok(None);
        }
        capture.finish().map(Some)
    }

    /// Whether the window that is under way goes on.
    fn goes_on(&self, end: Instant) -> bool {
        Instant::now() < end && !self.stop.is_cancelled() && !self.memory_is_full()
    }

    fn memory_is_full(&self) -> bool {
        self.board.duty.borrow().memory_full
    }

    fn queue(&self, window: &Window, members: &[Members], rate: SampleRate, targets: &Targets) {
        let processes = match targets {
            Targets::Machine => None,
            Targets::Processes(pids) => Some(pids.len()),
        };
        let state = Sampling::Running { hz: rate.hz(), processes, lacks: window.lacks.clone() };
        if self.board.set_sampling(state) {
            let lacks = &window.lacks;
            tracing::info!(hz = rate.hz(), processes, lacks, "services are sampled by the kernel");
        }
        self.board.windows.fetch_add(1, Ordering::Relaxed);
        self.board.samples.fetch_add(window.samples, Ordering::Relaxed);
        self.board.samples_lost.fetch_add(window.lost, Ordering::Relaxed);
        self.board.add_kernel_time(window.kernel_time);
        for (service, members) in self.services.iter().zip(members) {
            let own = part(&window.profile, members);
            // Who did not run has no window: there is nothing to say about it.
            if own.rows().len() == 0 {
                continue;
            }
            if let Err(refused) = self.desk.take_cpu(&service.name, &own, now_ms()) {
                tracing::warn!(service = service.name, "{refused}");
            }
        }
    }
}

/// A capture of the kernel.
#[cfg(feature = "bpf")]
#[derive(Debug)]
struct Capture {
    capture: homeostat_sense_kernel::StackCapture,
    lacks: String,
}

#[cfg(feature = "bpf")]
impl Capture {
    fn start(targets: &Targets, rate: SampleRate) -> Result<Self, Refused> {
        use homeostat_sense_kernel::{StackCapture, Unwind};

        match StackCapture::of_cpus(targets, rate, Unwind::Copies) {
            Ok(capture) => Ok(Self { capture, lacks: String::new() }),
            Err(refused) => {
                let capture = StackCapture::of_cpus(targets, rate, Unwind::FramePointers)?;
                let lacks =
                    format!("stacks are walked by frame pointers only: probe `cpu-copies` is refused: {refused}");
                Ok(Self { capture, lacks })
            }
        }
    }

    fn gather(&mut self, duration: Duration) -> Result<(), Refused> {
        self.capture.gather(duration)
    }

    fn finish(self) -> Result<Window, Refused> {
        let (profile, stats) = self.capture.finish()?;
        let (samples, lost, kernel_time) = (stats.samples, stats.lost, stats.kernel_time);
        Ok(Window { profile, samples, lost, kernel_time, lacks: self.lacks })
    }
}

/// What is not there in a program that was built without.
#[cfg(not(feature = "bpf"))]
#[derive(Debug)]
enum Capture {}

#[cfg(not(feature = "bpf"))]
impl Capture {
    fn start(_: &Targets, _: SampleRate) -> Result<Self, Refused> {
        Err(Refused {
            what: "sampling CPUs".to_owned(),
            reason: homeostat_sense_kernel::NOT_BUILT.to_owned(),
            remedy: homeostat_sense_kernel::HOW_TO_BUILD,
        })
    }

    fn gather(&mut self, _: Duration) -> Result<(), Refused> {
        match *self {}
    }

    fn finish(self) -> Result<Window, Refused> {
        match self {}
    }
}

/// Who belongs to each service now. All processes are looked at once, if anybody asks by name.
fn members_of<'a>(sources: impl Iterator<Item = &'a Source> + Clone) -> Vec<Members> {
    let names = sources.clone().filter_map(|source| match source {
        Source::Command(name) => Some(name.as_str()),
        _ => None,
    });
    let mut named = processes_named(&names.collect::<Vec<_>>()).into_iter();
    let members = |source: &Source| match source {
        Source::Machine => Members::Everybody,
        Source::Pid(pid) => Members::Processes(iter::once(*pid).filter(|pid| is_there(*pid)).collect()),
        // As many as were asked for.
        Source::Command(_) => Members::Processes(named.next().unwrap_or_default()),
        Source::Url(_) => Members::Processes(BTreeSet::new()),
    };
    sources.map(members).collect()
}

fn is_there(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap_or(false)
}

/// Everybody who belongs to any service; `None` when nobody does.
fn targets_of(members: &[Members]) -> Option<Targets> {
    let mut all = BTreeSet::new();
    for members in members {
        match members {
            Members::Everybody => return Some(Targets::Machine),
            Members::Processes(pids) => all.extend(pids),
        }
    }
    (!all.is_empty()).then_some(Targets::Processes(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_found_by_number_and_by_command() {
        let own = std::process::id();
        let comm = fs::read_to_string("/proc/self/comm").unwrap();
        let by_name = Source::Command(comm.trim_end().to_owned());
        let sources =
            [Source::Pid(u32::MAX), by_name, Source::Pid(own), Source::Command("nobody runs this".to_owned())];
        let members = members_of(sources.iter());
        let [nobody, by_name, by_pid, nobody_named] = &members[..] else { unreachable!("as many as services") };
        assert!(matches!(by_name, Members::Processes(pids) if pids.contains(&own)), "{comm}: {by_name:?}");
        assert_eq!((nobody, nobody_named), (&Members::Processes(BTreeSet::new()), nobody));
        assert_eq!(targets_of(&[nobody.clone(), by_pid.clone()]), Some(Targets::Processes([own].into())));
        assert_eq!(targets_of(std::slice::from_ref(nobody)), None);
        assert_eq!(targets_of(&[nobody.clone(), Members::Everybody]), Some(Targets::Machine));
    }
}
