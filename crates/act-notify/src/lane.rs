//! One receiver's queue: order, grouping, rate, backoff. A pure state machine; instants and chance come in.
//!
//! Grouping: while enough messages are left in the minute for every waiting group, each group is a message of its own;
//! otherwise everything waiting goes into the next one.
//!
//! Invariants: at most one message is under way; notices leave in the order in which they came (within a group);
//! nothing is dropped silently: whatever leaves without being delivered is returned.

use std::{collections::VecDeque, time::Duration};

use homeostat_model::{
    Timestamp,
    notice::{Notice, NoticeStatus},
};
use rand::{Rng, RngExt as _};
use tokio::time::Instant;

use crate::{
    limits::{ALERTS_PER_MESSAGE_MAX, BACKOFF_FIRST, BACKOFF_MAX, BACKOFF_MIN, PENDING_MAX, RATE_WINDOW},
    spec::ReceiverSpec,
};

/// A notice on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pending {
    pub(crate) notice: Notice,
    /// When it was handed over.
    pub(crate) taken_at: Timestamp,
    pub(crate) failing: Option<Failing>,
}

/// Since when a notice has been failing: on the wall for the record, and on a clock that is never set for the decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Failing {
    pub(crate) since: Timestamp,
    /// Spent before `from`, in earlier runs of the process.
    before: Duration,
    from: Instant,
}

impl Failing {
    pub(crate) fn new(since: Timestamp, wall: Timestamp, now: Instant) -> Self {
        Self { since, before: wall.since(since).into(), from: now }
    }

    fn lasted(&self, now: Instant) -> Duration {
        self.before.saturating_add(now.saturating_duration_since(self.from))
    }
}

pub(crate) struct Lane {
    pub(crate) spec: ReceiverSpec,
    waiting: VecDeque<Pending>,
    /// Under way; empty when nothing is.
    sending: Vec<Pending>,
    /// Instants of the messages of the last minute, oldest first.
    sent: VecDeque<Instant>,
    failures: u32,
    not_before: Option<Instant>,
}

impl Lane {
    pub(crate) fn new(spec: ReceiverSpec) -> Self {
        Self {
            spec,
            waiting: VecDeque::new(),
            sending: Vec::new(),
            sent: VecDeque::new(),
            failures: 0,
            not_before: None,
        }
    }

    /// Takes new settings; whatever was wrong may be mended, so the next attempt is made at once.
    pub(crate) fn reconfigure(&mut self, spec: ReceiverSpec) {
        self.spec = spec;
        self.failures = 0;
        self.not_before = None;
    }

    /// Adds a notice. When the lane is full, the oldest resolved one that waits makes room, else the oldest.
    pub(crate) fn push(&mut self, pending: Pending) -> Option<Pending> {
        let displaced = (self.len() >= PENDING_MAX).then(|| {
            let resolved = self.waiting.iter().position(|one| one.notice.status == NoticeStatus::Resolved);
            self.waiting.remove(resolved.unwrap_or(0))
        });
        self.waiting.push_back(pending);
        displaced.flatten()
    }

