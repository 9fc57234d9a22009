//! One trial of a canary: the judge, and beside it the plain counts that verification and the incident need.

use homeostat_judge_canary::{CanaryJudge, events};
use homeostat_model::{
    OutcomeCounts, Span, Timestamp, evidence::EventCounts, objective::Sli, rollout::Rollout, verdict::CanaryVerdict,
};
use serde::{Deserialize, Serialize};

use crate::bad_run::BadRun;

/// Bad shares below this are nobody's stretch of trouble, however perfect the baseline is.
const UNUSUAL_SHARE_MIN: f64 = 0.001;

/// What one tick saw of a rollout's service, summed over its routes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct TickSums {
    pub(crate) canary: OutcomeCounts,
    pub(crate) baseline: OutcomeCounts,
    /// All versions, those two included.
    pub(crate) service: OutcomeCounts,
    pub(crate) touched: bool,
}

/// Counts of one SLI since the trial began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SliTally {
    pub(crate) sli: Sli,
    pub(crate) canary: EventCounts,
    pub(crate) baseline: EventCounts,
    pub(crate) run: BadRun,
}

/// From the start of a rollout to its end, and on until its incident is closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trial {
    judge: CanaryJudge,
    /// Availability since the beginning, for the view.
    pub(crate) canary: EventCounts,
    pub(crate) baseline: EventCounts,
    /// Canary requests since the present step began.
    pub(crate) step_requests: u64,
    /// One entry per SLI of the test, in its order.
    pub(crate) slis: Vec<SliTally>,
    /// The verdict fell: the judge is done, the counts go on.
    pub(crate) decided: bool,
    /// `ln(1 / alpha)`, from the judge's own evidence.
    ln_e_needed: f64,
}

impl Trial {
    pub(crate) fn new(rollout: &Rollout, start: Timestamp) -> Self {
        let test = &rollout.test;
        Self {
            judge: CanaryJudge::new(test, rollout.canary.clone(), rollout.baseline.clone(), start),
            canary: EventCounts::default(),
            baseline: EventCounts::default(),
            step_requests: 0,
            slis: test
                .slis
                .iter()
                .map(|sli| SliTally {
                    sli: *sli,
                    canary: EventCounts::default(),
                    baseline: EventCounts::default(),
                    run: BadRun::default(),
                })
                .collect(),
            decided: false,
            ln_e_needed: -test.alpha.ln(),
        }
    }

    /// Counts a tick.
    pub(crate) fn record(&mut self, now: Timestamp, sums: &TickSums, thresholds: &[Span]) {
        let service_total = sums.service.total();
        self.canary += events(Sli::Availability, &sums.canary, thresholds);
        self.baseline += events(Sli::Availability, &sums.baseline, thresholds);
        self.step_requests = self.step_requests.saturating_add(sums.canary.total());
        let tolerance = self.judge.test().tolerance;
        for tally in &mut self.slis {
            let canary = events(tally.sli, &sums.canary, thresholds);
            if !self.decided {
                tally.canary += canary;
                tally.baseline += events(tally.sli, &sums.baseline, thresholds);
            }
            let usual = tally.baseline.bad_share().unwrap_or(0.0) + tolerance.max(UNUSUAL_SHARE_MIN);
            tally.run.record(now, canary, service_total, usual);
        }
        if !self.decided {
            self.judge.record(now, &sums.canary, &sums.baseline, thresholds);
        }
    }

    /// The judge's answer.
    pub(crate) fn verdict(&self, now: Timestamp) -> CanaryVerdict {
        self.judge.verdict(now)
    }

    /// Whether the judge says "worse"; cheap while it does not.
    pub(crate) fn is_worse(&self, now: Timestamp) -> bool {
        self.ln_e_needed <= self.judge.ln_e_worse() && matches!(self.verdict(now), CanaryVerdict::Worse { .. })
    }

    pub(crate) fn judge(&self) -> &CanaryJudge {
        &self.judge
    }

    /// The verdict fell: from here on only its consequences are counted.
    pub(crate) fn decide(&mut self) {
        self.decided = true;
        for tally in &mut self.slis {
            tally.run.hold();
        }
    }

    /// The first bad response of the stretch that led here, if there is such a stretch.
    pub(crate) fn began(&self) -> Option<Timestamp> {
        self.slis.iter().filter_map(|s| s.run.began()).min()
    }

    /// Requests harmed in the stretch, rounded: bad canary requests minus what the baseline's share would have given;
    /// of the SLI that was hurt most.
    pub(crate) fn harmed(&self) -> u64 {
        let harm = |s: &SliTally| {
            let canary = s.run.canary();
            canary.bad as f64 - s.baseline.bad_share().unwrap_or(0.0) * canary.total() as f64
        };
        self.slis.iter().map(harm).fold(0.0, f64::max).round() as u64
    }

    /// All requests of the service in the stretch.
    pub(crate) fn service_total(&self) -> u64 {
        self.slis.iter().map(|s| s.run.service_total()).max().unwrap_or(0)
    }
}
