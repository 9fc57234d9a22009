//! `info(v, {selector})`: adds labels of info metrics to the series of a vector.
//!
//! An info metric belongs to a series when `instance` and `job` are the same. It is `target_info` unless the selector names
//! others; when it only excludes some, all others whose names end with `_info`. At every step the newest
//! sample of each info metric counts; its labels are added where the series has none of that name. The selector's other
//! matchers choose the info metrics and limit which labels are added; one that does not match the empty value demands a
//! match.
//!
//! The info metrics are looked up at the time that the vector's first selector looks at, with its `offset` and `@` and
//! those of the subqueries around it.
//!
//! Source: prometheus.io/docs/prometheus/latest/querying/functions, "info"; `promql/info.go` of Prometheus.

use std::collections::BTreeMap;

use homeostat_model::{Labels, LabelsBuilder, labels::METRIC_NAME};

use super::{
    duration::Shifted,
    error::{EvalError, execution},
    evaluator::{Evaluator, Matrix, Sink},
    selector::{Take, taken},
    series::{Series, braced},
};
use crate::{
    ast::{Expr, ExprKind, Shift},
    map::{HashMap, HashSet},
    matcher::{Matcher, MatcherOp},
};

/// Labels that tell which target a series is of.
const IDENTIFYING: [&str; 2] = ["instance", "job"];
/// The info metric that is meant when none is named.
const TARGET_INFO: &str = "target_info";
/// The info metrics of which some are excluded.
const ALL_INFOS: &str = ".+_info";
/// Up to so many values of an identifying label are given to the source; with more of them reading all info metrics
/// costs less than a regular expression.
const IDENTIFYING_VALUES_MAX: usize = 100;

/// Hands on the series of `info`.
pub(super) fn rows(ev: &Evaluator<'_>, args: &[Expr], sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let Some((vector, selector)) = args.split_first() else { return Err(execution("info needs a vector")) };
    let wanted = Wanted::new(selector.first())?;
    let base = ev.matrix(vector)?;
    let infos = Infos::read(ev, &wanted, &base, reference(ev, vector)?)?;
    let mut results = Matrix::new(ev.query);
    for series in base.series {
        if wanted.is_info(&series.labels) {
            results.push(&mut { series })?;
        } else {
            enrich(&series, &infos, &wanted, &mut results)?;
        }
    }
    results.merged()?.drain(sink)
}

/// What the selector asks for.
struct Wanted {
    /// Matchers of the info metrics' names.
    names: Vec<Matcher>,
    /// Matchers of the labels to be added; all labels when there is none.
    data: Vec<Matcher>,
}

impl Wanted {
    fn new(selector: Option<&Expr>) -> Result<Self, EvalError> {
        let matchers: &[Matcher] = match selector.map(|selector| &selector.unwrap_parens().kind) {
            None => &[],
            Some(ExprKind::Vector(selector)) => &selector.matchers,
            Some(_) => return Err(execution("the second argument of info must be a selector")),
        };
        let (mut names, data): (Vec<_>, Vec<_>) =
            matchers.iter().cloned().partition(|matcher| &*matcher.name == METRIC_NAME);
        if names.is_empty() {
            names.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
        } else if !names.iter().any(|matcher| matches!(matcher.op, MatcherOp::Equal | MatcherOp::Regex)) {
            // Names that are only excluded are excluded among all info metrics.
            names.extend(Matcher::new(METRIC_NAME, MatcherOp::Regex, ALL_INFOS));
        }
        Ok(Self { names, data })
    }

    /// An info metric itself stays as it is.
    fn is_info(&self, labels: &Labels) -> bool {
        let name = labels.metric().unwrap_or_default();
        self.names.iter().all(|matcher| matcher.matches(name))
    }

    fn adds(&self, label: &str) -> bool {
        label != METRIC_NAME && (self.data.is_empty() || self.data.iter().any(|matcher| &*matcher.name == label))
    }

    /// Whether a series without info is part of the result.
    fn keeps_unmatched(&self) -> bool {
        self.data.iter().all(|matcher| matcher.matches(""))
    }
}

/// When the first selector in an expression looks at its series.
fn reference(ev: &Evaluator<'_>, vector: &Expr) -> Result<Shifted, EvalError> {
    let mut shifted = Shifted { offset_ms: 0, at_ms: None };
    for shift in shifts(vector).unwrap_or_default() {
        let Shifted { offset_ms, at_ms } = ev.shifted(shift)?;
        shifted = match at_ms {
            Some(_) => Shifted { offset_ms, at_ms },
            None => Shifted { offset_ms: shifted.offset_ms.saturating_add(offset_ms), ..shifted },
        };
    }
    Ok(shifted)
}

