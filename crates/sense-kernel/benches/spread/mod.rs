//! Least, middle and most of some measured values.

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

    /// As shares of one CPU are written.
    pub(crate) fn json(self) -> String {
        let Self { min, median, max } = self;
        format!("{{ \"min\": {min:.6}, \"median\": {median:.6}, \"max\": {max:.6} }}")
    }
}
