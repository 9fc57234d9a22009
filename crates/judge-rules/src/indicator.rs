//! From what the queries of an indicator give, instant by instant, to good and bad events.
//!
//! Counters are taken series by series: what one grew by since it was last seen is events, and what fell began anew. A
//! series that is seen for the first time has no past to compare with, so its first value counts nothing; one that was
//! gone for a while (a scrape that failed, a stale marker) goes on where it was, as Prometheus' `increase` does.
//! A sum over several series that falls says nothing about how much was counted meanwhile: it counts nothing, which is
//! why indicators should name series and leave the sum to us.
//!
//! Fractions of events, which rates give, are carried over to the next instant: nothing is lost by rounding.
//!
//! Not here: clocks, where the events go. Invariants: good and bad never exceed the total; nothing is counted twice.

use std::collections::BTreeMap;

use homeostat_model::{
    Labels, SampleValue, TimeMs,
    evidence::EventCounts,
    objective::{Indicator, IndicatorForm},
};
use homeostat_promql::{Expr, ParseErrors, ParseOptions, eval::VectorElement, parse};

use crate::evaluation::{Surroundings, ask};

/// A series that was gone for so long begins anew: five times the usual look-back of queries.
const FORGOTTEN_AFTER_MS: i64 = 25 * 60_000;

/// Series that are remembered of each query: 100,000 with labels of 200 bytes are 20 MB. Beyond it, new ones are not
/// counted.
pub const SERIES_MAX: usize = 100_000;

/// Instants that are further apart than this are not connected by a rate.
const RATE_GAP_MAX_MS: i64 = 60_000;

/// An indicator that is asked instant by instant.
#[derive(Debug)]
pub struct IndicatorJudge {
    indicator: Indicator,
    part: Expr,
    total: Expr,
    state: IndicatorState,
}

impl IndicatorJudge {
    /// An indicator that was never asked. The error says what is wrong with one of the queries.
    pub fn new(indicator: Indicator, language: &ParseOptions) -> Result<Self, ParseErrors> {
        let (part, total) = (parse(&indicator.part, language)?, parse(&indicator.total, language)?);
        let state = IndicatorState::new(indicator.form, indicator.part_is_good);
        Ok(Self { indicator, part, total, state })
    }

    /// What it asks for.
    pub fn indicator(&self) -> &Indicator {
        &self.indicator
    }

    /// Asks at an instant, which is later than the one before. An error leaves what is remembered as it was.
    pub fn ask(&mut self, t_ms: TimeMs, around: Surroundings<'_>) -> Result<Observed, String> {
        let (part, total) = (ask(&self.part, t_ms, around)?, ask(&self.total, t_ms, around)?);
        Ok(self.state.observe(t_ms, numbers(&part), numbers(&total)))
    }
}

/// A histogram counts what was observed.
fn numbers(elements: &[VectorElement]) -> impl Iterator<Item = (&Labels, f64)> {
    elements.iter().map(|element| match &element.value {
        SampleValue::Float(value) => (&element.labels, *value),
        SampleValue::Histogram(histogram) => (&element.labels, histogram.count),
    })
}

/// An indicator's memory between two instants.
#[derive(Debug)]
pub struct IndicatorState {
    form: IndicatorForm,
    part_is_good: bool,
    part: Counters,
    total: Counters,
    observed_ms: Option<TimeMs>,
    /// Less than one event each.
    carried: Fractions,
}

#[derive(Debug, Default)]
struct Fractions {
    good: f64,
    bad: f64,
}

/// What an instant added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observed {
    /// So many events since the instant before.
    Events(EventCounts),
    /// Nothing can be said: nothing is there, or there is nothing to compare it with yet.
    Nothing,
}

impl IndicatorState {
    /// Nothing was seen yet.
    pub fn new(form: IndicatorForm, part_is_good: bool) -> Self {
        Self {
            form,
            part_is_good,
            part: Counters::default(),
            total: Counters::default(),
            observed_ms: None,
            carried: Fractions::default(),
        }
    }

