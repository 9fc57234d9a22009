//! Takes profiles of a program that serves none: the kernel samples it, window after window.
//!
//! The program runs on this machine; whose processes listen at its endpoint tells which it is. Giving names to samples takes
//! as long as a window or longer, so the next windows are sampled meanwhile and wait for theirs: what is going to break does so
//! within a window or two.
//!
//! Not here: sampling and names (`sense-kernel`).
//! Invariants: windows that wait for names are bounded, and held in the order of their time; whoever stops this waits for a
//! quarter of a second of sampling and for names that are being looked up; when one of the two ends early, so does the other,
//! and whoever started them starts them again.

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use homeostat_model::{ServiceName, Span, Timestamp, profile::Profile};
use homeostat_profile::merge;
use homeostat_sense_kernel::{
    GoProcess, HAS_PROGRAMS, HOW_TO_BUILD, NOT_BUILT, SampleRate, listening, processes_at, threads,
};
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{
    super::shared::lock,
    watch::{Keep, Measured, keep_taking},
};
/// Windows that wait for names. Where names take four times as long as a window, half a minute is sampled without a gap;
/// samples without names take some 100 KiB a window.
const WAITING_MAX: usize = 8;
/// What is told when names are not looked up any more.
const NAMING_ENDED: &str = "whoever names samples had ended early; this is our fault, please report it";
/// How soon sampling ends when it is stopped.
const STOP_EVERY: Duration = Duration::from_millis(250);

/// What is to be sampled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) endpoint: SocketAddr,
    #[cfg_attr(not(feature = "bpf"), expect(dead_code, reason = "only programs for the kernel take samples"))]
    pub(super) rate: SampleRate,
    pub(super) window: Span,
}

/// A window that waits for names: CPU time, and what goroutines or threads waited for at its end.
struct Sampled {
    from: Timestamp,
    to: Timestamp,
    cpu: Unnamed,
    census: Profile,
}

/// Looks up the names of samples.
type Unnamed = Box<dyn FnOnce() -> Profile + Send>;

impl fmt::Debug for Sampled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampled").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

/// Samples until it is stopped, or until nobody names samples any more.
pub(super) async fn sample_all_the_time(service: &ServiceName, task: Task, keep: &Keep, stop: &CancellationToken) {
    if !HAS_PROGRAMS {
        tracing::warn!(%service, "only what threads wait for is looked at: {NOT_BUILT}; {HOW_TO_BUILD}");
    }
    let tell = |problem: &str| {
        let endpoint = task.endpoint;
        tracing::warn!(%service, %endpoint, problem, "no profile was taken; this is tried again, and told once");
    };
    sample_with(move |halt| take(task, halt), tell, keep, stop).await;
}

/// A window of CPU time that waits for names, and its census; nothing when it was stopped.
type Taken = Result<Option<(Unnamed, Profile)>, String>;

async fn sample_with(
    take: impl Fn(&CancellationToken) -> Taken + Clone + Send + 'static,
    tell: impl Fn(&str),
    keep: &Keep,
    stop: &CancellationToken,
) {
    let (sampled, waiting) = mpsc::channel(WAITING_MAX);
    // Ends the window that is under way, whichever of the two ends first.
    let halt = stop.child_token();
    let _halted = halt.clone().drop_guard();
    let (of_names, until) = (keep.clone(), halt.clone());
    let mut naming = spawn_blocking(move || name_all(waiting, &of_names, &until));
    let one = || {
        let (take, keep, halt, sampled) = (take.clone(), keep.clone(), halt.clone(), sampled.clone());
        let window = spawn_blocking(move || one_window(take, &keep, &halt, &sampled));
        async {
            let ended = window.await;
            ended.unwrap_or_else(|_| Err("sampling ended early; this is our fault, please report it".to_owned()))
        }
    };
    let sampling = stop.run_until_cancelled(keep_taking(&keep.ring, one, tell));
    let named = tokio::select! {
        // While there is a sender, names end by a panic alone.
        ended = &mut naming => ended,
        _stopped = sampling => {
            // Names end when nobody samples any more.
            drop(sampled);
            naming.await
        }
    };
    if let Err(problem) = named {
        tracing::error!(%problem, "{NAMING_ENDED}");
        lock(&keep.ring).failed(NAMING_ENDED.to_owned());
    }
}

/// Samples a window, and hands it over as soon as there is room.
fn one_window(
    take: impl Fn(&CancellationToken) -> Taken,
    keep: &Keep,
    stop: &CancellationToken,
    sampled: &mpsc::Sender<Sampled>,
) -> Result<(), String> {
    let from = keep.clock.now();
    if let Some((cpu, census)) = take(stop)? {
        let to = keep.clock.now();
        // Nobody takes it any more when everything stops.
        if sampled.blocking_send(Sampled { from, to, cpu, census }).is_err() && !stop.is_cancelled() {
            return Err(NAMING_ENDED.to_owned());
        }
    }
    Ok(())
}

