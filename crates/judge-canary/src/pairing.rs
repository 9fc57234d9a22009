//! Ticks become blocks: outcomes wait until both groups have some.
//!
//! A tick of 10 ms often brings requests of one group only. They wait, and the block ends with the first tick after
//! which both groups have events. Sizes and times alone decide that, never outcomes, as the test demands. What waited
//! longer than [`WAIT_MAX`] is let go, because a comparison is fair only between requests of about the same time.
//!
//! What that means when the common rate jumps inside a block: the group that ends the block is the later one. Since
//! arrivals of both groups interleave at random, the canary's chance of meeting the jump first is its share of the
//! traffic, and that is also what the bet pays: on average an abrupt common change multiplies the e-value once by
//! at most about `e`, and the baseline's own failures take it back in the next block.

use homeostat_model::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::block::Block;

/// Longest wait of one group for the other. A canary that gets one request in ten seconds still finds its baseline
/// beside it; slower than that, half of the baseline's events are as good as all of them.
pub const WAIT_MAX: Span = Span::from_secs(10);

/// Outcomes that wait for the other group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pairing {
    waiting: Block,
    since: Timestamp,
}

/// What became of a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Paired {
    /// A block with both groups.
    pub(crate) block: Option<Block>,
    /// Events that nobody came for: good for guessing, not for betting.
    pub(crate) let_go: Block,
}

impl Pairing {
    /// Takes a tick's outcomes and returns the block that they complete.
    pub(crate) fn offer(&mut self, now: Timestamp, tick: Block) -> Paired {
        let mut paired = Paired::default();
        if tick.is_empty() {
            return paired;
        }
        if self.waiting.is_empty() {
            self.since = now;
        } else if now.since(self.since) > WAIT_MAX {
            paired.let_go = std::mem::take(&mut self.waiting);
            self.since = now;
        }
        self.waiting += tick;
        if self.waiting.is_two_sided() {
            paired.block = Some(std::mem::take(&mut self.waiting));
        }
        paired
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::evidence::EventCounts;

    use super::*;

    fn good(baseline: u64, canary: u64) -> Block {
        let counts = |good| EventCounts { good, bad: 0 };
        Block { baseline: counts(baseline), canary: counts(canary) }
    }

    #[test]
    fn one_sided_ticks_wait_for_the_other_side_but_not_for_ever() {
        let at = Timestamp::from_unix_ms;
        let mut pairing = Pairing::default();
        assert_eq!(pairing.offer(at(0), good(3, 0)), Paired::default());
        assert_eq!(pairing.offer(at(10), good(0, 0)), Paired::default());
        assert_eq!(pairing.offer(at(20), good(2, 1)).block, Some(good(5, 1)));
        assert_eq!(pairing.offer(at(30), good(0, 1)), Paired::default());
        assert_eq!(pairing.offer(at(10_030), good(0, 1)), Paired::default());
        assert_eq!(pairing.offer(at(10_031), good(1, 0)), Paired { block: None, let_go: good(0, 2) });
        assert_eq!(pairing.offer(at(10_040), good(0, 4)).block, Some(good(1, 4)));
    }
}
