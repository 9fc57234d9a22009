//! Differences that are meant: Prometheus 2.42 is older than the language that we speak.

use serde_json::Value;

/// A rule: its name, and whether it explains a difference of a query, by its text and our answer.
type Rule = (&'static str, fn(&str, &Value) -> bool);

const RULES: [Rule; 8] = [
    // Since 2.5x the way back to a counter's zero is looked at behind the threshold of extrapolation, not before.
    ("rates of what comes near zero", |query, _| {
        ["rate(", "increase("].iter().any(|function| {
            let steady = ["c_total", "h_bucket"];
            query.split(function).skip(1).any(|behind| !steady.iter().any(|name| behind.starts_with(name)))
        })
    }),
    // Since 3 what comes out of `atan2` has lost its name.
    ("names behind atan2", |query, _| query.contains(" atan2 ")),
    // Since 3 one-to-one matching looks for twins before a comparison drops them.
    ("twins that a comparison drops", |query, ours| {
        let said = ours["error"].as_str().unwrap_or_default();
        said.contains("many-to-one matching must be explicit") && COMPARISONS.iter().any(|sign| query.contains(sign))
    }),
    // Since 3 a group that begins with NaN or an infinity has no deviation; before, it was 0.
    ("deviation of NaN and infinities", |query, _| query.contains("stdvar ") || query.contains("stddev ")),
    // A remainder, an angle, a logarithm near 0 or a number that is rounded may hang on the last digit.
    ("the last digit multiplied", |query, _| {
        [" % ", "sin(", "cos(", "tan(", "ln(", "log2(", "log10(", "round(", "floor(", "ceil("]
            .iter()
            .any(|part| query.contains(part))
    }),
    // Since 2.5x a sum that is infinite has no lost digits; before, they made it NaN.
    ("trends of infinities", |query, _| {
        query.contains("odd") && ["predict_linear(", "deriv("].iter().any(|function| query.contains(function))
    }),
    // Which part of a date NaN has depends on the processor there; here it is that of 1970.
    ("dates of NaN", |query, _| {
        ["hour(", "minute(", "day_of_year(", "days_in_month(", "year("].iter().any(|function| query.contains(function))
    }),
    // 2.42 loses samples from step to step, although `@` holds them.
    ("predict_linear with @", |query, _| query.contains("predict_linear(") && query.contains('@')),
];

const COMPARISONS: [&str; 6] = [" == ", " != ", " < ", " > ", " <= ", " >= "];

/// The name of the rule that explains a difference; `None` if nothing does.
pub(crate) fn explains(query: &str, ours: &Value) -> Option<&'static str> {
    RULES.iter().find(|(_, explains)| explains(query, ours)).map(|(name, _)| *name)
}
