//! Takes profiles of one program, window after window, and holds the latest.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use homeostat_model::{Span, Timestamp, error_chain::chain, profile::Profile};
use homeostat_profile::{KEYS_DEFAULT, Redaction, VALUES_DEFAULT};
use homeostat_sense_pprof::{Kind, PullError, ask};
use homeostat_sense_scrape::{fetch::Fetcher, spec::HttpSpec};
use homeostat_wire::pprof;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{clock::Clock, shared::lock},
    kernel,
};
use crate::config::{Profiled, Taken};

/// How long a window is held: the time that changes are suspects for, however long windows are.
const HELD: Span = Span::from_mins(10);
/// Bytes held of one program: a window of ten seconds of a busy server packs into some 30 KiB, ten minutes of two kinds are
/// 4 MiB. Windows of one second are smaller, and more: a server that is busy enough has fewer minutes of them.
const BYTES_MAX: usize = 8 << 20;
/// The first and the longest wait after a failure. Who measures already has a program for some ten seconds.
const WAIT: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(1));
/// The longest wait while an incident needs the program: a quarter of the usual capture.
const WAIT_CAPTURING_MAX: Duration = Duration::from_secs(8);

/// What was measured in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measured {
    /// Where processor time went.
    Cpu,
    /// Goroutines as they stood at its end, or threads of a program that has none.
    Goroutines,
}

impl Measured {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Goroutines => "goroutine",
        }
    }
}

/// One window.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) measured: Measured,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// The profile as gzip of pprof, redacted.
    pub(super) packed: Arc<[u8]>,
}

/// The latest windows of a program, oldest first, and what its watcher and those who look into incidents tell each other.
#[derive(Debug, Default)]
pub(super) struct Ring {
    windows: VecDeque<Window>,
    bytes: usize,
    /// The end of the newest window of processor time.
    newest: watch::Sender<Option<Timestamp>>,
    /// Until when an incident needs the program.
    ordered: watch::Sender<Option<Instant>>,
    /// Why the latest window is missing.
    trouble: Option<String>,
}

impl Ring {
    pub(super) fn push(&mut self, window: Window) {
        let since = window.to - HELD;
        self.trouble = None;
        if window.measured == Measured::Cpu {
            self.newest.send_replace(Some(window.to));
        }
        self.bytes += window.packed.len();
        self.windows.push_back(window);
        while self.windows.front().is_some_and(|oldest| BYTES_MAX < self.bytes || oldest.from < since) {
            self.drop_oldest();
        }
    }

    pub(super) fn windows(&self) -> Vec<Window> {
        self.windows.iter().cloned().collect()
    }

    /// How many windows are held.
    pub(super) fn count(&self) -> usize {
        self.windows.len()
    }

    /// How many bytes they have.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest window began.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        Some(self.windows.front()?.from)
    }

    /// Forgets the oldest window.
    pub(super) fn drop_oldest(&mut self) {
        if let Some(oldest) = self.windows.pop_front() {
            self.bytes -= oldest.packed.len();
        }
    }

    /// Notes that nothing ran until then: there are no samples to wait for.
    pub(super) fn idle(&mut self, until: Timestamp) {
        self.trouble = None;
        self.newest.send_replace(Some(until));
    }

    /// Follows the end of the newest window of processor time.
    pub(super) fn newest(&self) -> watch::Receiver<Option<Timestamp>> {
        self.newest.subscribe()
    }

    /// Says that an incident needs the program until then.
    pub(super) fn order(&mut self, until: Instant) {
        self.ordered.send_modify(|ordered| *ordered = (*ordered).max(Some(until)));
    }

    /// Until when an incident needs the program; what is past means nothing any more.
    pub(super) fn ordered(&self) -> Option<Instant> {
        *self.ordered.borrow()
    }

    /// Notes why a window is missing, until there is one again.
    pub(super) fn failed(&mut self, trouble: String) {
        self.trouble = Some(trouble);
    }

    /// Why the latest window is missing.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }
}

