//! The metrics server inside the process, and the objectives whose events its queries count.
//!
//! ```text
//! remote write, OTLP, scrape ──▶ metrics server (runtime::server) ──▶ store
//!                                                                      │ every second: queries of indicators
//! control ◀── inbox ◀── OutcomeDelta of the objective's own cell ◀─────┘
//! ```
//!
//! It comes up beside the gateway and never before it matters: an address that is taken, a damaged store or a file with
//! problems is told in the log and in `status`, and tried again, while the gateway serves and control judges. Meanwhile,
//! and where no document wants a server, the role says that nobody counts.
//!
//! Invariants: a cell of an indicator gets events from here alone; what could not be counted is told as unmeasured.

use std::{
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use homeostat_act_notify::spec::ReceiverSpec;
use homeostat_model::{TimeMs, error_chain::chain};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Interval, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    clock::Clock,
    explaining::Discovered,
    inbox::Inbox,
    indicators::{Found, Indicators, Now, Unmeasured},
    message::Message,
    server::{
        self, RunningServer,
        settings::{AddressNames, BadRules, Settings},
    },
    shared::{MetricsHealth, Shared, lock},
};
use crate::config::MetricsSpec;

/// Folder of the metrics server within the data directory.
const METRICS_DIR: &str = "metrics";

/// How long to wait before what failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// How often indicators are asked. Samples seldom come more often, and a query of a few series takes microseconds.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Why nobody counts when the configuration had no `Metrics` document at the start.
const NOT_STARTED: &str = "there is no metrics server; a `Metrics` document that came with a reload takes a restart";

/// The running role.
#[derive(Debug)]
pub(super) struct MetricsRole {
    task: JoinHandle<()>,
    stop: CancellationToken,
    shared: Arc<Shared>,
}

/// What it works with.
#[derive(Debug)]
pub(super) struct MetricsParts {
    /// What server there is to be, if any.
    pub(super) spec: Option<MetricsSpec>,
    /// Who hears of alerts of rules. Each value asks for its files to be read again.
    pub(super) receivers: watch::Receiver<Vec<ReceiverSpec>>,
    /// Data directory of the process.
    pub(super) dir: PathBuf,
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Arc<Inbox<Message>>,
}

impl MetricsRole {
    /// Starts it in the background. Must be called on a multi-threaded tokio runtime.
    pub(super) fn start(parts: MetricsParts) -> Self {
        let stop = CancellationToken::new();
        if parts.spec.is_some() {
            *lock(&parts.shared.metrics) = MetricsHealth::Trouble("the metrics server is starting".to_owned());
        }
        let shared = Arc::clone(&parts.shared);
        let role = Role { indicators: Indicators::default(), is_refused: false, parts };
        let task = tokio::spawn(role.run(stop.clone()));
        Self { task, stop, shared }
    }

    /// Where the server listens, once it does.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match *lock(&self.shared.metrics) {
            MetricsHealth::Fine(address) => Some(address),
            MetricsHealth::Off | MetricsHealth::Trouble(_) => None,
        }
    }

    /// Stops serving, and closes the store.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(problem) = self.task.await {
            tracing::error!(%problem, "the metrics server had ended early");
        }
    }
}

fn settings(spec: MetricsSpec, receivers: Vec<ReceiverSpec>, dir: PathBuf) -> Settings {
    Settings {
        otlp_http: spec.otlp_http,
        otlp_grpc: spec.otlp_grpc,
        open: spec.open,
        scrape_config: spec.scrape_config,
        rules: spec.rules,
        bad_rules: BadRules::GoWithout,
        receivers: Some(receivers),
        external_url: spec.external_url,
        limits: spec.limits,
        durability: spec.durability,
        out_of_order_window: spec.out_of_order_window,
        retention: spec.retention,
        retention_bytes: spec.retention_bytes,
        // The gateway and control are not made to wait for a dashboard.
        cores_spared: 1,
        ..Settings::new(AddressNames::KEYS, spec.listen, dir)
    }
}

async fn open(settings: Settings) -> Result<RunningServer, String> {
    let options = tokio::task::spawn_blocking(move || settings.options()).await;
    let options = options.map_err(|problem| problem.to_string()).flatten()?;
    server::start(options).await.map_err(|problem| chain(&problem))
}

/// The task.
struct Role {
    parts: MetricsParts,
    indicators: Indicators,
    /// Control did not take what was unmeasured the last time.
    is_refused: bool,
}