/// The shifts on the way to the first selector, from the outside in; `None` when there is no selector.
fn shifts(expr: &Expr) -> Option<Vec<&Shift>> {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Seconds(_) | ExprKind::Text(_) => None,
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => shifts(inner),
        ExprKind::Binary(binary) => shifts(&binary.left).or_else(|| shifts(&binary.right)),
        ExprKind::Aggregate(aggregate) => shifts(&aggregate.expr).or_else(|| aggregate.param.as_ref().and_then(shifts)),
        ExprKind::Call(call) => call.args.iter().find_map(shifts),
        ExprKind::Vector(vector) => Some(vec![&vector.shift]),
        ExprKind::Matrix(matrix) => Some(vec![&matrix.vector.shift]),
        ExprKind::Subquery(subquery) => {
            let mut within = shifts(&subquery.expr)?;
            within.insert(0, &subquery.shift);
            Some(within)
        }
    }
}

/// What identifies a target.
type Target = [String; 2];

fn target(labels: &Labels) -> Target {
    IDENTIFYING.map(|label| labels.value(label).to_owned())
}

/// Info series by target; their values are the times of their samples.
struct Infos {
    of_target: HashMap<Target, Vec<Series>>,
}

impl Infos {
    fn read(ev: &Evaluator<'_>, wanted: &Wanted, base: &Matrix, shift: Shifted) -> Result<Self, EvalError> {
        let mut infos = Self { of_target: HashMap::default() };
        let mut values: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        for series in base.series.iter().filter(|series| !wanted.is_info(&series.labels)) {
            for label in IDENTIFYING {
                // An info metric without the label is of a series without it.
                values.entry(label).or_default().insert(series.labels.value(label));
            }
            infos.of_target.entry(target(&series.labels)).or_default();
        }
        // No series says of which target it is.
        if values.values().flatten().all(|value| value.is_empty()) {
            return Ok(infos);
        }
        let mut matchers: Vec<_> = wanted.names.iter().chain(&wanted.data).cloned().collect();
        for (label, values) in values.iter().filter(|(_, values)| values.len() <= IDENTIFYING_VALUES_MAX) {
            let pattern: Vec<_> = values.iter().map(|value| regex::escape(value)).collect();
            // Without it more is read, and nothing else is different.
            matchers.extend(Matcher::new(label, MatcherOp::Regex, &pattern.join("|")));
        }
        taken(ev, &matchers, shift, Take::InfoMillis, &mut |series| {
            if let Some(all) = infos.of_target.get_mut(&target(&series.labels)) {
                all.push(series.clone());
            }
            Ok(())
        })?;
        Ok(infos)
    }
}

/// Adds a series with its new labels to the results; they may change from step to step.
fn enrich(series: &Series, infos: &Infos, wanted: &Wanted, results: &mut Matrix) -> Result<(), EvalError> {
    let of_target = infos.of_target.get(&target(&series.labels)).map(Vec::as_slice).unwrap_or_default();
    let mut parts: Vec<(Vec<&Series>, Series)> = Vec::new();
    for step in series.present() {
        let active = active(of_target, step)?;
        if active.is_empty() && !wanted.keeps_unmatched() {
            continue;
        }
        let same = |(part, _): &(Vec<&Series>, Series)| {
            part.iter().map(|info| &info.labels).eq(active.iter().map(|info| &info.labels))
        };
        let at = if let Some(at) = parts.iter().position(same) {
            at
        } else {
            let labels = enriched(&series.labels, &active, wanted)?;
            parts.push((active, Series::new(labels, series.drop_name)));
            parts.len() - 1
        };
        if let (Some((_, part)), Some(value)) = (parts.get_mut(at), series.value(step)) {
            part.push(step, value);
        }
    }
    parts.iter_mut().try_for_each(|(_, part)| results.push(part))
}

/// The info series that count at a step: of each info metric the one with the newest sample.
fn active(infos: &[Series], step: usize) -> Result<Vec<&Series>, EvalError> {
    let mut newest: Vec<(&Series, f64)> = Vec::new();
    for info in infos {
        let Some(t_ms) = info.float(step) else { continue };
        let Some(known) = newest.iter_mut().find(|(known, _)| known.labels.metric() == info.labels.metric()) else {
            newest.push((info, t_ms));
            continue;
        };
        if known.1 < t_ms {
            *known = (info, t_ms);
        } else if known.1 <= t_ms {
            let (existing, new) = (braced(&known.0.labels), braced(&info.labels));
            let text = format!("existing {existing} @ {}, new {new} @ {t_ms}", known.1);
            return Err(execution(format!("found duplicate series for info metric: {text}")));
        }
    }
    Ok(newest.into_iter().map(|(info, _)| info).collect())
}

fn enriched(labels: &Labels, active: &[&Series], wanted: &Wanted) -> Result<Labels, EvalError> {
    let mut added = LabelsBuilder::default();
    for (name, value) in active.iter().flat_map(|info| info.labels.iter()) {
        if !wanted.adds(name) {
            continue;
        }
        if !matches!(added.value(name), known if known.is_empty() || known == value) {
            return Err(execution(format!("conflicting label: {name}")));
        }
        if labels.get(name).is_none() {
            added.set(name, value);
        }
    }
    let mut builder = LabelsBuilder::from(labels);
    for (name, value) in added.iter() {
        builder.set(name, value);
    }
    Ok(builder.finish())
}
