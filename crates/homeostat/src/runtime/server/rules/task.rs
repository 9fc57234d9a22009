//! One group on its schedule.

use std::{
    ops::ControlFlow,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::{Duration, Instant},
};

use homeostat_judge_rules::{GroupState, Surroundings, evaluation::NewSample, view::GroupView};
use homeostat_model::{Labels, SampleValue, TimeMs, sample::stale_marker};
use homeostat_sense_receive::{Intake as _, NotTaken, Rejected, Taken};
use homeostat_wire::intake::{FloatSample, HistogramSample, SeriesKey, SeriesSink as _, SeriesView};
use tokio_util::sync::CancellationToken;

use super::{Shared, outlet::Outlet};

/// How long a group waits for the disk. The store writes within milliseconds; a disk that takes longer is stuck, and rules
/// and alerts go on without it.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Alerts that go on are sent again after this time, as in Prometheus.
const RESEND_MS: i64 = 60_000;

pub(super) struct GroupTask {
    shared: Arc<Shared>,
    key: String,
    state: GroupState,
    /// Of each rule's last evaluation.
    took: Vec<Duration>,
    last_ms: Option<TimeMs>,
}

/// What came of one instant.
#[derive(Default)]
struct Round {
    evaluations: u64,
    failures: u64,
    samples: u64,
    /// What has to reach the disk.
    durable: Vec<Taken>,
}

impl GroupTask {
    pub(super) fn new(shared: Arc<Shared>, key: String, state: GroupState) -> Self {
        let took = vec![Duration::ZERO; state.group().rules.len()];
        let this = Self { shared, key, state, took, last_ms: None };
        this.show(|_| {});
        this
    }

    fn show(&self, change: impl FnOnce(&mut super::board::Counts)) {
        self.shared.board.show(&self.key, GroupView::of(&self.state, &self.took, self.last_ms), change);
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
            due_ms = next_ms.saturating_add(missed.saturating_mul(interval_ms));
            let missed = missed.unsigned_abs();
            self.shared.board.count(&self.key, |counts| {
                counts.missed += missed;
                counts.iterations += missed;
            });
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
        let Ok((mut this, round)) = evaluated.await else {
            tracing::error!(group = key, "an evaluation ended in the middle; this is our fault, please report it");
            return Self { shared, key, state: fresh.0, took: fresh.1, last_ms: None };
        };
        this.last_ms = Some(t_ms);
        let late = durable(round.durable, &this.key, DURABLE_TIMEOUT).await;
        this.show(|counts| {
            counts.evaluations += round.evaluations;
            counts.failures += round.failures;
            counts.iterations += 1;
            counts.late += late;
            counts.took = began.elapsed();
            counts.samples = round.samples;
        });
        this
    }

    fn evaluate(&mut self, t_ms: TimeMs, stop: &CancellationToken) -> Round {
        let mut round = Round::default();
        for rule in 0..self.state.group().rules.len() {
            let began = Instant::now();
            let evaluated = caught(|| self.evaluate_rule(rule, t_ms, stop, &mut round));
            match evaluated {
                // Nobody waits any more, or there is no store.
                Ok(ControlFlow::Break(())) => break,
                Ok(ControlFlow::Continue(())) => {}
                Err(problem) => {
                    round.failures += 1;
                    self.tell(rule, &problem);
                    self.state.broke_off(rule, t_ms, problem);
                }
            }
            round.evaluations += 1;
            self.took.get_mut(rule).into_iter().for_each(|took| *took = began.elapsed());
        }
        self.shared.outlet.reconcile(&self.key, &self.state, t_ms);
        round
    }

    fn evaluate_rule(
        &mut self,
        rule: usize,
        t_ms: TimeMs,
        stop: &CancellationToken,
        round: &mut Round,
    ) -> ControlFlow<()> {
        let shared = Arc::clone(&self.shared);
        let Some(store) = shared.door.store() else { return ControlFlow::Break(()) };
        let began = Instant::now();
        let is_cancelled = || stop.is_cancelled() || began.elapsed() > shared.timeout;
        let source = store.snapshot();
        let around = Surroundings { source: &source, environment: &shared.environment, is_cancelled: &is_cancelled };
        match self.state.evaluate(rule, t_ms, around) {
            Ok(samples) => {
                round.samples += samples.len() as u64;
                let written = write(&shared, &samples);
                round.durable.extend(written.taken);
                if let Some(problem) = written.problem {
                    self.tell(rule, &problem);
                    self.state.spoil(rule, problem);
                }
                self.send(rule, t_ms, &shared.outlet);
            }
            Err(_) if stop.is_cancelled() => return ControlFlow::Break(()),
            Err(problem) => {
                round.failures += 1;
                self.tell(rule, &problem);
            }
        }
        ControlFlow::Continue(())
    }