impl Role {
    async fn run(mut self, stop: CancellationToken) {
        match self.parts.spec.clone() {
            Some(spec) => self.serve(&spec, &stop).await,
            None => self.say_nothing_while(NOT_STARTED, stop.cancelled()).await,
        }
        let rest = self.indicators.rest(self.parts.clock.now());
        self.hand_over(Found { unmeasured: rest, ..Found::default() });
    }

    async fn serve(&mut self, spec: &MetricsSpec, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let receivers = self.parts.receivers.borrow_and_update().clone();
            let opening = open(settings(spec.clone(), receivers, self.parts.dir.join(METRICS_DIR)));
            match self.say_nothing_while("the metrics server is starting", opening).await {
                Ok(server) => {
                    tracing::info!("metrics server at http://{}/", server.address());
                    *lock(&self.parts.shared.metrics) = MetricsHealth::Fine(server.address());
                    self.judge(&server, stop).await;
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
                    *lock(&self.parts.shared.metrics) = MetricsHealth::Trouble(problem.clone());
                    // Cancelled: the loop ends.
                    let pause = stop.run_until_cancelled(sleep(TRY_AGAIN));
                    let _cancelled = self.say_nothing_while(&problem, pause).await;
                }
            }
        }
    }

    /// Waits for something during which nobody can count.
    async fn say_nothing_while<T>(&mut self, why: &str, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut seconds = seconds();
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = seconds.tick() => {}
            }
            self.keep();
            let found = self.indicators.silence(self.parts.clock.now(), why);
            self.hand_over(found);
        }
    }

    fn keep(&mut self) {
        self.indicators.keep(&self.parts.shared.indicators.load_full(), self.parts.clock.now());
    }

    /// Asks the indicators every second until it is stopped.
    async fn judge(&mut self, server: &RunningServer, stop: &CancellationToken) {
        let mut seconds = seconds();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.parts.receivers.changed() => {
                    let receivers = self.parts.receivers.borrow_and_update().clone();
                    server.reconfigure(receivers);
                    server.reload().await;
                }
                _ = seconds.tick() => {}
            }
            self.keep();
            self.tell_targets(server);
            if !self.indicators.is_empty() {
                let found = self.ask(server).await;
                self.hand_over(found);
            }
        }
    }

    /// Tells what scraping finds to those who take profiles, while any service asks for that. What was found last stands while
    /// the server does not run.
    fn tell_targets(&self, server: &RunningServer) {
        let shared = &self.parts.shared;
        let is_asked_for = !shared.sought.load().is_empty();
        let found = if is_asked_for { Discovered::all_of(server.targets()) } else { Vec::new() };
        if is_asked_for || !shared.discovered.load().is_empty() {
            shared.discovered.store(Arc::new(found));
        }
    }

    async fn ask(&mut self, server: &RunningServer) -> Found {
        let (store, environment, clock) = (server.store().clone(), server.environment().clone(), self.parts.clock);
        let mut indicators = std::mem::take(&mut self.indicators);
        let wanted = indicators.wanted();
        let asked = tokio::task::spawn_blocking(move || {
            let now = Now { at: clock.now(), t_ms: wall_ms() };
            let found = catch_unwind(AssertUnwindSafe(|| indicators.ask(&store.snapshot(), &environment, now)));
            let ended = "counting by queries ended by a fault of ours; please report it";
            let found = found.unwrap_or_else(|_| indicators.silence(now.at, ended));
            (indicators, found)
        });
        // Not a panic of the work: the runtime is going away.
        let Ok((indicators, mut found)) = asked.await else { return Found::default() };
        self.indicators = indicators;
        let wanted_now = self.parts.shared.indicators.load_full();
        if !Arc::ptr_eq(&wanted, &wanted_now) {
            found.retain(&wanted, &wanted_now);
        }
        found
    }

    fn hand_over(&mut self, Found { deltas, unmeasured }: Found) {
        self.parts.inbox.push_tick(Instant::now(), deltas);
        if !unmeasured.is_empty() {
            self.tell(unmeasured);
        }
    }

    fn tell(&mut self, unmeasured: Unmeasured) {
        let refused = match self.parts.inbox.push(Message::Unmeasured(unmeasured)) {
            Err(Message::Unmeasured(refused)) => refused,
            Ok(()) | Err(_) => Vec::new(),
        };
        self.indicators.put_back(&refused);
        if !std::mem::replace(&mut self.is_refused, !refused.is_empty()) && !refused.is_empty() {
            tracing::warn!("control takes nothing at the moment; it is told later what was not measured");
        }
    }
}

fn seconds() -> Interval {
    let mut seconds = interval(ASK_EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    seconds
}

/// Samples have the time of the wall clock.
fn wall_ms() -> TimeMs {
    super::clock::wall_now().unix_ns().div_euclid(1_000_000)
}
