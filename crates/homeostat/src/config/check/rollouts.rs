//! `Rollout` documents.

use std::collections::BTreeMap;

use homeostat_act_guard::GuardLimits;
use homeostat_judge_canary::TOLERANCE_DEFAULT;
use homeostat_model::{
    ActionMode, Objective, RolloutName, ServiceName, Span, VersionName, Weight,
    objective::Sli,
    rollout::{CanaryTest, Gate, Rollout, Start, Step},
};

use super::{
    super::{
        document::Document,
        raw::rollout as raw,
        read::{Context, Short},
        scalar::{Share, Whole},
        source::At,
    },
    names::{Known, name_of, resolve},
    receivers,
    services::{self, Service},
    value, within,
};

/// Least duration of a step unless said otherwise.
const STEP_DEFAULT: Span = Span::from_secs(30);
/// Longest life of a rollout unless said otherwise.
const DEADLINE_DEFAULT: Span = Span::from_hours(24);
/// Freeze after a rollback unless said otherwise.
const FREEZE_DEFAULT: Span = Span::from_hours(24);
/// Steps of a rollout at most; each needs evidence of its own, and 0.01 % apart there could be 10,000.
const STEPS_MAX: usize = 50;
/// SLIs of a test at most: the bound is shared among them, and the thresholds of a service are few.
const SLIS_MAX: usize = 8;

/// What rollouts are checked against.
struct World<'a> {
    services: &'a [Service],
    objectives: &'a [At<Objective>],
    guard: &'a GuardLimits,
    known: &'a Known,
}

/// Checks all rollouts; each comes with the place of its name.
pub(super) fn check(
    documents: &[Document<raw::Rollout>],
    services: &[Service],
    objectives: &[At<Objective>],
    guard: &GuardLimits,
    known: &Known,
    cx: &mut Context<'_>,
) -> Vec<At<Rollout>> {
    let world = World { services, objectives, guard, known };
    let mut of_service: BTreeMap<ServiceName, String> = BTreeMap::new();
    for document in documents {
        let Some(service) = document.spec.as_ref().and_then(|s| s.service.as_ref()) else { continue };
        let name = document.name.as_ref().map(|n| n.value.clone()).unwrap_or_default();
        if let Some(first) = of_service.insert(service.value.clone(), name) {
            cx.error(
                service.place,
                format!("service `{}` has the rollout `{first}` already", service.value),
                "remove one; a service is moved by one rollout at a time",
            );
        }
    }
    documents.iter().filter_map(|document| rollout(document, &world, cx)).collect()
}

fn rollout(document: &Document<raw::Rollout>, world: &World<'_>, cx: &mut Context<'_>) -> Option<At<Rollout>> {
    let name = name_of::<RolloutName, _>(document, cx);
    let raw = document.spec.as_ref()?;
    let service_name = raw.service.as_ref();
    let known = world.known.services.iter().map(String::as_str);
    let exists = service_name.is_some_and(|s| resolve("service", s.value.as_str(), s.place, known, cx));
    let service = service_name.filter(|_| exists).and_then(|s| services::find(world.services, &s.value));
    let versions = service.and_then(|service| versions(raw, service, cx));
    let steps = steps(raw, world, cx);
    let test = test(raw.test.as_ref(), service, world, cx);
    let receivers = receivers::named(raw.receivers.as_ref(), world.known, cx);
    let times = Times::of(raw, world.guard, cx);
    times.check_steps(&steps, raw, cx);
    let name = name?;
    let (canary, baseline) = versions?;
    Some(At::new(
        Rollout {
            name: name.value,
            service: service?.spec.name.clone(),
            baseline,
            canary,
            steps,
            test,
            mode: value(raw.mode.as_ref(), ActionMode::Auto),
            start: value(raw.start.as_ref(), Start::Manual),
            progress_deadline: times.progress_deadline,
            verify_window: times.verify_window,
            freeze: times.freeze,
            receivers,
        },
        name.place,
    ))
}

