//! Evidence in numbers: what a verdict, an action and an incident rest on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ObjectiveName, Span, Timestamp, VersionName,
    objective::{BurnRule, Sli},
};

/// Good and bad events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventCounts {
    /// Events that met the SLI.
    pub good: u64,
    /// Events that did not.
    pub bad: u64,
}

impl EventCounts {
    /// All events, saturating.
    pub const fn total(self) -> u64 {
        self.good.saturating_add(self.bad)
    }

    /// Share of bad events; `None` when there were none at all: silence is not evidence of health.
    pub fn bad_share(self) -> Option<f64> {
        (self.total() > 0).then(|| self.bad as f64 / self.total() as f64)
    }
}

impl std::ops::AddAssign for EventCounts {
    fn add_assign(&mut self, other: Self) {
        self.good = self.good.saturating_add(other.good);
        self.bad = self.bad.saturating_add(other.bad);
    }
}

impl std::ops::SubAssign for EventCounts {
    fn sub_assign(&mut self, other: Self) {
        self.good = self.good.saturating_sub(other.good);
        self.bad = self.bad.saturating_sub(other.bad);
    }
}

/// The sequential test's numbers for one SLI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SliEvidence {
    /// What was compared.
    pub sli: Sli,
    /// The canary's events since the test began.
    pub canary: EventCounts,
    /// The baseline's events over the same ticks.
    pub baseline: EventCounts,
    /// Natural logarithm of the e-value against "the canary is not worse by more than the tolerance".
    pub ln_e_worse: f64,
    /// Natural logarithm of the e-value against "the canary is worse by more than the tolerance".
    pub ln_e_not_worse: f64,
}

/// What a decision rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Evidence {
    /// The sequential test of a canary against its baseline.
    Canary {
        /// The version under test.
        canary: VersionName,
        /// What it is compared with.
        baseline: VersionName,
        /// Since when outcomes counted.
        since: Timestamp,
        /// Natural logarithm of the combined e-value for "worse".
        ln_e: f64,
        /// What `ln_e` had to reach: `ln(1 / alpha)`.
        ln_e_needed: f64,
        /// The configured bound on false rollbacks.
        alpha: f64,
        /// Smallest difference that matters.
        tolerance: f64,
        /// One entry per SLI, in the order of the declaration.
        slis: Vec<SliEvidence>,
    },
    /// A burn-rate rule of an objective.
    Burn {
        /// The objective.
        objective: ObjectiveName,
        /// The rule that fired.
        rule: BurnRule,
        /// Burn rate over the long window.
        long_rate: f64,
        /// Burn rate over the short window.
        short_rate: f64,
        /// Events in the long window.
        long: EventCounts,
        /// Share of the long window in which anything was measured, 0 to 1.
        coverage: f64,
    },
    /// Service health after an action, against what was expected.
    Recovery {
        /// Watched since.
        since: Timestamp,
        /// Watched for.
        watched: Span,
        /// The service's events in that time.
        after: EventCounts,
        /// The bad share that counts as recovered.
        bad_share_max: f64,
    },
    /// A person said so.
    Person {
        /// Their reason.
        reason: String,
    },
}