/// A program that is asked all the time.
#[derive(Debug)]
pub(super) struct Watcher {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Takes profiles into a ring. `http` says how the program is spoken to, if it is asked.
    pub(super) fn start(
        profiled: Profiled,
        http: &Arc<HttpSpec>,
        ring: &Arc<Mutex<Ring>>,
        clock: Clock,
        stop: CancellationToken,
    ) -> Self {
        let task = tokio::spawn(watch(profiled, Arc::clone(http), clock, Arc::clone(ring), stop.clone()));
        Self { stop, task }
    }

    /// Whether it asks no more, though nobody stopped it.
    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(problem) = self.task.await {
            tracing::error!(%problem, "whoever takes profiles had ended early");
        }
    }
}

async fn watch(profiled: Profiled, http: Arc<HttpSpec>, clock: Clock, ring: Arc<Mutex<Ring>>, stop: CancellationToken) {
    // The patterns are ours and tested; without them nothing may be kept.
    let Ok(redaction) = Redaction::new(KEYS_DEFAULT, &VALUES_DEFAULT).map(Arc::new) else { return };
    let keep = Keep { clock, redaction, ring };
    match &profiled.taken {
        Taken::ByItself { base } => ask_all_the_time((&profiled, base), http, &keep, &stop).await,
        Taken::ByTheKernel { endpoint, rate } => {
            let task = kernel::Task { endpoint: *endpoint, rate: *rate, window: profiled.window };
            kernel::sample_all_the_time(&profiled.service, task, &keep, &stop).await;
        }
    }
}

/// Where windows go that were measured.
#[derive(Clone, Debug)]
pub(super) struct Keep {
    pub(super) clock: Clock,
    redaction: Arc<Redaction>,
    pub(super) ring: Arc<Mutex<Ring>>,
}

impl Keep {
    /// Packs a profile and holds it. Takes some hundred milliseconds for a large one.
    pub(super) fn window(&self, measured: Measured, from: Timestamp, to: Timestamp, profile: &Profile) {
        let packed = pprof::write(&self.redaction.profile(profile)).into();
        lock(&self.ring).push(Window { measured, from, to, packed });
    }
}

async fn ask_all_the_time(
    (profiled, base): (&Profiled, &str),
    http: Arc<HttpSpec>,
    keep: &Keep,
    stop: &CancellationToken,
) {
    let fetcher = match Fetcher::new(http) {
        Ok(fetcher) => fetcher,
        Err(problem) => {
            tracing::error!(problem = chain(&problem), "profiles cannot be taken; this is tried again");
            // Whoever started it starts it again.
            stop.run_until_cancelled(sleep(WAIT.1)).await;
            return;
        }
    };
    let take = || window((profiled, base), &fetcher, keep);
    let tell = |problem: &str| {
        let service = &profiled.service;
        tracing::warn!(%service, target = base, problem, "no profile was taken; this is tried again, and told once");
    };
    stop.run_until_cancelled(keep_taking(&keep.ring, take, tell)).await;
}

/// Takes one window after the other. A program that gives none is left alone for longer each time: somebody else may be
/// measuring. When an incident needs it, it is tried at once, and more often for as long as the incident does.
pub(super) async fn keep_taking<T: Future<Output = Result<(), String>>>(
    ring: &Mutex<Ring>,
    take: impl Fn() -> T,
    tell: impl Fn(&str),
) -> Infallible {
    let mut orders = lock(ring).ordered.subscribe();
    let (mut wait, mut told) = (WAIT.0, false);
    loop {
        let Err(problem) = take().await else {
            (wait, told) = (WAIT.0, false);
            continue;
        };
        if !std::mem::replace(&mut told, true) {
            tell(&problem);
        }
        lock(ring).failed(problem);
        let is_ordered = tokio::select! {
            // The ring has the sender.
            _ = orders.changed() => true,
            () = sleep(wait) => false,
        };
        let is_capturing = lock(ring).ordered().is_some_and(|until| Instant::now() < until);
        wait = match (is_ordered, is_capturing) {
            (true, _) => WAIT.0,
            (false, true) => (2 * wait).min(WAIT_CAPTURING_MAX),
            (false, false) => (2 * wait).min(WAIT.1),
        };
    }
}

