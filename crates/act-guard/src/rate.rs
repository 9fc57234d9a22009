//! How often and how recently we acted: an exact sliding hour, and the last action of each service.

use std::collections::{BTreeMap, VecDeque};

use homeostat_model::{ServiceName, Span, Timestamp};
use serde::{Deserialize, Serialize};

/// The window of the rate limit.
pub(crate) const RATE_WINDOW: Span = Span::from_hours(1);

/// Actions remembered within the hour, and so the largest rate limit that can be told apart: one every 0.9 s.
/// 4,096 instants of 8 bytes are 32 KiB.
pub const DONE_KEPT_MAX: u32 = 4_096;

/// Services whose last action is remembered; the longest-quiet one is forgotten first. As many as there are cells.
const SERVICES_KEPT_MAX: usize = 4_096;

/// The instants of past actions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    /// Ascending, within the last hour as of the latest call.
    done: VecDeque<Timestamp>,
    last: BTreeMap<ServiceName, Timestamp>,
}

impl History {
    /// Notes an action.
    pub(crate) fn note(&mut self, now: Timestamp, service: &ServiceName) {
        self.forget_old(now);
        if self.done.len() >= DONE_KEPT_MAX as usize {
            self.done.pop_front();
        }
        self.done.push_back(now);
        self.last.insert(service.clone(), now);
        if self.last.len() > SERVICES_KEPT_MAX {
            let quietest = self.last.iter().min_by_key(|(_, at)| **at).map(|(name, _)| name.clone());
            if let Some(name) = quietest {
                self.last.remove(&name);
            }
        }
    }

    /// Actions of which less than an hour has passed.
    pub(crate) fn within_hour(&mut self, now: Timestamp) -> u32 {
        self.forget_old(now);
        u32::try_from(self.done.len()).unwrap_or(u32::MAX)
    }

    /// When the rate falls below `limit` again, if it is at or above it now.
    pub(crate) fn below_limit_at(&self, limit: u32) -> Option<Timestamp> {
        let over = self.done.len().checked_sub(limit as usize)?;
        self.done.get(over).or(self.done.back()).map(|at| *at + RATE_WINDOW)
    }

    /// What is left of a service's quiet time; zero when it is over or never began.
    pub(crate) fn cooldown_left(&self, now: Timestamp, service: &ServiceName, cooldown: Span) -> Span {
        self.last.get(service).map_or(Span::ZERO, |at| (*at + cooldown).since(now))
    }

    fn forget_old(&mut self, now: Timestamp) {
        while self.done.front().is_some_and(|at| now.since(*at) >= RATE_WINDOW) {
            self.done.pop_front();
        }
    }
}
