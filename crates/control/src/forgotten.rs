//! What control does when it learns that its own past has a hole: nobody knows what was decided in between.
//!
//! A release may have been rolled back in the hole. So every rollout that may still give its canary traffic is taken
//! back, and none starts by itself; what is known to be promoted or taken back stays as it is. Numbers of actions and
//! incidents jump ahead, so that none from the hole is given a second time.
//!
//! Not here: finding the hole (the binary, while it replays the journal).

use homeostat_model::{Actor, ChangeEvent, ChangeKind, Weight, rollout::Phase};

use crate::{
    Control,
    rollout::{Held, RolloutState, Wish},
    world::World,
};

/// Numbers skipped at least: what a person might have caused in the seconds that a group of ticks covers.
const NUMBERS_SKIPPED_MIN: u64 = 100;
/// Numbers skipped at most. A record opens an incident or two at worst, but nearly all records are ticks; ten thousand
/// incidents are more than a year of them.
const NUMBERS_SKIPPED_MAX: u64 = 10_000;

impl Control {
    /// Up to `records` records of the past are not known.
    pub(crate) fn forgot(&mut self, records: u64, reason: &str) {
        let world = &mut self.world;
        world.skip_numbers(records.clamp(NUMBERS_SKIPPED_MIN, NUMBERS_SKIPPED_MAX));
        world.note_change(ChangeEvent {
            at: world.now,
            kind: ChangeKind::Other,
            service: None,
            version: None,
            summary: format!("part of the past is lost: {reason}; canaries get no traffic until they are started"),
            by: Actor::homeostat(),
        });
        // Those that are declared only now may have been running in the hole as well.
        self.forgetful = true;
        self.stand_down();
    }

    /// Takes every rollout back that may still give its canary traffic.
    pub(crate) fn stand_down(&mut self) {
        for rollout in &mut self.rollouts {
            rollout.stand_down(&mut self.world);
        }
    }
}

impl RolloutState {
    fn stand_down(&mut self, world: &mut World) {
        let why = "part of the journal is lost, and with it what was decided meanwhile";
        match self.phase {
            Phase::Progressing { .. } | Phase::Paused { .. } => {
                // A protective order is never refused.
                let _followed = self.command(world, Wish::Abort(why.to_owned()), &Actor::homeostat(), why);
                self.call_for_help(world, "JournalRecordsLost", &format!("it was taken back: {why}"));
            }
            Phase::Idle => {
                self.hold(Held::Canary(Weight::ZERO));
                self.set_phase(world, Phase::Aborted { at: world.now, reason: why.to_owned() });
            }
            Phase::RolledBack { .. } | Phase::Aborted { .. } | Phase::Promoted { .. } => {
                self.drop_pending(world, why);
                // A rollback whose story is not known stays, even if it turns out that it did not help.
                if let Some(evidence) = self.give_up_undo() {
                    self.stay_down(world, &evidence, why);
                }
            }
        }
    }
}
