//! Did the rollback help? Watching the service after it, and saying what was seen.
//!
//! The service has recovered when enough of the requests that its remaining versions serve ended and their bad share is no
//! higher than the baseline's was before the verdict, with the tolerance and the uncertainty of that share on top. What the
//! canary still answers was sent to it before the switch, for a canary that hangs long before: that is harm (`trial`), and says
//! nothing about how requests fare now. Others that were under way fail for a while too, behind what both versions share, so
//! counting goes in blocks: a bad block is forgotten, not averaged in.
//!
//! At the deadline there are three answers. Too few requests: nobody knows. The remaining version is as bad as the canary
//! was: the canary was not the cause, the rollback did not help. Otherwise the canary was worse, but something else is
//! wrong as well: it stays away, and people are called.
//!
//! Invariant: silence is never recovery.

use homeostat_judge_canary::events;
use homeostat_model::{ActionId, Span, Timestamp, evidence::EventCounts, evidence::Evidence, objective::Sli, outcome};
use serde::{Deserialize, Serialize};

use crate::{
    trial::{TickSums, Trial},
    two_sample::{bad_share_upper, surely_worse},
};

/// Not counted after the switch: the tick that was under way, and the next two, which hold answers of before.
const SETTLE: Span = Span::from_ns(3 * outcome::TICK.ns());

/// Fewer requests than this prove nothing: at an unharmed share of 0.1 % a block of 100 almost never looks bad by chance
/// (two bad ones: 0.5 %), and one with 30 % errors never looks good (none or one bad: 10^-14).
const EVENTS_MIN: u64 = 100;

/// A block that is still bad after four times the minimum is forgotten and the next begins.
const BLOCK_EVENTS: u64 = 4 * EVENTS_MIN;

/// The watch over one rollback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    pub(crate) action: ActionId,
    /// When the serving table changed; `None` until the gateway said so.
    applied_at: Option<Timestamp>,
    /// When an answer is due.
    pub(crate) until: Timestamp,
    /// One entry per SLI of the test.
    slis: Vec<SliWatch>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SliWatch {
    sli: Sli,
    /// The canary's events of the bad stretch.
    canary_before: EventCounts,
    /// The bad share that counts as recovered.
    bad_share_max: f64,
    block: EventCounts,
    /// When the block began; `None` before its first event.
    block_since: Option<Timestamp>,
    /// All versions but the canary since the switch.
    after: EventCounts,
    /// The baseline alone since the switch.
    baseline_after: EventCounts,
}

/// What a watch found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Finding {
    /// The service is as well as its baseline was.
    Recovered(Evidence),
    /// Nobody can tell, for this reason.
    Unknown(String),
    /// The service is not well, and the remaining version is as bad as the canary was.
    DidNotHelp(Evidence),
    /// The service is not well, but the canary was worse than what remains.
    NotAlone(Evidence),
}

impl Watch {
    /// A watch over the rollback that ended `trial`; it counts from [`Watch::applied`] on.
    /// `share_max` caps what counts as recovered availability: after a burning budget, as bad as before is not recovery.
    pub(crate) fn new(action: ActionId, trial: &Trial, now: Timestamp, window: Span, share_max: Option<f64>) -> Self {
        let cap = |sli| share_max.filter(|_| sli == Sli::Availability).unwrap_or(1.0);
        let tolerance = trial.judge().test().tolerance;
        let slis = trial.slis.iter().map(|tally| SliWatch {
            sli: tally.sli,
            canary_before: if tally.run.canary().total() > 0 { tally.run.canary() } else { tally.canary },
            bad_share_max: (bad_share_upper(tally.baseline) + tolerance).min(cap(tally.sli)),
            block: EventCounts::default(),
            block_since: None,
            after: EventCounts::default(),
            baseline_after: EventCounts::default(),
        });
        Self { action, applied_at: None, until: now + window, slis: slis.collect() }
    }

    /// The serving table has changed.
    pub(crate) fn applied(&mut self, now: Timestamp, window: Span) {
        self.applied_at = Some(now);
        self.until = now + window;
    }