/// Names windows and holds them, one after the other.
fn name_all(mut waiting: mpsc::Receiver<Sampled>, keep: &Keep, stop: &CancellationToken) {
    while let Some(Sampled { from, to, cpu, census }) = waiting.blocking_recv() {
        if stop.is_cancelled() {
            continue;
        }
        let cpu = cpu();
        // A program that did not run has no samples, which is no evidence of anything.
        if 0 < cpu.rows().len() {
            keep.window(Measured::Cpu, from, to, &cpu);
        }
        if 0 < census.rows().len() {
            keep.window(Measured::Goroutines, to, to, &census);
        }
        lock(&keep.ring).complete(to, None);
    }
}

/// One window; `None` when it was stopped.
#[cfg(feature = "bpf")]
fn take(task: Task, stop: &CancellationToken) -> Taken {
    use homeostat_sense_kernel::{Refused, StackCapture, Targets, Unwind};

    let refused = |refused: Refused| refused.to_string();
    let pids = processes(task)?;
    let targets = Targets::processes(pids.iter().copied()).map_err(|error| error.to_string())?;
    let mut capture = StackCapture::of_cpus(&targets, task.rate, Unwind::Copies).map_err(refused)?;
    let end = Instant::now() + Duration::from(task.window);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if stop.is_cancelled() {
            return Ok(None);
        }
        capture.gather(left.min(STOP_EVERY)).map_err(refused)?;
    }
    let census = census(&pids);
    let gathered = capture.stop().map_err(refused)?;
    Ok(Some((Box::new(move || gathered.named().0), census)))
}

/// The same without programs for the kernel: what threads wait for is told by `/proc` alone.
#[cfg(not(feature = "bpf"))]
fn take(task: Task, stop: &CancellationToken) -> Taken {
    let pids = processes(task)?;
    let end = Instant::now() + Duration::from(task.window);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if stop.is_cancelled() {
            return Ok(None);
        }
        std::thread::sleep(left.min(STOP_EVERY));
    }
    Ok(Some((Box::new(|| Profile::new(Vec::new())), census(&pids))))
}

/// Goroutines where all of them are Go programs, for these say where they wait; threads otherwise.
fn census(pids: &BTreeSet<u32>) -> Profile {
    let goroutines = |pid: &u32| Some(GoProcess::open(*pid).ok()?.census().ok()?.profile());
    let all: Option<Vec<Profile>> = pids.iter().map(goroutines).collect();
    all.and_then(|profiles| merge(&profiles)).unwrap_or_else(|| threads(pids.iter().copied()))
}

fn processes(task: Task) -> Result<BTreeSet<u32>, String> {
    let pids = processes_at(task.endpoint, &listening());
    if pids.is_empty() {
        return Err(format!(
            "no process of this machine that this user may look at listens on {}; the kernel samples what runs here",
            task.endpoint
        ));
    }
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use homeostat_model::profile::{LabelSet, Stack, ValueType};
    use tokio::time::timeout;

    use super::{super::super::clock::Clock, *};

    /// Tells who waits for ever from who is slow on a busy machine.
    const FOREVER: Duration = Duration::from_mins(1);

    fn some() -> Profile {
        let mut profile = Profile::new(vec![ValueType::new("samples", "count")]);
        profile.add(Stack::EMPTY, LabelSet::NONE, &[1]);
        profile
    }

    fn keep() -> Keep {
        Keep::new(Clock::start(None), std::sync::Arc::default()).unwrap()
    }

    /// Whoever started it sees that it has ended, and starts it again.
    #[tokio::test]
    async fn a_panic_while_names_are_looked_up_ends_sampling_too() {
        let (keep, stop) = (keep(), CancellationToken::new());
        let broken =
            |_: &CancellationToken| -> Taken { Ok(Some((Box::new(|| -> Profile { panic!("a name") }), some()))) };
        timeout(FOREVER, sample_with(broken, |_| {}, &keep, &stop)).await.unwrap();
        assert_eq!((lock(&keep.ring).count(), stop.is_cancelled()), (0, false));
        assert_eq!(lock(&keep.ring).trouble().as_deref(), Some(NAMING_ENDED));
    }

    #[tokio::test]
    async fn windows_are_named_until_it_is_stopped() {
        let (keep, stop, taken) = (keep(), CancellationToken::new(), std::sync::Arc::new(AtomicUsize::new(0)));
        let (counted, ending) = (std::sync::Arc::clone(&taken), stop.clone());
        let take = move |_: &CancellationToken| -> Taken {
            if 2 <= counted.fetch_add(1, Ordering::Relaxed) {
                ending.cancel();
                return Ok(None);
            }
            Ok(Some((Box::new(some), some())))
        };
        timeout(FOREVER, sample_with(take, |_| {}, &keep, &stop)).await.unwrap();
        assert!(3 <= taken.load(Ordering::Relaxed));
        assert_eq!(lock(&keep.ring).trouble(), None);
    }

    #[test]
    fn a_window_that_nobody_names_is_no_window() {
        let (sampled, waiting) = mpsc::channel(1);
        drop(waiting);
        let (keep, stop) = (keep(), CancellationToken::new());
        let take = |_: &CancellationToken| -> Taken { Ok(Some((Box::new(some), some()))) };
        assert_eq!(one_window(take, &keep, &stop, &sampled), Err(NAMING_ENDED.to_owned()));
        stop.cancel();
        assert_eq!(one_window(take, &keep, &stop, &sampled), Ok(()), "everything stops");
    }
}
