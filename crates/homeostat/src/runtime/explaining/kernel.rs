//! Takes profiles of a program that serves none: the kernel samples it, window after window.
//!
//! The program runs on this machine; whose processes listen at its endpoint tells which it is. Giving names to samples takes
//! as long as a window or longer, so the next window is sampled meanwhile, on another thread.
//!
//! Not here: sampling and names (`sense-kernel`).
//! Invariants: two windows of a program are in work at most; whoever stops this waits for a quarter of a second of sampling and
//! for names that are being looked up.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use homeostat_model::{Span, Timestamp, profile::Profile};
use homeostat_profile::merge;
use homeostat_sense_kernel::{GoProcess, HAS_PROGRAMS, HOW_TO_BUILD, SampleRate, listening, processes_at, threads};
use tokio::{
    sync::{Mutex, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    super::shared::lock,
    watch::{Keep, Measured, keep_taking},
};
use crate::config::Profiled;

/// Windows in work at a time: one is sampled while the one before gets its names.
const IN_WORK_MAX: usize = 2;
/// How soon sampling ends when it is stopped.
const STOP_EVERY: Duration = Duration::from_millis(250);

/// What is to be sampled.
#[derive(Clone, Copy, Debug)]
struct Task {
    endpoint: SocketAddr,
    rate: SampleRate,
    window: Span,
}

/// What a window gave: CPU time, and what goroutines or threads waited for at its end.
struct Taken {
    cpu: Profile,
    census: Profile,
}

/// Samples until it is stopped.
pub(super) async fn sample_all_the_time(profiled: &Profiled, rate: SampleRate, keep: &Keep, stop: &CancellationToken) {
    let task = Task { endpoint: profiled.endpoint, rate, window: profiled.window };
    if !HAS_PROGRAMS {
        let service = &profiled.service;
        tracing::warn!(%service, "only what threads wait for is looked at: this program was built without programs for the kernel; {HOW_TO_BUILD}");
    }
    let in_work = Mutex::new(JoinSet::new());
    let take = || one_after_the_other(&in_work, task, keep, stop);
    let tell = |problem: &str| {
        let (service, endpoint) = (&profiled.service, profiled.endpoint);
        tracing::warn!(%service, %endpoint, problem, "no profile was taken; this is tried again, and told once");
    };
    stop.run_until_cancelled(keep_taking(&keep.ring, take, tell)).await;
    let mut in_work = in_work.into_inner();
    while in_work.join_next().await.is_some() {}
}

/// Begins with a window and returns when it was sampled; its names come later.
async fn one_after_the_other(
    in_work: &Mutex<JoinSet<()>>,
    task: Task,
    keep: &Keep,
    stop: &CancellationToken,
) -> Result<(), String> {
    // Nobody else has it meanwhile: windows are begun one after the other.
    let mut in_work = in_work.lock().await;
    while IN_WORK_MAX <= in_work.len() {
        in_work.join_next().await;
    }
    let (sampled, is_sampled) = oneshot::channel();
    let (keep, halt) = (keep.clone(), stop.clone());
    in_work.spawn_blocking(move || one_window(task, &keep, &halt, sampled));
    // A thread that ended early says nothing.
    is_sampled.await.unwrap_or_else(|_| Err("sampling ended early; this is our fault, please report it".to_owned()))
}

/// Samples a window, says so, names what was sampled and holds it.
fn one_window(task: Task, keep: &Keep, stop: &CancellationToken, sampled: oneshot::Sender<Result<(), String>>) {
    let from = keep.clock.now();
    let (mut to, mut sampled) = (from, Some(sampled));
    let mut say = |result: Result<(), String>| {
        if let Some(sampled) = sampled.take() {
            // Nobody listens any more when everything stops.
            let _nobody = sampled.send(result);
        }
    };
    let taken = take(task, stop, &mut || {
        to = keep.clock.now();
        say(Ok(()));
    });
    match taken {
        Ok(Some(Taken { cpu, census })) => keep_both(keep, from, to, &cpu, &census),
        Ok(None) => say(Ok(())),
        Err(problem) => say(Err(problem)),
    }
}

fn keep_both(keep: &Keep, from: Timestamp, to: Timestamp, cpu: &Profile, census: &Profile) {
    // A program that did not run has no samples, which is no evidence of anything.
    if 0 < cpu.rows().len() {
        keep.window(Measured::Cpu, from, to, cpu);
    } else {
        lock(&keep.ring).idle(to);
    }
    if 0 < census.rows().len() {
        keep.window(Measured::Goroutines, to, to, census);
    }
}

/// One window; `None` when it was stopped. Calls `sampled` when nothing but names is missing.
#[cfg(feature = "bpf")]
fn take(task: Task, stop: &CancellationToken, sampled: &mut dyn FnMut()) -> Result<Option<Taken>, String> {
    use homeostat_sense_kernel::{CpuCapture, Refused, Targets, Unwind};

    let refused = |refused: Refused| refused.to_string();
    let pids = processes(task)?;
    let targets = Targets::processes(pids.iter().copied()).map_err(|error| error.to_string())?;
    let mut capture = CpuCapture::start(&targets, task.rate, Unwind::Copies).map_err(refused)?;
    let end = Instant::now() + Duration::from(task.window);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if stop.is_cancelled() {
            return Ok(None);
        }
        capture.gather(left.min(STOP_EVERY)).map_err(refused)?;
    }
    let census = census(&pids);
    sampled();
    let (cpu, _) = capture.finish().map_err(refused)?;
    Ok(Some(Taken { cpu, census }))
}

/// The same without programs for the kernel: what threads wait for is told by `/proc` alone.
#[cfg(not(feature = "bpf"))]
fn take(task: Task, stop: &CancellationToken, sampled: &mut dyn FnMut()) -> Result<Option<Taken>, String> {
    let pids = processes(task)?;
    let end = Instant::now() + Duration::from(task.window);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if stop.is_cancelled() {
            return Ok(None);
        }
        std::thread::sleep(left.min(STOP_EVERY));
    }
    sampled();
    Ok(Some(Taken { cpu: Profile::new(Vec::new()), census: census(&pids) }))
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
