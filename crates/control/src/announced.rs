//! Changes that people and pipelines announce: deploys, flags, scaling. They explain incidents and change nothing.
//!
//! Not here: who may announce (`api`), Homeostat's own changes (`configure`, `rollout`).
//! Invariant: announcements cannot push more than a bounded number of other changes out of memory per minute.

use homeostat_model::{ChangeEvent, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Command, Control};

/// Announcements a minute at most. Control keeps 100 changes: with 60 a minute of others, its own of the last half
/// minute stay in any case. A pipeline that deploys a service in ten places says so ten times.
const ANNOUNCED_PER_MINUTE_MAX: u32 = 60;

/// How many were announced in the present minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Announced {
    minute: i64,
    count: u32,
}

impl Announced {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Counts one, unless there were too many.
    fn admit(&mut self, now: Timestamp) -> bool {
        let minute = now.slot(Span::from_mins(1));
        if self.minute != minute {
            *self = Self { minute, count: 0 };
        }
        let admitted = self.count < ANNOUNCED_PER_MINUTE_MAX;
        self.count += u32::from(admitted);
        admitted
    }
}

impl Control {
    /// Notes a change that somebody announces, and tells it in the story of every open incident that it may concern.
    pub(crate) fn announced(&mut self, change: ChangeEvent) {
        if !self.announced.admit(self.world.now) {
            let reason = format!(
                "{ANNOUNCED_PER_MINUTE_MAX} changes were announced within this minute already: announce one per \
                 deploy or flag, not one per instance"
            );
            self.world.out.push(Command::Refuse { reason });
            return;
        }
        let concerned: Vec<_> = self.world.incidents.concerning(change.service.as_ref()).collect();
        for incident in concerned {
            self.world.milestone(Some(incident), "change", format!("{}, by {}", change.summary, change.by));
        }
        self.world.note_change(change);
    }
}
