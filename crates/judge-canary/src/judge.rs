//! The judge of one rollout: outcomes in, verdict out.
//!
//! Several SLIs are compared at once without losing the bound. For "worse", the mean of their e-values is an e-value
//! whatever their dependence, so it is held against `1 / alpha`. For "not worse", every single one has to pass at level
//! `beta`: a canary that is worse in one respect passes with probability at most `beta`.

use homeostat_model::{
    OutcomeCounts, Span, Timestamp, VersionName,
    evidence::{EventCounts, Evidence, SliEvidence},
    objective::Sli,
    rollout::CanaryTest,
    verdict::{CanaryVerdict, Missing},
};
use serde::{Deserialize, Serialize};

use crate::{
    block::Block,
    not_worse::{MARGIN_MIN, NotWorseTest},
    pairing::Pairing,
    projection::Rates,
    reserve::Reserve,
    share_estimate::{Prior, ShareEstimate},
    worse::WorseTest,
};

/// The baseline's share before anything is known: 0.5 %, worth 100 requests; follows drift within 20,000 requests.
const BASELINE_PRIOR: Prior = Prior { bad: 0.5, total: 100.0, memory: 20_000.0 };
/// The canary's share before anything is known; follows a change within 1,000 requests.
const CANARY_PRIOR: Prior = Prior { bad: 0.5, total: 10.0, memory: 1_000.0 };
/// When asking for "not worse", the canary is taken for another baseline until it has shown itself this many times.
const ANCHOR_EVENTS: f64 = 200.0;
/// Guessed shares stay this far from 0 and 1, so that no outcome is held impossible.
const SHARE_MARGIN: f64 = 1e-6;

/// Compares a canary with its baseline, tick by tick, from one start of a rollout to its end.
///
/// A plain value: serialised and read back it goes on as if nothing had happened, and the same calls give the same
/// answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryJudge {
    test: CanaryTest,
    canary: VersionName,
    baseline: VersionName,
    /// Outcomes count from here on: start plus grace.
    since: Timestamp,
    /// One entry per SLI of the test, in its order.
    slis: Vec<SliTest>,
}

/// Everything known about one SLI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SliTest {
    sli: Sli,
    seen: Block,
    pairing: Pairing,
    baseline_share: ShareEstimate,
    canary_share: ShareEstimate,
    /// Both questions have a stake of 1, and keep the same part of it back.
    reserve: Reserve,
    worse: WorseTest,
    not_worse: NotWorseTest,
}

impl CanaryJudge {
    /// Begins a test at `start`; the canary's outcomes count once the grace time is over.
    pub fn new(test: &CanaryTest, canary: VersionName, baseline: VersionName, start: Timestamp) -> Self {
        let since = start + test.grace;
        Self {
            test: test.clone(),
            canary,
            baseline,
            since,
            slis: test.slis.iter().copied().map(SliTest::new).collect(),
        }
    }

    /// Counts what both versions' cells saw since the previous call, and nothing else.
    ///
    /// `thresholds` are the latency thresholds that the cells' `slow` counters stand for, in their order; a latency SLI
    /// whose threshold is not among them stays unmeasured. Cells of several routes may be recorded one by one or, if
    /// their thresholds agree, summed; time must not run backwards. Takes a few microseconds and does not allocate.
    pub fn record(&mut self, now: Timestamp, canary: &OutcomeCounts, baseline: &OutcomeCounts, thresholds: &[Span]) {
        let elapsed = now.since(self.since);
        let in_grace = now < self.since;
        for sli in &mut self.slis {
            let tick =
                Block { baseline: events(sli.sli, baseline, thresholds), canary: events(sli.sli, canary, thresholds) };
            if in_grace {
                // The baseline is as it always was: a good start for guessing what is usual.
                sli.baseline_share.learn(tick.baseline, BASELINE_PRIOR);
                continue;
            }
            sli.seen += tick;
            let paired = sli.pairing.offer(now, tick);
            sli.learn(paired.let_go);
            if let Some(block) = paired.block {
                sli.bet(elapsed, &block, &self.test);
                sli.learn(block);
            }
        }
    }

    /// What the evidence says at `now`. "Worse" goes first: a canary can be both worse and within the margin.
    pub fn verdict(&self, now: Timestamp) -> CanaryVerdict {
        if let Some(missing) = self.missing(now) {
            return CanaryVerdict::NotEnoughEvidence { missing };
        }
        if self.is_shown_worse() {
            return CanaryVerdict::Worse { evidence: self.evidence() };
        }
        let not_worse = |sli: &SliTest| reaches(sli.e_not_worse(), self.test.beta);
        if !self.slis.is_empty() && self.slis.iter().all(not_worse) {
            return CanaryVerdict::NotWorse { evidence: self.evidence() };
        }
        CanaryVerdict::NotEnoughEvidence { missing: Missing::Certainty }
    }

    /// The numbers behind the verdict.
    pub fn evidence(&self) -> Evidence {
        Evidence::Canary {
            canary: self.canary.clone(),
            baseline: self.baseline.clone(),
            since: self.since,
            ln_e: self.ln_e_worse(),
            ln_e_needed: -self.test.alpha.ln(),
            alpha: self.test.alpha,
            tolerance: self.test.tolerance,
            slis: self.slis.iter().map(SliTest::evidence).collect(),
        }
    }

