//! OpenSLO alert policies as burn-rate rules.
//!
//! A policy's conditions must all hold, any of an SLO's policies suffices (the reading of the specification's
//! maintainers). A rule of ours is a pair of windows with one factor, so a policy has one condition, whose quick window
//! is then a twelfth of it as in the Site Reliability Workbook, or two with the same factor.

use homeostat_model::{
    ReceiverName, Span,
    objective::{BurnRule, Severity},
};

use super::{
    super::{
        document::{Document, Documents},
        raw::openslo as raw,
        read::{Context, Key},
        source::{At, Place},
    },
    names::{Known, resolve},
    objectives::{check_window, slot_of},
};

/// Rules and receivers of all policies of an SLO.
pub(super) fn check(
    list: &At<Vec<At<raw::PolicyItem>>>,
    period: Span,
    documents: &Documents,
    known: &Known,
    cx: &mut Context<'_>,
) -> (Vec<BurnRule>, Vec<ReceiverName>) {
    let mut rules = Vec::new();
    let mut receivers: Vec<ReceiverName> = Vec::new();
    for item in &list.value {
        let inline = item.value.spec.as_ref().map(|spec| &spec.value);
        let named = item.value.alert_policy_ref.as_ref();
        let Some(policy) = either("alert policy", "alertPolicyRef", item.place, inline, named, &documents.policies, cx)
        else {
            continue;
        };
        for receiver in targets(policy, documents, known, cx) {
            if !receivers.contains(&receiver) {
                receivers.push(receiver);
            }
        }
        // A policy switched off is still checked, but makes no rule.
        let rule = rule(policy, period, documents, cx);
        let silent = policy.alert_when_breaching.as_ref().is_some_and(|at| !at.value);
        if let (Some(rule), false) = (rule, silent) {
            rules.push(rule);
        }
    }
    (rules, receivers)
}

/// The thing written out, or the document referred to.
fn either<'a, T>(
    what: &str,
    key: &str,
    place: Place,
    inline: Option<&'a T>,
    named: Option<&At<String>>,
    documents: &'a [Document<T>],
    cx: &mut Context<'_>,
) -> Option<&'a T> {
    match (inline, named) {
        (Some(inline), None) => Some(inline),
        (None, Some(name)) => {
            let names = documents.iter().filter_map(|d| d.name.as_ref()).map(|n| n.value.as_str());
            resolve(what, &name.value, name.place, names, cx);
            documents.iter().find(|d| d.name.as_ref().is_some_and(|n| n.value == name.value))?.spec.as_ref()
        }
        (Some(_), Some(name)) => {
            cx.error(name.place, format!("the {what} is written out as well"), format!("keep `spec` or `{key}`"));
            None
        }
        (None, None) if !cx.is_sound(place) => None,
        (None, None) => {
            cx.error(place, format!("an {what} is written out or referred to"), format!("add `spec:` or `{key}:`"));
            None
        }
    }
}

fn targets(policy: &raw::AlertPolicy, documents: &Documents, known: &Known, cx: &mut Context<'_>) -> Vec<ReceiverName> {
    let items = policy.notification_targets.as_ref().map(|t| t.value.as_slice()).unwrap_or_default();
    let mut receivers = Vec::new();
    for item in items {
        let inline = item.value.spec.as_ref().map(|spec| &spec.value);
        let named = item.value.target_ref.as_ref();
        // A reference may name a receiver at once, without a document in between.
        let receiver = match named.filter(|name| inline.is_none() && known.receivers.contains(&name.value)) {
            Some(name) => Some(name),
            None => either("notification target", "targetRef", item.place, inline, named, &documents.targets, cx)
                .and_then(|target| target.target.as_ref()),
        };
        if let Some(name) = receiver {
            let declared = known.receivers.iter().map(String::as_str);
            if resolve("receiver", &name.value, name.place, declared, cx)
                && let Some(name) = ReceiverName::of(name, cx)
            {
                receivers.push(name.value);
            }
        }
    }
    receivers
}

