//! The `Rollout` document.

use homeostat_model::{ActionMode, ReceiverName, ServiceName, Span, VersionName, Weight, rollout::Start};

use crate::config::{
    read::{OneOrMany, Short, ShortForm, record, words},
    scalar::{Share, Whole},
    source::At,
};

record! {
    /// Moves a service from one version to another in steps that evidence opens; takes the new version's traffic away as
    /// soon as it is shown to be worse. One per service.
    Rollout {
        /// The service.
        "service" service: ServiceName => required;
        /// The version to try.
        "canary" canary: VersionName => required;
        /// The version it is compared with. Left out: the version with all the other traffic.
        "baseline" baseline: VersionName => optional;
        /// Shares of traffic, ascending, each with the gate that opens the next step.
        "steps" steps: Vec<At<Short<Step>>> => default "[1%, 5%, 25%, 50%, 100%]";
        /// The test that compares the two versions.
        "test" test: Test => default "{}";
        /// How far Homeostat may go on its own.
        "mode" mode: ActionMode => default "auto";
        /// Who begins it.
        "start" start: Start => default "manual";
        /// A rollout that has not ended after this long is taken back to weight 0. Left out: 24 h, or the guard's `ttl`
        /// if that is shorter.
        "progressDeadline" progress_deadline: Span => optional;
        /// How long the judge watches after a rollback before it calls it verified or not.
        "verifyWindow" verify_window: Span => default "5s";
        /// How long a rolled-back release stays frozen unless somebody lifts it. Left out: 24 h, or the guard's `ttl` if
        /// that is shorter.
        "freeze" freeze: Span => optional;
        /// Who hears of it. Left out: all receivers.
        "receivers" receivers: OneOrMany<ReceiverName> => optional;
    }
}

record! {
    /// One step. The short form is its share of traffic.
    Step {
        /// The canary's share.
        "weight" weight: Weight => required;
        /// What opens the way to the next step, and after the last one to promotion.
        "gate" gate: GateWord => default "evidence";
        /// Least duration of the step. Left out: 30 s; not for `gate: manual`.
        "atLeast" at_least: Span => optional;
    }
}

impl ShortForm for Step {
    type Short = Weight;
    fn from_short(short: At<Weight>) -> Self {
        Self { weight: Some(short), gate: None, at_least: None }
    }
}

/// What opens a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GateWord {
    /// Evidence.
    Evidence,
    /// Time.
    Pause,
    /// A person.
    Manual,
}

words! { GateWord {
    "evidence" => GateWord::Evidence, "The canary is shown to be not worse by more than the tolerance.";
    "pause" => GateWord::Pause, "The step has lasted long enough, and the canary is not judged worse.";
    "manual" => GateWord::Manual, "A person promotes.";
} }

record! {
    /// An anytime-valid sequential test on good and bad requests of both versions.
    Test {
        /// Bound on the probability that a canary which is no worse is ever rolled back, over the whole life of a rollout.
        "alpha" alpha: Share => default "0.001";
        /// Bound on the probability that a canary which is worse by more than the tolerance ever passes an evidence gate.
        "beta" beta: Share => default "0.05";
        /// Smallest difference of bad shares that matters; `1%` is one percentage point.
        "tolerance" tolerance: Share => default "0%";
        /// Canary requests before any verdict; fewer are "not enough evidence".
        "minEvents" min_events: Whole<1, 1_000_000_000> => default "5";
        /// After each start the canary's requests do not count for this long: cold caches are not a fault.
        "grace" grace: Span => default "0s";
        /// What is compared. Left out: availability, and the latencies of the service's own latency objectives.
        "slis" slis: Vec<At<Short<SliForm>>> => optional;
    }
}

record! {
    /// A latency to compare: the share of answered requests slower than this.
    SliForm {
        /// The slowest latency that is still good.
        "latency" latency: Span => required;
    }
}

/// The short form of an SLI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Availability;

words! { Availability {
    "availability" => Availability, "Requests answered without a fault of the service.";
} }

impl ShortForm for SliForm {
    type Short = Availability;
    fn from_short(_: At<Availability>) -> Self {
        Self { latency: None }
    }
}

words! { ActionMode {
    "observe" => ActionMode::Observe, "Judge and record, never act.";
    "approve" => ActionMode::Approve, "Propose, and act once a person approves.";
    "auto" => ActionMode::Auto, "Act within the guard's limits.";
} }

words! { Start {
    "manual" => Start::Manual, "A person or a pipeline starts it, by CLI or API.";
    "auto" => Start::Auto, "It starts as soon as it is declared, unless the release is frozen.";
} }
