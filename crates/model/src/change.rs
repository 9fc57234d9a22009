//! Changes that people and machines make to the world: the first suspects of every incident.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ServiceName, Timestamp, VersionName};

/// Who did something; shown in audits. Free text of at most 200 characters, taken from the token or the local user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Actor(String);

impl Actor {
    /// Homeostat itself.
    pub fn homeostat() -> Self {
        Self("homeostat".to_owned())
    }

    /// A person or machine; cut after 200 characters, control characters become spaces.
    pub fn new(name: &str) -> Self {
        Self(name.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect())
    }

    /// The text to show.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What kind of thing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A new version began or ceased to exist.
    Deploy,
    /// Configuration was applied.
    Config,
    /// Traffic was moved, by us or by hand.
    Traffic,
    /// Capacity was added or removed.
    Scale,
    /// Anything else, told by an outside system.
    Other,
}

/// Something that changed, when, and whom it reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeEvent {
    /// When it took effect.
    pub at: Timestamp,
    /// What kind of change.
    pub kind: ChangeKind,
    /// Whose service it touches; `None` when it touches all.
    pub service: Option<ServiceName>,
    /// The version concerned, if one is.
    pub version: Option<VersionName>,
    /// One line for people, already redacted.
    pub summary: String,
    /// Who made it.
    pub by: Actor,
}
