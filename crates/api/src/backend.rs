//! What the API needs from the process that it runs in. The binary implements it; tests implement it too.

use std::{future::Future, pin::Pin, sync::Arc};

use homeostat_model::{
    ActionId, Actor, ChangeEvent, ChangeKind, IncidentId, RolloutName, ServiceName, Timestamp, VersionName,
    action::{ActionRecord, Decision},
    incident::{BlackBox, Incident},
    rollout::Verb,
    view::View,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// A boxed answer; control-plane rates, so the allocation does not matter.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The process behind the API. Reads are snapshots and never wait for control; operations go through its queue.
pub trait Backend: Send + Sync + 'static {
    /// The latest view; at most a second old while control runs.
    fn view(&self) -> Arc<View>;
    /// Live things as they happen; slow readers lose the oldest (`Lagged`) and are told.
    fn subscribe(&self) -> broadcast::Receiver<Arc<StreamItem>>;
    /// Asks control to do something and waits for its answer, 2 s at most.
    fn operate(&self, operation: Operation, by: Actor, reason: String) -> Answer<'_, Result<(), OperateError>>;
    /// All incidents kept, newest first, from `before` on, `limit` at most.
    fn incidents(&self, before: Option<IncidentId>, limit: usize) -> Answer<'_, Result<Vec<Incident>, StoreError>>;
    /// One incident with its actions.
    fn incident(&self, id: IncidentId) -> Answer<'_, Result<Option<IncidentDetail>, StoreError>>;
    /// The recording kept with an incident.
    fn black_box(&self, id: IncidentId) -> Answer<'_, Result<Option<BlackBox>, StoreError>>;
    /// Who did what, newest first: every operation, whether it was carried out or refused.
    fn audit(&self, limit: usize) -> Answer<'_, Result<Vec<AuditEntry>, StoreError>>;
    /// State of the configuration.
    fn config(&self) -> ConfigStatus;
    /// Reads the configuration again, as SIGHUP does.
    fn reload(&self, by: Actor) -> Answer<'_, ConfigStatus>;
    /// Health of each part.
    fn health(&self) -> Health;
    /// Appends the process's own metrics in the Prometheus text format 0.0.4.
    fn metrics(&self, out: &mut String);
}

/// What a person can ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "operation")]
pub enum Operation {
    /// Something of a rollout.
    Rollout {
        /// Which.
        rollout: RolloutName,
        /// What.
        verb: Verb,
    },
    /// A decision about an action.
    Decide {
        /// Which.
        action: ActionId,
        /// What.
        decision: Decision,
    },
    /// All automatic actions off or on.
    BreakGlass {
        /// `true` switches them off.
        engaged: bool,
    },
    /// Something in the world has changed.
    Announce {
        /// What.
        change: NewChange,
    },
}

/// A change as it is announced: a deploy, a flag, a scaling. It explains incidents and moves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChange {
    /// What kind of change.
    pub kind: ChangeKind,
    /// Whose service it touches; left out when it touches all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// The version concerned, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionName>,
    /// One line for people, 1 to 300 characters, without secrets and personal data: it is kept as it is.
    pub summary: String,
    /// When it took effect, within the last 24 hours; now when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl NewChange {
    /// The change as control keeps it; nothing takes effect in the future.
    pub fn made_by(self, by: Actor, now: Timestamp) -> ChangeEvent {
        let Self { kind, service, version, summary, at } = self;
        ChangeEvent { at: at.unwrap_or(now).min(now), kind, service, version, summary, by }
    }
}

/// Why an operation did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperateError {
    /// There is no such rollout or action.
    #[error("{0}")]
    NotFound(String),
    /// Control refused it; the text says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// Control did not answer in time or its queue is full; nothing is known about the outcome.
    #[error("control did not answer in time; look at the rollout before you try again")]
    Unavailable,
}

/// The store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store could not answer: {0}")]
pub struct StoreError(pub String);

/// One incident with its actions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentDetail {
    /// The incident.
    pub incident: Incident,
    /// Its actions in order.
    pub actions: Vec<ActionRecord>,
    /// Whether a recording is kept with it.
    pub has_black_box: bool,
}

/// One line of the audit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Actor,
    /// What, as one line.
    pub what: String,
    /// Their reason; may be empty.
    pub reason: String,
}

/// State of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigStatus {
    /// Counts accepted configurations of this process, from 1.
    pub generation: u64,
    /// When the one in force was accepted.
    pub accepted_at: Timestamp,
    /// Problems of the latest attempt, as `homeostat check` prints them; empty when it was accepted.
    pub problems: Vec<String>,
    /// What of the accepted configuration this process does not follow, usually until a restart.
    #[serde(default)]
    pub notes: Vec<String>,
    /// When the latest attempt failed, if it did.
    pub rejected_at: Option<Timestamp>,
}

/// Health of each part. The gateway serves whatever the others say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Whether the process takes traffic and decides.
    pub ready: bool,
    /// Parts by name, with what is wrong.
    pub parts: Vec<PartHealth>,
}

/// Health of one part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartHealth {
    /// `gateway`, `control`, `journal`, `notify`, `config`.
    pub part: String,
    /// Whether it works.
    pub ok: bool,
    /// What is wrong and what to do; empty when nothing is.
    pub detail: String,
}

/// One item of the event stream.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum StreamItem {
    /// Traffic of the last 100 ms.
    Traffic {
        /// End of the interval.
        at: Timestamp,
        /// One entry per version with traffic.
        versions: Vec<TrafficSample>,
    },
    /// The view changed; the whole of it.
    View(Arc<View>),
    /// Control did something: a command as it is recorded in the journal.
    Command {
        /// When.
        at: Timestamp,
        /// The command.
        command: serde_json::Value,
    },
}

/// Requests of one version within the interval.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TrafficSample {
    /// The service.
    pub service: String,
    /// The version.
    pub version: String,
    /// Answered in good order.
    pub good: u64,
    /// Failed.
    pub bad: u64,
}
