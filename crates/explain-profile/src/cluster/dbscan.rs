//! DBSCAN: groups of points that reach each other in steps of a given length through crowded places.
//!
//! Source: Ester, Kriegel, Sander, Xu 1996.

use super::Distances;

/// Groups; `None` is noise. A place is crowded when it has so many points within reach, itself included.
pub(crate) fn labels(distances: &Distances, reach: f64, crowd: usize) -> Vec<Option<usize>> {
    let near = |at: usize| -> Vec<usize> {
        distances.row(at).iter().enumerate().filter(|(_, far)| **far <= reach).map(|(other, _)| other).collect()
    };
    let (mut labels, mut next) = (vec![None; distances.count()], 0);
    for first in 0..distances.count() {
        let around = near(first);
        if labels.get(first).is_none_or(Option::is_some) || around.len() < crowd {
            continue;
        }
        let mut open = vec![first];
        while let Some(at) = open.pop() {
            let Some(label) = labels.get_mut(at).filter(|label| label.is_none()) else { continue };
            *label = Some(next);
            let around = near(at);
            if crowd <= around.len() {
                open.extend(around);
            }
        }
        next += 1;
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::{euclid, heaps};

    #[test]
    fn heaps_are_groups() {
        let labels = labels(&euclid(&heaps()), 1.0, 4);
        assert_eq!((labels[0], labels[12], labels[24], labels[36]), (Some(0), Some(1), Some(2), None));
    }
}