    /// Natural logarithm of the combined e-value for "worse"; the verdict falls at `ln(1 / alpha)`.
    pub fn ln_e_worse(&self) -> f64 {
        self.e_worse().ln()
    }

    /// Events of canary and baseline that counted so far, of the SLI that saw most.
    pub fn events_seen(&self) -> (EventCounts, EventCounts) {
        let most = self.slis.iter().max_by_key(|sli| sli.seen.canary.total());
        most.map_or_else(Default::default, |sli| (sli.seen.canary, sli.seen.baseline))
    }

    /// The settings it was started with.
    pub fn test(&self) -> &CanaryTest {
        &self.test
    }

    /// Since when outcomes count.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Whether the e-value has reached `1 / alpha`.
    pub(crate) fn is_shown_worse(&self) -> bool {
        reaches(self.e_worse(), self.test.alpha)
    }

    fn e_worse(&self) -> f64 {
        // No SLI, no evidence: 1 is what a test starts with.
        let sum: f64 = self.slis.iter().map(SliTest::e_worse).sum();
        if self.slis.is_empty() { 1.0 } else { sum / self.slis.len() as f64 }
    }

    /// What keeps the judge from looking at the evidence at all.
    pub(crate) fn missing(&self, now: Timestamp) -> Option<Missing> {
        if now < self.since {
            return Some(Missing::Grace { left: self.since.since(now) });
        }
        let (canary, baseline) = self.events_seen();
        let need = self.test.min_events.max(1);
        if canary.total() < need {
            return Some(Missing::CanaryEvents { have: canary.total(), need });
        }
        (baseline.total() == 0).then_some(Missing::BaselineEvents)
    }
}

impl SliTest {
    fn new(sli: Sli) -> Self {
        Self {
            sli,
            seen: Block::default(),
            pairing: Pairing::default(),
            baseline_share: ShareEstimate::default(),
            canary_share: ShareEstimate::default(),
            reserve: Reserve::full(),
            worse: WorseTest::new(),
            not_worse: NotWorseTest::default(),
        }
    }

    fn bet(&mut self, elapsed: Span, block: &Block, test: &CanaryTest) {
        let inside = |share: f64| share.clamp(SHARE_MARGIN, 1.0 - SHARE_MARGIN);
        let guess = Rates {
            baseline: inside(self.baseline_share.mean(BASELINE_PRIOR)),
            canary: inside(self.canary_share.mean(CANARY_PRIOR)),
        };
        let entering = self.reserve.enter(elapsed);
        self.worse.bet(entering, block, guess, test.tolerance);
        let anchored = Prior { bad: guess.baseline * ANCHOR_EVENTS, total: ANCHOR_EVENTS, ..CANARY_PRIOR };
        let guess = Rates { canary: inside(self.canary_share.mean(anchored)), ..guess };
        self.not_worse.bet(entering, block, guess, margin(test), 1.0 / test.beta);
    }

    fn learn(&mut self, block: Block) {
        self.baseline_share.learn(block.baseline, BASELINE_PRIOR);
        self.canary_share.learn(block.canary, CANARY_PRIOR);
    }

    fn e_worse(&self) -> f64 {
        self.worse.e_value(self.reserve.kept())
    }

    fn e_not_worse(&self) -> f64 {
        self.not_worse.e_value(self.reserve.kept())
    }

    fn evidence(&self) -> SliEvidence {
        SliEvidence {
            sli: self.sli,
            canary: self.seen.canary,
            baseline: self.seen.baseline,
            ln_e_worse: self.e_worse().ln(),
            ln_e_not_worse: self.e_not_worse().ln(),
        }
    }
}

/// Good and bad events of `counts` under an SLI; none if it is a latency that the cell does not measure.
pub fn events(sli: Sli, counts: &OutcomeCounts, thresholds: &[Span]) -> EventCounts {
    match sli {
        Sli::Availability => {
            let bad = counts.bad();
            EventCounts { good: counts.total().saturating_sub(bad), bad }
        }
        Sli::Latency { threshold } => {
            let slow = thresholds.iter().zip(counts.slow).find(|(t, _)| **t == threshold).map(|(_, slow)| slow);
            slow.map_or_else(EventCounts::default, |bad| {
                let answered = counts.answered();
                EventCounts { good: answered.saturating_sub(bad), bad: bad.min(answered) }
            })
        }
    }
}

/// Whether an e-value settles its question at this level. The product decides cheaply in almost every tick; where it says
/// yes, the logarithms that the evidence shows have to say so too, bit by bit.
fn reaches(e_value: f64, level: f64) -> bool {
    e_value * level >= 1.0 && e_value.ln() >= -level.ln()
}

/// The difference that "not worse" is held against: the tolerance, but not less than [`MARGIN_MIN`].
fn margin(test: &CanaryTest) -> f64 {
    test.tolerance.max(MARGIN_MIN)
}