/// Canary and baseline: two versions of the service, of which the baseline has traffic to give and the canary none yet.
fn versions(raw: &raw::Rollout, service: &Service, cx: &mut Context<'_>) -> Option<(VersionName, VersionName)> {
    let canary = raw.canary.as_ref().filter(|canary| service.has_version(canary, cx));
    let baseline_known = raw.baseline.as_ref().is_none_or(|baseline| service.has_version(baseline, cx));
    let canary = canary?;
    let canary_weight = service.weight(&canary.value);
    if canary_weight != Weight::ZERO {
        let done = canary_weight == Weight::FULL;
        let help = if done {
            "remove the rollout if it is done, or give the traffic back to the version that serves now"
        } else {
            "leave its `weight` out; the steps of the rollout give it"
        };
        cx.error(
            canary.place,
            format!("`{}` has {canary_weight} of the traffic before the rollout begins", canary.value),
            help,
        );
        return None;
    }
    if !baseline_known {
        return None;
    }
    let baseline = if let Some(baseline) = &raw.baseline {
        baseline.clone()
    } else {
        let others: Vec<&VersionName> = service
            .spec
            .split
            .iter()
            .filter(|(v, w)| *w != Weight::ZERO && *v != canary.value)
            .map(|(v, _)| v)
            .collect();
        if let [one] = others.as_slice() {
            At::new((*one).clone(), canary.place)
        } else {
            cx.error(
                canary.place,
                "several versions have traffic; which is the baseline?",
                "add `baseline:` with the version to compare with",
            );
            return None;
        }
    };
    if baseline.value == canary.value {
        cx.error(baseline.place, "canary and baseline are the same version", "name two different versions");
        return None;
    }
    if service.weight(&baseline.value) == Weight::ZERO {
        cx.error(
            baseline.place,
            format!("the baseline `{}` has no traffic to compare with", baseline.value),
            "give it a `weight` in the service",
        );
        return None;
    }
    Some((canary.value.clone(), baseline.value))
}

fn steps(raw: &raw::Rollout, world: &World<'_>, cx: &mut Context<'_>) -> Vec<Step> {
    let Some(list) = &raw.steps else { return Vec::new() };
    if (list.value.is_empty() && cx.is_sound(list.place)) || STEPS_MAX < list.value.len() {
        cx.error(
            list.place,
            format!("a rollout has 1 to {STEPS_MAX} steps"),
            "write for example `steps: [1%, 5%, 25%, 50%, 100%]`",
        );
    }
    let mut before = Weight::ZERO;
    let mut steps = Vec::new();
    for at in &list.value {
        let Some(weight) = &at.value.0.weight else { continue };
        if weight.value <= before {
            let help = format!("write more than {before}");
            cx.error(weight.place, format!("steps must ascend, {} does not", weight.value), help);
        } else if world.guard.traffic_max < weight.value.saturating_sub(before) {
            cx.warn(
                weight.place,
                format!("the guard moves at most {} at once and will refuse this step", world.guard.traffic_max),
                "write a smaller step, or raise `traffic` of the `Guard`",
            );
        }
        before = weight.value;
        steps.push(Step { weight: weight.value, gate: gate(&at.value, cx) });
    }
    steps
}

fn gate(step: &Short<raw::Step>, cx: &mut Context<'_>) -> Gate {
    let at_least = step.0.at_least.as_ref().map_or(STEP_DEFAULT, |at| at.value);
    match step.0.gate.as_ref().map_or(raw::GateWord::Evidence, |gate| gate.value) {
        raw::GateWord::Evidence => Gate::Evidence { at_least },
        raw::GateWord::Pause => Gate::Pause { at_least },
        raw::GateWord::Manual => {
            if let Some(at) = &step.0.at_least {
                cx.error(at.place, "a person opens this gate, whenever that is", "remove `atLeast`");
            }
            Gate::Manual
        }
    }
}

fn test(raw: Option<&At<raw::Test>>, service: Option<&Service>, world: &World<'_>, cx: &mut Context<'_>) -> CanaryTest {
    let raw = raw.map(|at| &at.value);
    let alpha = share(raw.and_then(|t| t.alpha.as_ref()), "alpha", 0.001, (1e-9, 0.5), cx);
    let beta = share(raw.and_then(|t| t.beta.as_ref()), "beta", 0.05, (1e-9, 0.5), cx);
    let tolerance = share(raw.and_then(|t| t.tolerance.as_ref()), "tolerance", TOLERANCE_DEFAULT, (0.0, 0.99), cx);
    let grace = raw.and_then(|t| t.grace.as_ref());
    CanaryTest {
        alpha,
        beta,
        tolerance,
        min_events: value(raw.and_then(|t| t.min_events.as_ref()), Whole(5)).0,
        grace: within(grace, "a grace time", (Span::ZERO, Span::from_days(1)), cx),
        slis: slis(raw.and_then(|t| t.slis.as_ref()), service, world, cx),
    }
}

