//! The metrics server inside the process, and the objectives whose events its queries count.
//!
//! ```text
//! remote write, OTLP, scrape ──▶ metrics server (runtime::server) ──▶ store
//!                                                                      │ every second: queries of indicators
//! control ◀── inbox ◀── OutcomeDelta of the objective's own cell ◀─────┘
//! ```
//!
//! It comes up beside the gateway and never before it matters: an address that is taken, a damaged store or a file with
//! problems is told in the log and in `status`, and tried again, while the gateway serves and control judges.
//!
//! Invariants: a cell of an indicator gets events from here alone; what could not be counted is told as unmeasured.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use homeostat_judge_rules::{
    Environment, Surroundings,
    indicator::{IndicatorJudge, Observed},
};
use homeostat_model::{
    CellId, Labels, ObjectiveName, OutcomeClass, OutcomeCounts, OutcomeDelta, Span, TimeMs, Timestamp,
    error_chain::chain, evidence::EventCounts,
};
use homeostat_promql::{ParseOptions, eval::Options};
use homeostat_store_series::SeriesStore;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    clock::Clock,
    inbox::Inbox,
    message::Message,
    server::{
        self, RunningServer,
        settings::{AddressNames, Settings},
    },
    shared::{Indicated, MetricsHealth, Shared, lock},
};
use crate::config::MetricsSpec;

/// Folder of the metrics server within the data directory.
const METRICS_DIR: &str = "metrics";

/// How long to wait before what failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// How often indicators are asked. Samples seldom come more often, and a query of a few series takes microseconds.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The longest that all indicators together may take before the rest waits for the next second.
const ASKING_MAX: Duration = Duration::from_secs(10);

/// How often the same unmeasured time is told: the judge's coverage is minutes, and each is a line in the journal.
const UNMEASURED_EVERY: Span = Span::from_secs(60);

/// The running role.
#[derive(Debug)]
pub(super) struct MetricsRole {
    task: JoinHandle<()>,
    stop: CancellationToken,
    reread: Arc<Notify>,
    shared: Arc<Shared>,
}

/// What it works with.
#[derive(Debug)]
pub(super) struct MetricsParts {
    pub(super) spec: MetricsSpec,
    /// Data directory of the process.
    pub(super) dir: PathBuf,
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Arc<Inbox<Message>>,
}

impl MetricsRole {
    /// Starts it in the background. Must be called on a multi-threaded tokio runtime.
    pub(super) fn start(parts: MetricsParts) -> Self {
        let (stop, reread) = (CancellationToken::new(), Arc::new(Notify::new()));
        *lock(&parts.shared.metrics) = MetricsHealth::Trouble("the metrics server is starting".to_owned());
        let shared = Arc::clone(&parts.shared);
        let task = tokio::spawn(parts.run(stop.clone(), Arc::clone(&reread)));
        Self { task, stop, reread, shared }
    }

    /// Where the server listens, once it does.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match *lock(&self.shared.metrics) {
            MetricsHealth::Fine(address) => Some(address),
            MetricsHealth::Off | MetricsHealth::Trouble(_) => None,
        }
    }

    /// Reads the files again that the document names, in the background.
    pub(super) fn reload(&self) {
        self.reread.notify_one();
    }

    /// Stops serving, and closes the store.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(problem) = self.task.await {
            tracing::error!(%problem, "the metrics server had ended early");
        }
    }
}

fn settings(spec: MetricsSpec, dir: PathBuf) -> Settings {
    Settings {
        otlp_http: spec.otlp_http,
        otlp_grpc: spec.otlp_grpc,
        open: spec.open,
        scrape_config: spec.scrape_config,
        rules: spec.rules,
        external_url: spec.external_url,
        limits: spec.limits,
        durability: spec.durability,
        out_of_order_window: spec.out_of_order_window,
        retention: spec.retention,
        retention_bytes: spec.retention_bytes,
        ..Settings::new(AddressNames::KEYS, spec.listen, dir)
    }
}

impl MetricsParts {
    async fn run(self, stop: CancellationToken, reread: Arc<Notify>) {
        while !stop.is_cancelled() {
            match self.open().await {
                Ok(server) => {
                    tracing::info!("metrics server at http://{}/", server.address());
                    *lock(&self.shared.metrics) = MetricsHealth::Fine(server.address());
                    self.judge(&server, &stop, &reread).await;
                    let lost = server.stop().await;
                    if lost > 0 {
                        tracing::error!(
                            lost,
                            "the disk did not take all metrics; none of these was acknowledged as durable"
                        );
                    }
                }
                Err(problem) => {
                    tracing::error!("the metrics server does not run, and is tried again: {problem}");
                    *lock(&self.shared.metrics) = MetricsHealth::Trouble(problem);
                    // Cancelled: the loop ends.
                    let _cancelled = stop.run_until_cancelled(sleep(TRY_AGAIN)).await;
                }
            }
        }
    }

    async fn open(&self) -> Result<RunningServer, String> {
        let settings = settings(self.spec.clone(), self.dir.join(METRICS_DIR));
        let options = tokio::task::spawn_blocking(move || settings.options()).await;
        let options = options.map_err(|problem| problem.to_string()).flatten()?;
        server::start(options).await.map_err(|problem| chain(&problem))
    }

