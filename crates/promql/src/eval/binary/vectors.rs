//! Arithmetic and comparisons between two vectors.
//!
//! ```text
//! series ──labels that count──▶ match group { many side, one side } ──column by column──▶ results
//! ```
//!
//! A group with one series on the "one" side and nothing to be filled in, which is nearly every group, is combined column
//! by column. All others go step by step, because there it depends on the step who is there.
//!
//! With `group_right` the sides are swapped, and values swapped back before they are combined. The values to be filled in
//! are not swapped: `fill_left` stands in for the many side then too, as in Prometheus.

use std::cell::OnceCell;

use homeostat_model::{Labels, LabelsBuilder, SampleValue};

use super::{
    changes_quantity,
    element::{Operand, calculate, compare, element},
    is_comparison,
    matching::{MatchGroups, group_labels},
};
use crate::{
    ast::{Binary, BinaryOp, ByteSpan, Group, MatchLabels},
    eval::{
        error::{EvalError, execution},
        evaluator::{Evaluator, Matrix, Sink},
        series::{Series, absent, braced, is_absent, is_metadata},
    },
    map::{HashMap, HashSet},
};

/// Hands on the series of an operator between two vectors.
pub(super) fn rows(ev: &Evaluator<'_>, binary: &Binary, span: ByteSpan, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let (left, right) = (ev.matrix(&binary.left)?, ev.matrix(&binary.right)?);
    let swapped = matches!(binary.matching.group, Group::Right(_));
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let join = Join { ev, binary, span, swapped, many, one, many_present: OnceCell::new() };
    join.results()?.merged()?.drain(sink)
}

/// Two vectors and how they are joined.
struct Join<'j, 'q> {
    ev: &'j Evaluator<'q>,
    binary: &'j Binary,
    span: ByteSpan,
    /// The many side is the right one.
    swapped: bool,
    many: Matrix,
    one: Matrix,
    /// At which steps the many side has any series.
    many_present: OnceCell<Vec<bool>>,
}

/// The series of a match group, as indices.
#[derive(Clone, Copy)]
struct Members<'m> {
    many: &'m [usize],
    one: &'m [usize],
}

/// The series of one side, put together by their groups.
struct ByGroup {
    /// Indices of the series, group after group.
    indices: Vec<usize>,
    /// Where each group begins.
    starts: Vec<usize>,
}

impl ByGroup {
    /// Takes the group of each series.
    fn new(groups: &[usize], count: usize) -> Self {
        let mut starts = vec![0; count + 1];
        for group in groups {
            starts.get_mut(group + 1).into_iter().for_each(|len| *len += 1);
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut next = starts.clone();
        let mut indices = vec![0; groups.len()];
        for (index, group) in groups.iter().enumerate() {
            let Some(next) = next.get_mut(*group) else { continue };
            indices.get_mut(*next).into_iter().for_each(|cell| *cell = index);
            *next += 1;
        }
        Self { indices, starts }
    }

    fn of(&self, group: usize) -> &[usize] {
        let (start, end) = (self.starts.get(group).copied(), self.starts.get(group + 1).copied());
        start.zip(end).and_then(|(start, end)| self.indices.get(start..end)).unwrap_or_default()
    }
}

/// Series that came out, each with the place it should have: that of its series on the many side.
struct Results {
    matrix: Matrix,
    places: Vec<usize>,
}

impl Results {
    fn push(&mut self, place: usize, series: &mut Series) -> Result<(), EvalError> {
        if !series.is_empty() {
            self.places.push(place);
            self.matrix.push(series)?;
        }
        Ok(())
    }

    fn in_order(mut self) -> Matrix {
        if self.places.is_sorted() {
            return self.matrix;
        }
        let mut placed: Vec<_> = self.places.into_iter().zip(std::mem::take(&mut self.matrix.series)).collect();
        placed.sort_by_key(|(place, _)| *place);
        self.matrix.series = placed.into_iter().map(|(_, series)| series).collect();
        self.matrix
    }
}

impl Join<'_, '_> {
    fn results(&self) -> Result<Matrix, EvalError> {
        let mut results = Results { matrix: Matrix::new(self.ev.query), places: Vec::new() };
        let mut numbers = MatchGroups::new(&self.binary.matching.labels);
        let mut groups =
            |side: &Matrix| -> Vec<usize> { side.series.iter().map(|series| numbers.number(&series.labels)).collect() };
        let (of_many, of_one) = (groups(&self.many), groups(&self.one));
        let (many, one) = (ByGroup::new(&of_many, numbers.len()), ByGroup::new(&of_one, numbers.len()));
        for group in 0..numbers.len() {
            self.ev.check_cancelled()?;
            let members = Members { many: many.of(group), one: one.of(group) };
            if !self.column_by_column(members, &mut results)? {
                self.step_by_step(members, &mut results)?;
            }
        }
        Ok(results.in_order())
    }

