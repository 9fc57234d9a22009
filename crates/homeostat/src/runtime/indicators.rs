//! Objectives whose events queries count: what is asked, how often, and what is said when nobody can count.
//!
//! Every second each query pair is asked once, however many objectives share it. What it answers goes to the cells of
//! these objectives; while it does not answer, or nobody can ask, the time since its last answer is unmeasured.
//!
//! Not here: how series become events (`judge-rules`), when to ask and where the events go (`metrics_role`).
//! Invariants: a time is measured only when events of it were counted; what control did not take is told again; one query
//! that is slow or ends by a fault of ours keeps no other one from being asked.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use homeostat_judge_rules::{
    Environment, Surroundings,
    indicator::{IndicatorJudge, Observed},
};
use homeostat_model::{
    CellId, ObjectiveName, OutcomeClass, OutcomeCounts, OutcomeDelta, Span, TimeMs, Timestamp, evidence::EventCounts,
};
use homeostat_promql::{ParseOptions, SeriesSource};

use super::shared::Indicated;

/// The longest that all indicators together may take; the next second begins behind the one that took so long.
pub(super) const ASKING_MAX: Duration = Duration::from_secs(10);

/// How often the same unmeasured time is told: the judge's coverage is minutes, and each is a line in the journal.
pub(super) const UNMEASURED_EVERY: Span = Span::from_secs(60);

/// Time of objectives of which no events were counted: from when until when.
pub(super) type Unmeasured = Vec<(ObjectiveName, Timestamp, Timestamp)>;

/// What a second brought.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// One entry a cell, ascending.
    pub(super) deltas: Vec<OutcomeDelta>,
    pub(super) unmeasured: Unmeasured,
}

/// Indicators with what they remember.
#[derive(Debug, Default)]
pub(super) struct Indicators {
    wanted: Arc<Vec<Indicated>>,
    queries: Vec<Asked>,
    /// Where the next second begins.
    first: usize,
}

/// A pair of queries.
#[derive(Debug)]
struct Asked {
    judge: IndicatorJudge,
    /// Who counts by it.
    of: Vec<(ObjectiveName, CellId)>,
    /// Until when its events are counted, or told to be unmeasured.
    told_until: Timestamp,
    /// Nothing could be counted the last time.
    is_missed: bool,
    /// That was told.
    is_silent: bool,
}

/// When something is asked: on the process's time line, and on that of samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Timestamp,
    pub(super) t_ms: TimeMs,
}

impl Indicators {
    /// Takes what is wanted; queries that were asked before keep what they remember.
    pub(super) fn keep(&mut self, wanted: &Arc<Vec<Indicated>>, now: Timestamp) {
        if Arc::ptr_eq(&self.wanted, wanted) {
            return;
        }
        self.wanted = Arc::clone(wanted);
        self.queries.iter_mut().for_each(|asked| asked.of.clear());
        for Indicated { cell, objective, indicator } in &**wanted {
            let who = (objective.clone(), *cell);
            if let Some(asked) = self.queries.iter_mut().find(|asked| asked.judge.indicator() == indicator) {
                asked.of.push(who);
                continue;
            }
            match IndicatorJudge::new(indicator.clone(), &ParseOptions::all()) {
                Ok(judge) => {
                    let asked = Asked { judge, of: vec![who], told_until: now, is_missed: false, is_silent: false };
                    self.queries.push(asked);
                }
                // The configuration was checked by the same parser.
                Err(problem) => tracing::error!(%objective, %problem, "its queries cannot be read"),
            }
        }
        self.queries.retain(|asked| !asked.of.is_empty());
    }

    /// What was wanted the last time.
    pub(super) fn wanted(&self) -> Arc<Vec<Indicated>> {
        Arc::clone(&self.wanted)
    }

    /// Whether there is nothing to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// Asks each query once, as long as there is time.
    pub(super) fn ask(&mut self, source: &dyn SeriesSource, environment: &Environment, now: Now) -> Found {
        let began = Instant::now();
        let is_cancelled = || began.elapsed() > ASKING_MAX;
        self.ask_until(Surroundings { source, environment, is_cancelled: &is_cancelled }, now)
    }

    fn ask_until(&mut self, around: Surroundings<'_>, now: Now) -> Found {
        let mut found = Found::default();
        let count = self.queries.len();
        for step in 0..count {
            let index = (self.first + step) % count;
            let Some(asked) = self.queries.get_mut(index) else { break };
            asked.ask(now, around, &mut found);
            // Those behind it were not asked, which says nothing about them.
            if (around.is_cancelled)() {
                self.first = (index + 1) % count;
                break;
            }
        }
        found.deltas.sort_by_key(|delta| delta.cell);
        found
    }

    /// Nobody can ask.
    pub(super) fn silence(&mut self, now: Timestamp, why: &str) -> Found {
        let mut found = Found::default();
        for asked in &mut self.queries {
            asked.miss(now, why, &mut found.unmeasured);
        }
        found
    }