/// Processor time for one window, then the goroutines.
async fn window((profiled, base): (&Profiled, &str), fetcher: &Fetcher, keep: &Keep) -> Result<(), String> {
    for (kind, measured) in [(Kind::Cpu, Measured::Cpu), (Kind::Goroutine, Measured::Goroutines)] {
        let from = keep.clock.now();
        let asked = ask(fetcher, base, kind, profiled.window.into(), from.unix_ns()).await;
        let profile = match asked {
            Ok(asked) => asked.profile,
            // Programs in other languages have no goroutines.
            Err(PullError::NotServed { .. }) if measured == Measured::Goroutines => return Ok(()),
            Err(problem) => return Err(chain(&problem)),
        };
        let (to, keep) = (keep.clock.now(), keep.clone());
        // Some hundred milliseconds for a large one, which others on this thread would wait for.
        let packing = tokio::task::spawn_blocking(move || keep.window(measured, from, to, &profile));
        packing.await.map_err(|_panicked| chain(&PullError::Bug))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_busy_program_is_left_alone_and_tried_more_often_when_an_incident_needs_it() {
        let (ring, began) = (Mutex::new(Ring::default()), Instant::now());
        let (asked, told) = (Mutex::new(Vec::new()), Mutex::new(0));
        let take = || {
            lock(&asked).push(began.elapsed().as_secs());
            ready(Err("somebody else measures".to_owned()))
        };
        let taking = keep_taking(&ring, take, |_| *lock(&told) += 1);
        let ordering = async {
            sleep(Duration::from_secs(100)).await;
            lock(&ring).order(began + Duration::from_secs(130));
            sleep(Duration::from_secs(100)).await;
        };
        tokio::select! { never = taking => match never {}, () = ordering => {} }
        assert_eq!(*lock(&asked), [0, 2, 6, 14, 30, 62, 100, 102, 106, 114, 122, 130, 146, 178]);
        assert_eq!((*lock(&told), lock(&ring).trouble().map(|text| text.contains("somebody else"))), (1, Some(true)));
    }

    fn window(from_s: i64, long_s: i64, bytes: usize) -> Window {
        Window {
            measured: Measured::Cpu,
            from: Timestamp::from_unix_ms(1_000 * from_s),
            to: Timestamp::from_unix_ms(1_000 * (from_s + long_s)),
            packed: vec![0; bytes].into(),
        }
    }

    /// How many windows are held of an hour of them, and for how many seconds.
    fn held_of_an_hour(long_s: i64) -> (usize, i64) {
        let mut ring = Ring::default();
        for at in 0..3_600 / long_s {
            ring.push(window(at * long_s, long_s, 100));
        }
        let held = ring.windows();
        (held.len(), (held[held.len() - 1].to.unix_ms() - held[0].from.unix_ms()) / 1_000)
    }

    #[test]
    fn ten_minutes_are_held_however_long_windows_are() {
        for (long_s, wanted) in [(1, 600), (10, 60), (60, 10)] {
            assert_eq!(held_of_an_hour(long_s), (wanted, 600), "windows of {long_s} s");
        }
    }

    #[test]
    fn bytes_are_bounded() {
        let mut ring = Ring::default();
        ring.push(window(0, 1, 1));
        ring.push(window(1, 1, BYTES_MAX));
        assert_eq!(ring.windows().len(), 1);
        ring.push(window(2, 1, BYTES_MAX + 1));
        assert_eq!((ring.windows().len(), ring.bytes), (0, 0));
    }
}
