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
    /// A feature flag was switched.
    Flag,
    /// Anything else, told by an outside system.
    Other,
}

impl ChangeKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Deploy, Self::Config, Self::Traffic, Self::Scale, Self::Flag, Self::Other];

    /// The word used in JSON, tables and the command line.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Config => "config",
            Self::Traffic => "traffic",
            Self::Scale => "scale",
            Self::Flag => "flag",
            Self::Other => "other",
        }
    }
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

/// The SHA-256 of a configuration's files, as lowercase hexadecimal digits: two of them are equal when the texts are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ConfigDigest(String);

impl ConfigDigest {
    /// From the 32 bytes of the sum.
    pub fn new(sha256: [u8; 32]) -> Self {
        let digits = sha256.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        Self(digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect())
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// What made the process read its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadCause {
    /// It began.
    Start,
    /// A file changed.
    File,
    /// SIGHUP.
    Signal,
    /// Somebody asked the API.
    Api,
}

/// What became of a configuration that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum ReadOutcome {
    /// It was taken over.
    InForce,
    /// It means the same as the one in force.
    SameMeaning,
    /// The old one stays in force.
    Refused {
        /// How many problems it has; what they say may hold secrets and is not kept.
        problems: u64,
    },
}

/// One reading of the configuration, for the audit. It changes nothing: what was taken over is an event of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRead {
    /// Why it was read.
    pub cause: ReadCause,
    /// Who wanted it.
    pub by: Actor,
    /// What was in force before; `None` at the start of the process.
    pub before: Option<ConfigDigest>,
    /// What was read.
    pub read: ConfigDigest,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: ReadOutcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_words_in_json() {
        for kind in ChangeKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.label());
        }
    }

    #[test]
    fn a_digest_is_written_in_hexadecimal_digits() {
        let mut sum = [0; 32];
        sum[0] = 0xa0;
        let digest = ConfigDigest::new(sum);
        assert_eq!((digest.short(), digest.as_str().len()), ("a00000000000", 64));
    }
}
