//! What an explanation may rest on.

use homeostat_model::{
    ChangeEvent, RouteName, ServiceName, Span, Timestamp, VersionName,
    evidence::EventCounts,
    outcome::{OutcomeClass, OutcomeCounts},
};
use serde::{Deserialize, Serialize};

/// Everything that was seen around an incident. What was not looked at is absent (`None`, an empty list), never zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CauseEvidence {
    /// Whose service.
    pub service: ServiceName,
    /// The first bad response.
    pub began_at: Timestamp,
    /// A version that a sequential test with a bound on its errors found worse than the others.
    #[serde(default)]
    pub judged: Option<Judged>,
    /// Changes before and during it, in any order.
    #[serde(default)]
    pub changes: Vec<ChangeEvent>,
    /// How each route, version and instance did, before and during.
    #[serde(default)]
    pub shapes: Vec<Shape>,
    /// Whether profiles of the service are taken at all.
    #[serde(default)]
    pub is_profiled: bool,
    /// The comparison of profiles, if there was one.
    #[serde(default)]
    pub profiles: Option<ProfileCompared>,
    /// Patterns that detectors or the case library found in it, in any order.
    #[serde(default)]
    pub patterns: Vec<Pattern>,
    /// What kernel and runtime say of both sides.
    #[serde(default)]
    pub signals: Vec<SideSignal>,
    /// Services that this one calls.
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
}

/// What a sequential test said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// The version that is worse.
    pub version: VersionName,
    /// In words, with its numbers.
    pub text: String,
}

/// Requests of a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Counted {
    /// How long the stretch is.
    pub span: Span,
    /// How they ended. Its own counts of slow answers are left alone: they belong to thresholds of many objectives.
    pub counts: OutcomeCounts,
    /// Answered requests slower than the objective allows; `None` when the incident is not about latency, or nobody counted.
    pub slow: Option<u64>,
}

/// How one route of one version did on one instance; what is `None` stands for all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Which route.
    #[serde(default)]
    pub route: Option<RouteName>,
    /// Which version.
    #[serde(default)]
    pub version: Option<VersionName>,
    /// Which instance, by address.
    #[serde(default)]
    pub instance: Option<String>,
    /// Before the first bad response.
    #[serde(default)]
    pub before: Counted,
    /// Since then.
    pub during: Counted,
}

/// How profiles of the two sides compare.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileCompared {
    /// Samples of the good side.
    pub good_samples: u64,
    /// Samples of the bad side.
    pub bad_samples: u64,
    /// Whether both sides hold enough to tell anything at all.
    pub enough: bool,
    /// Functions that moved beyond noise, the largest first: name and change of share in percent points.
    pub moved: Vec<(String, i32)>,
}

/// A pattern that somebody recognised in the profiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Its name, as in the case library: `lock_contention`.
    pub name: String,
    /// How sure its finder is, 0 to 1: a score that orders, no probability.
    pub confidence: f64,
    /// What it was recognised by; one line each.
    #[serde(default)]
    pub lines: Vec<String>,
    /// How a person confirms it.
    #[serde(default)]
    pub confirm: String,
    /// It was recognised by who waits, or by counts: how many samples of CPU time there are says nothing about it.
    #[serde(default)]
    pub without_samples: bool,
}

/// What kernel or runtime measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// 99th percentile of the time that a runnable thread waits for a processor, in milliseconds.
    RunQueueP99Ms,
    /// TCP segments sent again, per thousand.
    RetransmitsPerMille,
    /// Processor time of the program, in milliseconds a second.
    CpuMsPerS,
    /// Processor time of all other programs on the machine, in milliseconds a second.
    OthersCpuMsPerS,
    /// Time in which the machine's processors had nothing to do, in percent.
    IdlePercent,
}

/// One measurement on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideSignal {
    /// What.
    pub signal: Signal,
    /// Where things are well: the baseline, or the time before.
    pub good: f64,
    /// Where they are not.
    pub bad: f64,
}

/// A service that is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Calls before.
    pub before: EventCounts,
    /// Calls since the first bad response.
    pub during: EventCounts,
}

impl Counted {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.counts.total()
    }

    /// Requests that ended in one way.
    pub fn class(&self, class: OutcomeClass) -> u64 {
        self.counts.class(class)
    }

    /// Requests that the service failed or answered too late.
    pub fn bad(&self) -> u64 {
        self.counts.bad().saturating_add(self.slow.unwrap_or(0)).min(self.total())
    }

    /// Share of bad requests, 0 to 1; `None` without requests.
    pub fn bad_share(&self) -> Option<f64> {
        (0 < self.total()).then(|| self.bad() as f64 / self.total() as f64)
    }

    /// Requests a second; `None` without time.
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.span.secs_f64();
        (0.0 < seconds).then(|| self.total() as f64 / seconds)
    }

    /// Adds up.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.span = self.span.max(other.span);
        self.counts += other.counts;
        self.slow = self.slow.into_iter().chain(other.slow).reduce(u64::saturating_add);
        self
    }
}
