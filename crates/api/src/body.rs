//! Bodies of requests and answers that are not model values; clients read and write the same types.

use homeostat_model::{
    IncidentId,
    action::Decision,
    incident::{BlackBox, Incident},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::IncidentDetail;

/// One page of incidents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentPage {
    /// Newest first.
    pub incidents: Vec<Incident>,
    /// Ask with `before` set to this for the next page; absent on the last one.
    pub next_before: Option<IncidentId>,
}

/// Format of [`Bundle`]; changes with the first incompatible change.
pub const BUNDLE_FORMAT: &str = "homeostat-incident-bundle/1";

/// Everything that is kept about one incident, as one JSON file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bundle {
    /// Always `homeostat-incident-bundle/1`.
    pub format: String,
    /// The version that wrote it.
    pub written_by: String,
    /// The incident and its actions.
    pub detail: IncidentDetail,
    /// The recording; absent when none is kept.
    pub black_box: Option<BlackBox>,
}

/// Why somebody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonBody {
    /// For the audit; 1,000 characters at most.
    #[serde(default)]
    pub reason: String,
}

/// A decision about an action, for example `{"decision":"approve","reason":"…"}` or `{"decision":"extend","ttl":…}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionBody {
    /// What is decided.
    #[serde(flatten)]
    pub decision: Decision,
    /// For the audit; 1,000 characters at most.
    #[serde(default)]
    pub reason: String,
}

/// The switch for all automatic actions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassBody {
    /// `true` switches them off.
    pub engaged: bool,
    /// For the audit; 1,000 characters at most.
    #[serde(default)]
    pub reason: String,
}

/// Whether all automatic actions are switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakGlassState {
    /// `true` while they are.
    pub engaged: bool,
}
