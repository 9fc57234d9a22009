//! What is asked for: `process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name="shop"}`, and since when.

use std::sync::Arc;

use homeostat_model::{Labels, labels::METRIC_NAME, profile::ValueType};
use homeostat_promql::{Matcher, parse_metric_selector};
use homeostat_store_profiles::{Columns, Query, Subject};

use super::problem::Problem;

/// A type of profiles: five names with `:` between them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProfileType {
    pub(super) name: String,
    pub(super) sample: ValueType,
    pub(super) period: ValueType,
}

impl ProfileType {
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let parts: Vec<&str> = text.split(':').collect();
        // A sixth part says that the profile is a difference; it changes nothing here.
        let (&[name, kind, unit, period_kind, period_unit] | &[name, kind, unit, period_kind, period_unit, "delta"]) =
            parts.as_slice()
        else {
            return Err(Problem::bad(format!(
                "{text:?} is no type of profiles; write name, type, unit, period's type and unit, such as \
                 `process_cpu:cpu:nanoseconds:cpu:nanoseconds`"
            )));
        };
        let (sample, period) = (ValueType::new(kind, unit), ValueType::new(period_kind, period_unit));
        Ok(Self { name: name.to_owned(), sample, period })
    }

    /// The types of a series, one a column.
    pub(super) fn of(subject: &Subject) -> impl Iterator<Item = Self> + '_ {
        subject.types.iter().map(|sample| Self {
            name: subject.labels.value(METRIC_NAME).to_owned(),
            sample: sample.clone(),
            period: subject.period_type.clone(),
        })
    }

    pub(super) fn id(&self) -> String {
        let Self { name, sample, period } = self;
        [name, &sample.kind, &sample.unit, &period.kind, &period.unit].map(String::as_str).join(":")
    }
}

/// Conditions in braces; none at all means every series.
pub(super) fn matchers(text: &str) -> Result<Vec<Matcher>, Problem> {
    let text = text.trim();
    let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    if inside.trim().is_empty() {
        return Ok(Vec::new());
    }
    let whole = format!("{{{inside}}}");
    parse_metric_selector(&whole).map_err(|errors| Problem::bad(format!("{text:?} is no selector of labels: {errors}")))
}

/// A question for one type.
pub(super) fn query(kind: &ProfileType, selector: &str, from_ms: i64, to_ms: i64) -> Result<Query, Problem> {
    if to_ms < from_ms {
        return Err(Problem::bad("the end lies before the beginning"));
    }
    let mut matchers = matchers(selector)?;
    matchers.push(Matcher::equal(METRIC_NAME, &kind.name));
    Ok(Query { matchers, from_ms, to_ms, columns: Columns::One(kind.sample.clone()), given_up: Arc::default() })
}

/// `TYPE{labels}` divided.
pub(super) fn split(query: &str) -> Result<(ProfileType, &str), Problem> {
    let at = query.find('{').unwrap_or(query.len());
    let (kind, selector) = query.split_at(at);
    Ok((ProfileType::parse(kind.trim())?, selector))
}

/// A point in time: `now`, `now-1h`, or a number since 1970 in seconds or milliseconds.
pub(super) fn instant_ms(text: &str, default: &str, now_ms: i64) -> Result<i64, Problem> {
    let text = if text.is_empty() { default } else { text };
    let bad = || Problem::bad(format!("{text:?} is no time; write `now-1h`, or seconds or milliseconds since 1970"));
    if let Some(rest) = text.strip_prefix("now") {
        let Some(back) = rest.strip_prefix('-') else { return if rest.is_empty() { Ok(now_ms) } else { Err(bad()) } };
        let back = homeostat_promql::literal::duration_ms(back).map_err(|_| bad())?;
        return Ok(now_ms.saturating_sub(back));
    }
    let number: i64 = text.parse().map_err(|_| bad())?;
    // Seconds have ten digits for the next two centuries.
    Ok(if text.len() <= 11 { number.saturating_mul(1000) } else { number })
}

/// The labels that people look for: without the names that begin with two underscores.
pub(super) fn shown(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    labels.iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_understood() {
        let (kind, rest) =
            split("process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name=\"a\", b=~\"c.*\"}").unwrap();
        assert_eq!(kind.id(), "process_cpu:cpu:nanoseconds:cpu:nanoseconds");
        let asked = query(&kind, rest, 1, 2).unwrap();
        assert_eq!((asked.matchers.len(), asked.columns), (3, Columns::One(ValueType::new("cpu", "nanoseconds"))));
        assert!(split("a:b:c:d").is_err() && split("a:b:c:d:e:f").is_err() && split("a:b:c:d:e:delta").is_ok());
        assert!(matchers("{}").unwrap().is_empty() && matchers("").unwrap().is_empty());
        assert!(matchers("{a=}").is_err() && query(&kind, "", 2, 1).is_err());
    }

    #[test]
    fn times_are_relative_or_numbers() {
        let at = |text| instant_ms(text, "now-1h", 10_000_000_000_000).ok();
        assert_eq!((at("now"), at("")), (Some(10_000_000_000_000), Some(9_999_996_400_000)));
        assert_eq!(at("now-90s"), Some(9_999_999_910_000));
        assert_eq!((at("1763715600"), at("1763715600123")), (Some(1_763_715_600_000), Some(1_763_715_600_123)));
        assert_eq!((at("then"), at("now+1h"), at("now-x")), (None, None, None));
    }
}
