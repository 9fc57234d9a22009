//! Durations of repeated trials, summed up: least, median, 95th percentile, most.

use serde::Serialize;

/// Milliseconds over trials. Percentiles by nearest rank: each is a value that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Millis {
    pub(crate) n: usize,
    pub(crate) min: f64,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) max: f64,
}

impl Millis {
    /// `None` when nothing was measured.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let rank = |share: f64| {
            let index = (share * values.len() as f64).ceil() as usize;
            values.get(index.saturating_sub(1)).copied()
        };
        Some(Self {
            n: values.len(),
            min: round(*values.first()?),
            p50: round(rank(0.50)?),
            p95: round(rank(0.95)?),
            max: round(*values.last()?),
        })
    }
}

/// To a hundredth: what a clock on a busy machine is worth.
fn round(ms: f64) -> f64 {
    (ms * 100.0).round() / 100.0
}

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>4} {:>10.1} {:>10.1} {:>10.1} {:>10.1}", self.n, self.min, self.p50, self.p95, self.max)
    }
}

/// Least, median and most of repeated rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) n: usize,
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` when nothing was measured.
    pub(crate) fn of(values: Vec<f64>) -> Option<Self> {
        let Millis { n, min, p50: median, max, .. } = Millis::of(values)?;
        Some(Self { n, min, median, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        assert_eq!(Millis::of(Vec::new()), None);
        let one = Millis::of(vec![3.0]).unwrap();
        assert!([one.min, one.p50, one.p95, one.max].iter().all(|ms| (ms - 3.0).abs() < 1e-9));
        let hundred = Millis::of((1..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!(hundred.to_string(), " 100        1.0       50.0       95.0      100.0");
    }
}
