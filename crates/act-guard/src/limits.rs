//! The guard's limits as configured and checked.

use homeostat_model::{ActionMode, Span, Weight};
use serde::{Deserialize, Serialize};

/// How much may be done, how often, and by whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardLimits {
    /// Routes that one action may touch. Protective actions are not bound by it.
    pub routes_max: usize,
    /// Share of a service's traffic that one action may move. Protective actions and promotion by a person are not
    /// bound by it.
    pub traffic_max: Weight,
    /// Actions within any hour, over all services. Protective actions count but are not refused for it.
    /// More than [`crate::DONE_KEPT_MAX`] count as that many.
    pub actions_per_hour_max: u32,
    /// Quiet time of a service after an action before traffic may be moved away from the baseline again. It keeps
    /// automatic actions from flapping; a person who gives the order is not bound by it.
    pub cooldown: Span,
    /// Longest TTL.
    pub ttl_max: Span,
    /// How long a proposal waits for approval before it lapses.
    pub approval_ttl: Span,
    /// Mode of actions that no declared rollout asked for.
    pub default_mode: ActionMode,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self {
            routes_max: 50,
            traffic_max: Weight::FULL,
            actions_per_hour_max: 60,
            cooldown: Span::from_secs(30),
            ttl_max: Span::from_days(30),
            approval_ttl: Span::from_hours(1),
            default_mode: ActionMode::Approve,
        }
    }
}
