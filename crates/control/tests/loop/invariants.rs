//! What must hold after every step of every test: one file per invariant.

mod bounded;
mod deadline_ahead;
mod frozen_stays_away;
mod notices_end;
mod protection_first;
mod rate_kept;
mod shifts_recorded;
mod splits_whole;
mod stages_forward;

use homeostat_control::{Command, Control, Event};
use homeostat_model::Timestamp;

/// All of them, with what they remember.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    frozen: frozen_stays_away::Memory,
    notices: notices_end::Memory,
    rate: rate_kept::Memory,
    recorded: shifts_recorded::Memory,
    stages: stages_forward::Memory,
}

impl Invariants {
    pub(crate) fn check(&mut self, now: Timestamp, event: &Event, commands: &[Command], control: &Control) {
        splits_whole::check(control);
        deadline_ahead::check(now, control);
        protection_first::check(commands);
        self.recorded.check(commands);
        self.notices.check(commands);
        self.stages.check(commands);
        self.rate.check(now, commands, control);
        if !commands.is_empty() || !matches!(event, Event::Tick { .. }) {
            self.frozen.check(now, commands, control);
            bounded::check(now, control);
        }
    }
}
