//! Rollouts: moving a service from one version to another in steps that evidence opens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ActionMode, ReceiverName, RolloutName, ServiceName, Span, Timestamp, VersionName, Weight, objective::Sli};

/// What must hold before a step gives way to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Gate {
    /// The step has lasted this long, and the canary is not judged worse.
    Pause {
        /// Least duration of the step.
        at_least: Span,
    },
    /// The canary is shown to be not worse by more than the tolerance, and the step has lasted at least this long.
    Evidence {
        /// Least duration of the step; may be zero.
        at_least: Span,
    },
    /// A person promotes.
    Manual,
}

/// One step of a rollout: this much traffic until the gate opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// The canary's share.
    pub weight: Weight,
    /// What opens the way to the next step, and after the last one to promotion.
    pub gate: Gate,
}

/// Who begins a declared rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// A person or a pipeline, by CLI or API.
    #[default]
    Manual,
    /// Homeostat, as soon as the declaration is applied and the version is not frozen.
    Auto,
}

/// Settings of the sequential test, all checked: `0 < alpha, beta < 1`, `0 <= tolerance < 1`, at least one SLI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CanaryTest {
    /// Bound on the probability that a canary which is no worse is ever rolled back, over the life of a rollout.
    pub alpha: f64,
    /// Bound on the probability that a canary which is worse by more than the tolerance ever passes an evidence gate.
    pub beta: f64,
    /// Smallest difference of bad shares that matters (0.01 is one percentage point).
    pub tolerance: f64,
    /// Canary requests before any verdict; fewer are "not enough evidence".
    pub min_events: u64,
    /// After each start the canary's outcomes do not count for this long: cold caches are not a fault.
    pub grace: Span,
    /// What is compared; the bound holds for all of them together.
    pub slis: Vec<Sli>,
}

/// A checked rollout declaration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rollout {
    /// Its name.
    pub name: RolloutName,
    /// The service whose split it moves.
    pub service: ServiceName,
    /// The version that serves now.
    pub baseline: VersionName,
    /// The version to try.
    pub canary: VersionName,
    /// At least one; weights ascend.
    pub steps: Vec<Step>,
    /// The test that compares the two.
    pub test: CanaryTest,
    /// How far Homeostat may go on its own.
    pub mode: ActionMode,
    /// Who begins it.
    pub start: Start,
    /// A rollout that has not ended after this long is taken back to weight 0: no exposure lasts for ever.
    pub progress_deadline: Span,
    /// How long the judge watches after a rollback before it calls it verified or not.
    pub verify_window: Span,
    /// How long a rolled-back release stays frozen unless somebody lifts or extends it.
    pub freeze: Span,
    /// Who hears of it; all receivers when empty.
    pub receivers: Vec<ReceiverName>,
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Declared, not begun.
    Idle,
    /// In a step.
    Progressing {
        /// Index of the step.
        step: usize,
        /// When the step began.
        since: Timestamp,
    },
    /// Held by a person, or by Homeostat when it may not go on by itself.
    Paused {
        /// Index of the step it stands in.
        step: usize,
        /// When it was paused.
        since: Timestamp,
        /// Why.
        reason: String,
    },
    /// The canary has all traffic and is the service's version now.
    Promoted {
        /// When.
        at: Timestamp,
    },
    /// Taken back by the judge; the release is frozen until then.
    RolledBack {
        /// When.
        at: Timestamp,
        /// The release cannot be started before this instant unless a person overrides it.
        frozen_until: Timestamp,
    },
    /// Taken back by a person, or because it missed its progress deadline or its declaration vanished.
    Aborted {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
}

impl Phase {
    /// Whether the rollout holds the service's split: progressing or paused.
    pub const fn is_active(&self) -> bool {
        matches!(self, Self::Progressing { .. } | Self::Paused { .. })
    }

    /// The word used in metrics, tables and JSON.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Progressing { .. } => "progressing",
            Self::Paused { .. } => "paused",
            Self::Promoted { .. } => "promoted",
            Self::RolledBack { .. } => "rolled_back",
            Self::Aborted { .. } => "aborted",
        }
    }
}

/// What a person or pipeline asks of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Begin with the first step. Refused while the release is frozen.
    Start,
    /// Begin although the release is frozen; the override is audited.
    StartFrozen,
    /// Hold at the present step.
    Pause,
    /// Go on from a pause.
    Resume,
    /// Open the present gate; after the last step, give the canary all traffic.
    Promote,
    /// Take the canary to weight 0.
    Abort,
}
