//! One objective under judgement: its history, its windows, and which of its rules fire.
//!
//! A rule fires when both of its windows burn at least at its factor and there is enough evidence: events in the long
//! one, and at least the short one's length of measured time. Without that, the first second of a new process would
//! speak for an hour. It goes on firing until the short window shows events that burn slower, or the long one burns slower itself: silence in the
//! short window is not evidence of recovery, but neither can it keep a rule firing for longer than the long window.
//!
//! Reading (`window`, `burn`, …) at a time later than the last `advance` gives what `advance` would have led to; only
//! `record`, `advance`, `gap` and `evaluate` change anything.

use homeostat_model::{
    Objective, Span, Timestamp,
    evidence::EventCounts,
    objective::{BurnRule, Target},
    view::{BurnRuleView, WindowView},
};
use serde::{Deserialize, Serialize};

use crate::{
    coverage::Coverage,
    rings::{HISTORY_MAX, Rings, Window},
    state::{JudgeState, StateError},
};

/// `1.0 - 0.99` is a little more than 0.01: without slack, 10 % of errors at 99 % would burn a little slower than 10.
const RATE_SLACK: f64 = 1.0 + 1e-9;

/// The judge of one objective. Its serialised form holds everything, so a restored judge goes on as the old one would.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "JudgeState", into = "JudgeState")]
pub struct ObjectiveJudge {
    pub(crate) settings: Settings,
    pub(crate) firing: Box<[bool]>,
    pub(crate) coverage: Coverage,
    /// The latest time ever seen.
    pub(crate) now: Timestamp,
    pub(crate) rings: Rings,
    /// Whether any window changed since the rules were judged last; most objectives are idle most of the time.
    pub(crate) stale: bool,
}

/// What the judge needs of an objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    target: Target,
    period: Span,
    fast_window: Span,
    min_events: u64,
    pub(crate) rules: Box<[BurnRule]>,
}

/// A rule that began or ceased to fire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RuleChange {
    /// Position among the objective's burn rules.
    pub index: usize,
    /// The rule with both windows at that instant; `firing` is the new state.
    pub view: BurnRuleView,
}

impl ObjectiveJudge {
    /// A judge that has seen nothing and measures from `start` on.
    pub fn new(objective: &Objective, start: Timestamp) -> Self {
        let settings = Settings::of(objective);
        Self {
            firing: settings.rules.iter().map(|_| false).collect(),
            coverage: Coverage::since(start),
            now: start,
            rings: Rings::new(start, &settings.windows()),
            stale: false,
            settings,
        }
    }

    /// Takes over changed settings and keeps the history, which must still be of the same events: an objective whose
    /// service, routes, version or SLI changed needs a new judge. Unchanged rules go on firing.
    pub fn reconfigure(&mut self, objective: &Objective) {
        let settings = Settings::of(objective);
        let still =
            |rule: &BurnRule| self.settings.rules.iter().zip(&self.firing).any(|(old, firing)| *firing && old == rule);
        self.firing = settings.rules.iter().map(still).collect();
        self.rings.set_windows(&settings.windows());
        self.settings = settings;
        self.stale = true;
    }

    /// Counts events. What comes late counts in the newest slot.
    pub fn record(&mut self, now: Timestamp, events: EventCounts) {
        self.advance(now);
        self.rings.record(events);
        self.stale = true;
    }