    /// What was not told yet, at the end.
    pub(super) fn rest(&mut self, now: Timestamp) -> Unmeasured {
        let mut unmeasured = Unmeasured::new();
        for asked in self.queries.iter_mut().filter(|asked| asked.is_missed) {
            asked.tell(now, &mut unmeasured);
        }
        unmeasured
    }

    /// Control did not take these: they are told again. What overlaps does no harm.
    pub(super) fn put_back(&mut self, refused: &Unmeasured) {
        for (objective, from, _) in refused {
            let of = |asked: &&mut Asked| asked.of.iter().any(|(name, _)| name == objective);
            if let Some(asked) = self.queries.iter_mut().find(of) {
                asked.told_until = asked.told_until.min(*from);
                // Should events come back first, it is told with them.
                asked.is_silent = true;
            }
        }
    }
}

impl Found {
    /// Leaves out what was counted for those that are not wanted any more, or by other queries.
    pub(super) fn retain(&mut self, before: &[Indicated], wanted: &[Indicated]) {
        self.deltas.retain(|delta| before.iter().any(|one| one.cell == delta.cell && wanted.contains(one)));
    }
}

impl Asked {
    fn ask(&mut self, now: Now, around: Surroundings<'_>, found: &mut Found) {
        let judge = &mut self.judge;
        let asked = catch_unwind(AssertUnwindSafe(|| judge.ask(now.t_ms, around)));
        let why = match asked {
            Ok(Ok(Observed::Events(events))) => return self.count(now.at, events, found),
            Ok(Ok(Observed::Nothing)) => "the query of all events gives no series".to_owned(),
            Ok(Err(problem)) => problem,
            Err(_) => "evaluating the query ended by a fault of ours; please report it".to_owned(),
        };
        self.miss(now.at, &why, &mut found.unmeasured);
    }

    fn count(&mut self, now: Timestamp, events: EventCounts, found: &mut Found) {
        if std::mem::take(&mut self.is_silent) {
            tracing::info!(objectives = self.names(), "events are counted again");
            self.tell(now, &mut found.unmeasured);
        }
        (self.told_until, self.is_missed) = (now, false);
        if events != EventCounts::default() {
            let counts = counts(events);
            found.deltas.extend(self.of.iter().map(|(_, cell)| OutcomeDelta { cell: *cell, counts }));
        }
    }

    /// Events could not be counted; told once that has lasted.
    fn miss(&mut self, now: Timestamp, why: &str, unmeasured: &mut Unmeasured) {
        self.is_missed = true;
        if now.since(self.told_until) < UNMEASURED_EVERY {
            return;
        }
        if !std::mem::replace(&mut self.is_silent, true) {
            tracing::warn!(objectives = self.names(), "events cannot be counted: {why}");
        }
        self.tell(now, unmeasured);
    }

    fn tell(&mut self, now: Timestamp, unmeasured: &mut Unmeasured) {
        let from = std::mem::replace(&mut self.told_until, now);
        unmeasured.extend(self.of.iter().map(|(name, _)| (name.clone(), from, now)));
    }

