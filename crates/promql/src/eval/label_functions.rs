//! `label_replace` and `label_join`: functions that look at labels only.

use homeostat_model::{Labels, labels::METRIC_NAME};
use regex::Regex;

use super::{
    error::{EvalError, execution},
    evaluator::{Evaluator, Matrix, Sink},
};
use crate::{
    ast::{Expr, ExprKind},
    matcher::compile_regex,
};

/// `label_replace(v, destination, replacement, source, pattern)`.
pub(super) fn label_replace(ev: &Evaluator<'_>, args: &[Expr], sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let [vector, texts @ ..] = args else { return Err(execution("label_replace needs a vector")) };
    let texts = texts.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let [destination, replacement, source, pattern] = texts.as_slice() else {
        return Err(execution("label_replace needs four texts"));
    };
    let regex = compile(pattern)?;
    check_name(destination, "invalid destination label name in label_replace()")?;
    let template = Template::new(replacement);
    relabelled(ev, vector, destination, sink, |labels| {
        let captures = regex.captures(labels.value(source))?;
        Some(template.expand(&captures))
    })
}

/// `label_join(v, destination, separator, source, …)`.
pub(super) fn label_join(ev: &Evaluator<'_>, args: &[Expr], sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let [vector, texts @ ..] = args else { return Err(execution("label_join needs a vector")) };
    let texts = texts.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let [destination, separator, sources @ ..] = texts.as_slice() else {
        return Err(execution("label_join needs a destination and a separator"));
    };
    for source in sources {
        check_name(source, "invalid source label name in label_join()")?;
    }
    check_name(destination, "invalid destination label name in label_join()")?;
    relabelled(ev, vector, destination, sink, |labels| {
        let values: Vec<_> = sources.iter().map(|source| labels.value(source)).collect();
        Some(values.join(separator))
    })
}

/// Hands on all series with one label set to what `value` says; `None` leaves a series as it is. Series that have the
/// same labels then become one.
fn relabelled(
    ev: &Evaluator<'_>,
    vector: &Expr,
    label: &str,
    sink: &mut Sink<'_>,
    value: impl Fn(&Labels) -> Option<String>,
) -> Result<(), EvalError> {
    let mut matrix = Matrix::new(ev.query);
    ev.rows(vector, &mut |series| {
        if let Some(value) = value(&series.labels) {
            series.labels = series.labels.with(label, &value);
            // A name that was just given does not go.
            series.drop_name &= label != METRIC_NAME;
        }
        matrix.push(series)
    })?;
    matrix.merged()?.drain(sink)
}

/// A text argument.
pub(super) fn text(arg: &Expr) -> Result<&str, EvalError> {
    match &arg.unwrap_parens().kind {
        ExprKind::Text(text) => Ok(text),
        _ => Err(execution("a text is expected here")),
    }
}

/// Any text but the empty one names a label; what is no UTF-8 was replaced by the parser and is none.
pub(super) fn check_name(name: &str, what: &str) -> Result<(), EvalError> {
    if name.is_empty() || name.contains(char::REPLACEMENT_CHARACTER) {
        return Err(execution(format!("{what}: {name}")));
    }
    Ok(())
}

fn compile(pattern: &str) -> Result<Regex, EvalError> {
    compile_regex(pattern).map_err(|_| execution(format!("invalid regular expression in label_replace(): {pattern}")))
}

/// A replacement, cut into plain parts and groups.
///
/// `$1`, `$name` and `${name}` stand for groups, the name as long as it can be; `$$` is a dollar sign and a dollar sign
/// before anything else stands for itself. A group that does not exist is empty.
struct Template<'t> {
    parts: Vec<Part<'t>>,
}

enum Part<'t> {
    Plain(&'t str),
    Number(usize),
    Name(&'t str),
}

impl<'t> Template<'t> {
    fn new(text: &'t str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((plain, behind)) = rest.split_once('$') {
            parts.push(Part::Plain(plain));
            if let Some(behind) = behind.strip_prefix('$') {
                parts.push(Part::Plain("$"));
                rest = behind;
            } else if let Some((name, behind)) = group(behind) {
                parts.push(name.parse().map_or(Part::Name(name), Part::Number));
                rest = behind;
            } else {
                parts.push(Part::Plain("$"));
                rest = behind;
            }
        }
        parts.push(Part::Plain(rest));
        Self { parts }
    }

    fn expand(&self, captures: &regex::Captures<'_>) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Plain(text) => text,
            Part::Number(number) => captures.get(*number).map_or("", |found| found.as_str()),
            Part::Name(name) => captures.name(name).map_or("", |found| found.as_str()),
        });
        parts.collect()
    }
}

/// The name of a group behind a dollar sign, and what follows it.
fn group(text: &str) -> Option<(&str, &str)> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    if let Some(braced) = text.strip_prefix('{') {
        let (name, behind) = braced.split_once('}')?;
        return (!name.is_empty() && name.chars().all(is_name)).then_some((name, behind));
    }
    let len = text.find(|c| !is_name(c)).unwrap_or(text.len());
    (len > 0).then(|| text.split_at(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str) -> Option<String> {
        let regex = compile("(?P<first>[a-z]+)-([0-9]+)").ok()?;
        Some(Template::new(template).expand(&regex.captures("abc-12")?))
    }

    #[test]
    fn groups_are_put_in_their_places() {
        for (template, expected) in [
            ("$1/$2", "abc/12"),
            ("${1}x${first}", "abcxabc"),
            ("$1x", ""),
            ("$$1", "$1"),
            ("a$", "a$"),
            ("$ ${", "$ ${"),
            ("${}", "${}"),
            ("$9-$none", "-"),
        ] {
            assert_eq!(expand(template).as_deref(), Some(expected), "{template}");
        }
    }
}
