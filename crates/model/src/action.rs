//! Actions: what Homeostat proposes, why, and what became of it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Actor, IncidentId, ObjectiveName, RolloutName, ServiceName, Span, Timestamp, VersionName, Weight,
    evidence::Evidence,
};

/// Number of an action, counted from 1 over the life of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ActionId(pub u64);

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "A-{}", self.0)
    }
}

/// How far Homeostat may go on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionMode {
    /// Judge and record, never act.
    Observe,
    /// Propose, and act once a person approves.
    Approve,
    /// Act within the guard's limits.
    Auto,
}

/// What an action is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Give the canary its next, larger share.
    Advance,
    /// Take the canary's traffic away because it is worse: protective.
    Rollback,
    /// Give the canary everything: it is the service's version now.
    Promote,
    /// Take the canary's traffic away because a person or a deadline said so: protective.
    Abort,
    /// Put the weights back to what they were before an action that did not help.
    Undo,
}

impl Purpose {
    /// Whether it only moves traffic back to the version that served before.
    /// Such an action waits at most 20 ms for a disk that does not answer.
    pub const fn is_protective(self) -> bool {
        matches!(self, Self::Rollback | Self::Abort)
    }

    /// The word used in metrics, tables and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Advance => "advance",
            Self::Rollback => "rollback",
            Self::Promote => "promote",
            Self::Abort => "abort",
            Self::Undo => "undo",
        }
    }
}

/// Who asked for an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Initiator {
    /// The judge of a declared rollout, or its gates.
    Rollout {
        /// Which.
        rollout: RolloutName,
    },
    /// A burn-rate rule.
    Objective {
        /// Which objective.
        objective: ObjectiveName,
    },
    /// A person or pipeline.
    Person {
        /// Who.
        actor: Actor,
    },
}

/// Shares of a service's versions: ascending by name, one entry each, sum 100 %.
pub type Split = Vec<(VersionName, Weight)>;

/// An action as proposed, before the guard has seen it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Its number.
    pub id: ActionId,
    /// What for.
    pub purpose: Purpose,
    /// Whose split is changed.
    pub service: ServiceName,
    /// The rollout concerned, if any.
    pub rollout: Option<RolloutName>,
    /// The split before.
    pub from: Split,
    /// The split after.
    pub to: Split,
    /// Who asked.
    pub initiator: Initiator,
    /// Why.
    pub evidence: Evidence,
    /// How long it holds: exposure that is not renewed by then is undone, a freeze lifted. Greater than zero.
    pub ttl: Span,
}

impl Plan {
    /// Largest share of the service's traffic that changes hands.
    pub fn traffic_moved(&self) -> Weight {
        let share = |split: &Split, version: &VersionName| {
            split.iter().find(|(v, _)| v == version).map_or(Weight::ZERO, |(_, weight)| *weight)
        };
        let gained = self.to.iter().map(|(v, weight)| weight.saturating_sub(share(&self.from, v)));
        gained.fold(Weight::ZERO, Weight::saturating_add)
    }
}

/// Why the guard refused a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "refusal")]
pub enum Refusal {
    /// The plan rests on no evidence, or on evidence that does not reach its threshold.
    #[error("its evidence does not reach the threshold")]
    Evidence,
    /// It touches more routes than allowed at once.
    #[error("it touches {routes} routes, the limit is {limit}")]
    Routes {
        /// Routes it touches.
        routes: usize,
        /// The limit.
        limit: usize,
    },
    /// It moves more traffic than allowed at once.
    #[error("it moves {moved} of the traffic, the limit is {limit}")]
    Traffic {
        /// Share it moves.
        moved: Weight,
        /// The limit.
        limit: Weight,
    },
    /// Too many actions within the last hour.
    #[error("{done} actions in the last hour, the limit is {limit}")]
    Rate {
        /// Actions so far.
        done: u32,
        /// The limit.
        limit: u32,
    },
    /// The service was acted upon too recently.
    #[error("the service cools down for another {} after the last action", .left.to_wait())]
    Cooldown {
        /// Time left.
        left: Span,
    },
    /// The mode is `observe`.
    #[error("the mode is `observe`: what would have been done is recorded, nothing is done")]
    Observe,
    /// A person approval is awaited.
    #[error("the mode is `approve`: somebody has to approve it")]
    NeedsApproval,
    /// Acting is switched off altogether.
    #[error("break-glass: a person has switched all automatic actions off")]
    BreakGlass,
    /// A TTL of zero, or beyond the limit.
    #[error("its TTL of {ttl} is not between 1 s and {limit}")]
    Ttl {
        /// The plan's TTL.
        ttl: Span,
        /// The limit.
        limit: Span,
    },
}

/// Where an action stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ActionState {
    /// Waits for a person until then.
    AwaitingApproval {
        /// The proposal lapses at this instant.
        until: Timestamp,
    },
    /// Refused by the guard or by a person, or lapsed.
    Refused {
        /// When.
        at: Timestamp,
        /// Why, for people.
        reason: String,
    },
    /// Admitted and handed to the actuator; in force once the actuator reports back.
    Admitted {
        /// When.
        at: Timestamp,
    },
    /// In force.
    Applied {
        /// When the serving table changed.
        at: Timestamp,
    },
    /// In force, and the service was seen to recover.
    Verified {
        /// When.
        at: Timestamp,
    },
    /// In force, but whether it helped could not be told.
    Unverified {
        /// When the judge gave up.
        at: Timestamp,
        /// Why, for people.
        reason: String,
    },
    /// Taken back because it did not help, or by a person.
    Undone {
        /// When.
        at: Timestamp,
        /// Why, for people.
        reason: String,
    },
    /// Its TTL ended.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The actuator could not do it.
    Failed {
        /// When.
        at: Timestamp,
        /// What it said.
        reason: String,
    },
}

impl ActionState {
    /// The word used in metrics, tables and JSON.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::AwaitingApproval { .. } => "awaiting_approval",
            Self::Refused { .. } => "refused",
            Self::Admitted { .. } => "admitted",
            Self::Applied { .. } => "applied",
            Self::Verified { .. } => "verified",
            Self::Unverified { .. } => "unverified",
            Self::Undone { .. } => "undone",
            Self::Expired { .. } => "expired",
            Self::Failed { .. } => "failed",
        }
    }
}

/// An action with its story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActionRecord {
    /// What was proposed.
    pub plan: Plan,
    /// When it was proposed.
    pub proposed_at: Timestamp,
    /// Where it stands.
    pub state: ActionState,
    /// The incident it belongs to, if any.
    pub incident: Option<IncidentId>,
    /// When its TTL ends, once it is in force.
    pub expires_at: Option<Timestamp>,
    /// Whether it took effect before its record was on disk, because the disk did not answer in time.
    pub ahead_of_disk: bool,
}

/// What a person decides about an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Decision {
    /// Let it happen.
    Approve,
    /// Do not.
    Reject,
    /// Put things back.
    Undo,
    /// Let it hold longer, counted from now.
    Extend {
        /// The new TTL.
        ttl: Span,
    },
}