/// One condition of a policy with its numbers.
struct Condition {
    severity: Severity,
    factor: At<f64>,
    window: At<Span>,
}

fn rule(policy: &raw::AlertPolicy, period: Span, documents: &Documents, cx: &mut Context<'_>) -> Option<BurnRule> {
    let list = policy.conditions.as_ref()?;
    let mut conditions = Vec::new();
    for item in &list.value {
        let inline = item.value.spec.as_ref().map(|spec| &spec.value);
        let named = item.value.condition_ref.as_ref();
        let found = either("alert condition", "conditionRef", item.place, inline, named, &documents.conditions, cx);
        conditions.push(found.and_then(|found| condition(found, cx)));
    }
    if !(1..=2).contains(&conditions.len()) {
        cx.error(
            list.place,
            format!("a policy has one condition or two, this one has {}", conditions.len()),
            "write one, or a pair of windows with the same threshold",
        );
        return None;
    }
    let mut conditions: Vec<Condition> = conditions.into_iter().collect::<Option<_>>()?;
    conditions.sort_by_key(|c| std::cmp::Reverse(c.window.value));
    let (long, short) = match conditions.as_slice() {
        [one] => (one, twelfth(one.window.value)),
        [long, short] => {
            pair(long, short, cx);
            (long, short.window.value)
        }
        _ => return None,
    };
    if period < long.window.value {
        cx.error(
            long.window.place,
            format!("a window of {} is longer than the SLO's period of {period}", long.window.value),
            format!("write at most {period}"),
        );
    }
    Some(BurnRule { severity: long.severity, factor: long.factor.value, long: long.window.value, short })
}

/// A twelfth, rounded up to what the rings can measure: 1 h gives 5 m.
fn twelfth(window: Span) -> Span {
    let twelfth = Span::from_ns(window.ns() / 12);
    let slot = slot_of(twelfth).unwrap_or(Span::from_hours(1));
    Span::from_ns(twelfth.ns().div_ceil(slot.ns()).max(1) * slot.ns())
}

fn pair(long: &Condition, short: &Condition, cx: &mut Context<'_>) {
    if long.window.value == short.window.value {
        cx.error(
            short.window.place,
            "both conditions look at the same window",
            "give the quick one a shorter window, for example a twelfth",
        );
    }
    if (long.factor.value - short.factor.value).abs() > f64::EPSILON {
        cx.error(
            short.factor.place,
            format!("the conditions of a policy share one threshold; the other has {}", long.factor.value),
            "write the same threshold in both, or two policies",
        );
    }
    if long.severity != short.severity {
        cx.error(
            short.window.place,
            "the conditions of a policy share one severity",
            "write the same severity in both, or two policies",
        );
    }
}

fn condition(raw: &raw::AlertCondition, cx: &mut Context<'_>) -> Option<Condition> {
    let severity = raw.severity.as_ref().map(|s| s.value.0);
    let burn = &raw.condition.as_ref()?.value;
    if let Some(At { value: raw::Op::Lte | raw::Op::Lt, place }) = &burn.op {
        cx.warn(*place, "a burn rate is too high, never too low: this is read as `gte`", "write `gte`");
    }
    if let Some(after) = burn.alert_after.as_ref().filter(|after| after.value.0 != Span::ZERO) {
        cx.warn(
            after.place,
            "`alertAfter` has no effect: the quick window takes its part",
            "remove it, or add a second condition with a shorter window",
        );
    }
    let window = burn.lookback_window.as_ref().map(|w| At::new(w.value.0, w.place));
    if let Some(window) = &window {
        check_window("a window", window, cx);
    }
    let factor = burn.threshold.as_ref().map(|t| At::new(t.value.0, t.place));
    if let Some(factor) = factor.as_ref().filter(|f| !(0.0 < f.value && f.value <= 100_000.0)) {
        cx.error(factor.place, "a burn rate is greater than 0", "write for example `14.4`");
    }
    Some(Condition { severity: severity?, factor: factor?, window: window? })
}
