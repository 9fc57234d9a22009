//! The alerts of one rule: who is pending, who fires, who has been resolved.
//!
//! ```text
//!               element there               there for `for`
//! (nothing) ───────────────────▶ pending ───────────────────▶ firing ──┐ element gone: kept for `keep_firing_for`
//!     ▲  ▲                          │ element gone                     │
//!     │  └──────────────────────────┘                                  ▼
//!     └────────────────────────────────────────── 15 min ────────── inactive
//! ```
//!
//! Source: Prometheus, `rules/alerting.go`, as of 3.x.

use std::collections::{BTreeMap, BTreeSet};

use homeostat_model::{Labels, TimeMs};

use crate::group::Alerting;

/// How long a resolved alert is remembered, so that a receiver that was away still hears of it.
pub const RESOLVED_KEPT_MS: i64 = 15 * 60 * 1000;

/// How an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// It was firing and is over.
    Inactive,
    /// Its element is there, not yet for long enough.
    Pending,
    /// It fires.
    Firing,
}

impl AlertState {
    /// The word of Prometheus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// How it is.
    pub state: AlertState,
    /// What people are told, filled in at the last evaluation.
    pub annotations: Vec<(String, String)>,
    /// Value of its element at the last evaluation.
    pub value: f64,
    /// Since when its element has been there.
    pub active_at_ms: TimeMs,
    /// Since when it has fired.
    pub fired_at_ms: Option<TimeMs>,
    /// Since when its element has been gone although it fires.
    pub keep_firing_since_ms: Option<TimeMs>,
    /// When it was over.
    pub resolved_at_ms: Option<TimeMs>,
    /// When it was last sent.
    pub last_sent_ms: Option<TimeMs>,
}

/// An alert that is due to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct DueAlert {
    /// Its labels, `alertname` among them.
    pub labels: Labels,
    /// What people are told.
    pub annotations: Vec<(String, String)>,
    /// Since when it has fired.
    pub starts_at_ms: TimeMs,
    /// When it was over; while it fires, the instant from which it counts as over unless it is sent again.
    pub ends_at_ms: TimeMs,
    /// It is over.
    pub is_resolved: bool,
}

/// All alerts of one rule by their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerts {
    active: BTreeMap<Labels, Alert>,
}

/// An element of the expression's result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) value: f64,
}