    fn names(&self) -> String {
        self.of.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// Events as outcomes of requests: availability reads them back.
fn counts(events: EventCounts) -> OutcomeCounts {
    let mut counts = OutcomeCounts::of(OutcomeClass::Ok, events.good);
    counts += OutcomeCounts::of(OutcomeClass::ServerError, events.bad);
    counts
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use homeostat_model::{
        Labels, SampleRun,
        objective::{Indicator, IndicatorForm},
    };
    use homeostat_promql::{Select, SelectedSeries, SourceError, eval::Options};

    use super::*;

    /// Every series has the value of its second. Asking for `slow` takes all the time there is, and for `broken` panics.
    #[derive(Default)]
    struct Store {
        is_late: AtomicBool,
        is_empty: bool,
    }

    impl SeriesSource for Store {
        fn select<'a>(&'a self, select: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
            let asked = |name: &str| select.matchers.iter().any(|m| &*m.name == "__name__" && m.matches(name));
            assert!(!asked("broken"), "a mistake of ours");
            self.is_late.fetch_or(asked("slow"), Ordering::Relaxed);
            let (t_ms, values) = (vec![select.end_ms], vec![select.end_ms as f64 / 1000.0]);
            let runs = Box::new(std::iter::once(Ok(SampleRun::Floats { t_ms, values, starts: Vec::new() })));
            let series = SelectedSeries { labels: Labels::new([("__name__", "x")]), runs };
            Ok(if self.is_empty { Vec::new() } else { vec![series] })
        }
    }

    /// An objective that counts what a metric grows by.
    fn counts(cell: u16, objective: &str, metric: &str) -> Indicated {
        let indicator = Indicator {
            part: metric.to_owned(),
            part_is_good: true,
            total: metric.to_owned(),
            form: IndicatorForm::Counter,
        };
        Indicated { cell: CellId(cell), objective: objective.parse().unwrap(), indicator }
    }

    fn at(second: i64) -> Now {
        Now { at: Timestamp::from_unix_ms(second * 1000), t_ms: second * 1000 }
    }

    fn keeping(wanted: Vec<Indicated>) -> Indicators {
        let mut indicators = Indicators::default();
        indicators.keep(&Arc::new(wanted), at(0).at);
        indicators
    }

    fn ask(indicators: &mut Indicators, store: &Store, second: i64) -> Found {
        let environment = Environment {
            options: Options::default(),
            language: ParseOptions::all(),
            external_labels: Labels::empty(),
            external_url: String::new(),
        };
        store.is_late.store(false, Ordering::Relaxed);
        let is_cancelled = || store.is_late.load(Ordering::Relaxed);
        let around = Surroundings { source: store, environment: &environment, is_cancelled: &is_cancelled };
        indicators.ask_until(around, at(second))
    }

    fn cells(found: &Found) -> Vec<(u16, u64)> {
        found.deltas.iter().map(|delta| (delta.cell.0, delta.counts.total())).collect()
    }

    /// Names with the seconds from and until.
    fn told(unmeasured: &Unmeasured) -> Vec<(&str, i64, i64)> {
        let second = |at: &Timestamp| at.unix_ns() / 1_000_000_000;
        unmeasured.iter().map(|(name, from, to)| (name.as_str(), second(from), second(to))).collect()
    }

    #[test]
    fn a_query_is_asked_once_for_all_its_objectives() {
        let mut indicators = keeping(vec![counts(3, "a-1", "x"), counts(4, "a-2", "x"), counts(5, "b", "y")]);
        assert_eq!(indicators.queries.len(), 2);
        let store = Store::default();
        ask(&mut indicators, &store, 10);
        assert_eq!(cells(&ask(&mut indicators, &store, 12)), [(3, 2), (4, 2), (5, 2)]);
        // What is asked anew begins anew, the others go on.
        let before = indicators.wanted();
        let wanted = Arc::new(vec![counts(3, "a-1", "x"), counts(5, "b", "z")]);
        let mut found = ask(&mut indicators, &store, 13);
        found.retain(&before, &wanted);
        assert_eq!(cells(&found), [(3, 1)], "nobody wants the others any more");
        indicators.keep(&wanted, at(13).at);
        assert_eq!(cells(&ask(&mut indicators, &store, 14)), [(3, 1)]);
        assert_eq!(cells(&ask(&mut indicators, &store, 15)), [(3, 1), (5, 1)]);
    }

    #[test]
    fn while_nobody_can_ask_time_is_unmeasured() {
        let mut indicators = keeping(vec![counts(0, "a", "x"), counts(1, "b", "y")]);
        for second in 1..60 {
            assert!(indicators.silence(at(second).at, "the address is taken").unmeasured.is_empty());
        }
        let found = indicators.silence(at(60).at, "the address is taken");
        assert_eq!(told(&found.unmeasured), [("a", 0, 60), ("b", 0, 60)]);
        // A query that gives nothing is silent as well, and what comes back is told with its last gap.
        let (nothing, store) = (Store { is_empty: true, ..Store::default() }, Store::default());
        assert!(ask(&mut indicators, &nothing, 61).unmeasured.is_empty());
        let found = ask(&mut indicators, &store, 62);
        assert_eq!(told(&found.unmeasured), [("a", 60, 62), ("b", 60, 62)]);
        assert!(ask(&mut indicators, &store, 63).unmeasured.is_empty());
        assert!(indicators.rest(at(64).at).is_empty());
        ask(&mut indicators, &nothing, 65);
        assert_eq!(told(&indicators.rest(at(66).at)), [("a", 63, 66), ("b", 63, 66)], "the end comes first");
    }

    #[test]
    fn what_control_did_not_take_is_told_again() {
        let mut indicators = keeping(vec![counts(0, "a", "x")]);
        let refused = indicators.silence(at(70).at, "").unmeasured;
        indicators.put_back(&refused);
        assert_eq!(told(&indicators.silence(at(71).at, "").unmeasured), [("a", 0, 71)]);
        indicators.put_back(&refused);
        let store = Store::default();
        ask(&mut indicators, &store, 72);
        indicators.put_back(&refused);
        assert_eq!(told(&ask(&mut indicators, &store, 73).unmeasured), [("a", 0, 73)], "with the first events");
    }

    #[test]
    fn a_slow_or_broken_query_starves_no_other_one() {
        let all = ["x", "slow", "y", "broken", "z"];
        let mut indicators = keeping((0..).zip(all).map(|(cell, metric)| counts(cell, metric, metric)).collect());
        let store = Store::default();
        let mut seen = std::collections::BTreeSet::new();
        for second in 1..10 {
            seen.extend(cells(&ask(&mut indicators, &store, second)).into_iter().map(|(cell, _)| cell));
        }
        assert!([0, 2, 4].iter().all(|cell| seen.contains(cell)) && !seen.contains(&3), "{seen:?}");
    }
}
