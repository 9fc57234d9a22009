//! The meaning of a part of the language, written down as simply as it goes: one instant at a time, every sample looked
//! at, names taken at once. Slow and obviously right, to compare the engine with.

use std::collections::BTreeMap;

use homeostat_model::{Labels, sample::is_stale};
use homeostat_promql::{
    ExprKind,
    ast::{
        Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Duration, DurationKind, Expr, Group, Grouping, MatchLabels,
        Shift, Subquery, UnaryOp, VectorSelector,
    },
};

/// Samples of each series in order of time.
pub(crate) type World = BTreeMap<Labels, Vec<(i64, f64)>>;

/// An element of a vector: its labels, without a name that a function took, and its value.
pub(crate) type Elements = Vec<(Labels, f64)>;

/// The frame of a query.
pub(crate) struct Naive<'w> {
    pub(crate) world: &'w World,
    pub(crate) lookback_ms: i64,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// Means and variances are off by about so much, as the order in which they are added up may move them.
    pub(crate) noise: f64,
}

/// Samples in a range, with the labels of their series.
type Ranges = Vec<(Labels, Vec<(i64, f64)>)>;

/// Two elements are as good as each other, and only one of them is chosen: every choice is right.
pub(crate) const TIE: &str = "tie";

/// A vector or a number.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Number(f64),
    Vector(Elements),
}