    /// Asks the indicators every second until it is stopped.
    async fn judge(&self, server: &RunningServer, stop: &CancellationToken, reread: &Notify) {
        let mut seconds = interval(ASK_EVERY);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut indicators = Indicators::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = reread.notified() => server.reload().await,
                _ = seconds.tick() => {}
            }
            let wanted = self.shared.indicators.load_full();
            indicators.keep(&wanted, self.clock.now());
            if wanted.is_empty() {
                continue;
            }
            let (store, clock) = (server.store().clone(), self.clock);
            let asked = tokio::task::spawn_blocking(move || {
                let found = indicators.ask(&store, clock);
                (indicators, found)
            });
            let Ok((back, found)) = asked.await else {
                tracing::error!("counting by queries ended in the middle; this is our fault, please report it");
                indicators = Indicators::default();
                continue;
            };
            indicators = back;
            self.hand_over(found);
        }
    }

    fn hand_over(&self, found: Found) {
        self.inbox.push_tick(Instant::now(), found.deltas);
        for (objective, from, to) in found.unmeasured {
            if self.inbox.push(Message::Unmeasured { objective, from, to }).is_err() {
                tracing::warn!("control takes nothing at the moment; unmeasured time counts as measured");
            }
        }
    }
}

/// Indicators with what they remember.
#[derive(Debug, Default)]
struct Indicators(BTreeMap<ObjectiveName, Asked>);

#[derive(Debug)]
struct Asked {
    cell: CellId,
    judge: IndicatorJudge,
    /// Until when its events are counted, or told to be unmeasured.
    told_until: Timestamp,
    /// Nothing could be counted the last time, and people know why.
    is_silent: bool,
}

/// What a second brought.
#[derive(Debug, Default)]
struct Found {
    deltas: Vec<OutcomeDelta>,
    unmeasured: Vec<(ObjectiveName, Timestamp, Timestamp)>,
}

impl Indicators {
    /// Takes what is wanted; those that ask the same as before keep what they remember.
    fn keep(&mut self, wanted: &[Indicated], now: Timestamp) {
        self.0.retain(|name, asked| {
            wanted
                .iter()
                .any(|w| w.objective == *name && w.cell == asked.cell && w.indicator == *asked.judge.indicator())
        });
        for Indicated { cell, objective, indicator } in wanted {
            if self.0.contains_key(objective) {
                continue;
            }
            match IndicatorJudge::new(indicator.clone(), &ParseOptions::all()) {
                Ok(judge) => {
                    let asked = Asked { cell: *cell, judge, told_until: now, is_silent: false };
                    self.0.insert(objective.clone(), asked);
                }
                // The configuration was checked by the same parser.
                Err(problem) => tracing::error!(%objective, %problem, "its queries cannot be read"),
            }
        }
    }

    fn ask(&mut self, store: &SeriesStore, clock: Clock) -> Found {
        let began = Instant::now();
        let is_cancelled = || began.elapsed() > ASKING_MAX;
        let environment = Environment {
            options: Options::default(),
            language: ParseOptions::all(),
            external_labels: Labels::empty(),
            external_url: String::new(),
        };
        let source = store.snapshot();
        let around = Surroundings { source: &source, environment: &environment, is_cancelled: &is_cancelled };
        let (now, t_ms) = (clock.now(), wall_ms());
        let mut found = Found::default();
        for (name, asked) in &mut self.0 {
            asked.ask(name, (now, t_ms), around, &mut found);
        }
        found.deltas.sort_by_key(|delta| delta.cell);
        found
    }
}

impl Asked {
    fn ask(
        &mut self,
        name: &ObjectiveName,
        (now, t_ms): (Timestamp, TimeMs),
        around: Surroundings<'_>,
        found: &mut Found,
    ) {
        let why = match self.judge.ask(t_ms, around) {
            Ok(Observed::Events(events)) => {
                if std::mem::take(&mut self.is_silent) {
                    tracing::info!(objective = %name, "its events are counted again");
                    found.unmeasured.push((name.clone(), self.told_until, now));
                }
                self.told_until = now;
                if events != EventCounts::default() {
                    found.deltas.push(OutcomeDelta { cell: self.cell, counts: counts(events) });
                }
                return;
            }
            Ok(Observed::Nothing) => "the query of all events gives no series".to_owned(),
            Err(problem) => problem,
        };
        if UNMEASURED_EVERY <= now.since(self.told_until) {
            if !std::mem::replace(&mut self.is_silent, true) {
                tracing::warn!(objective = %name, "its events cannot be counted: {why}");
            }
            found.unmeasured.push((name.clone(), self.told_until, now));
            self.told_until = now;
        }
    }
}

/// Events as outcomes of requests: availability reads them back.
fn counts(events: EventCounts) -> OutcomeCounts {
    let mut counts = OutcomeCounts::of(OutcomeClass::Ok, events.good);
    counts += OutcomeCounts::of(OutcomeClass::ServerError, events.bad);
    counts
}

/// Samples have the time of the wall clock.
fn wall_ms() -> TimeMs {
    super::clock::wall_now().unix_ns().div_euclid(1_000_000)
}
