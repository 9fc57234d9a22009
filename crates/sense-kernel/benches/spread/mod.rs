//! Least, middle and most of some measured values, and tables of them.

use std::{fmt::Write as _, time::Duration};

/// Rounds of a measurement: with `--quick` one, which shows that it works and whose figures do not count.
pub(crate) fn rounds() -> usize {
    if is_quick() { 1 } else { 5 }
}

/// How long a round takes.
pub(crate) fn round(full: Duration) -> Duration {
    if is_quick() { full.min(Duration::from_secs(1)) } else { full }
}

fn is_quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
}

/// A table with a line for each measured thing: its name, its unit, and the values.
pub(crate) fn table(title: &str, lines: &[(String, &str, Spread)]) -> String {
    let width = lines.iter().map(|(name, ..)| name.len()).chain([title.len()]).max().unwrap_or_default();
    let mut text = format!("\n{title:width$}  {:>10} {:>10} {:>10}\n", "median", "min", "max");
    for (name, unit, Spread { min, median, max }) in lines {
        let digits = decimals(*median);
        let [median, min, max] = [median, min, max].map(|value| format!("{value:.digits$}"));
        let _ = writeln!(text, "{name:width$}  {median:>10} {min:>10} {max:>10}  {unit}");
    }
    if is_quick() {
        text.push_str("(--quick: these figures do not count)\n");
    }
    text
}

/// Three digits that say something.
fn decimals(value: f64) -> usize {
    match value.abs() {
        ..10.0 => 3,
        ..1000.0 => 1,
        _ => 0,
    }
}

/// How far they lie apart; not a number where there are none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let [min, median, max] =
            [0, values.len() / 2, values.len().saturating_sub(1)].map(|at| values.get(at).copied().unwrap_or(f64::NAN));
        Self { min, median, max }
    }

    /// In another unit.
    pub(crate) fn times(self, factor: f64) -> Self {
        let Self { min, median, max } = self;
        Self { min: factor * min, median: factor * median, max: factor * max }
    }

    /// As shares of one CPU are written.
    pub(crate) fn json(self) -> String {
        let Self { min, median, max } = self;
        format!("{{ \"min\": {min:.6}, \"median\": {median:.6}, \"max\": {max:.6} }}")
    }
}