impl Naive<'_> {
    /// The value of an expression at an instant; an error where the language has one.
    pub(crate) fn at(&self, expr: &Expr, t_ms: i64) -> Result<Value, String> {
        let value = self.unchecked(expr, t_ms)?;
        if let Value::Vector(all) = &value {
            for (index, (labels, _)) in all.iter().enumerate() {
                if all[..index].iter().any(|(other, _)| other == labels) {
                    return Err("twice".to_owned());
                }
            }
        }
        Ok(value)
    }

    fn unchecked(&self, expr: &Expr, t_ms: i64) -> Result<Value, String> {
        Ok(match &expr.kind {
            ExprKind::Number(value) | ExprKind::Seconds(value) => Value::Number(*value),
            ExprKind::Paren(inner) | ExprKind::Unary(UnaryOp::Plus, inner) => self.at(inner, t_ms)?,
            ExprKind::Unary(UnaryOp::Minus, inner) => match self.at(inner, t_ms)? {
                Value::Number(value) => Value::Number(-value),
                Value::Vector(all) => Value::Vector(all.into_iter().map(|(l, v)| (nameless(&l), -v)).collect()),
            },
            ExprKind::Vector(selector) => Value::Vector(self.instant(selector, t_ms)),
            ExprKind::Aggregate(aggregate) => Value::Vector(self.aggregate(aggregate, t_ms)?),
            ExprKind::Call(call) => Value::Vector(self.call(call, t_ms)?),
            ExprKind::Binary(binary) => self.binary(binary, t_ms)?,
            other => return Err(format!("not part of this: {other:?}")),
        })
    }

    fn vector(&self, expr: &Expr, t_ms: i64) -> Result<Elements, String> {
        Ok(match self.at(expr, t_ms)? {
            Value::Vector(all) => all,
            Value::Number(value) => vec![(Labels::empty(), value)],
        })
    }

    fn reference(&self, shift: &Shift, t_ms: i64) -> i64 {
        let at = match shift.at {
            None => t_ms,
            Some(At::Time(at_ms)) => at_ms,
            Some(At::Start) => self.start_ms,
            Some(At::End) => self.end_ms,
        };
        at - shift.offset.as_ref().map_or(0, millis)
    }

    fn selected(&self, selector: &VectorSelector) -> impl Iterator<Item = (&Labels, &Vec<(i64, f64)>)> {
        self.world.iter().filter(|(labels, _)| selector.matchers.iter().all(|m| m.matches(labels.value(&m.name))))
    }

    fn instant(&self, selector: &VectorSelector, t_ms: i64) -> Elements {
        let at_ms = self.reference(&selector.shift, t_ms);
        let newest = |samples: &Vec<(i64, f64)>| {
            samples
                .iter()
                .rev()
                .find(|(t, _)| *t <= at_ms)
                .copied()
                .filter(|(t, v)| *t > at_ms - self.lookback_ms && !is_stale(*v))
        };
        self.selected(selector).filter_map(|(labels, samples)| Some((labels.clone(), newest(samples)?.1))).collect()
    }

    /// Samples in a range, with the labels of their series.
    fn ranges(&self, expr: &Expr, t_ms: i64) -> Result<Ranges, String> {
        match &expr.kind {
            ExprKind::Matrix(matrix) => {
                let end_ms = self.reference(&matrix.vector.shift, t_ms);
                let start_ms = end_ms - millis(&matrix.range);
                let inside = |samples: &Vec<(i64, f64)>| {
                    let inside = samples.iter().filter(|(t, v)| start_ms < *t && *t <= end_ms && !is_stale(*v));
                    inside.copied().collect::<Vec<_>>()
                };
                Ok(self.selected(&matrix.vector).map(|(labels, samples)| (labels.clone(), inside(samples))).collect())
            }
            ExprKind::Subquery(subquery) => self.steps(subquery, t_ms),
            other => Err(format!("no range: {other:?}")),
        }
    }

    fn steps(&self, subquery: &Subquery, t_ms: i64) -> Result<Ranges, String> {
        let end_ms = self.reference(&subquery.shift, t_ms);
        let start_ms = end_ms - millis(&subquery.range);
        let step_ms = subquery.step.as_ref().map_or(60_000, millis);
        let mut series: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
        let first_ms = (start_ms.div_euclid(step_ms) + 1) * step_ms;
        for t in (first_ms..=end_ms).step_by(step_ms as usize) {
            for (labels, value) in self.vector(&subquery.expr, t)? {
                series.entry(labels).or_default().push((t, value));
            }
        }
        Ok(series.into_iter().collect())
    }

    /// What is divided need not be exact: up or down, differently from one time and value to the next.
    fn divided(&self, value: f64, t_ms: i64) -> f64 {
        let up = (t_ms / 1000 + value.to_bits().count_ones() as i64) % 2 == 0;
        value + if up { self.noise } else { -self.noise } * (1.0 + value.abs())
    }

    fn call(&self, call: &Call, t_ms: i64) -> Result<Elements, String> {
        let name = call.function.name;
        if name == "abs" {
            return Ok(self.vector(&call.args[0], t_ms)?.into_iter().map(|(l, v)| (nameless(&l), v.abs())).collect());
        }
        let mut out = Vec::new();
        for (labels, samples) in self.ranges(&call.args[0], t_ms)? {
            let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
            if values.is_empty() {
                continue;
            }
            let pairs = || values.windows(2);
            let value = match name {
                "count_over_time" => values.len() as f64,
                "sum_over_time" => values.iter().sum(),
                "avg_over_time" => self.divided(values.iter().sum::<f64>() / values.len() as f64, t_ms),
                "min_over_time" => values.iter().copied().fold(f64::INFINITY, f64::min),
                "max_over_time" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                "last_over_time" => values[values.len() - 1],
                "present_over_time" => 1.0,
                "changes" => pairs().filter(|pair| pair[0] != pair[1]).count() as f64,
                "resets" => pairs().filter(|pair| pair[1] < pair[0]).count() as f64,
                other => return Err(format!("not part of this: {other}")),
            };
            out.push((if name == "last_over_time" { labels } else { nameless(&labels) }, value));
        }
        Ok(out)
    }

    fn aggregate(&self, aggregate: &Aggregate, t_ms: i64) -> Result<Elements, String> {
        let kept = |labels: &Labels| match &aggregate.grouping {
            Grouping::By(names) => labels.filtered(|name| names.iter().any(|by| by == name)),
            Grouping::Without(names) => nameless(labels).filtered(|name| !names.iter().any(|without| without == name)),
        };
        let mut groups: BTreeMap<Labels, Elements> = BTreeMap::new();
        for (labels, value) in self.vector(&aggregate.expr, t_ms)? {
            groups.entry(kept(&labels)).or_default().push((labels, value));
        }
        let mut out = Vec::new();
        for (group, mut members) in groups {
            let values: Vec<f64> = members.iter().map(|(_, value)| *value).collect();
            let count = values.len() as f64;
            let sum: f64 = values.iter().sum();
            let value = match aggregate.op {
                AggregateOp::Sum => sum,
                AggregateOp::Avg => self.divided(sum / count, t_ms),
                AggregateOp::Count => count,
                AggregateOp::Group => 1.0,
                AggregateOp::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
                AggregateOp::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                AggregateOp::Stdvar => {
                    self.divided(values.iter().map(|v| (v - sum / count).powi(2)).sum::<f64>() / count, t_ms)
                }
                AggregateOp::Topk | AggregateOp::Bottomk => {
                    let Some(Value::Number(k)) = aggregate.param.as_ref().map(|k| self.at(k, t_ms)).transpose()? else {
                        return Err("no number".to_owned());
                    };
                    let sign = if aggregate.op == AggregateOp::Topk { -1.0 } else { 1.0 };
                    members.sort_by(|(a, x), (b, y)| (sign * x).total_cmp(&(sign * y)).then(a.cmp(b)));
                    let k = k as usize;
                    if members.len() > k && members[k - 1].1 == members[k].1 {
                        return Err(TIE.to_owned());
                    }
                    out.extend(members.into_iter().take(k));
                    continue;
                }
                other => return Err(format!("not part of this: {other:?}")),
            };
            out.push((group, value));
        }
        Ok(out)
    }

    fn binary(&self, binary: &Binary, t_ms: i64) -> Result<Value, String> {
        let (left, right) = (self.at(&binary.left, t_ms)?, self.at(&binary.right, t_ms)?);
        match (left, right) {
            (Value::Number(a), Value::Number(b)) => Ok(Value::Number(match compare(binary.op, a, b) {
                Some(holds) => f64::from(u8::from(holds)),
                None => calculate(binary.op, a, b),
            })),
            (Value::Vector(all), Value::Number(b)) => Ok(Value::Vector(with_number(binary, all, |a| (a, b)))),
            (Value::Number(a), Value::Vector(all)) => Ok(Value::Vector(with_number(binary, all, |b| (a, b)))),
            (Value::Vector(_), Value::Vector(_)) => {
                let (left, right) = (self.vector(&binary.left, t_ms)?, self.vector(&binary.right, t_ms)?);
                vectors(binary, left, right).map(Value::Vector)
            }
        }
    }
}