impl Alerts {
    /// All of them by labels, also those that are over.
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, &Alert)> {
        self.active.iter()
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    /// Takes the elements of an evaluation in.
    pub(crate) fn meet(&mut self, t_ms: TimeMs, found: BTreeMap<Labels, Found>) -> BTreeSet<Labels> {
        let there = found.keys().cloned().collect();
        for (labels, found) in found {
            match self.active.get_mut(&labels) {
                Some(alert) if alert.state != AlertState::Inactive => {
                    (alert.value, alert.annotations) = (found.value, found.annotations);
                }
                _ => {
                    self.active.insert(labels, Alert::new(t_ms, found));
                }
            }
        }
        there
    }

    /// Says of each alert that has just begun since when it really is there.
    pub(crate) fn restore(&mut self, mut since_ms: impl FnMut(&Labels) -> Option<TimeMs>) {
        for (labels, alert) in &mut self.active {
            if let Some(active_at_ms) = since_ms(labels) {
                alert.active_at_ms = active_at_ms;
            }
        }
    }

    /// Moves all of them on, and gives the number that is pending or fires. `there`: those whose element was found.
    pub(crate) fn advance(&mut self, t_ms: TimeMs, rule: &Alerting, there: &BTreeSet<Labels>) -> usize {
        let mut alive = 0;
        self.active.retain(|labels, alert| {
            if there.contains(labels) {
                alert.keep_firing_since_ms = None;
            } else {
                let was_pending = alert.state == AlertState::Pending;
                let forgotten = alert.resolved_at_ms.is_some_and(|at| t_ms.saturating_sub(at) > RESOLVED_KEPT_MS);
                if !alert.keeps_firing(t_ms, rule) {
                    if alert.state != AlertState::Inactive {
                        (alert.state, alert.resolved_at_ms) = (AlertState::Inactive, Some(t_ms));
                    }
                    return !was_pending && !forgotten;
                }
            }
            alive += 1;
            if alert.state == AlertState::Pending && t_ms.saturating_sub(alert.active_at_ms) >= rule.for_ms {
                (alert.state, alert.fired_at_ms) = (AlertState::Firing, Some(t_ms));
            }
            true
        });
        alive
    }

    /// The alerts that are due: new ones, resolved ones, and those that were last sent more than `resend_ms` ago. They
    /// count as sent from now on. One that is not sent again counts as over after four rounds.
    pub(crate) fn due(&mut self, t_ms: TimeMs, resend_ms: i64, interval_ms: i64) -> Vec<DueAlert> {
        let valid_until_ms = t_ms.saturating_add(resend_ms.max(interval_ms).saturating_mul(4));
        let mut due = Vec::new();
        for (labels, alert) in &mut self.active {
            let Some(starts_at_ms) = alert.fired_at_ms.filter(|_| alert.state != AlertState::Pending) else { continue };
            let resolved = alert.resolved_at_ms;
            let news = match (resolved, alert.last_sent_ms) {
                (_, None) => true,
                (Some(resolved), Some(sent)) => sent < resolved,
                (None, Some(_)) => false,
            };
            if !news && alert.last_sent_ms.is_some_and(|sent| t_ms <= sent.saturating_add(resend_ms)) {
                continue;
            }
            alert.last_sent_ms = Some(t_ms);
            due.push(DueAlert {
                labels: labels.clone(),
                annotations: alert.annotations.clone(),
                starts_at_ms,
                ends_at_ms: resolved.unwrap_or(valid_until_ms),
                is_resolved: resolved.is_some(),
            });
        }
        due
    }
}

impl Alert {
    fn new(t_ms: TimeMs, found: Found) -> Self {
        Self {
            state: AlertState::Pending,
            annotations: found.annotations,
            value: found.value,
            active_at_ms: t_ms,
            fired_at_ms: None,
            keep_firing_since_ms: None,
            resolved_at_ms: None,
            last_sent_ms: None,
        }
    }

    /// Whether it fires on although its element is gone.
    fn keeps_firing(&mut self, t_ms: TimeMs, rule: &Alerting) -> bool {
        if self.state != AlertState::Firing || rule.keep_firing_for_ms <= 0 {
            return false;
        }
        let since_ms = *self.keep_firing_since_ms.get_or_insert(t_ms);
        t_ms.saturating_sub(since_ms) < rule.keep_firing_for_ms
    }
}

/// What is known from an earlier run about an alert: the last sample of its series `ALERTS_FOR_STATE`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Remembered {
    /// When it was written.
    pub(crate) t_ms: TimeMs,
    /// Since when the alert was active, in milliseconds.
    pub(crate) active_at_ms: TimeMs,
}

/// Rules that wait less than this are not restored: they fire soon anyway.
pub const GRACE_MS: i64 = 10 * 60 * 1000;
/// How long the process may have been away for its alerts to be restored.
pub const OUTAGE_MAX_MS: i64 = 60 * 60 * 1000;

/// Since when an alert counts as active after a restart: the time away does not count, and an alert that was about to fire
/// waits for some minutes more, so that data that were late have a chance to come in.
pub(crate) fn restored_ms(t_ms: TimeMs, for_ms: i64, remembered: Remembered) -> TimeMs {
    let Remembered { t_ms: down_at_ms, active_at_ms } = remembered;
    let remaining_ms = for_ms.saturating_sub(down_at_ms.saturating_sub(active_at_ms));
    if remaining_ms <= 0 {
        active_at_ms
    } else if remaining_ms < GRACE_MS {
        t_ms.saturating_add(GRACE_MS).saturating_sub(for_ms)
    } else {
        active_at_ms.saturating_add(t_ms.saturating_sub(down_at_ms))
    }
}
