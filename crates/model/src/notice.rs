//! What people are told, before it takes a receiver's form.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ReceiverName, Timestamp};

/// Whether something is wrong or over. The words are Alertmanager's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoticeStatus {
    /// It is wrong now.
    Firing,
    /// It is over.
    Resolved,
}

/// One notification to one receiver. Labels and annotations follow Prometheus' customs: `alertname`, `service`,
/// `severity` (page, ticket, info) are always there; annotations `summary` and `description`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// Sent once per key and receiver, however often it is handed over: after a crash the journal hands it over again.
    pub key: String,
    /// To whom.
    pub receiver: ReceiverName,
    /// What belongs together, for example `incident/INC-3`; becomes the payload's `groupKey`.
    pub group: String,
    /// Wrong or over.
    pub status: NoticeStatus,
    /// Identifying pairs.
    pub labels: BTreeMap<String, String>,
    /// Explaining pairs.
    pub annotations: BTreeMap<String, String>,
    /// When it began.
    pub starts_at: Timestamp,
    /// When it ended; `None` while it is wrong.
    pub ends_at: Option<Timestamp>,
}
