//! Series that have the same labels, once a name is gone or a label is changed. A series whose name is still to go is not
//! the same as one that keeps it.

use std::collections::hash_map::Entry;

use homeostat_model::Labels;

use super::{
    error::{EvalError, same_labels},
    evaluator::Matrix,
    series::{Series, is_metadata},
};
use crate::map::HashMap;

impl Matrix {
    /// Makes one series of those with the same labels, in the order of the first of each. An error when two of them
    /// have a value at the same step.
    pub(super) fn merged(mut self) -> Result<Self, EvalError> {
        merge(&mut self.series)?;
        Ok(self)
    }
}

/// As [`Matrix::merged`].
pub(super) fn merge(series: &mut Vec<Series>) -> Result<(), EvalError> {
    let Some(place) = places(series) else { return Ok(()) };
    let mut merged: Vec<Series> = Vec::new();
    for (series, at) in std::mem::take(series).into_iter().zip(place) {
        let Some(first) = merged.get_mut(at) else {
            merged.push(series);
            continue;
        };
        if !first.absorb(&series) {
            return Err(same_labels());
        }
    }
    *series = merged;
    Ok(())
}

/// For each series the index of its labels in the order of their appearance; `None` when all labels differ.
fn places(series: &[Series]) -> Option<Vec<usize>> {
    // So they mostly come, straight from a source.
    if series.is_sorted_by(|a, b| a.labels < b.labels) {
        return None;
    }
    let mut seen: HashMap<(&Labels, bool), usize> = HashMap::default();
    seen.reserve(series.len());
    let mut place = Vec::with_capacity(series.len());
    for series in series {
        let next = seen.len();
        let loses_name = series.drop_name && series.labels.iter().any(|(name, _)| is_metadata(name));
        place.push(match seen.entry((&series.labels, loses_name)) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => *entry.insert(next),
        });
    }
    (seen.len() < series.len()).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::series::absent;

    fn series(label: &str, column: &[f64]) -> Series {
        Series::from_column(Labels::new([("a", label)]), false, 0, column.to_vec())
    }

    #[test]
    fn series_that_never_meet_become_one() {
        let mut all = vec![series("x", &[1.0]), series("y", &[5.0]), series("x", &[absent(), 2.0])];
        assert!(merge(&mut all).is_ok());
        let merged: Vec<_> = all.iter().map(|series| (series.labels.value("a"), series.floats())).collect();
        assert_eq!(merged, [("x", &[1.0, 2.0][..]), ("y", &[5.0][..])]);
    }

    #[test]
    fn series_that_meet_are_an_error() {
        assert!(merge(&mut vec![series("x", &[1.0]), series("x", &[2.0])]).is_err());
    }
}
