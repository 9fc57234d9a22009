//! Functions that remember, from one window of a series to the next, what they have seen.
//!
//! Windows of neighbouring steps share most of their samples. Where an answer can be had from the samples that come and
//! go, a step costs what is new in it and not the whole window: resets are found once, extremes stay in a queue, values
//! stay sorted. Answers are the same to the last bit; where that could not be (sums), nothing is remembered.
//!
//! Not here: what is computed (`slopes`, `over_time`, `counting`), which is also what short windows get.
//! Invariants: windows of a series only move to the right. State holds samples of the last window only, so at most as
//! much again as the window's columns do.

mod extremes;
mod histogram_resets;
mod pairs;
mod sorted;

use homeostat_model::{SampleValue, TimeMs};

use crate::{
    eval::window::{Place, RangeFn, Window},
    note::Notes,
};

/// Windows with fewer samples are looked at as a whole: that costs less than remembering.
const WORTH_REMEMBERING: usize = 64;

/// A function over a range, for one call of a query.
#[derive(Debug)]
pub struct RangeFunction {
    plain: RangeFn,
    memory: Option<Box<dyn Memory>>,
}

impl RangeFunction {
    /// The function of this name; `None` for every other name.
    pub fn find(name: &str) -> Option<Self> {
        let plain = super::find(name)?;
        let memory: Option<Box<dyn Memory>> = match name {
            "rate" => Some(Box::new(histogram_resets::Moves::new(pairs::Rates::rate()))),
            "increase" => Some(Box::new(histogram_resets::Moves::new(pairs::Rates::increase()))),
            "changes" => Some(Box::new(pairs::Counts::changes())),
            "resets" => Some(Box::new(pairs::Counts::resets())),
            "min_over_time" => Some(Box::new(extremes::Queue::min())),
            "max_over_time" => Some(Box::new(extremes::Queue::max())),
            "quantile_over_time" => Some(Box::<sorted::Sorted>::default()),
            _ => None,
        };
        Some(Self { plain, memory })
    }

    /// The next series begins.
    pub fn begin(&mut self) {
        if let Some(memory) = &mut self.memory {
            memory.forget();
        }
    }

    /// What the function says about the next window of the series.
    #[inline]
    pub fn answer(
        &mut self,
        window: &Window<'_>,
        params: &[f64],
        place: &Place<'_>,
        notes: &mut Notes,
    ) -> Option<SampleValue> {
        if let Some(memory) = &mut self.memory
            && memory.knows(window)
        {
            return memory.answer(window, params, place, notes);
        }
        (self.plain)(window, params, place, notes)
    }
}

/// What a function remembers of one series.
trait Memory: std::fmt::Debug {
    /// Forgets everything.
    fn forget(&mut self);
    /// Returns true for windows that are worth it and of the kind that it can answer.
    fn knows(&self, window: &Window<'_>) -> bool;
    /// As a [`RangeFn`].
    fn answer(
        &mut self,
        window: &Window<'_>,
        params: &[f64],
        place: &Place<'_>,
        notes: &mut Notes,
    ) -> Option<SampleValue>;
}

/// How far the samples of a series were looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Seen(Option<TimeMs>);

impl Seen {
    /// Index of the first sample that was not looked at; all of them count as looked at now.
    #[inline]
    fn advance(&mut self, t_ms: &[TimeMs]) -> usize {
        let fresh = self.0.map_or(0, |seen| t_ms.partition_point(|at| *at <= seen));
        self.0 = t_ms.last().copied().or(self.0);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        ast::Extend,
        eval::range_functions::test_windows::{Columns, answer_of, answer_with},
    };

    /// Few different values, so that equal ones meet, and all the odd ones.
    fn any_value() -> impl Strategy<Value = String> {
        prop_oneof![
            20 => (-3..9_i32).prop_map(|value| value.to_string()),
            2 => (0..1000_i32).prop_map(|value| format!("{value}.5")),
            1 => prop::sample::select(vec!["NaN", "inf", "-inf", "-0"]).prop_map(str::to_owned),
        ]
    }

    fn any_histogram() -> impl Strategy<Value = String> {
        let kind = prop::sample::select(vec!["h", "h", "h", "h", "h", "h", "c", "d"]);
        let hint = prop::sample::select(vec!["", "", "", "", "r", "n", "g"]);
        (kind, 0..9_u32, hint).prop_map(|(kind, count, hint)| format!("{kind}{count}{hint}"))
    }

    /// Samples one to three seconds apart.
    fn any_samples() -> impl Strategy<Value = Vec<(u32, String)>> {
        let gap = 1..4_u32;
        prop_oneof![
            4 => prop::collection::vec((gap.clone(), any_value()), 1..400),
            2 => prop::collection::vec((gap.clone(), any_histogram()), 1..60),
            1 => prop::collection::vec((gap, prop_oneof![9 => any_value(), 1 => any_histogram()]), 1..300),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_remembered_changes_no_answer(
            samples in any_samples(),
            range_s in 1..500_u32,
            steps_s in prop::collection::vec(1..40_u32, 1..60),
        ) {
            let mut at_s = 0;
            let samples: Vec<_> = samples
                .iter()
                .map(|(gap, value)| {
                    at_s += gap;
                    format!("{at_s}={value}")
                })
                .collect();
            let columns = Columns::parse(&samples.join(" "));
            let names = ["rate", "increase", "changes", "resets", "min_over_time", "max_over_time", "quantile_over_time"];
            for name in names {
                let mut function = RangeFunction::find(name).expect("a function over ranges");
                for _ in 0..2 {
                    function.begin();
                    let mut end_s = 0;
                    for step_s in &steps_s {
                        end_s += step_s;
                        let window = columns.window(f64::from(end_s) - f64::from(range_s), f64::from(end_s), Extend::None);
                        let window = columns.cut(window);
                        if window.floats.is_empty() && window.histograms.is_empty() {
                            continue;
                        }
                        let remembered = answer_of(|place, notes| function.answer(&window, &[0.3], place, notes)).show();
                        prop_assert_eq!(remembered, answer_with(name, &window, &[0.3]).show(), "{} at {}", name, end_s);
                    }
                }
            }
        }
    }
}
