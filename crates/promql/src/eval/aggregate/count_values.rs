//! `count_values("label", v)`: how many series of each group have which value.

use homeostat_model::{Labels, SampleValue, number_text};

use super::{cells::Cells, fold::column_of, groups::Groups};
use crate::{
    ast::{Aggregate, Grouping},
    eval::{
        budget::Held,
        error::{EvalError, execution},
        evaluator::{Evaluator, Sink},
        label_functions::{check_name, text},
        series::{Series, absent},
    },
    histogram,
    map::HashMap,
};

/// A value that is counted; every `NaN` is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Counted {
    Float(u64),
    Histogram(String),
}

impl Counted {
    fn of(value: &SampleValue) -> Self {
        match value {
            SampleValue::Float(value) if value.is_nan() => Self::Float(f64::NAN.to_bits()),
            SampleValue::Float(value) => Self::Float(value.to_bits()),
            SampleValue::Histogram(histogram) => Self::Histogram(histogram::text(histogram)),
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::Float(bits) => number_text::plain(f64::from_bits(bits), &mut zmij::Buffer::new()).into_owned(),
            Self::Histogram(text) => text,
        }
    }
}

/// Hands on a series for each group and value.
pub(super) fn rows(ev: &Evaluator<'_>, aggregate: &Aggregate, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let param = aggregate.param.as_ref().ok_or_else(|| execution("count_values needs a label"))?;
    let label = text(param)?;
    if check_name(label, "").is_err() {
        return Err(execution(format!("invalid label name {label:?}")));
    }
    let mut groups = Groups::new(&grouping(&aggregate.grouping, label));
    let mut numbers: HashMap<(usize, Counted), usize> = HashMap::default();
    let mut columns: Vec<Cells<u64>> = Vec::new();
    let mut held = Held::new(&ev.query.budget);
    ev.rows(&aggregate.expr, &mut |series| {
        let group = groups.number(series);
        for step in series.first()..series.end() {
            let Some(value) = series.value(step) else { continue };
            let next = numbers.len();
            let number = *numbers.entry((group, Counted::of(&value))).or_insert(next);
            let column = column_of(&mut columns, number);
            let before = column.all().len();
            column.cover(step, step + 1).iter_mut().for_each(|count| *count += 1);
            let grown = (column.all().len() - before) as u64;
            held.add(grown, grown * size_of::<u64>() as u64)?;
        }
        Ok(())
    })?;
    let labels: Vec<(Labels, bool)> = groups.into_labels().collect();
    let mut values: Vec<_> = numbers.into_iter().collect();
    values.sort_unstable_by_key(|(_, number)| *number);
    let keeps_label =
        !matches!(&aggregate.grouping, Grouping::Without(without) if without.iter().any(|name| name == label));
    let mut all = Vec::new();
    for (((group, counted), _), column) in values.into_iter().zip(columns) {
        let Some((labels, drop_name)) = labels.get(group) else { continue };
        let labels = if keeps_label { labels.with(label, &counted.into_text()) } else { labels.clone() };
        let counts = column.all().iter().map(|count| if *count == 0 { absent() } else { *count as f64 });
        all.push(Series::from_column(labels, *drop_name, column.first(), counts.collect()));
    }
    if !keeps_label {
        all = added(all);
    }
    all.iter_mut().try_for_each(sink)
}

/// The label is made anew, so that what a series has in it does not tell groups apart.
fn grouping(grouping: &Grouping, label: &str) -> Grouping {
    match grouping {
        Grouping::By(names) => Grouping::By(names.iter().filter(|name| *name != label).cloned().collect()),
        Grouping::Without(names) => {
            let mut names = names.clone();
            names.push(label.to_owned());
            Grouping::Without(names)
        }
    }
}

/// Without the label all values of a group are one: their counts are added.
fn added(all: Vec<Series>) -> Vec<Series> {
    let mut sums: Vec<(Series, Cells<f64>)> = Vec::new();
    for series in all {
        let at = sums.iter().position(|(sum, _)| sum.labels == series.labels).unwrap_or_else(|| {
            sums.push((Series::new(series.labels.clone(), series.drop_name), Cells::default()));
            sums.len() - 1
        });
        let Some((_, column)) = sums.get_mut(at) else { continue };
        let cells = column.cover(series.first(), series.end());
        for (step, cell) in (series.first()..).zip(cells) {
            *cell += series.float(step).unwrap_or(0.0);
        }
    }
    let columns = sums.into_iter().map(|(sum, column)| {
        let counts = column.all().iter().map(|count| if *count == 0.0 { absent() } else { *count }).collect();
        Series::from_column(sum.labels, sum.drop_name, column.first(), counts)
    });
    columns.collect()
}
