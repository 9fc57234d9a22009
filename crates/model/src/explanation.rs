//! Why an incident happened, as far as anybody can tell.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, VersionName, kernel::KernelSeen};

/// Hypotheses of one explanation at most: who gets a longer list reads the log instead.
pub const HYPOTHESES_MAX: usize = 3;

/// Functions of one explanation at most: what a person reads.
pub const FRAMES_MAX: usize = 10;
/// Cases of one explanation at most.
pub const CASES_MAX: usize = 3;

/// What an incident's evidence says about its cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// When it was made.
    pub at: Timestamp,
    /// The best first, [`HYPOTHESES_MAX`] at most. None means: not enough evidence.
    pub hypotheses: Vec<Hypothesis>,
    /// What would have told more; one line each.
    pub missing: Vec<String>,
    /// Functions that moved between the two sides beyond noise, the largest first, [`FRAMES_MAX`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<FrameMoved>,
    /// Known cases that look alike, the most alike first, [`CASES_MAX`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<CaseAlike>,
    /// Profiles that were looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<ProfileSeen>,
    /// What the kernel saw of both sides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel: Vec<KernelSeen>,
}

/// A possible cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hypothesis {
    /// What kind of cause.
    pub kind: CauseKind,
    /// What exactly, for machines: the version of a change, the name of a pattern, the address of an instance; may be
    /// empty.
    pub subject: String,
    /// One line for people.
    pub title: String,
    /// How likely, in percent of all that is thought possible, "something else" included; 0 to 100.
    pub confidence_percent: u8,
    /// What speaks for it and against it, the weightiest first.
    pub evidence: Vec<EvidenceLine>,
    /// What to look at next.
    pub next_check: String,
}

/// What kind of cause a hypothesis is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// A deploy, a configuration, a flag, a version.
    Change,
    /// A fault within the program that its profiles show.
    Pattern,
    /// A service that is called.
    Dependency,
    /// More requests than before.
    Load,
    /// Other programs on the machine.
    Neighbour,
    /// The network between.
    Network,
    /// One instance among its equals.
    Instance,
    /// Nobody accepts requests.
    Unreachable,
}

/// One reason to believe or doubt a hypothesis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceLine {
    /// What was seen, with its numbers.
    pub text: String,
    /// Whether it speaks for the hypothesis.
    pub supports: bool,
}

/// A function whose share of all samples moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrameMoved {
    /// Its name.
    pub function: String,
    /// Its share on the good side, in hundredths of a percent.
    pub good: u16,
    /// Its share on the bad side, in hundredths of a percent.
    pub bad: u16,
}

/// A case of the library that looks like this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaseAlike {
    /// Its id.
    pub id: String,
    /// The pattern it was filed under.
    pub pattern: String,
    /// How alike, in percent.
    pub likeness_percent: u8,
}

/// Which side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProfileSide {
    /// What is compared with: the baseline, or the program before.
    Good,
    /// What is looked at.
    Bad,
}

/// A profile that an explanation rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileSeen {
    /// Which side it stands for.
    pub side: ProfileSide,
    /// Of which version.
    pub version: VersionName,
    /// What was measured: `cpu`, `goroutine`.
    pub kind: String,
    /// First instant measured.
    pub from: Timestamp,
    /// Last instant measured.
    pub to: Timestamp,
    /// Windows that it was measured in.
    pub windows: u32,
    /// Samples in all of them.
    pub samples: u64,
}

/// A profile kept with an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileKept {
    /// What it is.
    #[serde(flatten)]
    pub seen: ProfileSeen,
    /// Address of the program.
    pub endpoint: String,
    /// The profile: gzip of pprof in base64.
    pub pprof: String,
}