    /// Notices waiting or under way.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.sending.len()
    }

    /// All of them, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Pending> {
        self.sending.iter().chain(&self.waiting)
    }

    /// Takes everything out, for a receiver that is no longer configured.
    pub(crate) fn into_all(self) -> impl Iterator<Item = Pending> {
        self.sending.into_iter().chain(self.waiting)
    }

    /// When the next message may leave; `None` while one is under way or nothing waits.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        if self.waiting.is_empty() || !self.sending.is_empty() {
            return None;
        }
        let rate = self.sent.len().checked_sub(self.per_minute()).and_then(|at| self.sent.get(at));
        let rate = rate.map_or(now, |oldest| *oldest + RATE_WINDOW);
        Some(self.not_before.map_or(rate, |at| at.max(rate)).max(now))
    }

    /// The next message's notices, if it may leave now. They are under way until one of the three ends is reported.
    pub(crate) fn take(&mut self, now: Instant) -> Option<&[Pending]> {
        while self.sent.front().is_some_and(|at| *at + RATE_WINDOW <= now) {
            self.sent.pop_front();
        }
        if self.due(now).is_none_or(|due| now < due) {
            return None;
        }
        let left = self.per_minute().saturating_sub(self.sent.len());
        let own =
            (self.groups(left + 1) <= left).then(|| self.waiting.front().map(|one| one.notice.group.clone())).flatten();
        let mut rest = VecDeque::with_capacity(self.waiting.len());
        for one in self.waiting.drain(..) {
            let wanted = own.as_ref().is_none_or(|group| *group == one.notice.group);
            if wanted && self.sending.len() < ALERTS_PER_MESSAGE_MAX {
                self.sending.push(one);
            } else {
                rest.push_back(one);
            }
        }
        self.waiting = rest;
        self.sent.push_back(now);
        Some(&self.sending)
    }

    /// The message arrived. Gives its notices.
    pub(crate) fn delivered(&mut self) -> Vec<Pending> {
        self.failures = 0;
        self.not_before = None;
        std::mem::take(&mut self.sending)
    }

    /// The receiver will never take the message. Gives its notices.
    pub(crate) fn refused(&mut self) -> Vec<Pending> {
        self.delivered()
    }

    /// The attempt failed and is repeated later. Gives the notices that have been failing for too long.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        wall: Timestamp,
        after: Option<Duration>,
        rng: &mut impl Rng,
    ) -> Vec<Pending> {
        self.not_before = Some(now + after.unwrap_or_else(|| backoff(self.failures, rng)));
        self.failures = self.failures.saturating_add(1);
        let give_up_after = Duration::from(self.spec.give_up_after);
        let mut given_up = Vec::new();
        for mut one in std::mem::take(&mut self.sending).into_iter().rev() {
            let failing = *one.failing.get_or_insert_with(|| Failing::new(wall, wall, now));
            if give_up_after <= failing.lasted(now) {
                given_up.push(one);
            } else {
                self.waiting.push_front(one);
            }
        }
        given_up.reverse();
        given_up
    }

    fn per_minute(&self) -> usize {
        usize::try_from(self.spec.per_minute_max.max(1)).unwrap_or(usize::MAX)
    }

    /// Distinct groups that wait, counted up to `max`.
    fn groups(&self, max: usize) -> usize {
        let mut seen: Vec<&str> = Vec::new();
        for one in &self.waiting {
            if seen.len() >= max {
                break;
            }
            if !seen.contains(&one.notice.group.as_str()) {
                seen.push(&one.notice.group);
            }
        }
        seen.len()
    }
}

/// Exponential backoff with full jitter: evenly between [`BACKOFF_MIN`] and a bound that doubles up to [`BACKOFF_MAX`].
/// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog.
fn backoff(failures: u32, rng: &mut impl Rng) -> Duration {
    let bound = BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(BACKOFF_MAX);
    let (least, most) = (BACKOFF_MIN.as_nanos() as u64, bound.as_nanos() as u64);
    Duration::from_nanos(rng.random_range(least..=most))
}

#[cfg(test)]
mod tests {
    use homeostat_model::Span;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;
    use crate::{
        message::tests::notice,
        spec::{ReceiverKind, Secret},
    };

    const WALL: Timestamp = Timestamp::from_unix_ms(1_750_000_000_000);

    fn lane(per_minute_max: u32) -> Lane {
        Lane::new(ReceiverSpec {
            name: "chat".parse().unwrap(),
            kind: ReceiverKind::Slack { url: Secret::new("http://s/".to_owned()) },
            send_resolved: true,
            per_minute_max,
            timeout: Span::from_secs(5),
            give_up_after: Span::from_hours(1),
            template: None,
        })
    }

    fn pending(key: usize, group: &str, status: NoticeStatus) -> Pending {
        let mut notice = notice(&key.to_string(), status, ("version", "v2"));
        group.clone_into(&mut notice.group);
        Pending { notice, taken_at: WALL, failing: None }
    }

