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
pub(super) const HELD: Span = Span::from_mins(10);
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
    /// The end of the newest window of processor time whose census is there too, or is known not to come.
    newest: watch::Sender<Option<Timestamp>>,
    /// Until when an incident needs the program.
    ordered: watch::Sender<Option<Instant>>,
    /// Why the latest window is missing.
    trouble: Option<String>,
    /// Why the latest census is missing, though there is a window.
    no_census: Option<String>,
}

impl Ring {
    pub(super) fn push(&mut self, window: Window) {
        let since = window.to - HELD;
        self.trouble = None;
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

    /// Notes that all is there that was measured until then, or why its census will not come. Gives whether that is news: the
    /// last census came.
    pub(super) fn complete(&mut self, until: Timestamp, no_census: Option<String>) -> bool {
        let is_news = self.no_census.is_none() && no_census.is_some();
        (self.trouble, self.no_census) = (None, no_census);
        self.newest.send_replace(Some(until));
        is_news
    }

    /// Why the latest census is missing, though there is a window.
    pub(super) fn no_census(&self) -> Option<String> {
        self.no_census.clone()
    }

    /// Follows until when all is there that was measured.
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
    let Some(keep) = Keep::new(clock, ring) else { return };
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
    /// Whoever keeps windows in a ring. The patterns of what must not be kept are ours and tested; `None` without them.
    pub(super) fn new(clock: Clock, ring: Arc<Mutex<Ring>>) -> Option<Self> {
        let redaction = Redaction::new(KEYS_DEFAULT, &VALUES_DEFAULT).ok()?;
        Some(Self { clock, redaction: Arc::new(redaction), ring })
    }

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
    let asked = |kind: Kind| {
        let (fetcher, from) = (&fetcher, keep.clock.now());
        async move {
            let asked = ask(fetcher, base, kind, profiled.window.into(), from.unix_ns()).await;
            asked.map(|asked| asked.profile)
        }
    };
    let no_census = |problem: &str| {
        let service = &profiled.service;
        tracing::warn!(%service, target = base, problem, "goroutines are not counted; this is tried with each window, and told once");
    };
    let take = || window(asked, keep, no_census);
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

/// Processor time for one window, then the goroutines. A program that has none, or fails to give them, has its processor time.
async fn window<A: Future<Output = Result<Profile, PullError>>>(
    ask: impl Fn(Kind) -> A,
    keep: &Keep,
    tell: impl Fn(&str),
) -> Result<(), String> {
    let until = keep_one((Kind::Cpu, Measured::Cpu), &ask, keep).await.map_err(|problem| chain(&problem))?;
    let no_census = match keep_one((Kind::Goroutine, Measured::Goroutines), &ask, keep).await {
        // Programs in other languages have no goroutines.
        Ok(_) | Err(PullError::NotServed { .. }) => None,
        Err(problem) => Some(chain(&problem)),
    };
    if lock(&keep.ring).complete(until, no_census.clone()) {
        no_census.as_deref().into_iter().for_each(tell);
    }
    Ok(())
}

/// Asks for one kind and holds it. Gives when it ended.
async fn keep_one<A: Future<Output = Result<Profile, PullError>>>(
    (kind, measured): (Kind, Measured),
    ask: impl Fn(Kind) -> A,
    keep: &Keep,
) -> Result<Timestamp, PullError> {
    let from = keep.clock.now();
    let profile = ask(kind).await?;
    let (to, keep) = (keep.clock.now(), keep.clone());
    // Some hundred milliseconds for a large one, which others on this thread would wait for.
    let packing = tokio::task::spawn_blocking(move || keep.window(measured, from, to, &profile));
    packing.await.map_err(|_panicked| PullError::Bug)?;
    Ok(to)
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

    /// Windows of a program whose answers are these, one after the other: what was told, what is held, and until when.
    async fn taken(goroutines: impl Fn() -> Result<Profile, PullError>) -> (Vec<Result<(), String>>, usize, Keep) {
        let keep = Keep::new(Clock::start(None), Arc::default()).unwrap();
        let told = Mutex::new(0);
        let ask = |kind: Kind| ready(if kind == Kind::Cpu { Ok(Profile::new(Vec::new())) } else { goroutines() });
        let mut all = Vec::new();
        for _ in 0..2 {
            all.push(super::window(ask, &keep, |_| *lock(&told) += 1).await);
        }
        let told = *lock(&told);
        (all, told, keep)
    }

    fn kinds_of(keep: &Keep) -> Vec<Measured> {
        lock(&keep.ring).windows().iter().map(|window| window.measured).collect()
    }

    #[tokio::test]
    async fn a_window_without_its_census_counts_and_the_reason_is_told_once() {
        let (all, told, keep) = taken(|| Err(PullError::Bug)).await;
        assert_eq!((all, told), (vec![Ok(()), Ok(())], 1), "nobody waits for longer and longer");
        assert_eq!(kinds_of(&keep), [Measured::Cpu, Measured::Cpu]);
        let ring = lock(&keep.ring);
        assert!(ring.no_census().unwrap().contains("could not be read") && ring.trouble().is_none());
        assert_eq!(*ring.newest().borrow(), ring.windows().last().map(|window| window.to));
    }

    #[tokio::test]
    async fn a_program_without_goroutines_lacks_nothing() {
        let (all, told, keep) = taken(|| Err(PullError::NotServed { path: "/debug/pprof/goroutine" })).await;
        assert_eq!((all, told, lock(&keep.ring).no_census()), (vec![Ok(()), Ok(())], 0, None));
        assert!(lock(&keep.ring).newest().borrow().is_some());
    }

    /// What waits for a window goes on when its census is in.
    #[tokio::test]
    async fn a_window_is_there_when_its_census_is() {
        let keep = Keep::new(Clock::start(None), Arc::default()).unwrap();
        let seen = Mutex::new(Vec::new());
        let ask = |_: Kind| {
            let ring = lock(&keep.ring);
            lock(&seen).push((ring.count(), ring.newest().borrow().is_some()));
            ready(Ok(Profile::new(Vec::new())))
        };
        super::window(ask, &keep, |_| {}).await.unwrap();
        assert_eq!(*lock(&seen), [(0, false), (1, false)], "before the census is asked for");
        let ring = lock(&keep.ring);
        assert_eq!((ring.count(), ring.newest().borrow().is_some()), (2, true));
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