    fn many_series<'m>(&'m self, members: Members<'m>) -> impl Iterator<Item = (usize, &'m Series)> {
        members.many.iter().filter_map(|index| Some((*index, self.many.series.get(*index)?)))
    }

    fn one_series<'m>(&'m self, members: Members<'m>) -> impl Iterator<Item = &'m Series> {
        members.one.iter().filter_map(|index| self.one.series.get(*index))
    }

    fn fills(&self) -> bool {
        self.binary.matching.fill_left.is_some() || self.binary.matching.fill_right.is_some()
    }

    fn is_one_to_one(&self) -> bool {
        self.binary.matching.group == Group::OneToOne
    }

    /// Combines whole columns. Returns false when the group needs to be looked at step by step.
    fn column_by_column(&self, members: Members<'_>, results: &mut Results) -> Result<bool, EvalError> {
        if self.fills() || members.one.len() > 1 || (self.is_one_to_one() && members.many.len() > 1) {
            return Ok(false);
        }
        let Some(one) = self.one_series(members).next() else { return Ok(true) };
        if let [place] = members.many {
            let Some(many) = self.many.series.get(*place) else { return Ok(true) };
            let labels = self.result_labels(&many.labels, &one.labels);
            results.push(*place, &mut self.pair(many, one, labels))?;
            return Ok(true);
        }
        let labels: Vec<_> =
            self.many_series(members).map(|(_, many)| self.result_labels(&many.labels, &one.labels)).collect();
        if labels.iter().collect::<HashSet<_>>().len() < labels.len() {
            return Ok(false);
        }
        for ((place, many), labels) in self.many_series(members).zip(labels) {
            results.push(place, &mut self.pair(many, one, labels))?;
        }
        Ok(true)
    }

    /// All steps of one series of each side.
    fn pair(&self, many: &Series, one: &Series, labels: Labels) -> Series {
        let drop_name = self.drops_name(many);
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        let trims = matches!(self.binary.op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
        let (first, end) = (left.first().max(right.first()), left.end().min(right.end()));
        if !left.has_histograms() && !right.has_histograms() && !trims {
            let column = self.float_column(left, right, first, end);
            return Series::from_column(labels, drop_name, first, column);
        }
        let mut result = Series::new(labels, drop_name);
        for step in first..end {
            if let (Some(left), Some(right)) = (operand(left, step), operand(right, step))
                && let Some(Combined::Value(value)) = self.combine(left, right)
            {
                result.push(step, value);
            }
        }
        result
    }

    fn float_column(&self, left: &Series, right: &Series, first: usize, end: usize) -> Vec<f64> {
        let (op, returns_bool) = (self.binary.op, self.binary.returns_bool);
        let combine = |a: f64, b: f64| {
            if is_absent(a) || is_absent(b) {
                return absent();
            }
            match compare(op, a, b) {
                None => calculate(op, a, b),
                Some(holds) if returns_bool => f64::from(u8::from(holds)),
                Some(true) => a,
                Some(false) => absent(),
            }
        };
        let (left, right) = (cells(left, first, end), cells(right, first, end));
        left.iter().zip(right).map(|(a, b)| combine(*a, *b)).collect()
    }

    /// `None`: the operator makes nothing of the two.
    fn combine(&self, left: Operand<'_>, right: Operand<'_>) -> Option<Combined> {
        let notes = &mut self.ev.query.notes.borrow_mut();
        let element = element(self.binary.op, left, right, self.span, notes)?;
        Some(if self.binary.returns_bool {
            Combined::Value(SampleValue::Float(f64::from(u8::from(element.holds))))
        } else if element.holds {
            Combined::Value(element.value)
        } else {
            Combined::Dropped
        })
    }

    fn step_by_step(&self, members: Members<'_>, results: &mut Results) -> Result<(), EvalError> {
        let all = || self.many_series(members).map(|(_, series)| series).chain(self.one_series(members));
        let first = all().map(Series::first).min().unwrap_or(0);
        let end = all().map(Series::end).max().unwrap_or(0);
        let mut found = Found { of_labels: HashMap::default(), series: Vec::new() };
        for step in first..end {
            self.step(members, step, &mut found)?;
        }
        found.series.iter_mut().try_for_each(|(place, series)| results.push(*place, series))
    }

    fn step(&self, members: Members<'_>, step: usize, found: &mut Found) -> Result<(), EvalError> {
        let one = self.only_one(members, step)?;
        let of_one = match one {
            Some(series) => operand(series, step),
            None => self.binary.matching.fill_right.map(Operand::Float),
        };
        // What a comparison drops has had its partner, but stands in nobody's way where many may match.
        let (mut has_partner, mut matched) = (false, Vec::<usize>::new());
        for (place, many) in self.many_series(members) {
            let (Some(of_many), Some(of_one)) = (operand(many, step), of_one) else { continue };
            let Some(value) = self.combine_sides(of_many, of_one) else { continue };
            if self.is_one_to_one() && has_partner {
                return Err(execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                ));
            }
            has_partner = true;
            let Combined::Value(value) = value else { continue };
            let filled;
            let one_labels = if let Some(one) = one {
                &one.labels
            } else {
                filled = group_labels(&self.binary.matching, &many.labels);
                &filled
            };
            let labels = self.result_labels(&many.labels, one_labels);
            let at = found.at(place, labels, self.drops_name(many));
            if matched.contains(&at) {
                return Err(execution("multiple matches for labels: grouping labels must ensure unique matches"));
            }
            matched.push(at);
            found.push(at, step, value);
        }
        if let (false, Some(one), Some(fill)) = (has_partner, one, self.binary.matching.fill_left)
            && let Some(of_one) = operand(one, step)
            && let Some(Combined::Value(value)) = self.combine_sides(Operand::Float(fill), of_one)
        {
            let many_labels = group_labels(&self.binary.matching, &one.labels);
            let labels = self.result_labels(&many_labels, &one.labels);
            let at = found.at(usize::MAX, labels, self.drops_name(one));
            found.push(at, step, value);
        }
        Ok(())
    }