    fn tell(&self, rule: usize, problem: &str) {
        let name = self.state.group().rules.get(rule).map_or("", |rule| rule.name.as_str());
        tracing::warn!(group = self.key, rule = name, problem, "a rule is not well");
    }

    fn send(&mut self, rule: usize, t_ms: TimeMs, outlet: &Outlet) {
        let due = self.state.due(rule, t_ms, RESEND_MS);
        if let Some(rule) = self.state.group().rules.get(rule).filter(|_| !due.is_empty()) {
            outlet.send(due, &rule.query());
        }
    }
}

/// What a panic says. State is changed only after everything that may fail, so what the work was about stays as it was.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panicked| {
        let text = panicked.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panicked.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        format!("the evaluation ended in the middle ({text}); this is our fault, please report it")
    })
}

/// Waits until everything is on disk, for a while. Gives the number of batches that are not.
async fn durable(batches: Vec<Taken>, group: &str, most: Duration) -> u64 {
    let until = tokio::time::Instant::now() + most;
    let mut late = 0;
    for taken in batches {
        let problem = match tokio::time::timeout_at(until, taken.durable).await {
            Ok(Ok(())) => continue,
            Ok(Err(NotTaken::Busy(problem) | NotTaken::Broken(problem))) => problem,
            Err(_) => format!("the disk has not taken it for {} s", most.as_secs()),
        };
        late += 1;
        tracing::warn!(group, problem, "what rules made may be lost in a crash");
    }
    late
}

/// What became of a rule's samples.
#[derive(Default)]
struct Wrote {
    /// What has to reach the disk.
    taken: Option<Taken>,
    /// Why some of it was not stored.
    problem: Option<String>,
}

fn write(shared: &Shared, samples: &[NewSample]) -> Wrote {
    if samples.is_empty() {
        return Wrote::default();
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
            let refused =
                |Rejected { reason, count, example }: &Rejected| format!("{reason} ({count}, such as {example})");
            let problem = taken.rejected.iter().map(refused).reduce(|all, one| format!("{all}; {one}"));
            let problem = problem.map(|refused| format!("samples were not stored: {refused}"));
            Wrote { taken: Some(taken), problem }
        }
        Err(NotTaken::Busy(problem) | NotTaken::Broken(problem)) => {
            Wrote { taken: None, problem: Some(format!("what it made was not stored: {problem}")) }
        }
    }
}

/// Marks series as ended.
pub(super) async fn end(shared: &Shared, series: Vec<Labels>) {
    let t_ms = now_ms();
    let samples: Vec<NewSample> =
        series.into_iter().map(|labels| (labels, t_ms, SampleValue::Float(stale_marker()))).collect();
    let written = write(shared, &samples);
    if let Some(problem) = written.problem {
        tracing::warn!(problem, "series of rules that are gone are not marked as ended");
    }
    durable(written.taken.into_iter().collect(), "", DURABLE_TIMEOUT).await;
}

pub(super) fn now_ms() -> TimeMs {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use homeostat_sense_receive::Written;

    use super::*;

    #[test]
    fn a_panic_is_an_error_of_one_rule() {
        assert_eq!(caught(|| 1), Ok(1));
        let said = caught(|| assert_eq!(1, 2, "one is not {}", 2)).unwrap_err();
        assert!(said.contains("one is not 2") && said.contains("please report it"), "{said}");
    }

    #[tokio::test]
    async fn a_stuck_disk_is_waited_for_a_while_and_counted() {
        let taken = |durable| Taken { written: Written::default(), rejected: Vec::new(), durable };
        let batches = vec![
            taken(Box::pin(async { Ok(()) })),
            taken(Box::pin(std::future::pending())),
            taken(Box::pin(async { Err(NotTaken::Broken("full".to_owned())) })),
        ];
        assert_eq!(durable(batches, "g", Duration::ZERO).await, 2);
    }
}
