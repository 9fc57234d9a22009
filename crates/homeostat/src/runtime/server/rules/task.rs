//! One group on its schedule.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use homeostat_judge_rules::{GroupState, Surroundings, evaluation::NewSample, view::GroupView};
use homeostat_model::{Labels, SampleValue, TimeMs, sample::stale_marker};
use homeostat_sense_receive::{Intake as _, NotTaken, Taken};
use homeostat_wire::intake::{FloatSample, HistogramSample, SeriesKey, SeriesSink as _, SeriesView};
use tokio_util::sync::CancellationToken;

use super::{Shared, outlet::Outlet};

/// Alerts that go on are sent again after this time, as in Prometheus.
const RESEND_MS: i64 = 60_000;

pub(super) struct GroupTask {
    shared: Arc<Shared>,
    key: String,
    state: GroupState,
    /// Of each rule's last evaluation.
    took: Vec<Duration>,
}

/// What came of one instant.
#[derive(Default)]
struct Round {
    failures: u64,
    samples: u64,
    /// What has to reach the disk.
    durable: Vec<Taken>,
}

impl GroupTask {
    pub(super) fn new(shared: Arc<Shared>, key: String, state: GroupState) -> Self {
        let took = vec![Duration::ZERO; state.group().rules.len()];
        let this = Self { shared, key, state, took };
        this.show(None, |_| {});
        this
    }

    fn show(&self, t_ms: Option<TimeMs>, change: impl FnOnce(&mut super::board::Counts)) {
        self.shared.board.show(&self.key, GroupView::of(&self.state, &self.took, t_ms), change);
    }

    /// Evaluates at every instant until it is stopped; gives what it remembers.
    pub(super) async fn run(mut self, stop: CancellationToken) -> GroupState {
        let interval_ms = self.state.group().interval_ms.max(1);
        let mut due_ms = self.state.group().instant(now_ms()).saturating_add(interval_ms);
        loop {
            let wait_ms = u64::try_from(due_ms.saturating_sub(now_ms())).unwrap_or(0);
            let sleep = tokio::time::sleep(Duration::from_millis(wait_ms));
            if stop.run_until_cancelled(sleep).await.is_none() {
                return self.state;
            }
            self = self.round(due_ms, &stop).await;
            let next_ms = due_ms.saturating_add(interval_ms);
            // An evaluation that takes too long leaves the instants out that it covers.
            let missed = now_ms().saturating_sub(next_ms).max(0) / interval_ms;
            due_ms = next_ms.saturating_add(missed * interval_ms);
            if missed > 0 {
                self.show(Some(due_ms), |counts| counts.missed += missed as u64);
            }
        }
    }

    async fn round(self, t_ms: TimeMs, stop: &CancellationToken) -> Self {
        let stop = stop.clone();
        let (shared, key) = (Arc::clone(&self.shared), self.key.clone());
        let fresh = (GroupState::new(Arc::clone(self.state.group())), self.took.clone());
        let began = Instant::now();
        let evaluated = tokio::task::spawn_blocking(move || {
            let mut this = self;
            let round = this.evaluate(t_ms, &stop);
            (this, round)
        });
        let Ok((this, round)) = evaluated.await else {
            tracing::error!(group = key, "an evaluation ended in the middle; this is our fault, please report it");
            return Self { shared, key, state: fresh.0, took: fresh.1 };
        };
        for taken in round.durable {
            if let Err(NotTaken::Busy(problem) | NotTaken::Broken(problem)) = taken.durable.await {
                tracing::warn!(group = this.key, problem, "what rules made may be lost in a crash");
            }
        }
        let rules = this.state.group().rules.len() as u64;
        this.show(Some(t_ms), |counts| {
            counts.evaluations += rules;
            counts.failures += round.failures;
            counts.iterations += 1;
            counts.took = began.elapsed();
            counts.samples = round.samples;
        });
        this
    }

    fn evaluate(&mut self, t_ms: TimeMs, stop: &CancellationToken) -> Round {
        let mut round = Round::default();
        let shared = Arc::clone(&self.shared);
        for rule in 0..self.state.group().rules.len() {
            let began = Instant::now();
            let Some(store) = shared.door.store() else { return round };
            let is_cancelled = || stop.is_cancelled() || began.elapsed() > shared.timeout;
            let source = store.snapshot();
            let around =
                Surroundings { source: &source, environment: &shared.environment, is_cancelled: &is_cancelled };
            match self.state.evaluate(rule, t_ms, around) {
                Ok(samples) => {
                    round.samples += samples.len() as u64;
                    round.durable.extend(write(&shared, &samples));
                    self.send(rule, t_ms, &shared.outlet);
                }
                // Nobody waits any more.
                Err(_) if stop.is_cancelled() => return round,
                Err(problem) => {
                    round.failures += 1;
                    let name = self.state.group().rules.get(rule).map_or("", |rule| rule.name.as_str());
                    tracing::warn!(group = self.key, rule = name, problem, "a rule cannot be evaluated");
                }
            }
            self.took.get_mut(rule).into_iter().for_each(|took| *took = began.elapsed());
        }
        round
    }

    fn send(&mut self, rule: usize, t_ms: TimeMs, outlet: &Outlet) {
        let due = self.state.due(rule, t_ms, RESEND_MS);
        if let Some(rule) = self.state.group().rules.get(rule).filter(|_| !due.is_empty()) {
            outlet.send(due, &rule.query());
        }
    }
}

/// Writes samples; what is refused is told.
fn write(shared: &Shared, samples: &[NewSample]) -> Option<Taken> {
    if samples.is_empty() {
        return None;
    }
    let mut batch = shared.intake.begin(now_ms());
    for (labels, t_ms, value) in samples {
        let labels: Vec<(&str, &str)> = labels.iter().collect();
        let key = SeriesKey::Labels { labels: &labels, bytes: None };
        match value {
            SampleValue::Float(value) => {
                let sample = FloatSample { t_ms: *t_ms, value: *value, start_ms: None };
                batch.series(key, SeriesView::new(&[sample], &[], &[]));
            }
            SampleValue::Histogram(histogram) => {
                let sample = HistogramSample { t_ms: *t_ms, histogram: Arc::clone(histogram), start_ms: None };
                batch.series(key, SeriesView::new(&[], &[sample], &[]));
            }
        }
    }
    match shared.intake.commit(batch) {
        Ok(taken) => {
            for rejected in &taken.rejected {
                let (reason, count, example) = (&rejected.reason, rejected.count, &rejected.example);
                tracing::warn!(reason, count, example, "samples of a rule were not stored");
            }
            Some(taken)
        }
        Err(NotTaken::Busy(problem) | NotTaken::Broken(problem)) => {
            tracing::warn!(problem, "what rules made was not stored");
            None
        }
    }
}

/// Marks series as ended.
pub(super) async fn end(shared: &Shared, series: Vec<Labels>) {
    let t_ms = now_ms();
    let samples: Vec<NewSample> =
        series.into_iter().map(|labels| (labels, t_ms, SampleValue::Float(stale_marker()))).collect();
    if let Some(taken) = write(shared, &samples) {
        // A disk that fails is told by the store.
        drop(taken.durable.await);
    }
}

fn now_ms() -> TimeMs {
    jiff::Timestamp::now().as_millisecond()
}