    /// Lets time pass. Earlier times than before change nothing.
    /// Costs nothing within a tick; otherwise, per window, as much as there are non-empty slots that fall out of it.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.stale |= self.rings.advance(now);
    }

    /// Marks a time as unmeasured: nobody counted then. All other time since the start counts as measured.
    pub fn gap(&mut self, from: Timestamp, to: Timestamp) {
        self.coverage.forget_before(self.now - HISTORY_MAX);
        self.coverage.add_gap(from, to);
    }

    /// The events and the burn rate of a window that ends now. The objective's own windows cost next to nothing;
    /// others a look at each of their non-empty slots. Windows beyond [`HISTORY_MAX`] are cut to it.
    pub fn window(&self, now: Timestamp, window: Span) -> WindowView {
        let now = now.max(self.now);
        let window = window.min(HISTORY_MAX);
        let events = self.rings.sum(now, Window::of(window));
        WindowView {
            window,
            events,
            burn_rate: self.settings.burn_rate(events),
            coverage: self.coverage.share(now, window),
            enough: self.settings.min_events <= events.total(),
        }
    }

    /// The live window.
    pub fn fast(&self, now: Timestamp) -> WindowView {
        self.window(now, self.settings.fast_window)
    }

    /// The whole period of the budget.
    pub fn period(&self, now: Timestamp) -> WindowView {
        self.window(now, self.settings.period)
    }

    /// Share of the error budget that is left: 1 untouched, below 0 overspent, `None` when no event was seen.
    /// The budget is the allowed share of the period's events *so far*; unmeasured time adds nothing to it.
    pub fn budget_left(&self, now: Timestamp) -> Option<f64> {
        self.period(now).burn_rate.map(|spent| 1.0 - spent)
    }

    /// The rules with both of their windows, in the order of the declaration; whether they fire is as of the last
    /// `evaluate`.
    pub fn burn(&self, now: Timestamp) -> Vec<BurnRuleView> {
        let view = |(rule, firing): (&BurnRule, &bool)| self.view(now, rule, *firing);
        self.settings.rules.iter().zip(&self.firing).map(view).collect()
    }

    /// Lets time pass, then judges every rule. Returns those that began or ceased to fire, in order.
    pub fn evaluate(&mut self, now: Timestamp) -> Vec<RuleChange> {
        self.advance(now);
        if !std::mem::take(&mut self.stale) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        let mut held_back = false;
        for index in 0..self.settings.rules.len() {
            let (Some(rule), Some(firing)) = (self.settings.rules.get(index), self.firing.get(index)) else { continue };
            let burns = self.burns(rule, *firing);
            let after = burns && (*firing || self.is_measured(self.now, rule));
            held_back |= burns && !after;
            if after != *firing {
                changes.push(RuleChange { index, view: self.view(now, rule, after) });
            }
        }
        for change in &changes {
            if let Some(firing) = self.firing.get_mut(change.index) {
                *firing = change.view.firing;
            }
        }
        // More measured time alone will let it fire.
        self.stale = held_back;
        changes
    }

    /// Whether any rule fires, as of the last `evaluate`.
    pub fn is_firing(&self) -> bool {
        self.firing.contains(&true)
    }

    /// The next instant at which `evaluate` could find a change although nothing new was recorded, because events fall
    /// out of a window of a rule; `None` when only new events can change anything.
    pub fn next_change(&self) -> Option<Timestamp> {
        let rules = self.settings.rules.iter().zip(&self.firing);
        // Without a bad event in the long window there is nothing to fire about, and nothing to cease.
        let alive = rules.filter(|(rule, firing)| **firing || 0 < self.events(rule.long).bad);
        let expiry = |window| self.rings.next_expiry(Window::of(window));
        let next = |(rule, firing): (&BurnRule, &bool)| {
            let measured = (!firing).then(|| self.measured_at(rule)).flatten();
            [expiry(rule.long), expiry(rule.short), measured].into_iter().flatten().min()
        };
        alive.filter_map(next).min()
    }

    /// Bytes that this judge takes, in place and on the heap.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.rings.heap_bytes()
            + self.coverage.heap_bytes()
            + size_of_val(&*self.firing)
            + size_of_val(&*self.settings.rules)
    }

    fn events(&self, window: Span) -> EventCounts {
        self.rings.sum(self.now, Window::of(window))
    }

    /// Whether so much time was measured that the rule may begin to fire.
    fn is_measured(&self, now: Timestamp, rule: &BurnRule) -> bool {
        rule.short <= self.coverage.measured(now, rule.long)
    }

    /// The first instant at which that may be so; `None` when it is.
    fn measured_at(&self, rule: &BurnRule) -> Option<Timestamp> {
        let measured = self.coverage.measured(self.now, rule.long);
        (measured < rule.short).then(|| self.now + Span::from_ns(rule.short.ns() - measured.ns()))
    }

    /// Whether both windows burn; `before` is whether the rule fires so far.
    fn burns(&self, rule: &BurnRule, before: bool) -> bool {
        let long = self.events(rule.long);
        // The usual case, and it spares the divisions.
        if long.bad == 0 || long.total() < self.settings.min_events {
            return false;
        }
        let burns = |events| self.settings.burn_rate(events).map(|rate| rule.factor <= rate * RATE_SLACK);
        burns(long) == Some(true) && burns(self.events(rule.short)).unwrap_or(before)
    }

    fn view(&self, now: Timestamp, rule: &BurnRule, firing: bool) -> BurnRuleView {
        let measured = firing || self.is_measured(now.max(self.now), rule);
        let window = |span| {
            let view = self.window(now, span);
            WindowView { enough: view.enough && measured, ..view }
        };
        BurnRuleView { rule: *rule, long: window(rule.long), short: window(rule.short), firing }
    }
}

impl Settings {
    fn of(objective: &Objective) -> Self {
        Self {
            target: objective.target,
            period: objective.period,
            fast_window: objective.fast_window,
            min_events: objective.min_events,
            rules: objective.burn_rules.as_slice().into(),
        }
    }

    /// Every window of the objective.
    pub(crate) fn windows(&self) -> Vec<Window> {
        let of_rules = self.rules.iter().flat_map(|rule| [rule.long, rule.short]);
        of_rules.chain([self.fast_window, self.period]).map(|span| Window::of(span.min(HISTORY_MAX))).collect()
    }

    /// Times faster than planned; 1 spends the budget exactly over the period. `None` without events.
    fn burn_rate(&self, events: EventCounts) -> Option<f64> {
        events.bad_share().map(|share| share / self.target.budget_share())
    }
}

impl TryFrom<JudgeState> for ObjectiveJudge {
    type Error = StateError;
    fn try_from(state: JudgeState) -> Result<Self, StateError> {
        state.restore()
    }
}