    fn keys(batch: &[Pending]) -> String {
        batch.iter().map(|one| one.notice.key.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn groups_go_apart_while_the_minute_has_room_and_together_when_it_has_not() {
        let now = Instant::now();
        let mut lane = lane(3);
        for (key, group) in [(1, "a"), (2, "b"), (3, "a")] {
            lane.push(pending(key, group, NoticeStatus::Firing));
        }
        assert_eq!(lane.take(now).map(keys).as_deref(), Some("1 3"), "at once, its own group");
        assert!(lane.take(now).is_none(), "one at a time");
        lane.delivered();
        lane.push(pending(4, "c", NoticeStatus::Firing));
        lane.push(pending(5, "d", NoticeStatus::Firing));
        assert_eq!(lane.take(now).map(keys).as_deref(), Some("2 4 5"), "three groups, two messages left");
        lane.delivered();
        lane.push(pending(6, "e", NoticeStatus::Firing));
        assert_eq!(lane.take(now).map(keys).as_deref(), Some("6"));
        lane.delivered();
        lane.push(pending(7, "f", NoticeStatus::Firing));
        lane.push(pending(8, "g", NoticeStatus::Firing));
        assert!(lane.take(now).is_none(), "the minute is used up");
        assert_eq!(lane.due(now), Some(now + RATE_WINDOW));
        let later = now + RATE_WINDOW;
        assert_eq!(lane.take(later).map(keys).as_deref(), Some("7"), "all three places are free again");
    }

    #[test]
    fn a_full_lane_gives_up_what_is_over_before_what_is_wrong() {
        let mut lane = lane(20);
        lane.push(pending(0, "a", NoticeStatus::Firing));
        lane.push(pending(1, "a", NoticeStatus::Resolved));
        for key in 2..PENDING_MAX {
            assert!(lane.push(pending(key, "a", NoticeStatus::Firing)).is_none());
        }
        let next = |lane: &mut Lane| lane.push(pending(9_999, "a", NoticeStatus::Firing)).map(|one| one.notice.key);
        assert_eq!(next(&mut lane).as_deref(), Some("1"), "the resolved one");
        assert_eq!(next(&mut lane).as_deref(), Some("0"), "the oldest");
        assert_eq!(lane.len(), PENDING_MAX);
    }

    #[test]
    fn giving_up_counts_from_the_first_failure_and_survives_restarts() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let now = Instant::now();
        let mut lane = lane(1_000);
        lane.push(pending(1, "a", NoticeStatus::Firing));
        let hour = Duration::from_hours(1);
        for (at, given_up) in [(Duration::ZERO, ""), (hour.saturating_sub(Duration::from_nanos(1)), ""), (hour, "1")] {
            assert!(lane.take(now + at + BACKOFF_MAX).is_some());
            // The wall clock may say whatever it wants.
            let gone = lane.failed(now + at, Timestamp::MIN, Some(Duration::ZERO), &mut rng);
            assert_eq!(keys(&gone), given_up, "{at:?}");
        }
        let mut restored = pending(2, "a", NoticeStatus::Firing);
        restored.failing = Some(Failing::new(WALL, WALL + Span::from_hours(2), now));
        lane.push(restored);
        assert!(lane.take(now + hour + BACKOFF_MAX).is_some(), "one attempt is made after a restart in any case");
        assert_eq!(keys(&lane.failed(now, WALL, None, &mut rng)), "2");
    }

    #[test]
    fn waits_double_with_full_jitter_up_to_a_minute() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        for failures in 0..40 {
            let bound = BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(BACKOFF_MAX);
            let waits: Vec<_> = (0..200).map(|_| backoff(failures, &mut rng)).collect();
            assert!(waits.iter().all(|wait| (BACKOFF_MIN..=bound).contains(wait)));
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(*least < bound / 2 && bound.mul_f64(0.9) < *most, "{failures}: {least:?} to {most:?} of {bound:?}");
        }
    }

    proptest! {
        /// Whatever happens, every notice leaves exactly once, and never more messages than allowed in any minute.
        #[test]
        fn nothing_is_lost_doubled_or_too_fast(
            steps in proptest::collection::vec((0_u8..5, 0_u64..40), 1..300),
            per_minute_max in 1_u32..5,
            seed in any::<u64>(),
        ) {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut now = Instant::now();
            let mut lane = lane(per_minute_max);
            let (mut pushed, mut left, mut sent) = (0, Vec::new(), Vec::new());
            for (what, secs) in steps {
                now += Duration::from_secs(secs);
                match what {
                    0 | 1 => {
                        lane.push(pending(pushed, ["a", "b", "c"][pushed % 3], NoticeStatus::Firing));
                        pushed += 1;
                    }
                    2 => {
                        if lane.take(now).is_some() {
                            sent.push(now);
                        }
                    }
                    3 => left.extend(lane.delivered()),
                    _ => left.extend(lane.failed(now, WALL, None, &mut rng)),
                }
            }
            left.extend(lane.into_all());
            let mut keys: Vec<usize> = left.iter().map(|one| one.notice.key.parse().unwrap()).collect();
            keys.sort_unstable();
            prop_assert_eq!(keys, (0..pushed).collect::<Vec<_>>());
            let window = per_minute_max as usize;
            let fast = sent.windows(window + 1).any(|times| times[window] < times[0] + RATE_WINDOW);
            prop_assert!(!fast, "{:?}", sent);
        }
    }
}
