//! Which series of two vectors belong together: those with the same values of the labels that count.

use homeostat_model::{Labels, labels::METRIC_NAME};

use crate::{
    ast::{MatchLabels, Matching},
    eval::label_key::LabelKey,
    map::HashMap,
};

/// Numbers for match groups: equal where the labels that count are equal.
pub(super) struct MatchGroups {
    key: LabelKey,
    numbers: HashMap<Box<str>, usize>,
}

impl MatchGroups {
    pub(super) fn new(labels: &MatchLabels) -> Self {
        let key = match labels {
            MatchLabels::On(labels) => LabelKey::only(labels),
            MatchLabels::Ignoring(labels) => LabelKey::without_and_name(labels),
        };
        Self { key, numbers: HashMap::default() }
    }

    /// The number of a series' group, which is a new one if need be.
    pub(super) fn number(&mut self, labels: &Labels) -> usize {
        let next = self.numbers.len();
        let key = self.key.of(labels);
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        self.numbers.insert(key.into(), next);
        next
    }

    /// The number of a series' group if it has been seen.
    pub(super) fn known(&mut self, labels: &Labels) -> Option<usize> {
        self.numbers.get(self.key.of(labels)).copied()
    }

    /// How many groups were seen.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}

/// The labels that count, as a set of their own.
pub(super) fn group_labels(matching: &Matching, labels: &Labels) -> Labels {
    match &matching.labels {
        MatchLabels::On(names) => labels.filtered(|name| names.iter().any(|on| on == name)),
        MatchLabels::Ignoring(names) => {
            labels.filtered(|name| name != METRIC_NAME && !names.iter().any(|ignored| ignored == name))
        }
    }
}
