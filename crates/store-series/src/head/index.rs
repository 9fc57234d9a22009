//! Which series have which label: for every name its values, for every value its series.
//!
//! Not here: which of them a query wants (`select`).
//! Invariant: lists of series are sorted and have no doubles; a value without series is not there.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use homeostat_model::Labels;

/// Names and values of a head's series.
#[derive(Debug, Default)]
pub(crate) struct Index {
    hasher: RandomState,
    names: HashTable<u32>,
    by_name: Vec<Name>,
}

/// One label name.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    by_text: HashTable<u32>,
    values: Vec<Value>,
}

/// One value of a name.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) text: Box<str>,
    /// Series with this label, ascending.
    pub(crate) series: Vec<u32>,
}

impl Index {
    /// Adds a series; its number is above all those before.
    pub(crate) fn add(&mut self, series: u32, labels: &Labels) {
        for (name, value) in labels {
            let hasher = &self.hasher;
            let by_name = &mut self.by_name;
            let entry = self.names.entry(
                hasher.hash_one(name),
                |at| by_name.get(*at as usize).is_some_and(|entry| *entry.text == *name),
                |at| by_name.get(*at as usize).map_or(0, |entry| hasher.hash_one(&*entry.text)),
            );
            let at = *entry.or_insert(by_name.len() as u32).get() as usize;
            if at == by_name.len() {
                by_name.push(Name { text: name.into(), by_text: HashTable::new(), values: Vec::new() });
            }
            if let Some(entry) = by_name.get_mut(at) {
                entry.add(series, value, hasher);
            }
        }
    }

    /// A name, if any series has it.
    pub(crate) fn name(&self, name: &str) -> Option<&Name> {
        let at = self.names.find(self.hasher.hash_one(name), |at| {
            self.by_name.get(*at as usize).is_some_and(|entry| *entry.text == *name)
        })?;
        self.by_name.get(*at as usize)
    }

    /// Series with a label, ascending.
    pub(crate) fn series(&self, name: &str, value: &str) -> &[u32] {
        self.name(name).and_then(|entry| entry.value(value, &self.hasher)).map_or(&[], |value| &value.series)
    }

    /// All names, in no order.
    pub(crate) fn names(&self) -> &[Name] {
        &self.by_name
    }

    /// Gives every series the number that `renumber` says, in the same order as before; those without one are gone,
    /// and names and values that nobody has any more with them.
    pub(crate) fn renumber(&mut self, renumber: &dyn Fn(u32) -> Option<u32>) {
        for name in &mut self.by_name {
            for value in &mut name.values {
                value.series.retain_mut(|series| {
                    let new = renumber(*series);
                    *series = new.unwrap_or(*series);
                    new.is_some()
                });
            }
            let before = name.values.len();
            name.values.retain(|value| !value.series.is_empty());
            if name.values.len() < before {
                name.rebuild(&self.hasher);
            }
        }
        let before = self.by_name.len();
        self.by_name.retain(|name| !name.values.is_empty());
        if self.by_name.len() < before {
            let (hasher, by_name) = (&self.hasher, &self.by_name);
            let hash = |at: &u32| by_name.get(*at as usize).map_or(0, |entry| hasher.hash_one(&*entry.text));
            self.names = rebuilt(by_name.len(), hash);
        }
    }
}

fn rebuilt(len: usize, hash: impl Fn(&u32) -> u64) -> HashTable<u32> {
    let mut table = HashTable::with_capacity(len);
    for at in 0..len as u32 {
        table.insert_unique(hash(&at), at, &hash);
    }
    table
}

impl Name {
    /// All values, in no order.
    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    fn add(&mut self, series: u32, value: &str, hasher: &RandomState) {
        let values = &mut self.values;
        let entry = self.by_text.entry(
            hasher.hash_one(value),
            |at| values.get(*at as usize).is_some_and(|entry| *entry.text == *value),
            |at| values.get(*at as usize).map_or(0, |entry| hasher.hash_one(&*entry.text)),
        );
        let at = *entry.or_insert(values.len() as u32).get() as usize;
        match values.get_mut(at) {
            Some(entry) => entry.series.push(series),
            None => values.push(Value { text: value.into(), series: vec![series] }),
        }
    }

    fn value(&self, value: &str, hasher: &RandomState) -> Option<&Value> {
        let is = |at: &u32| self.values.get(*at as usize).is_some_and(|entry| *entry.text == *value);
        self.values.get(*self.by_text.find(hasher.hash_one(value), is)? as usize)
    }

    fn rebuild(&mut self, hasher: &RandomState) {
        self.values.shrink_to_fit();
        let values = &self.values;
        let hash = |at: &u32| values.get(*at as usize).map_or(0, |entry| hasher.hash_one(&*entry.text));
        self.by_text = rebuilt(values.len(), hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_label_and_forgotten() {
        let mut index = Index::default();
        for series in 0..100 {
            index.add(
                series,
                &Labels::new([("name", "x"), ("of3", &(series % 3).to_string()), ("own", &series.to_string())]),
            );
        }
        assert_eq!(index.series("of3", "1").len(), 33);
        assert_eq!(index.series("own", "7"), [7]);
        index.renumber(&|series| (series % 3 != 1).then_some(series / 3 * 2 + series % 3 / 2));
        assert!(index.series("of3", "1").is_empty());
        assert_eq!(index.series("own", "99"), [66]);
        assert_eq!(index.series("name", "x"), (0..67).collect::<Vec<_>>());
        assert_eq!(index.name("own").unwrap().values().len(), 67);
        index.renumber(&|_| None);
        assert!(index.names().is_empty());
        index.add(0, &Labels::new([("name", "x")]));
        assert_eq!(index.series("name", "x"), [0]);
    }
}