fn with_number(binary: &Binary, all: Elements, order: impl Fn(f64) -> (f64, f64)) -> Elements {
    let one = |(labels, value): (Labels, f64)| {
        let (a, b) = order(value);
        match compare(binary.op, a, b) {
            None => Some((nameless(&labels), calculate(binary.op, a, b))),
            Some(holds) if binary.returns_bool => Some((nameless(&labels), f64::from(u8::from(holds)))),
            Some(holds) => holds.then_some((labels, value)),
        }
    };
    all.into_iter().filter_map(one).collect()
}

fn vectors(binary: &Binary, left: Elements, right: Elements) -> Result<Elements, String> {
    let group = |labels: &Labels| match &binary.matching.labels {
        MatchLabels::On(names) => labels.filtered(|name| names.iter().any(|on| on == name)),
        MatchLabels::Ignoring(names) => nameless(labels).filtered(|name| !names.iter().any(|not| not == name)),
    };
    let has = |side: &Elements, labels: &Labels| side.iter().any(|(other, _)| group(other) == group(labels));
    let rest = |side: Elements, other: &Elements, wanted: bool| -> Elements {
        side.into_iter().filter(|(labels, _)| has(other, labels) == wanted).collect()
    };
    match binary.op {
        BinaryOp::And => return Ok(rest(left, &right, true)),
        BinaryOp::Unless => return Ok(rest(left, &right, false)),
        BinaryOp::Or => {
            let more = rest(right, &left, false);
            return Ok(left.into_iter().chain(more).collect());
        }
        _ => {}
    }
    if left.is_empty() || right.is_empty() {
        return Ok(Vec::new());
    }
    let swapped = matches!(binary.matching.group, Group::Right(_));
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    for (index, (labels, _)) in one.iter().enumerate() {
        if one[..index].iter().any(|(other, _)| group(other) == group(labels)) {
            return Err("twice on the one side".to_owned());
        }
    }
    let mut out: Elements = Vec::new();
    let mut matched: Vec<(Labels, Labels)> = Vec::new();
    for (labels, value) in many {
        let Some((one_labels, one_value)) = one.iter().find(|(other, _)| group(other) == group(&labels)) else {
            continue;
        };
        let (a, b) = if swapped { (*one_value, value) } else { (value, *one_value) };
        let keeps_name = compare(binary.op, a, b).is_some() && !binary.returns_bool;
        let mut result = if keeps_name { labels.clone() } else { nameless(&labels) };
        match &binary.matching.group {
            Group::OneToOne => {
                result = match &binary.matching.labels {
                    MatchLabels::On(names) => result.filtered(|name| names.iter().any(|on| on == name)),
                    MatchLabels::Ignoring(names) => result.filtered(|name| !names.iter().any(|not| not == name)),
                };
                if matched.iter().any(|(other, _)| *other == group(&labels)) {
                    return Err("many to one".to_owned());
                }
            }
            Group::Left(names) | Group::Right(names) => {
                for name in names {
                    result = result.with(name, one_labels.value(name));
                }
            }
        }
        let dropped = compare(binary.op, a, b) == Some(false) && !binary.returns_bool;
        if dropped && binary.matching.group != Group::OneToOne {
            continue;
        }
        if matched.contains(&(group(&labels), result.clone())) {
            return Err("not unique".to_owned());
        }
        matched.push((group(&labels), result.clone()));
        match compare(binary.op, a, b) {
            None => out.push((result, calculate(binary.op, a, b))),
            Some(holds) if binary.returns_bool => out.push((result, f64::from(u8::from(holds)))),
            Some(true) => out.push((result, a)),
            Some(false) => {}
        }
    }
    Ok(out)
}

fn compare(op: BinaryOp, a: f64, b: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Gt => a > b,
        BinaryOp::Lt => a < b,
        BinaryOp::Ge => a >= b,
        BinaryOp::Le => a <= b,
        _ => return None,
    })
}

fn calculate(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        _ => f64::NAN,
    }
}

fn nameless(labels: &Labels) -> Labels {
    labels.with("__name__", "")
}

fn millis(duration: &Duration) -> i64 {
    match &duration.kind {
        DurationKind::Millis(ms) => *ms,
        DurationKind::Unary(UnaryOp::Minus, inner) => -millis(inner),
        DurationKind::Unary(UnaryOp::Plus, inner) | DurationKind::Paren(inner) => millis(inner),
        other => panic!("not part of this: {other:?}"),
    }
}
