//! Incidents: what broke, for whom, since when, what was done about it, and what was recorded meanwhile.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ActionId, CellId, CellKey, ChangeEvent, ObjectiveName, OutcomeClass, OutcomeDelta, RolloutName, ServiceName, Span,
    Timestamp, VersionName,
    evidence::Evidence,
    explanation::{Explanation, ProfileKept},
    kernel::KernelStrip,
    objective::Severity,
};

/// Number of an incident, counted from 1 over the life of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct IncidentId(pub u64);

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "INC-{}", self.0)
    }
}

/// How far the loop has come with an incident. Stages only go forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A judge spoke; nothing has been done (yet, or by mode).
    Judged,
    /// An action is in force.
    Acted,
    /// The service was seen to recover.
    Recovered,
    /// Over; the record is complete.
    Closed,
}

/// What the incident is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "about")]
pub enum Subject {
    /// A canary judged worse than its baseline.
    Canary {
        /// The rollout.
        rollout: RolloutName,
        /// The bad version.
        canary: VersionName,
        /// What it was compared with.
        baseline: VersionName,
    },
    /// An objective whose budget burns.
    Objective {
        /// Which.
        objective: ObjectiveName,
    },
}

/// One line of an incident's story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Milestone {
    /// When.
    pub at: Timestamp,
    /// A stable word for machines: `first_bad`, `verdict`, `proposed`, `refused`, `approved`, `weight_zero`, `verified`,
    /// `unverified`, `undone`, `escalated`, `resolved`, `explained`, `closed`, `late_record`.
    pub what: String,
    /// For people.
    pub detail: String,
}

/// An incident. Everything but the black box, which is kept beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// Its number.
    pub id: IncidentId,
    /// One line: what broke, for whom.
    pub title: String,
    /// Whose service.
    pub service: ServiceName,
    /// About what.
    pub subject: Subject,
    /// How loud.
    pub severity: Severity,
    /// How far the loop has come.
    pub stage: Stage,
    /// The first bad response that counts towards it.
    pub began_at: Timestamp,
    /// When the verdict fell.
    pub opened_at: Timestamp,
    /// When it ended, if it has.
    pub closed_at: Option<Timestamp>,
    /// What the verdict rests on.
    pub evidence: Vec<Evidence>,
    /// Requests that failed and would not have failed without the fault, rounded; for a canary its bad requests minus
    /// what the baseline's share would have given.
    pub requests_harmed: u64,
    /// All requests of the service since the first bad response.
    pub requests_total: u64,
    /// Actions proposed or done, in order.
    pub actions: Vec<ActionId>,
    /// Changes in the ten minutes before, newest first, 20 at most.
    pub changes: Vec<ChangeEvent>,
    /// The story, in order of time.
    pub milestones: Vec<Milestone>,
    /// Why it happened, as far as anybody can tell; absent until somebody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// A request kept as an example. Redacted before it is stored: the query is cut, path segments that look like
/// identifiers become `*`, no header values are kept but the trace id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exemplar {
    /// When it ended.
    pub at: Timestamp,
    /// Which cell counted it.
    pub cell: CellId,
    /// How it ended.
    pub class: OutcomeClass,
    /// HTTP status sent to the client; 0 when none was.
    pub status: u16,
    /// Request method.
    pub method: String,
    /// Redacted path, 200 characters at most.
    pub path: String,
    /// Until the end of the answer.
    pub latency: Span,
    /// Address of the endpoint, when one was chosen.
    pub endpoint: Option<String>,
    /// From `traceparent`, when the client sent one.
    pub trace_id: Option<String>,
}

/// Counts of one 10 ms tick: changed cells only, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TickCounts {
    /// End of the tick.
    pub at: Timestamp,
    /// Changed cells.
    pub deltas: Vec<OutcomeDelta>,
}

/// Latency histogram of one cell over the recorded time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CellLatency {
    /// Which cell.
    pub cell: CellId,
    /// Non-empty buckets, ascending: inclusive upper bound in microseconds, count.
    pub buckets: Vec<(u64, u64)>,
}

/// Latency histograms of cells as they were read at an instant, of what had ended since the reading before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatencySecond {
    /// When they were read, about once a second.
    pub at: Timestamp,
    /// Cells with answers, ascending.
    pub cells: Vec<CellLatency>,
}

/// The frozen recording around an incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlackBox {
    /// First instant covered.
    pub from: Timestamp,
    /// Last instant covered.
    pub to: Timestamp,
    /// What the cell ids in here mean.
    pub cells: Vec<(CellId, CellKey)>,
    /// Series at tick resolution; ticks without traffic are absent.
    pub ticks: Vec<TickCounts>,
    /// Latency of each cell.
    pub latencies: Vec<CellLatency>,
    /// The same second by second, ascending; seconds without answers are there, and empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency_seconds: Vec<LatencySecond>,
    /// Example requests, newest last.
    pub exemplars: Vec<Exemplar>,
    /// Changes in the recorded time and the ten minutes before.
    pub changes: Vec<ChangeEvent>,
    /// Whether part of the time was not recorded, because the process had just started or a limit was hit.
    pub incomplete: bool,
    /// Profiles of both sides, redacted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<ProfileKept>,
    /// What the kernel saw of each version's processes on this machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel: Vec<KernelStrip>,
}
