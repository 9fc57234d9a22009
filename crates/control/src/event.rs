//! What control is told, and what it is set up with.

use homeostat_act_guard::GuardLimits;
use homeostat_model::{
    ActionId, Actor, CellId, CellKey, ChangeEvent, ConfigRead, IncidentId, Objective, ObjectiveName, OutcomeDelta,
    ReceiverName, RolloutName, RouteName, ServiceName, Span, Timestamp, VersionName,
    action::{Decision, Split},
    explanation::Explanation,
    rollout::{Rollout, Verb},
};
use serde::{Deserialize, Serialize};

/// Something that happened. Together with its time it is all that `Control::step` ever learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A configuration was accepted. The first event of every run, and one per reload.
    Configured(Box<ControlSpec>),
    /// Outcomes since the previous tick: changed cells only, ascending. May be empty when a deadline is due.
    Tick {
        /// The changed cells.
        deltas: Vec<OutcomeDelta>,
    },
    /// Somebody asks something of a rollout.
    Rollout {
        /// Which.
        rollout: RolloutName,
        /// What.
        verb: Verb,
        /// Who.
        by: Actor,
        /// Why; may be empty.
        reason: String,
    },
    /// Somebody decides about an action.
    Decide {
        /// Which.
        action: ActionId,
        /// What.
        decision: Decision,
        /// Who.
        by: Actor,
        /// Why; may be empty.
        reason: String,
    },
    /// Somebody switches all automatic actions off, or on again.
    BreakGlass {
        /// `true` switches them off.
        engaged: bool,
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// The actuator carried a permit out; the event's time is when the serving table changed.
    Applied {
        /// Which action.
        action: ActionId,
        /// Whether it went ahead of a disk that did not answer in time.
        ahead_of_disk: bool,
    },
    /// The actuator could not carry a permit out; the old table serves on.
    Failed {
        /// Which action.
        action: ActionId,
        /// What it said.
        reason: String,
    },
    /// Something changed in the world, and somebody announces it.
    Changed(ChangeEvent),
    /// The configuration was read. For the audit: what was taken over comes as `Configured`.
    ConfigRead(ConfigRead),
    /// Nobody could count the events of an objective: what happened meanwhile is unmeasured, and not uptime.
    Unmeasured {
        /// Which.
        objective: ObjectiveName,
        /// From when on.
        from: Timestamp,
        /// Until when.
        to: Timestamp,
    },
    /// Somebody has looked into an incident: why it happened, or what is missing to tell.
    Explained {
        /// Which.
        incident: IncidentId,
        /// What was found.
        explanation: Box<Explanation>,
    },
    /// The process starts again on an old journal. Outcomes in between were not seen.
    Restarted,
    /// Comes before `Restarted` when the journal has a hole: what control knows is from before it.
    Forgot {
        /// Records missing at most; 0 when nobody can say.
        records: u64,
        /// What is missing, for people.
        reason: String,
    },
}

/// What control has to know of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ControlSpec {
    /// Services with what leads to them.
    pub services: Vec<ControlledService>,
    /// What the cell ids of the coming ticks mean.
    pub cells: Vec<(CellId, CellKey)>,
    /// Cells whose events are counted by an objective's indicator instead of the gateway, and that objective's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indicators: Vec<(CellId, ObjectiveName)>,
    /// Objectives, one entry a name.
    pub objectives: Vec<Objective>,
    /// Rollouts, one entry a name, at most one per service.
    pub rollouts: Vec<Rollout>,
    /// The guard's limits.
    pub guard: GuardLimits,
    /// All receivers; those whom an objective or rollout names are among them.
    pub receivers: Vec<ReceiverName>,
}

/// A service as control sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlledService {
    /// Its name.
    pub name: ServiceName,
    /// Its versions, ascending.
    pub versions: Vec<VersionName>,
    /// Routes that lead to it.
    pub routes: Vec<RouteName>,
    /// The split that the configuration declares: in force until a rollout moves it.
    pub split: Split,
    /// What `OutcomeCounts::slow[i]` of its cells means, ascending.
    pub thresholds: Vec<Span>,
}
