//! Exposure never exceeds the guard's rate, counted the slow way; every permit says why it was given.

use homeostat_control::{Command, Control};
use homeostat_model::{Span, Timestamp};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    admitted: Vec<Timestamp>,
}

impl Memory {
    pub(crate) fn check(&mut self, now: Timestamp, commands: &[Command], control: &Control) {
        let limit = control.spec().guard.actions_per_hour_max as usize;
        for command in commands {
            let Command::Shift { permit } = command else { continue };
            assert!(!permit.because().is_empty());
            let within_hour = self.admitted.iter().filter(|at| now.since(**at) < Span::from_hours(1)).count();
            let protective = permit.plan().purpose.is_protective();
            assert!(protective || within_hour < limit, "{within_hour} actions within the hour, the limit is {limit}");
            self.admitted.push(now);
        }
    }
}
