//! Traffic moves before anything else is said.

use homeostat_control::Command;

pub(crate) fn check(commands: &[Command]) {
    let shifts = commands.iter().take_while(|c| matches!(c, Command::Shift { .. })).count();
    let all = commands.iter().filter(|c| matches!(c, Command::Shift { .. })).count();
    assert_eq!(shifts, all, "a shift comes after something else: {commands:?}");
}