    /// Takes what the queries give at an instant, which is later than the one before: the elements of `part` and of
    /// `total`. Values that are no numbers of events (NaN, infinite, negative) are passed over.
    pub fn observe<'a>(
        &mut self,
        t_ms: TimeMs,
        part: impl Iterator<Item = (&'a Labels, f64)>,
        total: impl Iterator<Item = (&'a Labels, f64)>,
    ) -> Observed {
        let before = self.observed_ms;
        let (part, total) = match self.form {
            IndicatorForm::Counter => {
                self.observed_ms = Some(t_ms);
                (self.part.grown(t_ms, part), self.total.grown(t_ms, total))
            }
            IndicatorForm::Rate => {
                let elapsed_ms = before.map_or(i64::MAX, |before| t_ms.saturating_sub(before));
                let seconds = if elapsed_ms <= RATE_GAP_MAX_MS { elapsed_ms.max(0) as f64 / 1000.0 } else { 0.0 };
                let events = |all: Option<f64>| all.map(|rate| rate * seconds);
                let (part, total) = (events(sum(part)), events(sum(total)));
                // While there is nothing, nothing was seen: what comes next stands for the gap as well.
                self.observed_ms = total.map(|_| t_ms).or(before);
                (part, total)
            }
        };
        // A part without any series counts nothing: an application that never failed has no series of failures.
        let (Some(total), Some(_)) = (total, before) else { return Observed::Nothing };
        let part = part.unwrap_or(0.0).min(total);
        let (good, bad) = if self.part_is_good { (part, total - part) } else { (total - part, part) };
        Observed::Events(EventCounts {
            good: whole(&mut self.carried.good, good),
            bad: whole(&mut self.carried.bad, bad),
        })
    }
}

fn whole(carried: &mut f64, events: f64) -> u64 {
    let sum = *carried + events;
    // 2.9999999999999996 is three.
    let whole = (sum + 1e-9).floor().max(0.0);
    *carried = sum - whole;
    whole as u64
}

fn sum<'a>(all: impl Iterator<Item = (&'a Labels, f64)>) -> Option<f64> {
    let events = all.map(|(_, value)| value).filter(|value| value.is_finite() && *value >= 0.0);
    events.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// The counters of one query.
#[derive(Debug, Default)]
struct Counters(BTreeMap<Labels, Counter>);

#[derive(Debug)]
struct Counter {
    value: f64,
    seen_ms: TimeMs,
}

impl Counters {
    /// By how much they grew since they were last seen; `None` when there is none.
    fn grown<'a>(&mut self, t_ms: TimeMs, all: impl Iterator<Item = (&'a Labels, f64)>) -> Option<f64> {
        let mut grown = None;
        for (labels, value) in all {
            if !value.is_finite() || value < 0.0 {
                continue;
            }
            let mut events = 0.0;
            if let Some(counter) = self.0.get_mut(labels) {
                events = match (value < counter.value, labels.metric()) {
                    (false, _) => value - counter.value,
                    (true, Some(_)) => value,
                    (true, None) => 0.0,
                };
                *counter = Counter { value, seen_ms: t_ms };
            } else if self.0.len() < SERIES_MAX {
                self.0.insert(labels.clone(), Counter { value, seen_ms: t_ms });
            }
            grown = Some(grown.unwrap_or(0.0) + events);
        }
        self.0.retain(|_, counter| t_ms.saturating_sub(counter.seen_ms) <= FORGOTTEN_AFTER_MS);
        grown
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(name: &str, instance: &str) -> Labels {
        Labels::new([("__name__", name), ("instance", instance)])
    }

    fn observe(state: &mut IndicatorState, t_ms: i64, part: &[(&Labels, f64)], total: &[(&Labels, f64)]) -> Observed {
        state.observe(t_ms, part.iter().copied(), total.iter().copied())
    }

    fn events(good: u64, bad: u64) -> Observed {
        Observed::Events(EventCounts { good, bad })
    }

    #[test]
    fn counters_count_by_what_they_grow() {
        let (a, b) = (series("total", "a"), series("total", "b"));
        let failed = series("failed", "a");
        let mut state = IndicatorState::new(IndicatorForm::Counter, false);
        assert_eq!(observe(&mut state, 0, &[], &[(&a, 1000.0)]), Observed::Nothing, "nothing to compare with");
        assert_eq!(observe(&mut state, 1000, &[], &[(&a, 1010.0)]), events(10, 0));
        // A series that appears has no past; neither has that of the first failure.
        assert_eq!(observe(&mut state, 2000, &[(&failed, 1.0)], &[(&a, 1020.0), (&b, 70.0)]), events(10, 0));
        assert_eq!(observe(&mut state, 3000, &[(&failed, 4.0)], &[(&a, 1020.0), (&b, 80.0)]), events(7, 3));
        assert_eq!(observe(&mut state, 4000, &[(&failed, 4.0)], &[(&a, 1020.0), (&b, 80.0)]), events(0, 0));
    }

    #[test]
    fn a_restart_counts_what_came_after_it_and_a_fallen_sum_nothing() {
        let (a, sum) = (series("good", "a"), Labels::empty());
        let mut state = IndicatorState::new(IndicatorForm::Counter, true);
        observe(&mut state, 0, &[(&a, 100.0)], &[(&a, 100.0)]);
        assert_eq!(observe(&mut state, 1000, &[(&a, 5.0)], &[(&a, 8.0)]), events(5, 3));
        let mut state = IndicatorState::new(IndicatorForm::Counter, true);
        observe(&mut state, 0, &[(&sum, 100.0)], &[(&sum, 100.0)]);
        assert_eq!(observe(&mut state, 1000, &[(&sum, 60.0)], &[(&sum, 61.0)]), events(0, 0));
        assert_eq!(observe(&mut state, 2000, &[(&sum, 70.0)], &[(&sum, 71.0)]), events(10, 0));
    }

    #[test]
    fn what_was_away_for_a_while_goes_on_where_it_was() {
        let a = series("total", "a");
        let mut state = IndicatorState::new(IndicatorForm::Counter, true);
        observe(&mut state, 0, &[(&a, 10.0)], &[(&a, 10.0)]);
        assert_eq!(observe(&mut state, 1000, &[], &[]), Observed::Nothing);
        assert_eq!(observe(&mut state, 60_000, &[(&a, 13.0)], &[(&a, 14.0)]), events(3, 1));
        let later = 60_000 + FORGOTTEN_AFTER_MS + 1;
        assert_eq!(observe(&mut state, later, &[], &[]), Observed::Nothing);
        assert_eq!(observe(&mut state, later + 1, &[(&a, 99.0)], &[(&a, 99.0)]), events(0, 0), "too long ago");
    }

    #[test]
    fn rates_are_added_up_over_time_without_losing_fractions() {
        let all = Labels::empty();
        let mut state = IndicatorState::new(IndicatorForm::Rate, true);
        observe(&mut state, 0, &[(&all, 0.3)], &[(&all, 0.4)]);
        let mut sum = EventCounts::default();
        for second in 1..=100 {
            let Observed::Events(events) = observe(&mut state, second * 1000, &[(&all, 0.3)], &[(&all, 0.4)]) else {
                panic!("there is something to compare with")
            };
            sum += events;
        }
        assert_eq!(sum, EventCounts { good: 30, bad: 10 });
        assert_eq!(
            observe(&mut state, 400_000, &[(&all, 9.0)], &[(&all, 9.0)]),
            events(0, 0),
            "nobody looked for long"
        );
    }

    #[test]
    fn a_rate_that_was_away_for_less_than_a_minute_counts_for_the_gap() {
        let all = Labels::empty();
        let mut state = IndicatorState::new(IndicatorForm::Rate, true);
        observe(&mut state, 0, &[(&all, 3.0)], &[(&all, 4.0)]);
        assert_eq!(observe(&mut state, 1000, &[(&all, 3.0)], &[(&all, 4.0)]), events(3, 1));
        for second in 2..30 {
            assert_eq!(observe(&mut state, second * 1000, &[], &[]), Observed::Nothing);
        }
        assert_eq!(observe(&mut state, 31_000, &[(&all, 3.0)], &[(&all, 4.0)]), events(90, 30), "thirty seconds");
        for second in 32..92 {
            assert_eq!(observe(&mut state, second * 1000, &[], &[]), Observed::Nothing);
        }
        assert_eq!(observe(&mut state, 92_000, &[(&all, 3.0)], &[(&all, 4.0)]), events(0, 0), "told as unmeasured");
    }

    proptest! {
        /// Counters that grow by whole events, seen now and then, with gaps: nothing is lost and nothing counted twice.
        #[test]
        fn every_event_is_counted_once(steps in prop::collection::vec((0_u32..50, 0_u32..50, any::<bool>()), 1..60)) {
            let (good, total) = (series("good", "a"), series("total", "a"));
            let mut state = IndicatorState::new(IndicatorForm::Counter, true);
            let (mut all_good, mut all) = (7_u64, 9_u64);
            let (mut counted, mut expected) = (EventCounts::default(), EventCounts::default());
            observe(&mut state, 0, &[(&good, 7.0)], &[(&total, 9.0)]);
            let mut pending = EventCounts::default();
            for (at, (more_good, more_bad, seen)) in steps.into_iter().enumerate() {
                all_good += u64::from(more_good);
                all += u64::from(more_good) + u64::from(more_bad);
                pending += EventCounts { good: more_good.into(), bad: more_bad.into() };
                let t_ms = 1000 * (at as i64 + 1);
                let observed = if seen {
                    expected += std::mem::take(&mut pending);
                    observe(&mut state, t_ms, &[(&good, all_good as f64)], &[(&total, all as f64)])
                } else {
                    observe(&mut state, t_ms, &[], &[])
                };
                if let Observed::Events(events) = observed {
                    counted += events;
                }
                prop_assert_eq!(counted, expected);
            }
        }
    }
}
