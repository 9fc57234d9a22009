//! The groups of an aggregation.

use homeostat_model::Labels;

use crate::{
    ast::Grouping,
    eval::{label_key::LabelKey, series::Series},
    map::HashMap,
};

/// The groups that were seen, numbered in the order of their first series.
pub(super) struct Groups {
    key: LabelKey,
    numbers: HashMap<Box<str>, usize>,
    labels: Vec<Labels>,
    drop_name: Vec<bool>,
}

impl Groups {
    pub(super) fn new(grouping: &Grouping) -> Self {
        let key = match grouping {
            Grouping::By(labels) => LabelKey::only(labels),
            Grouping::Without(labels) => LabelKey::without_and_name(labels),
        };
        Self { key, numbers: HashMap::default(), labels: Vec::new(), drop_name: Vec::new() }
    }

    /// The number of a series' group.
    pub(super) fn number(&mut self, series: &Series) -> usize {
        let key = self.key.of(&series.labels);
        if let Some(number) = self.numbers.get(key).copied() {
            if let (true, Some(drops)) = (series.drop_name, self.drop_name.get_mut(number)) {
                *drops = true;
            }
            return number;
        }
        let number = self.labels.len();
        self.numbers.insert(key.into(), number);
        self.labels.push(self.key.labels(&series.labels));
        self.drop_name.push(series.drop_name);
        number
    }

    /// The labels of each group, and whether their name goes at the end.
    pub(super) fn into_labels(self) -> impl Iterator<Item = (Labels, bool)> {
        self.labels.into_iter().zip(self.drop_name)
    }
}