fn share(at: Option<&At<Share>>, what: &str, default: f64, (min, max): (f64, f64), cx: &mut Context<'_>) -> f64 {
    let Some(at) = at else { return default };
    if !(min..=max).contains(&at.value.0) {
        let range = format!("write a share from {min} to {max}, for example `{default}`");
        let is_percent = 1.0 < at.value.0 && (min..=max).contains(&(at.value.0 / 100.0));
        let help = if is_percent { format!("{range}; if percent is meant, `{}%`", at.value.0) } else { range };
        cx.error(at.place, format!("{what} of {} is out of range", at.value.0), help);
    }
    at.value.0
}

/// The SLIs as declared, or availability and the latencies that the service's own objectives promise.
fn slis(
    declared: Option<&At<Vec<At<Short<raw::SliForm>>>>>,
    service: Option<&Service>,
    world: &World<'_>,
    cx: &mut Context<'_>,
) -> Vec<Sli> {
    let mut slis = Vec::new();
    let Some(list) = declared else {
        slis.push(Sli::Availability);
        for objective in world.objectives.iter().map(|o| &o.value) {
            let whole = objective.routes.is_empty() && objective.version.is_none();
            let own = service.is_some_and(|s| s.spec.name == objective.service);
            if whole && own && !slis.contains(&objective.sli) {
                slis.push(objective.sli);
            }
        }
        return slis;
    };
    if (list.value.is_empty() && cx.is_sound(list.place)) || SLIS_MAX < list.value.len() {
        cx.error(
            list.place,
            format!("a test compares 1 to {SLIS_MAX} SLIs"),
            "write for example `slis: [availability, {latency: 300ms}]`",
        );
    }
    for at in &list.value {
        let sli = match &at.value.0.latency {
            None => Sli::Availability,
            Some(latency) => Sli::Latency { threshold: super::objectives::threshold(latency, cx) },
        };
        if slis.contains(&sli) {
            cx.error(at.place, "this SLI stands in the list twice", "remove one of the two");
        } else {
            slis.push(sli);
        }
    }
    slis
}

struct Times {
    progress_deadline: Span,
    verify_window: Span,
    freeze: Span,
}

impl Times {
    fn of(raw: &raw::Rollout, guard: &GuardLimits, cx: &mut Context<'_>) -> Self {
        const SECOND: Span = Span::from_secs(1);
        let limit = guard.ttl_max.max(SECOND);
        let mut or_limit = |at: Option<&At<Span>>, what: &str, default: Span| match at {
            Some(_) => within(at, what, (SECOND, limit), cx),
            None => default.min(limit),
        };
        let (progress_deadline, freeze) = (
            or_limit(raw.progress_deadline.as_ref(), "a progress deadline", DEADLINE_DEFAULT),
            or_limit(raw.freeze.as_ref(), "a freeze", FREEZE_DEFAULT),
        );
        Self {
            progress_deadline,
            verify_window: within(
                raw.verify_window.as_ref(),
                "a verify window",
                (Span::from_ms(100), Span::from_hours(1)),
                cx,
            ),
            freeze,
        }
    }

    /// All steps at their shortest must fit into the deadline, and so must the grace time.
    fn check_steps(&self, steps: &[Step], raw: &raw::Rollout, cx: &mut Context<'_>) {
        let at_least = steps.iter().map(|step| match step.gate {
            Gate::Pause { at_least } | Gate::Evidence { at_least } => at_least.ns(),
            Gate::Manual => 0,
        });
        let grace = raw.test.as_ref().and_then(|t| t.value.grace.as_ref()).map_or(0, |g| g.value.ns());
        let shortest = Span::from_ns(at_least.fold(0, u64::saturating_add).max(grace));
        if self.progress_deadline <= shortest {
            let place = [raw.progress_deadline.as_ref().map(|d| d.place), raw.steps.as_ref().map(|s| s.place)];
            cx.error(
                place.into_iter().flatten().next().unwrap_or_default(),
                format!(
                    "the rollout must end within {}, but its steps take {shortest} at least",
                    self.progress_deadline
                ),
                format!("write a `progressDeadline` of more than {shortest}, or shorter steps"),
            );
        }
    }
}
