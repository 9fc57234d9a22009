//! Groups of changes that nobody has named yet.
//!
//! HDBSCAN works on distances between vectors as they are. A map in two dimensions is for the eye: its densities are made by
//! the map, so nothing is grouped on it, except in the classical pipeline that is kept for comparison (`baseline`).
//!
//! Everything here compares all with all, in memory of the square of their number: hence `EPISODES_MAX`.

pub(crate) mod dbscan;
mod hdbscan;
pub(crate) mod tsne;

use crate::{case::Case, retrieve::Index};

/// Changes that are grouped at once: 4,000 x 4,000 distances of eight bytes are 128 MB.
pub(crate) const EPISODES_MAX: usize = 4_000;

/// Distances between all pairs.
#[derive(Clone, Debug)]
pub(crate) struct Distances {
    count: usize,
    values: Vec<f64>,
}

impl Distances {
    /// Asks for each pair once; a distance that is no number counts as far away.
    pub(crate) fn new(count: usize, distance: impl Fn(usize, usize) -> f64) -> Self {
        let count = count.min(EPISODES_MAX);
        let mut values = vec![0.0; count * count];
        for a in 0..count {
            for b in 0..a {
                let between = distance(a, b);
                let between = if between.is_nan() { f64::MAX } else { between.max(0.0) };
                for at in [a * count + b, b * count + a] {
                    if let Some(value) = values.get_mut(at) {
                        *value = between;
                    }
                }
            }
        }
        Self { count, values }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Between two.
    pub(crate) fn between(&self, a: usize, b: usize) -> f64 {
        self.row(a).get(b).copied().unwrap_or(f64::MAX)
    }

    /// From one to all.
    pub(crate) fn row(&self, a: usize) -> &[f64] {
        self.values.get(a * self.count..(a + 1) * self.count).unwrap_or_default()
    }
}

/// Groups by density; `None` for those that belong to no group. Groups are numbered by their first member.
pub(crate) fn group(distances: &Distances, members_min: usize) -> Vec<Option<usize>> {
    hdbscan::labels(distances, members_min.max(2))
}

/// Groups changes by their vectors: the distance is the angle between them.
pub fn group_cases(cases: &[Case], members_min: usize) -> Vec<Option<usize>> {
    let index = Index::new(cases);
    let vector = |at: usize| cases.get(at).map(|case| &case.vector);
    let distances = Distances::new(cases.len(), |a, b| match (vector(a), vector(b)) {
        (Some(a), Some(b)) => index.likeness(a, b).acos(),
        _ => f64::MAX,
    });
    group(&distances, members_min)
}

/// Renumbers groups by their first member, so that equal groupings are equal.
fn renumbered<T: PartialEq + Copy>(labels: &[Option<T>]) -> Vec<Option<usize>> {
    let mut seen = Vec::new();
    labels
        .iter()
        .map(|label| {
            let label = (*label)?;
            Some(seen.iter().position(|there| *there == label).unwrap_or_else(|| {
                seen.push(label);
                seen.len() - 1
            }))
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Points of three heaps and two strays, by a rule instead of chance.
    pub(crate) fn heaps() -> Vec<(f64, f64)> {
        let mut points = Vec::new();
        for (x, y) in [(0.0, 0.0), (10.0, 0.0), (0.0, 12.0)] {
            for step in 0..12 {
                let turn = f64::from(step) * 2.4;
                points.push((x + turn.cos() * 0.1 * f64::from(step), y + turn.sin() * 0.1 * f64::from(step)));
            }
        }
        points.extend([(40.0, 40.0), (-50.0, 30.0)]);
        points
    }

    pub(crate) fn euclid(points: &[(f64, f64)]) -> Distances {
        Distances::new(points.len(), |a, b| (points[a].0 - points[b].0).hypot(points[a].1 - points[b].1))
    }

    #[test]
    fn heaps_are_groups_and_strays_are_none() {
        let points = heaps();
        let labels = group(&euclid(&points), 5);
        for heap in 0..3 {
            assert!(labels[heap * 12..(heap + 1) * 12].iter().all(|label| *label == Some(heap)), "{labels:?}");
        }
        assert_eq!(labels[36..], [None, None]);
    }

    #[test]
    fn order_changes_nothing_but_numbers() {
        let points = heaps();
        let turned: Vec<_> = points.iter().rev().copied().collect();
        let (one, mut two) = (group(&euclid(&points), 5), group(&euclid(&turned), 5));
        two.reverse();
        assert_eq!(renumbered(&one), renumbered(&two));
    }

    #[test]
    fn few_same_and_damaged_distances_are_no_trouble() {
        assert_eq!(group(&Distances::new(0, |_, _| 0.0), 5), []);
        assert_eq!(group(&Distances::new(1, |_, _| 0.0), 5), [None]);
        assert_eq!(group(&Distances::new(3, |_, _| f64::NAN), 5), [None, None, None]);
        let same = group(&Distances::new(20, |_, _| 0.0), 5);
        assert!(same.iter().all(|label| *label == same[0]), "{same:?}");
    }
}