    /// Time was lost in which nothing was seen: the watch begins again.
    pub(crate) fn restart(&mut self, now: Timestamp, window: Span) {
        self.until = now + window;
        self.applied_at = self.applied_at.map(|_| now);
        for sli in &mut self.slis {
            (sli.block, sli.after, sli.baseline_after) = Default::default();
            sli.block_since = None;
        }
    }

    /// Counts a tick; says so when the service has recovered.
    pub(crate) fn record(&mut self, now: Timestamp, sums: &TickSums, thresholds: &[Span]) -> Option<Finding> {
        let applied_at = self.applied_at?;
        if now < applied_at + SETTLE {
            return None;
        }
        for sli in &mut self.slis {
            if BLOCK_EVENTS <= sli.block.total() && !sli.block_is_fine() {
                (sli.block, sli.block_since) = (EventCounts::default(), None);
            }
            let mut remaining = events(sli.sli, &sums.service, thresholds);
            remaining -= events(sli.sli, &sums.canary, thresholds);
            sli.block += remaining;
            sli.block_since = sli.block_since.or(Some(now));
            sli.after += remaining;
            sli.baseline_after += events(sli.sli, &sums.baseline, thresholds);
        }
        let measured = || self.slis.iter().filter(|s| s.canary_before.total() > 0);
        (measured().next().is_some() && measured().all(SliWatch::block_is_fine))
            .then(|| Finding::Recovered(self.recovery(now, applied_at)))
    }

    /// The block that shows the recovery, of the SLI that the canary had hurt most: what failed before it is not part of the
    /// proof.
    fn recovery(&self, now: Timestamp, applied_at: Timestamp) -> Evidence {
        let harm = |s: &&SliWatch| s.canary_before.bad_share().unwrap_or(0.0) - s.bad_share_max;
        let hurt = self.slis.iter().max_by(|a, b| harm(a).total_cmp(&harm(b)));
        let since = hurt.and_then(|s| s.block_since).unwrap_or(applied_at);
        Evidence::Recovery {
            since,
            watched: now.since(since),
            after: hurt.map(|s| s.block).unwrap_or_default(),
            bad_share_max: hurt.map_or(0.0, |s| s.bad_share_max),
        }
    }

    /// The answer at the deadline, when the service was not seen to recover.
    pub(crate) fn give_up(&self, now: Timestamp) -> Finding {
        let Some(applied_at) = self.applied_at else {
            return Finding::Unknown("the gateway did not report that it was carried out".to_owned());
        };
        let sick = || self.slis.iter().filter(|s| s.is_sick());
        if sick().next().is_none() {
            let seen = self.slis.iter().map(|s| s.after.total()).max().unwrap_or(0);
            return Finding::Unknown(format!(
                "not enough evidence: {seen} requests within {}, none of {EVENTS_MIN} in a row settle it",
                now.since(applied_at)
            ));
        }
        let evidence = self.evidence(now, applied_at);
        let did_not_help =
            sick().all(|s| EVENTS_MIN <= s.baseline_after.total() && !surely_worse(s.canary_before, s.baseline_after));
        if did_not_help { Finding::DidNotHelp(evidence) } else { Finding::NotAlone(evidence) }
    }

    /// The SLI furthest above its limit speaks for all.
    fn evidence(&self, now: Timestamp, since: Timestamp) -> Evidence {
        let excess = |s: &&SliWatch| s.after.bad_share().unwrap_or(0.0) - s.bad_share_max;
        let worst = self.slis.iter().max_by(|a, b| excess(a).total_cmp(&excess(b)));
        Evidence::Recovery {
            since,
            watched: now.since(since),
            after: worst.map(|s| s.after).unwrap_or_default(),
            bad_share_max: worst.map_or(0.0, |s| s.bad_share_max),
        }
    }
}

impl SliWatch {
    fn block_is_fine(&self) -> bool {
        EVENTS_MIN <= self.block.total() && self.block.bad_share().is_some_and(|share| share <= self.bad_share_max)
    }

    fn is_sick(&self) -> bool {
        EVENTS_MIN <= self.after.total() && self.after.bad_share().is_some_and(|share| self.bad_share_max < share)
    }
}
