//! What judges say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Span, evidence::Evidence};

/// Why a judge abstains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "missing")]
pub enum Missing {
    /// The canary's grace time still runs.
    Grace {
        /// How much is left.
        left: Span,
    },
    /// Too few canary requests.
    CanaryEvents {
        /// Seen so far.
        have: u64,
        /// Needed.
        need: u64,
    },
    /// No baseline requests to compare with.
    BaselineEvents,
    /// Enough requests, but they do not settle the question either way yet.
    Certainty,
}

/// The canary judge's answer at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum CanaryVerdict {
    /// Not enough evidence for either answer: never to be read as "healthy".
    NotEnoughEvidence {
        /// What is missing.
        missing: Missing,
    },
    /// Shown to be worse than the baseline by more than the tolerance, at level alpha.
    Worse {
        /// The numbers.
        evidence: Evidence,
    },
    /// Shown to be not worse than the baseline by more than the tolerance, at level beta.
    NotWorse {
        /// The numbers.
        evidence: Evidence,
    },
}

impl CanaryVerdict {
    /// The word used in metrics, tables and JSON.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotEnoughEvidence { .. } => "not_enough_evidence",
            Self::Worse { .. } => "worse",
            Self::NotWorse { .. } => "not_worse",
        }
    }
}