    fn combine_sides(&self, many: Operand<'_>, one: Operand<'_>) -> Option<Combined> {
        if self.swapped { self.combine(one, many) } else { self.combine(many, one) }
    }

    /// The series of the "one" side at a step, of which there must not be two.
    fn only_one<'m>(&'m self, members: Members<'m>, step: usize) -> Result<Option<&'m Series>, EvalError> {
        let mut present = self.one_series(members).filter(|series| series.has(step));
        let first = present.next();
        let (Some(a), Some(b)) = (first, present.next()) else { return Ok(first) };
        // Where nothing can match nobody looks.
        if !self.fills() && !self.many_is_present(step) {
            return Ok(None);
        }
        let group = braced(&group_labels(&self.binary.matching, &a.labels));
        let side = if self.swapped { "left" } else { "right" };
        let (a, b) = (a.labels.clone().min(b.labels.clone()), a.labels.clone().max(b.labels.clone()));
        Err(execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{}, {}]\
             ;many-to-many matching not allowed: matching labels must be unique on one side",
            braced(&a),
            braced(&b)
        )))
    }

    fn many_is_present(&self, step: usize) -> bool {
        let present = self.many_present.get_or_init(|| {
            let mut present = vec![false; self.ev.steps.count];
            for step in self.many.series.iter().flat_map(Series::present) {
                present.get_mut(step).into_iter().for_each(|cell| *cell = true);
            }
            present
        });
        present.get(step).copied().unwrap_or_default()
    }

    /// Where the name is part of the result's labels, it may be one that goes at the end.
    fn drops_name(&self, many: &Series) -> bool {
        (self.binary.returns_bool && self.ev.delays_names()) || (many.drop_name && is_comparison(self.binary.op))
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let op = self.binary.op;
        let loses_name = changes_quantity(op) || (self.binary.returns_bool && !self.ev.delays_names());
        let kept = |name: &str| {
            let counted = |names: &[String]| names.iter().any(|counted| counted == name);
            let stays = match &self.binary.matching.labels {
                _ if !self.is_one_to_one() => true,
                MatchLabels::On(names) => counted(names),
                MatchLabels::Ignoring(names) => !counted(names),
            };
            stays && !(loses_name && is_metadata(name))
        };
        let labels = many.filtered(kept);
        let (Group::Left(included) | Group::Right(included)) = &self.binary.matching.group else { return labels };
        if included.is_empty() {
            return labels;
        }
        let mut builder = LabelsBuilder::from(&labels);
        for name in included {
            builder.set(name, one.value(name));
        }
        builder.finish()
    }
}

/// What came out of two values that match.
enum Combined {
    Value(SampleValue),
    /// The comparison does not hold.
    Dropped,
}

/// What came out of a group so far.
struct Found {
    of_labels: HashMap<Labels, usize>,
    series: Vec<(usize, Series)>,
}

impl Found {
    fn at(&mut self, place: usize, labels: Labels, drop_name: bool) -> usize {
        let Self { of_labels, series } = self;
        *of_labels.entry(labels).or_insert_with_key(|labels| {
            series.push((place, Series::new(labels.clone(), drop_name)));
            series.len() - 1
        })
    }

    fn push(&mut self, at: usize, step: usize, value: SampleValue) {
        if let Some((_, series)) = self.series.get_mut(at) {
            series.push(step, value);
        }
    }
}

/// The cells of numbers at certain steps, all of which the series covers.
fn cells(series: &Series, first: usize, end: usize) -> &[f64] {
    let (from, to) = (first.saturating_sub(series.first()), end.saturating_sub(series.first()));
    series.floats().get(from..to).unwrap_or_default()
}

fn operand(series: &Series, step: usize) -> Option<Operand<'_>> {
    match series.float(step) {
        Some(value) => Some(Operand::Float(value)),
        None => series.histogram(step).map(Operand::Histogram),
    }
}
