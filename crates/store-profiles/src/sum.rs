//! What walks collect: one profile, or totals over time.

use std::collections::{BTreeMap, HashMap};

use homeostat_model::{
    Labels,
    profile::{LabelSet, Profile, Stack, ValueType},
};
use homeostat_profile::Translation;
use homeostat_wire::profiles::{Entry, Rows, Subject};

use crate::{
    error::QueryError,
    limits::{MERGED_STACKS_MAX, POINTS_ALL_MAX},
    query::{Columns, Group, Visit},
};

/// Adds up by stack within a service, and stacks of services by what they are.
#[derive(Debug)]
pub(crate) struct Summing {
    columns: Columns,
    sum: Option<Profile>,
    profiles: u64,
    /// Of the service at hand: one number a stack and column.
    dense: Vec<i64>,
    /// Labels and types of the series at hand, with the place of each of our columns in its own.
    places: Option<(Subject, Vec<Option<usize>>)>,
}

impl Summing {
    pub(crate) fn new(columns: Columns) -> Self {
        Self { columns, sum: None, profiles: 0, dense: Vec::new(), places: None }
    }

    pub(crate) fn finish(self) -> (Option<Profile>, u64) {
        (self.sum, self.profiles)
    }

    fn begin(&self, subject: &Subject) -> Profile {
        let types = match &self.columns {
            Columns::One(wanted) => vec![wanted.clone()],
            Columns::All => subject.types.clone(),
        };
        let mut sum = Profile::new(types);
        if self.columns == Columns::All {
            sum.set_default_type(subject.default_type);
        }
        (sum.period_type, sum.period) = (subject.period_type.clone(), subject.period);
        sum
    }
}

impl Visit for Summing {
    const SYMBOLS: bool = true;

    fn profile(&mut self, subject: &Subject, entry: &Entry<'_>, rows: &Rows) -> Result<(), &'static str> {
        let mut sum = self.sum.take().unwrap_or_else(|| self.begin(subject));
        if self.places.as_ref().is_none_or(|(known, _)| known != subject) {
            let place = |wanted: &ValueType| subject.types.iter().position(|there| there == wanted);
            self.places = Some((subject.clone(), sum.types().iter().map(place).collect()));
        }
        let places = self.places.as_ref().map_or(&[][..], |(_, places)| places);
        let width = places.len();
        let needed = rows.stacks.last().map_or(0, |last| (*last as usize + 1) * width);
        if self.dense.len() < needed {
            self.dense.resize(needed, 0);
        }
        for (to, from) in places.iter().enumerate() {
            let Some(column) = from.and_then(|from| rows.columns.get(from)) else { continue };
            for (stack, value) in rows.stacks.iter().zip(column) {
                if let Some(slot) = self.dense.get_mut(*stack as usize * width + to) {
                    *slot = slot.saturating_add(*value);
                }
            }
        }
        if sum.started_ns == 0 || entry.started_ns < sum.started_ns {
            sum.started_ns = entry.started_ns;
        }
        sum.duration_ns = sum.duration_ns.saturating_add(entry.duration_ns);
        self.profiles += 1;
        self.sum = Some(sum);
        Ok(())
    }

    fn service(&mut self, symbols: Option<&Profile>) -> Result<(), QueryError> {
        let dense = std::mem::take(&mut self.dense);
        let (Some(symbols), Some(sum)) = (symbols, &mut self.sum) else { return Ok(()) };
        let width = sum.types().len().max(1);
        let values = |stack: Stack| dense.get(stack.index() * width..(stack.index() + 1) * width);
        let is_there = |stack: Stack| values(stack).is_some_and(|values| values.iter().any(|value| *value != 0));
        let translation = Translation::new(symbols, sum, is_there);
        for stack in std::iter::once(Stack::EMPTY).chain(symbols.stacks().iter()).filter(|stack| is_there(*stack)) {
            sum.add(translation.stack(stack), LabelSet::NONE, values(stack).unwrap_or_default());
        }
        let limit = MERGED_STACKS_MAX;
        if sum.stacks().len() <= limit { Ok(()) } else { Err(QueryError::TooMuch { what: "stacks", limit }) }
    }
}

/// Adds up by labels and steps of time.
#[derive(Debug)]
pub(crate) struct Totals<'a> {
    columns: Columns,
    by: &'a [String],
    from_ms: i64,
    step_ms: i64,
    groups: HashMap<Labels, BTreeMap<i64, i64>>,
    /// Of all groups.
    points: usize,
}

impl<'a> Totals<'a> {
    pub(crate) fn new(columns: Columns, by: &'a [String], from_ms: i64, step_ms: i64) -> Self {
        Self { columns, by, from_ms, step_ms, groups: HashMap::new(), points: 0 }
    }

    pub(crate) fn finish(self) -> Vec<Group> {
        let group = |(labels, points): (_, BTreeMap<i64, i64>)| Group { labels, points: points.into_iter().collect() };
        let mut groups: Vec<Group> = self.groups.into_iter().map(group).collect();
        groups.sort_by(|a, b| a.labels.cmp(&b.labels));
        groups
    }
}

impl Visit for Totals<'_> {
    const SYMBOLS: bool = false;

    fn profile(&mut self, subject: &Subject, entry: &Entry<'_>, rows: &Rows) -> Result<(), &'static str> {
        let column = match &self.columns {
            Columns::One(wanted) => subject.types.iter().position(|there| there == wanted),
            Columns::All => Some(subject.default_type),
        };
        let Some(column) = column.and_then(|column| rows.columns.get(column)) else { return Ok(()) };
        let total = column.iter().copied().fold(0, i64::saturating_add);
        let by = self.by;
        let labels = subject.labels.filtered(|name| by.iter().any(|wanted| wanted == name));
        let after_ms = (entry.started_ns / 1_000_000).saturating_sub(self.from_ms);
        let step = self.from_ms.saturating_add(after_ms - after_ms.rem_euclid(self.step_ms));
        let points = &mut self.points;
        // One more is refused at the end of the service, and need not be kept until then.
        if POINTS_ALL_MAX < *points {
            return Ok(());
        }
        let point = self.groups.entry(labels).or_default().entry(step).or_insert_with(|| {
            *points += 1;
            0
        });
        *point = point.saturating_add(total);
        Ok(())
    }

    fn service(&mut self, _symbols: Option<&Profile>) -> Result<(), QueryError> {
        let limit = POINTS_ALL_MAX;
        if self.points <= limit { Ok(()) } else { Err(QueryError::TooMuch { what: "points", limit }) }
    }
}
