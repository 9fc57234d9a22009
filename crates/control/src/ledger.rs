//! The ledger of actions: numbers, plans, states.
//!
//! Invariant: a number is given once. Bounded: an action that is over is forgotten here once 100 newer ones exist (the
//! journal keeps it); a rollout has at most one action in force and one that waits.

use std::collections::BTreeMap;

use homeostat_model::{
    ActionId, Timestamp,
    action::{ActionRecord, ActionState},
};
use serde::{Deserialize, Serialize};

/// Actions shown by the view, and kept once they are over.
pub(crate) const ACTIONS_KEPT: usize = 100;

/// Actions by number.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    last: u64,
    records: BTreeMap<ActionId, ActionRecord>,
}

impl Ledger {
    /// A number that was never given before.
    pub(crate) fn next_id(&mut self) -> ActionId {
        self.last = self.last.saturating_add(1);
        ActionId(self.last)
    }

    /// Leaves numbers out.
    pub(crate) fn skip_ids(&mut self, count: u64) {
        self.last = self.last.saturating_add(count);
    }

    pub(crate) fn get(&self, id: ActionId) -> Option<&ActionRecord> {
        self.records.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ActionId) -> Option<&mut ActionRecord> {
        self.records.get_mut(&id)
    }

    pub(crate) fn add(&mut self, record: ActionRecord) {
        self.records.insert(record.plan.id, record);
    }

    /// Forgets the oldest that are over, beyond those that are kept.
    pub(crate) fn forget_old(&mut self, now: Timestamp) {
        while self.records.len() > ACTIONS_KEPT {
            let Some(id) = self.records.values().find(|r| is_over(r, now)).map(|r| r.plan.id) else { return };
            self.records.remove(&id);
        }
    }

    /// The latest, newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &ActionRecord> {
        self.records.values().rev().take(ACTIONS_KEPT)
    }

    /// Whether an action was handed to the actuator without an answer so far.
    pub(crate) fn awaits_answer(&self, id: ActionId) -> bool {
        self.get(id).is_some_and(|r| matches!(r.state, ActionState::Admitted { .. }))
    }

    /// Actions that were handed to the actuator without an answer so far.
    pub(crate) fn unanswered(&self) -> Vec<ActionId> {
        let waiting = |r: &&ActionRecord| matches!(r.state, ActionState::Admitted { .. });
        self.records.values().filter(waiting).map(|r| r.plan.id).collect()
    }
}

/// Whether nothing can happen to it any more.
fn is_over(record: &ActionRecord, now: Timestamp) -> bool {
    match record.state {
        ActionState::AwaitingApproval { .. } | ActionState::Admitted { .. } => false,
        ActionState::Applied { .. } | ActionState::Verified { .. } | ActionState::Unverified { .. } => {
            record.expires_at.is_none_or(|at| at <= now)
        }
        ActionState::Refused { .. }
        | ActionState::Undone { .. }
        | ActionState::Expired { .. }
        | ActionState::Failed { .. } => true,
    }
}
