//! What is asked for: `process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name="shop"}`, and since when.

use homeostat_model::{labels::METRIC_NAME, profile::ValueType};
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

/// Labels that series have by their type, with the value for one.
type Virtual = (&'static str, ValueOf);
type ValueOf = fn(&ProfileType) -> String;
pub(super) const VIRTUAL: [Virtual; 6] = [
    ("__profile_type__", ProfileType::id),
    ("__type__", |kind| kind.sample.kind.clone()),
    ("__unit__", |kind| kind.sample.unit.clone()),
    ("__period_type__", |kind| kind.period.kind.clone()),
    ("__period_unit__", |kind| kind.period.unit.clone()),
    ("__name__", |kind| kind.name.clone()),
];

/// Conditions divided: on labels that series have, and on those that they have by their type.
pub(super) struct Conditions {
    pub(super) stored: Vec<Matcher>,
    typed: Vec<(ValueOf, Matcher)>,
}

impl Conditions {
    pub(super) fn of(matchers: Vec<Matcher>) -> Self {
        let (mut stored, mut typed) = (Vec::new(), Vec::new());
        for matcher in matchers {
            match VIRTUAL.iter().find(|(name, _)| *name == &*matcher.name && *name != METRIC_NAME) {
                Some((_, value)) => typed.push((*value, matcher)),
                None => stored.push(matcher),
            }
        }
        Self { stored, typed }
    }

    /// Returns true for a type for which all conditions on types hold.
    pub(super) fn hold_for(&self, kind: &ProfileType) -> bool {
        self.typed.iter().all(|(value, matcher)| matcher.matches(&value(kind)))
    }
}

/// A question for one type.
pub(super) fn query(kind: &ProfileType, selector: &str, from_ms: i64, to_ms: i64) -> Result<Query, Problem> {
    if to_ms < from_ms {
        return Err(Problem::bad("the end lies before the beginning"));
    }
    let conditions = Conditions::of(matchers(selector)?);
    // No time at all is the question that nothing answers.
    let to_ms = if conditions.hold_for(kind) { to_ms } else { from_ms };
    let mut matchers = conditions.stored;
    matchers.push(Matcher::equal(METRIC_NAME, &kind.name));
    let (columns, period_type) = (Columns::One(kind.sample.clone()), Some(kind.period.clone()));
    Ok(Query { matchers, columns, period_type, ..Query::all(from_ms, to_ms) })
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
        let typed = |text: &str| query(&kind, text, 1, 2).unwrap();
        let holds = typed(r#"{__profile_type__="process_cpu:cpu:nanoseconds:cpu:nanoseconds", __unit__=~"nano.*"}"#);
        assert_eq!((holds.matchers.len(), holds.to_ms), (1, 2));
        assert_eq!(typed(r#"{__type__="samples"}"#).to_ms, 1, "no time at all");
        assert_eq!(holds.period_type, Some(ValueType::new("cpu", "nanoseconds")));
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
